"""The hook under a real pre-commit, from a real repository; the pipelines' command lines by gpudoctor itself."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

HERE = Path(__file__).parents[2]
Command = Callable[..., subprocess.CompletedProcess[str]]
SERVICE = """services:
  engine:
    image: vllm/vllm-openai:v0.33.0
    restart: unless-stopped
    ipc: host
    deploy:
      resources:
        reservations:
          devices:
            - driver: nvidia
              device_ids: ['{gpu}']
              capabilities: [gpu]
"""


def run(*command: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "PYTHON"))}
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env={**environment, **variables}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip


def repository(folder: Path) -> None:
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "one")):
        done = run("git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words, cwd=folder)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def pre_commit(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Return what runs all hooks of a project with one Compose file; its configuration is what gpudoctor prints."""
    folder = tmp_path_factory.mktemp("pre-commit")
    assert run(sys.executable, "-m", "venv", folder / "env", cwd=folder).returncode == 0
    done = run(folder / "env/bin/pip", "install", "-q", "pre-commit", cwd=folder)
    assert done.returncode == 0, done.stderr
    source = folder / "source"
    source.mkdir()
    for name in (".pre-commit-hooks.yaml", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(HERE / name, source)
    for name in ("gpudoctor", "checks", "integrations"):
        shutil.copytree(HERE / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    repository(source)
    head = run("git", "rev-parse", "HEAD", cwd=source).stdout.strip()

    def judge(gpu: str) -> subprocess.CompletedProcess[str]:
        project = folder / f"project-{gpu}"
        project.mkdir()
        printed = run(
            Path(sys.executable).with_name("gpudoctor"), "integrate", "pre-commit", "--print", cwd=project
        ).stdout
        config = printed.replace("https://github.com/OWNER/gpudoctor", str(source)).replace("v0.1.0", head)
        (project / ".pre-commit-config.yaml").write_text(config)
        (project / "compose.yml").write_text(SERVICE.format(gpu=gpu))
        repository(project)
        return run(
            folder / "env/bin/pre-commit", "run", "--all-files", cwd=project, PRE_COMMIT_HOME=str(folder / "home")
        )

    return judge


@pytest.mark.tier("install")
def test_the_hook_lets_a_good_file_pass(pre_commit: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    done = pre_commit("3")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.tier("install")
def test_the_hook_stops_a_commit_for_gpus_that_the_server_has_not(
    pre_commit: Callable[[str], subprocess.CompletedProcess[str]],
) -> None:
    done = pre_commit("7")
    assert (done.returncode, "FAIL    compose." in done.stdout) == (1, True), done.stdout + done.stderr


@pytest.mark.parametrize("name", ["github-actions", "gitlab-ci"])
def test_a_pipelines_command_is_one_that_works(gpudoctor: Command, tmp_path: Path, name: str) -> None:
    shutil.copy(HERE / "fixtures" / "rtx8000x4-healthy-ollama-0-30-10" / "snapshot.json", tmp_path / "server.json")
    (tmp_path / "compose.yml").write_text(SERVICE.format(gpu="7"))
    text = gpudoctor("integrate", name, "--print", "--program", "/usr/local/bin/gpudoctor").stdout
    [line] = [line.strip() for line in text.splitlines() if "gpudoctor compose lint" in line]
    words = shlex.split(line.partition("gpudoctor ")[2])
    assert gpudoctor(*words, cwd=tmp_path).returncode == 1


@pytest.mark.parametrize(
    "path", [".pre-commit-hooks.yaml", "integrations/ci/github-actions.yml", "integrations/ci/gitlab-ci.yml"]
)
def test_it_is_yaml(path: str) -> None:
    assert YAML(typ="safe").load(HERE / path)
