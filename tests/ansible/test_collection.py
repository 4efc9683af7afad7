"""The collection as a whole: clean by Ansible's own tools, complete, and with hands only where they belong."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_cli import PROGRAMS, Ansible
from ruamel.yaml import YAML

from gpudoctor import __version__

MODULE = "gpudoctor.gpudoctor.gpudoctor_info"
ROLE = "gpudoctor.gpudoctor.preflight"
#: What the role may do on a host: look, run gpudoctor, and put files where it says.
MODULES = {
    "ansible.builtin.assert", "ansible.builtin.command", "ansible.builtin.copy", "ansible.builtin.debug",
    "ansible.builtin.file", "ansible.builtin.find", "ansible.builtin.include_tasks", "ansible.builtin.pip",
    "ansible.builtin.set_fact", "ansible.builtin.slurp", "ansible.builtin.stat", "ansible.builtin.tempfile",
    "ansible.builtin.template", "ansible.builtin.unarchive", MODULE,
}  # fmt: skip


@pytest.fixture
def source(checkout: Path) -> Path:
    return checkout / "integrations" / "ansible"


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text())


def tasks(path: Path) -> Iterator[dict[str, Any]]:
    waiting = list(load(path))
    while waiting:
        task = waiting.pop()
        yield task
        for part in ("block", "rescue", "always"):
            waiting += task.get(part, [])


def test_it_is_released_with_gpudoctor(source: Path) -> None:
    assert load(source / "galaxy.yml")["version"] == __version__


def test_each_variable_has_a_default_and_a_description(source: Path) -> None:
    role = source / "roles" / "preflight"
    specs = load(role / "meta" / "argument_specs.yml")["argument_specs"]
    defaults = load(role / "defaults" / "main.yml")
    described = specs["main"]["options"]
    assert {name: option.get("default") for name, option in described.items()} == defaults
    assert specs["before"]["options"] == specs["after"]["options"] == described
    assert all(option["description"] for option in described.values())


def test_the_role_touches_neither_driver_nor_daemon(source: Path) -> None:
    commands = []
    for path in (source / "roles" / "preflight" / "tasks").glob("*.yml"):
        for task in tasks(path):
            used = {name for name in task if "." in name}
            assert used <= MODULES, (path.name, used - MODULES)
            commands += [str(task[name]) for name in used if name.endswith(".command")]
    words = re.compile(r"systemctl|service |daemon-reload|modprobe|reboot|nvidia|docker")
    assert [command for command in commands if words.search(command)] == []
    assert commands


@pytest.mark.tier("ansible")
def test_ansible_lint_finds_nothing_to_say(source: Path, ansible: Ansible, tmp_path: Path) -> None:
    place = tmp_path / "ansible_collections" / "gpudoctor" / "gpudoctor"
    shutil.copytree(source, place)
    done = ansible.run(
        str(PROGRAMS / "ansible-lint"), "--offline", "--nocolor", "--strict", "--profile", "production", cwd=place,
        ANSIBLE_COLLECTIONS_PATH=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.tier("ansible")
def test_the_module_takes_what_its_manual_says(ansible: Ansible, source: Path) -> None:
    shown = ansible.run(str(PROGRAMS / "ansible-doc"), "-t", "module", "-j", MODULE)
    manual = json.loads(shown.stdout)[MODULE]
    print_options = (
        "import json, runpy, sys; print(json.dumps(runpy.run_path(sys.argv[1], run_name='module')['OPTIONS']))"
    )
    asked = ansible.run(
        str(PROGRAMS / "python"), "-c", print_options, str(source / "plugins" / "modules" / "gpudoctor_info.py")
    )
    options = json.loads(asked.stdout)
    told = {
        name: {key: option[key] for key in ("type", "elements", "choices", "default") if option.get(key) is not None}
        for name, option in manual["doc"]["options"].items()
    }
    assert told == options
    assert manual["examples"]
    assert manual["return"]


@pytest.mark.tier("ansible")
def test_the_role_has_a_manual(ansible: Ansible) -> None:
    shown = ansible.run(str(PROGRAMS / "ansible-doc"), "-t", "role", "-j", ROLE)
    assert set(json.loads(shown.stdout)[ROLE]["entry_points"]) == {"main", "before", "after"}
