"""The diff of compose fix shows no secret that stands near a change, however many lines it takes."""

from gpudoctor.reports.diff import unified

PEM = "-----BEGIN RSA PRIVATE KEY-----"
END = "-----END RSA PRIVATE KEY-----"


def changed(text: str) -> str:
    """Return the diff where the last line changes, so that the others are around it."""
    return unified(text + "runtime: nvidia\n", text + "gpus: all\n", "compose.yml")


def test_a_private_key_in_lines() -> None:
    shown = changed(f"content: |\n  {PEM}\n  MIIEowIBAAKCAQEA\n  {END}\nafter: it\n")
    assert "MIIE" not in shown
    assert "after: it" in shown


def test_a_private_key_in_one_line() -> None:
    shown = changed(f'TLS: "{PEM}\\nMIIEowIBAAKCAQEA\\n{END}"\nafter: it\n')
    assert "MIIE" not in shown
    assert "after: it" in shown


def test_a_key_that_is_cut_off() -> None:
    assert "MIIE" not in changed(f"content: |\n  {PEM}\n  MIIEowIBAAKCAQEA\n")


def test_a_block_below_a_secrets_name() -> None:
    shown = changed("environment:\n  API_TOKEN: |\n    first-half\n\n    second-half\n  OTHER: seen\n")
    assert "half" not in shown
    assert "OTHER: seen" in shown


def test_a_block_below_another_name_is_shown() -> None:
    assert "echo hello" in changed("command: |\n  echo hello\n")
