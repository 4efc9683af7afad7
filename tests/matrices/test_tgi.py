"""The table of Text Generation Inference knows its last release."""

from gpudoctor.matrices import tgi


def test_the_last_release() -> None:
    row = tgi.release("v3.3.7")
    assert row is not None
    assert (row.torch, row.cuda, row.flash_attention_from) == ("2.7", "12.4", (8, 0))
    assert tgi.table().source(row.source).url.endswith("v3.3.7")


def test_unknown_release() -> None:
    assert tgi.release("3.4.0") is None
