"""install.sh, run for real: into prefixes of its own, with and without network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rig_bundle import CHECKOUT, SCRIPT, make_bundle, sh, tree, write_sums

BASE_TOOLS = ("sh", "env", "id", "sed", "sort", "basename", "dirname", "head", "tr", "grep", "mktemp")

@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "a bundle")


def tools_only(folder: Path, *more: str) -> str:
    """Make a PATH of plain tools without any Python."""
    folder.mkdir()
    for name in (*BASE_TOOLS, *more):
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    return str(folder)


def fake_python(folder: Path, name: str, answer: str | None) -> None:
    folder.mkdir(exist_ok=True)
    body = f"echo '{answer}'" if answer else "exit 1"
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


# --- the script itself


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_shells_accept_it(shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    command = {"busybox": ["busybox", "sh"], "bash": ["bash", "--posix"]}.get(shell, [shell])
    for script in (SCRIPT, CHECKOUT / "tests/run", CHECKOUT / ".ci/run"):
        done = subprocess.run([*command, "-n", str(script)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.tier("shellcheck")
def test_shellcheck() -> None:
    scripts = [str(SCRIPT), str(CHECKOUT / "tests/run"), str(CHECKOUT / ".ci/run")]
    done = subprocess.run(["shellcheck", "-s", "sh", *scripts], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_truncated_script_does_nothing(bundle: Path) -> None:
    whole = bundle.read_bytes()
    assert sh(bundle, "--version").stdout == "9.8.7\n"
    end = len(whole.rstrip())
    offsets = [*range(0, end, 211), *range(end - 40, end)]
    before = tree(bundle.parent)
    for offset in offsets:
        bundle.write_bytes(whole[:offset])
        # Any command of a cut script would see these arguments.
        assert sh(bundle, "--version").stdout == "", offset
    bundle.write_bytes(whole)
    assert tree(bundle.parent) == before


def test_piped_script_does_not_take_the_current_folder_for_a_release(bundle: Path) -> None:
    with bundle.open() as script:
        done = subprocess.run(
            ["/bin/sh", "-s", "--", "--prefix", str(bundle.parent / "p")],
            stdin=script,
            cwd=bundle.parent,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "neither a checkout nor a wheelhouse" in done.stderr
    assert not (bundle.parent / "p").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--frobnicate"], "unknown option: --frobnicate"),
        (["somewhere"], "unknown option: somewhere"),
        (["--prefix"], "--prefix needs a value"),
        (["--method", "conda"], "--method must be uv, pipx or venv, not 'conda'"),
        (["--python", "/nonexistent/python"], "/nonexistent/python is not a Python 3.10 or newer"),
        (["--wheelhouse", "/nonexistent"], "no such folder: /nonexistent"),
        (["--user"], "--prefix and --user name two places"),
        (["--bundle", "/nonexistent"], "no such file: /nonexistent"),
        (["--bundle", "b", "--wheelhouse", "w"], "--wheelhouse and --bundle name two sources"),
        (["--", "--for", "ollama"], "add --check"),
    ],
)
def test_usage_errors(bundle: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    at = tmp_path / "p"
    done = sh(bundle, "--prefix", at, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not at.exists()


def test_help_names_every_option() -> None:
    done = sh(SCRIPT, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for line in SCRIPT.read_text().splitlines():
        option = line.strip().partition(")")[0]
        if option.startswith("--") and option.isascii() and option.replace("-", "").isalpha():
            assert option in done.stdout


# --- which Python


@pytest.mark.parametrize(
    ("release", "said"),
    [
        ('ID=ubuntu\nVERSION_ID="22.04"\nID_LIKE=debian\n', "apt install python3 python3-venv"),
        ('ID=ubuntu\nVERSION_ID="20.04"\nID_LIKE=debian\n', "this release has no newer Python"),
        ("ID=debian\nVERSION_ID='12'\n", "apt install python3 python3-venv"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install python3.12"),
        ("ID=fedora\n", "dnf install python3"),
        ("ID=nixos\n", "nix-shell -p python3"),
        ("ID=arch\n", "install the package that brings Python 3.10 or newer"),
        ("", "install the package that brings Python 3.10 or newer"),
    ],
)
def test_no_python_names_this_distributions_package(tmp_path: Path, release: str, said: str) -> None:
    (tmp_path / "os-release").write_text(release)
    path = tools_only(tmp_path / "bin")
    fake_python(tmp_path / "bin", "python3", None)
    done = sh(
        SCRIPT,
        "--prefix",
        tmp_path / "p",
        path=path,
        GPUDOCTOR_OS_RELEASE=str(tmp_path / "os-release"),
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "p").exists()


def test_uv_brings_a_python_where_there_is_none(tmp_path: Path) -> None:
    path = tools_only(tmp_path / "bin")
    fake_python(tmp_path / "bin", "python3", None)
    fake_python(tmp_path / "bin", "uv", "/somewhere/bin")
    done = sh(SCRIPT, "--dry-run", "--method", "uv", "--prefix", tmp_path / "p", path=path)
    assert done.returncode == 0, done.stderr
    assert "would run: uv tool install --force --reinstall --python '>=3.10'" in done.stdout


def test_conda_python_only_as_a_last_resort_and_said(tmp_path: Path) -> None:
    path = tools_only(tmp_path / "bin")
    fake_python(tmp_path / "conda", "python3.12", "conda 3.12 /opt/conda/bin/python3.12")
    fake_python(tmp_path / "plain", "python3", "plain 3.11 /usr/bin/python3")
    arguments = ("--dry-run", "--prefix", tmp_path / "p")

    both = sh(SCRIPT, *arguments, path=f"{tmp_path}/conda:{tmp_path}/plain:{path}")
    assert "Python 3.11 at /usr/bin/python3\n" in both.stderr
    assert "using conda's" not in both.stderr

    alone = sh(SCRIPT, *arguments, path=f"{tmp_path}/conda:{path}")
    assert "Python 3.12 at /opt/conda/bin/python3.12" in alone.stderr
    assert "using conda's Python" in alone.stderr


def test_wheelhouse_for_another_python(bundle: Path, tmp_path: Path) -> None:
    wheelhouse = bundle.parent / "wheelhouse"
    (wheelhouse / "msgspec-1-cp399-cp399-manylinux2014_x86_64.whl").touch()
    write_sums(wheelhouse)
    done = sh(bundle, "--prefix", tmp_path / "p")
    assert done.returncode == 2
    assert "the wheelhouse is made for Python 3.99" in done.stderr


# --- checksums


@pytest.mark.parametrize("how", ["tampered", "unlisted", "no sums", "empty sums", "lost"])
def test_wrong_or_absent_checksum_is_fatal(bundle: Path, tmp_path: Path, how: str) -> None:
    wheelhouse = bundle.parent / "wheelhouse"
    other = wheelhouse / "other-1-py3-none-any.whl"
    other.write_bytes(b"fine")
    write_sums(wheelhouse)
    match how:
        case "tampered":
            other.write_bytes(b"evil")
        case "unlisted":
            (wheelhouse / "more-1-py3-none-any.whl").touch()
        case "no sums":
            (wheelhouse / "SHA256SUMS").unlink()
        case "empty sums":
            (wheelhouse / "SHA256SUMS").write_text("")
        case _:
            other.unlink()
    done = sh(bundle, "--prefix", tmp_path / "p")
    assert done.returncode == 2
    said = {
        "tampered": "other-1-py3-none-any.whl does not match its checksum",
        "unlisted": "more-1-py3-none-any.whl has no checksum",
        "no sums": "SHA256SUMS is missing",
        "empty sums": "has no checksum",
        "lost": "other-1-py3-none-any.whl is listed in SHA256SUMS but not there",
    }
    assert said[how] in done.stderr
    assert not (tmp_path / "p").exists()


# --- which place


@pytest.mark.parametrize(("option", "place"), [("--user", "{home}/.local/bin"), ("--system", "/usr/local/bin")])
def test_for_the_user_or_for_the_system(bundle: Path, tmp_path: Path, option: str, place: str) -> None:
    done = sh(bundle, "--dry-run", option, HOME=str(tmp_path / "home"), XDG_DATA_HOME="")
    assert done.returncode == 0, done.stderr
    assert f" {place.format(home=tmp_path / 'home')}/gpudoctor\n" in done.stdout


# --- nothing happens


@pytest.mark.parametrize("options", [[], ["--method", "uv"], ["--check"], ["--uninstall"]])
def test_dry_run_changes_nothing(bundle: Path, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "tmp").mkdir()
    before = tree(tmp_path)
    done = sh(bundle, "--dry-run", "--prefix", tmp_path / "new place", *options, TMPDIR=str(tmp_path / "tmp"))
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path) == before
    if options == ["--uninstall"]:
        assert done.stderr.startswith("Nothing to remove")
    else:
        assert "would run: mkdir" in done.stdout
        assert f"'{tmp_path}/new place/bin/gpudoctor' check" in done.stdout or options != ["--check"]


def test_a_foreign_command_is_left_alone(bundle: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "p/bin/gpudoctor"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("theirs")
    done = sh(bundle, "--prefix", tmp_path / "p")
    assert done.returncode == 2
    assert "was not installed by this script" in done.stderr
    assert foreign.read_text() == "theirs"
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["bin"]


def test_a_folder_that_cannot_be_written(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = sh(bundle, "--prefix", tmp_path / "file/p")
    assert done.returncode == 2
    assert "gpudoctor is not installed" in done.stderr


# --- real installations


def files_of(prefix: Path) -> list[str]:
    return sorted(str(path.relative_to(prefix)) for path in (*prefix.glob("bin/*"), *prefix.glob("lib/gpudoctor/*")))


@pytest.mark.tier("install")
def test_install_upgrade_and_uninstall(bundle: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "deep/a place"
    first = sh(bundle, "--check", "--prefix", prefix, "--", "1")
    assert first.returncode == 0, first.stderr
    assert first.stdout == "judged by 9.8.7\n"
    assert "gpudoctor check: exit code 1" in first.stderr
    assert f"{prefix}/bin is not on your PATH" in first.stderr

    # A release that does not start must not replace one that does.
    broken = make_bundle(tmp_path / "broken", "9.9.0", starts=False)
    before = files_of(prefix)
    failed = sh(broken, "--prefix", prefix)
    assert failed.returncode == 2
    assert "gpudoctor is not installed" in failed.stderr
    assert files_of(prefix) == before

    newer = make_bundle(tmp_path / "newer", "10.0.0")
    upgraded = sh(newer, "--strict", "--prefix", prefix, "--", "3", path=f"{prefix}/bin:{os.environ['PATH']}")
    assert upgraded.returncode == 3
    assert "judged by 10.0.0" in upgraded.stdout
    assert "PATH" not in upgraded.stderr
    assert len(files_of(prefix)) == len(before)

    # Without --strict a run without verdict still counts as a failure.
    assert sh(newer, "--check", "--prefix", prefix, "--", "2").returncode == 2

    gone = sh(newer, "--uninstall", "--prefix", prefix)
    assert gone.returncode == 0
    assert not (tmp_path / "deep").exists()
    assert sh(newer, "--uninstall", "--prefix", prefix).returncode == 0


@pytest.mark.tier("install")
def test_uninstall_leaves_what_it_did_not_make(bundle: Path, tmp_path: Path) -> None:
    kept = tmp_path / "p/bin/kept"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert sh(bundle, "--prefix", tmp_path / "p").returncode == 0
    (tmp_path / "p/bin/gpudoctor").unlink()
    (tmp_path / "p/bin/gpudoctor").write_text("replaced by somebody")
    assert sh(bundle, "--prefix", tmp_path / "p", "--uninstall").returncode == 0
    assert sorted(path.name for path in (tmp_path / "p").rglob("*")) == ["bin", "gpudoctor", "kept"]


@pytest.mark.tier("install")
@pytest.mark.parametrize("method", ["uv", "pipx"])
def test_other_methods(tmp_path: Path, method: str) -> None:
    """Install with uv or pipx from the index; both are fetched for this test."""
    source = copy_checkout(tmp_path / "source")
    tools = tmp_path / "tools"
    subprocess.run([sys.executable, "-m", "venv", tools], check=True)
    subprocess.run([tools / "bin/pip", "install", "-q", method], check=True, capture_output=True)
    path = f"{tools}/bin:{os.environ['PATH']}"
    prefix = tmp_path / "p"
    done = sh(source / "install.sh", "--method", method, "--prefix", prefix, path=path)
    assert done.returncode == 0, done.stderr
    subprocess.run([prefix / "bin/gpudoctor", "--version"], check=True, capture_output=True)
    again = sh(source / "install.sh", "--prefix", prefix, path=path)
    assert f"with {method}" in again.stderr
    assert sh(source / "install.sh", "--prefix", prefix, "--uninstall", path=path).returncode == 0
    assert not prefix.exists()


def copy_checkout(to: Path) -> Path:
    """Copy what a fresh clone has, so that what tests do to it stays in the copy."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        check=False,
    )
    listed = [name for name in names.stdout.decode().split("\0") if name]
    if not listed:
        # An unpacked sdist is no git checkout.
        ignore = shutil.ignore_patterns(".venv*", ".*_cache", "build", "*.egg-info")
        shutil.copytree(CHECKOUT, to, ignore=ignore)
        return to
    for name in listed:
        if (CHECKOUT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, to / name)
    return to


@pytest.mark.tier("install")
def test_fresh_clone_to_verdict_in_one_command(tmp_path: Path) -> None:
    clone = copy_checkout(tmp_path / "clone")
    before = tree(clone)
    prefix = tmp_path / "p"
    done = sh(clone / "install.sh", "--check", "--prefix", prefix, "--", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["schema"] == "gpudoctor.report/1"
    assert tree(clone) == before
    assert sh(clone / "install.sh", "--uninstall", "--prefix", prefix).returncode == 0
    assert not prefix.exists()


@pytest.mark.tier("install")
@pytest.mark.tier("root")
def test_bare_python_without_pip_and_ensurepip(tmp_path: Path) -> None:
    """Install where there is a Python and nothing else, as on a minimal Debian."""
    clone = copy_checkout(tmp_path / "clone")
    (tmp_path / "empty").mkdir()
    base = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")
    where = "import importlib.util as u; print(*(s.submodule_search_locations[0] for s in map(u.find_spec, {!r}) if s))"
    modules = ["ensurepip", "pip", "virtualenv"]
    found = subprocess.run([base, "-I", "-c", where.format(modules)], capture_output=True, text=True, check=True)
    folders = [*found.stdout.split(), "/usr/share/python-wheels"]
    hide = "".join(f"mount --bind {tmp_path}/empty {folder} && " for folder in folders if Path(folder).is_dir())
    inside = f"{hide} sh {clone}/install.sh --prefix {tmp_path}/p --python {base} --check -- --json"
    done = subprocess.run(["unshare", "-m", "sh", "-c", inside], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["schema"] == "gpudoctor.report/1"
