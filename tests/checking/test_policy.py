"""A configuration that is wrong is refused with file, key and advice."""

from pathlib import Path

import pytest

from gpudoctor.checking.policy import ConfigError, load_policy, shipped


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_later_files_win(tmp_path: Path) -> None:
    name = next(iter(shipped()))
    first = write(tmp_path / "a.toml", f"[thresholds]\n{name} = 1\n")
    second = write(tmp_path / "b.toml", f"[thresholds]\n{name} = 2\n")
    assert load_policy([first], [second])[name] == 2


def test_an_absent_default_file_is_fine_and_a_named_one_is_not(tmp_path: Path) -> None:
    load_policy([tmp_path / "no.toml"])
    with pytest.raises(ConfigError) as caught:
        load_policy([], [tmp_path / "no.toml"])
    assert caught.value.where.endswith("no.toml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[thresholds", "broken TOML"),
        ("[threshold]\na = 1", "unknown key 'threshold'"),
        ("[thresholds]\necc_corected_dram = 1", "unknown threshold"),
        ("[thresholds]\necc_corrected_dram = 'many'", "must be a number"),
        ("[thresholds]\necc_corrected_dram = true", "must be a number"),
        ("[thresholds]\necc_corrected_dram = nan", "must be a number"),
        ("thresholds = 3", "no table"),
        ("[[accept]]\nid = 'a.b'", "reason"),
        ("[[accept]]\nid = 'a.b'\nreason = ' '", "needs a reason"),
        ("[[accept]]\nid = 'a.b'\nreason = 'x'\nuntil = 'soon'", "until"),
        ("[[accept]]\nid = 'a.b'\nreason = 'x'\nuntill = 2027-01-01", "untill"),
        ("a = " + "[" * 5000, "broken TOML"),
    ],
)
def test_bad_configuration_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("[", r"\[")):
        load_policy([], [write(tmp_path / "c.toml", text)])


def test_did_you_mean(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_policy([], [write(tmp_path / "c.toml", "[thresholds]\necc_corected_dram = 1")])
    assert "ecc_corrected_dram" in caught.value.hint


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_policy([], [path])
