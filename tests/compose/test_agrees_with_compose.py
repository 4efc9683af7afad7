"""gpudoctor understands a project as the real ``docker compose config`` does, or refuses it where that refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from compose_plugin import Refused, config, ours, plugin, theirs

from gpudoctor.compose.known_keys import _lines
from gpudoctor.compose.reading import Wishes, read_project
from gpudoctor.compose.tree import ComposeError

FOLDER = Path(__file__).parents[2] / "fixtures" / "compose"
TABLE: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))
#: What Compose refuses and gpudoctor explains in a finding.
EXPLAINED = ("reservation-without-capabilities.yml", "count-and-ids.yml", "ids-without-quotation-marks.yml",
             "misspelt-keys.yml", "misspelt-deeper-down.yml")
pytestmark = pytest.mark.tier("compose")


@pytest.fixture(scope="module")
def program() -> Path:
    found = plugin()
    assert found is not None
    return found


def hide(document: dict[str, Any], hidden: dict[str, Any]) -> None:
    """Take from both what gpudoctor does not keep: secrets."""
    for name, service in hidden.items():
        for key, value in service["environment"].items():
            if value is not None and "***" in value:
                document[name]["environment"][key] = value
        document[name]["command"] = [
            mine if "***" in mine else word
            for word, mine in zip(document[name]["command"], service["command"], strict=True)
        ]


@pytest.mark.parametrize("name", sorted(set(TABLE) - set(EXPLAINED)))
def test_sample_files(program: Path, name: str, tmp_path: Path) -> None:
    shutil.copy(FOLDER / name, tmp_path)
    variables = {**TABLE[name]["environment"], "HOME": str(tmp_path)}
    said = theirs(config(program, [tmp_path / name], cwd=tmp_path, environment=variables))
    mine = ours(read_project([str(tmp_path / name)], Wishes(variables)))
    hide(said, mine)
    assert mine == said


@pytest.mark.parametrize("name", EXPLAINED)
def test_what_compose_refuses_is_a_finding(program: Path, name: str) -> None:
    with pytest.raises(Refused):
        config(program, [FOLDER / name], cwd=FOLDER)
    project = read_project([str(FOLDER / name)])
    problems = [r.problem for s in project.services for r in s.requests if r.problem]
    assert problems or project.unknown_keys


CASES: dict[str, dict[str, str]] = {
    "scalars": {"compose.yml": """
services:
  a:
    image: x:1.0
    command: --a "b c" 'd e' $$HOME ${NOT_SET:-f} \\\\g
    entrypoint: ["x", "5", "y"]
    environment: {A: yes, B: 1.0, C: 0644, D: 1_000, E: true, F: null, G: , H: 1e3, J: 12:30:45, K: 0x1F, L: 1.10,
      M: 12345678901234567890, N: "007", O: on, P: 0o17, Q: -5, R: .5, S: 1e400, T: 0b11, U: ~, V: 3.0e-7, W: +1}
    ports: ["8000:80", 22:22, "127.0.0.1:9000-9002:9000-9002/udp", {target: 5, published: "6"}, 7777, "[::1]:1:2",
      "3000-3005", "9090-9091:8080-8081", "127.0.0.1::70", {target: 70, published: 71, host_ip: 10.0.0.1}]
    volumes: ["./m:/m:ro", "~/x:/x", "named:/n", /anon, {type: bind, source: ./z, target: /z, read_only: true},
      "../up:/up:z", {type: tmpfs, target: /t}]
    devices: ["/dev/kfd", "/dev/dri:/dev/dri", "nvidia.com/gpu=0"]
    shm_size: 16gb
    mem_limit: 1.5g
    restart: "no"
    user: 1000:1000
volumes: {named: {}}
"""},
    "two-files": {"compose.yml": """
services:
  a:
    image: x
    command: one two
    entrypoint: ["e"]
    environment: {A: 1, B: 2}
    ports: ["80:80", "81:81"]
    volumes: ["./m:/m", "./n:/n"]
    devices: ["/dev/kfd", "/dev/dri:/dev/dri"]
    gpus: all
    depends_on: [b]
    shm_size: 64m
    deploy:
      resources:
        limits: {memory: 1G}
        reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}
  b: {image: y, restart: always, environment: [Z=1]}
""", "compose.over.yml": """
services:
  a:
    command: ["three"]
    entrypoint: !reset null
    environment: [A=9, C]
    ports: !override ["82:82"]
    volumes: ["./other:/m:ro"]
    devices: ["/dev/null:/dev/kfd"]
    shm_size:
    depends_on: {c: {condition: service_started}}
    deploy: {resources: {reservations: {devices: [{driver: nvidia, device_ids: ["1"], capabilities: [gpu]}]}}}
  b: {restart: !reset null, environment: !override {Y: 2}}
  c: {image: z}
"""},
    "extends": {"compose.yml": """
services:
  base:
    image: x
    environment: {A: 1}
    volumes: ["./m:/m"]
    command: a b
    ports: ["1:1"]
  a: {extends: {service: base}, environment: {B: 2}, command: c}
  b: {extends: {service: far, file: sub/other.yml}, ports: ["2:2"]}
  c: {extends: a, image: y}
""", "sub/other.yml": """
services:
  far: {extends: {service: farther}, environment: [FAR=1], volumes: ["./data:/data"], gpus: all, ports: ["3:3"]}
  farther: {image: far:1, runtime: nvidia, env_file: far.env}
""", "sub/far.env": "FROM=file\n"},
    "include": {"compose.yml": """
include:
  - sub/inner.yml
  - {path: [other.yml], env_file: other.env}
services:
  a: {image: "x:${TAG:-none}"}
""", "sub/inner.yml": "services: {inner: {image: 'i:${TAG:-none}', volumes: ['./v:/v']}}\n", "sub/.env": "TAG=sub\n",
     "other.yml": "services: {other: {image: 'o:${TAG:-none}', volumes: ['./w:/w']}}\n", "other.env": "TAG=other\n"},
    "environment-files": {"compose.yml": """
services:
  a:
    image: "x:${TAG}-${QUOTED}-${HASH}"
    env_file: [one.env, {path: two.env, required: false}, {path: gone.env, required: false}]
    environment: {B: over, SHELL_ONLY: , UNSET: }
""", ".env": "TAG=1\nQUOTED='a b'\nHASH=x#y # comment\nSHELL_WINS=file\n",
     "one.env": "A=one\nB=one\nC=\"x ${TAG} y\"\nD='raw ${TAG}'\nexport E=5\n# comment\nF=a=b=c\nG=\nH=  spaced  \n"
                "I=\"multi\nline\"\nJ=${A}-again\nK=\"q\\\"q\\nz\"\nSHELL_ONLY2\n", "two.env": "B=two\nL: yaml\n"},
    "interpolation": {"compose.yml": """
services:
  a:
    image: "${A:-${B:-c}}"
    command: ["${S}", "${EMPTY-x}", "${EMPTY:-y}", "${S:+alt}", "${EMPTY:+alt}", "${EMPTY+alt}", "$S$S", "$$S", "a$ b",
      "${NO-}", "${NO:-{json}}", "$1", "${S:?words}", "${A:-a${S}b}"]
""", ".env": "EMPTY=\nS=set\n"},
    "profiles": {"compose.yml": """
services:
  a: {image: x}
  b: {image: y, profiles: [gpu]}
  c: {image: z, profiles: [gpu, other]}
  d: {image: w, profiles: [other]}
"""},
    "documents": {"compose.yml": "services: {a: {image: x, command: one, ports: ['1:1']}}\n---\n"
                                 "services: {a: {command: two, ports: ['2:2']}, b: {image: y}}\n"},
    "merge-keys": {"compose.yml": """
x-a: &a {image: one, environment: {A: 1}, restart: always}
x-b: &b {image: two, user: "5"}
services:
  s: {<<: [*a, *b], environment: {B: 2}}
  t:
    <<: *b
    image: three
"""},
}  # fmt: skip
OPTIONS = {"profiles": ("--profile", "gpu")}


@pytest.mark.parametrize("name", sorted(CASES))
def test_projects_of_every_kind(program: Path, name: str, tmp_path: Path) -> None:
    for file, text in CASES[name].items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    files = [tmp_path / file for file in CASES[name] if file.startswith("compose")]
    variables = {"HOME": str(tmp_path), "SHELL_ONLY": "shell", "SHELL_ONLY2": "two", "SHELL_WINS": "shell"}
    said = theirs(config(program, files, *OPTIONS.get(name, ()), cwd=tmp_path, environment=variables))
    wishes = Wishes(variables, profiles=OPTIONS.get(name, ())[1:])
    assert ours(read_project([str(file) for file in files], wishes)) == said


REFUSED = {
    "service that is no mapping": "services: {a: null}\n",
    "wrong type of environment": "services: {a: {image: x, environment: 5}}\n",
    "number in a list of variables": "services: {a: {image: x, environment: ['A=1', 5]}}\n",
    "mapping as a value": "services: {a: {image: x, environment: {A: [1]}}}\n",
    "no image": "services: {a: {command: x}}\n",
    "cyclic extends": "services: {a: {image: x, extends: b}, b: {image: x, extends: a}}\n",
    "extends nobody": "services: {a: {image: x, extends: nobody}}\n",
    "missing env_file": "services: {a: {image: x, env_file: gone.env}}\n",
    "required variable": "services: {a: {image: '${GONE?say it}'}}\n",
    "broken variable": "services: {a: {image: '${GONE'}}\n",
    "broken size": "services: {a: {image: x, shm_size: 12foo}}\n",
    "broken port": "services: {a: {image: x, ports: ['a:b']}}\n",
    "port beyond": "services: {a: {image: x, ports: ['70000:80']}}\n",
    "ports no list": "services: {a: {image: x, ports: {a: 1}}}\n",
    "volumes no list": "services: {a: {image: x, volumes: 7}}\n",
    "duplicate key": "services:\n  a: {image: x}\n  a: {image: y}\n",
    "tab": "services:\n\ta: {image: x}\n",
    "list": "[1, 2]\n",
    "broken command": "services: {a: {image: x, command: 'a \"b'}}\n",
    "number as a word": "services: {a: {image: x, command: [--port, 8000]}}\n",
    "name of a service": "services: {챗봇: {image: x}}\n",
    "deploy list": "services: {a: {image: x, deploy: [1]}}\n",
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_compose_refuses_is_refused_with_its_place(program: Path, name: str, tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    path.write_text(REFUSED[name], encoding="utf-8")
    with pytest.raises(Refused):
        config(program, [path], cwd=tmp_path)
    with pytest.raises(ComposeError) as refusal:
        read_project([str(path)])
    assert refusal.value.where.startswith(f"{path}:")


#: What an entry of these lists may not be without.
NEEDED: dict[str, dict[str, Any]] = {
    "ports": {"target": 1}, "volumes": {"type": "volume", "target": "/x"},
    "env_file": {"path": "none", "required": False}, "devices": {"source": "/dev/x", "target": "/dev/x"},
}  # fmt: skip


def written(path: str, keys: dict[str, Any]) -> dict[str, Any]:
    """Return a project with these keys at a path of the table."""
    here: dict[str, Any] = {}
    project: dict[str, Any] = here
    parts = [] if path == "." else path.split(".")
    for number, part in enumerate(parts):
        if part == "[]":
            continue
        inner: dict[str, Any] = {}
        listed = parts[number + 1 : number + 2] == ["[]"]
        here["a" if part == "*" else part] = [inner] if listed else inner
        if listed and number == 2:
            inner.update(NEEDED.get(part, {}))
        here = inner
    here.update({key: here.get(key) if value is None else value for key, value in keys.items()})
    services = project.setdefault("services", {}) or {}
    services.setdefault("a", {}).setdefault("image", "x")
    project["services"] = services
    return project


PATHS = dict(_lines())


@pytest.mark.parametrize("path", sorted(set(PATHS) - {"include.[]"}))
def test_every_key_of_the_table_is_one_of_compose_and_no_other_is(program: Path, path: str, tmp_path: Path) -> None:
    """A key is taken when Compose complains of its value, or of nothing, but not of the key itself."""
    file = tmp_path / "compose.yml"

    def said(keys: dict[str, Any]) -> str:
        file.write_text(json.dumps(written(path, keys)), encoding="utf-8")
        try:
            config(program, [file], cwd=tmp_path)
        except Refused as refusal:
            return str(refusal)
        return ""

    for key in PATHS[path]:
        if key not in ("services", "include", "image", "extends"):
            assert "additional properties" not in said({key: None}), key
    assert ("additional properties 'zzz' not allowed" in said({"zzz": 1})) is (path != "services.*.gpus.[]")
    assert [each.path.endswith("zzz") for each in read_project([str(file)]).unknown_keys] == [True]


def test_what_begins_with_x_is_never_accused(tmp_path: Path) -> None:
    for path in sorted(set(PATHS) - {"include.[]"}):
        file = tmp_path / "compose.yml"
        file.write_text(json.dumps(written(path, {"x-mine": {"any": 1}})), encoding="utf-8")
        assert read_project([str(file)]).unknown_keys == (), path

