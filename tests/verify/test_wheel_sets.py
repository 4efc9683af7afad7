"""Folders of wheels judged as a whole: against every choice there is, and against pip itself."""

import itertools
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from gpudoctor.verify.resolve import Ask, Conflict, Resolver, Wheel

from .conftest import Verdict

Verify = Callable[..., Verdict]
#: Project -> version -> what it requires.
Index = Mapping[str, Mapping[str, tuple[str, ...]]]


def write(folder: Path, index: Index) -> Path:
    """The least that pip takes for wheels; a name with ``|tag`` is for that platform."""
    folder.mkdir(exist_ok=True)
    for name, versions in index.items():
        for version, requires in versions.items():
            version, _, tag = version.partition("|")
            info = f"{name}-{version}.dist-info"
            lines = "".join(
                f"Provides-Extra: {each[6:]}\n" if each.startswith("extra:") else f"{each}\n"
                if each.startswith("Requires-Python") else f"Requires-Dist: {each}\n"
                for each in requires
            )  # fmt: skip
            with zipfile.ZipFile(folder / f"{name}-{version}-{tag or 'py3-none-any'}.whl", "w") as archive:
                about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}"
                archive.writestr(f"{info}/METADATA", about)
                archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tag or 'py3-none-any'}\n")
                archive.writestr(f"{info}/RECORD", "")
    return folder


def resolver(index: Index) -> Resolver:
    def wheel(name: str, version: str, needs: tuple[str, ...]) -> Wheel:
        return Wheel(f"{name}-{version}", name, Version(version), True, tuple(map(Requirement, needs)))

    wheels = {name: [wheel(name, v, needs) for v, needs in some.items()] for name, some in index.items()}
    return Resolver(wheels, lambda requirement, extras: True)


def every_choice(index: Index, roots: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """All ways to take at most one version of each project, that meet all requirements."""
    for picked in itertools.product(*([None, *versions] for versions in index.values())):
        taken = {name: version for name, version in zip(index, picked, strict=True) if version is not None}
        asks = [*roots, *(need for name, version in taken.items() for need in index[name][version])]
        met = all(
            (found := taken.get(each.name)) is not None and each.specifier.contains(found, prereleases=True)
            for each in map(Requirement, asks)
        )
        if met:
            yield taken


def some_index(seed: int) -> Index:
    chance = random.Random(seed)
    names = "abcdef"[: chance.randint(2, 6)]
    versions = ("1.0", "2.0", "3.0")

    def need() -> str:
        limit = chance.choice(["", "", "<2", ">=2", "==1.0", "!=2.0", ">3", ">=1,<3"])
        return str(chance.choice([*names, *names, "gone"] if chance.random() < 0.2 else names)) + limit

    return {
        name: {v: tuple(need() for _ in range(chance.randint(0, 2))) for v in versions[: chance.randint(1, 3)]}
        for name in names
    }


@pytest.mark.parametrize("block", range(8))
def test_it_finds_a_choice_exactly_where_there_is_one(block: int) -> None:
    met = 0
    for seed in range(block * 60, block * 60 + 60):
        index = some_index(seed)
        roots = tuple(list(index)[:2])
        asks = [Ask(Requirement(each), "list") for each in roots]
        found = resolver(index)
        lacking = found.lacking(asks)
        chosen = Conflict("", ()) if lacking else found.choose(asks)
        able = next(every_choice(index, roots), None) is not None
        assert isinstance(chosen, dict) is able, (seed, index)
        if isinstance(chosen, dict):
            met += 1
            taken = {name: str(wheel.version) for name, wheel in chosen.items()}
            assert taken in every_choice(index, roots)
        else:
            assert lacking or chosen.asks, (seed, index)
    assert 5 < met < 55


def test_hundreds_of_projects_that_disagree_deep_down_end_soon() -> None:
    index: dict[str, dict[str, tuple[str, ...]]] = {f"p{n}": {v: (f"p{n + 1}",) for v in "123"} for n in range(300)}
    index["p300"] = {"1": ("left", "right")}
    index["left"], index["right"] = {"1": ("core<2",)}, {"1": ("core>=2",)}
    index["core"] = {"1": (), "2": ()}
    chosen = resolver(index).choose([Ask(Requirement("p0"), "list")])
    assert isinstance(chosen, Conflict)
    assert (chosen.project, {each.by for each in chosen.asks}) == ("core", {"left-1", "right-1"})


GOOD: dict[str, tuple[Index, str]] = {
    "plain": ({"app": {"1.0": ("lib>=1",)}, "lib": {"1.0": ()}}, "app"),
    "older": ({"app": {"1.0": ("lib",)}, "lib": {"1.0": (), "2.0": ("gone",)}}, "app"),
    "agree": ({"a": {"1.0": ("c<3",)}, "b": {"1.0": ("c>=2",)}, "c": {"1.0": (), "2.0": (), "3.0": ()}}, "a\nb"),
    "back": ({"a": {"1.0": ("c",), "2.0": ("c>=2",)}, "b": {"1.0": ("c<2",)}, "c": {"1.0": (), "2.0": ()}}, "a\nb"),
    "extra": ({"app": {"1.0": ("lib[x]",)}, "lib": {"1.0": ("extra:x", "more; extra == 'x'", "gone; extra == 'y'")},
               "more": {"1.0": ()}}, "app"),
    "marker": ({"app": {"1.0": ("gone; python_version < '3'", "gone; sys_platform == 'win32'")}}, "app"),
    "preview": ({"app": {"1.0": ("lib",)}, "lib": {"1.0": (), "2.0rc1": ("gone",)}}, "app"),
    "only-preview": ({"app": {"1.0": ("lib",)}, "lib": {"2.0rc1": ()}}, "app"),
    "local": ({"app": {"1.0": ("torch==2.4.0",)}, "torch": {"2.4.0+cu121": ()}}, "app"),
    "circle": ({"a": {"1.0": ("b",)}, "b": {"1.0": ("a",)}}, "a"),
    "unknown-extra": ({"app": {"1.0": ("lib[nosuch]",)}, "lib": {"1.0": ()}}, "app"),
    "not-asked": ({"app": {"1.0": ()}, "other": {"1.0": ("gone",)}}, "app"),
    "old-python": ({"app": {"1.0": ("lib",)}, "lib": {"1.0": (), "2.0": ("Requires-Python: >=4",)}}, "app"),
}  # fmt: skip
BAD: dict[str, tuple[Index, str, str]] = {
    "missing": ({"app": {"1.0": ("lib", "gone>=2")}, "lib": {"1.0": ()}}, "app", "gone>=2 is missing: app-1.0"),
    "deep": ({"app": {"1.0": ("lib",)}, "lib": {"1.0": ("core",)}, "core": {"1.0": ("gone",)}}, "app",
             "gone is missing: core-1.0"),
    "conflict": ({"a": {"1.0": ("c<2",)}, "b": {"1.0": ("c>=2",)}, "c": {"1.0": (), "2.0": ()}}, "a\nb",
                 "no version of c here meets all that is asked of it"),
    "extra": ({"app": {"1.0": ("lib[x]",)}, "lib": {"1.0": ("extra:x", "gone; extra == 'x'")}}, "app",
              "gone is missing: lib-1.0"),
    "version": ({"app": {"1.0": ("lib>=2",)}, "lib": {"1.0": ()}}, "app", "lib>=2 is missing: app-1.0"),
    "platform": ({"app": {"1.0": ("lib",)}, "lib": {"1.0|cp27-cp27m-win32": ()}}, "app", "lib is missing: app-1.0"),
    "address": ({"app": {"1.0": ("lib @ https://127.0.0.1:1/lib-1.0.whl",)}, "lib": {"1.0": ()}}, "app",
                "lib @ https://127.0.0.1:1/lib-1.0.whl is missing: app-1.0"),
    "python": ({"app": {"1.0": ("lib",)}, "lib": {"2.0": ("Requires-Python: >=4",)}}, "app", "lib is missing: app-1.0"),
    "preview": ({"app": {"1.0": ("lib",)}, "lib": {"1.0": ("gone",), "2.0rc1": ()}}, "app", "gone is missing: lib-1.0"),
}  # fmt: skip


def asked(verify: Verify, tmp_path: Path, index: Index, wanted: str) -> Verdict:
    listed = tmp_path / "requirements.txt"
    listed.write_text(wanted + "\n", encoding="utf-8")
    return verify(write(tmp_path / "wheels", index), "--require", listed)


def of_wheels(verdict: Verdict) -> dict[str, str]:
    """Status and message of what was said of the folder."""
    return {r["message"]: r["status"] for r in verdict.report["results"] if r["id"] == "files.wheels-missing"}


@pytest.mark.parametrize("name", GOOD)
def test_a_complete_folder(verify: Verify, tmp_path: Path, name: str) -> None:
    assert set(of_wheels(asked(verify, tmp_path, *GOOD[name])).values()) == {"pass"}


@pytest.mark.parametrize("name", BAD)
def test_who_asks_for_what_is_missing(verify: Verify, tmp_path: Path, name: str) -> None:
    index, wanted, says = BAD[name]
    said = of_wheels(asked(verify, tmp_path, index, wanted))
    assert [status for text, status in said.items() if text.startswith(says)] == ["fail"]


def test_two_applications_that_exclude_each_other_are_a_warning(verify: Verify, tmp_path: Path) -> None:
    index = BAD["conflict"][0]
    said = of_wheels(verify(write(tmp_path / "wheels", index)))
    assert said == {"not all of it fits into one environment: no version of c meets c<2 (a-1.0-py3-none-any.whl), "
                    "c>=2 (b-1.0-py3-none-any.whl)": "warn"}  # fmt: skip


def test_an_application_that_contradicts_itself_is_a_failure(verify: Verify, tmp_path: Path) -> None:
    index = {**BAD["conflict"][0], "app": {"1.0": ("a", "b")}}
    assert "fail" in of_wheels(verify(write(tmp_path / "wheels", index))).values()


def test_a_newer_version_that_lacks_something_is_told(verify: Verify, tmp_path: Path) -> None:
    said = of_wheels(verify(write(tmp_path / "wheels", GOOD["older"][0])))
    assert sorted(said.values()) == ["info", "pass"]


def pip_installs(folder: Path, listed: Path) -> bool:
    pip = (sys.executable, "-m", "pip", "--isolated", "install", "-q", "--dry-run", "--ignore-installed", "--no-index",
           "--disable-pip-version-check", "--find-links", folder, "-r", listed)  # fmt: skip
    return subprocess.run(pip, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=120).returncode == 0


@pytest.mark.tier("install")
@pytest.mark.parametrize("name", [*GOOD, *(f"no-{name}" for name in BAD), *(f"random-{n}" for n in range(24))])
def test_pip_agrees(verify: Verify, tmp_path: Path, name: str) -> None:
    kind, _, rest = name.partition("-")
    if name in GOOD:
        index, wanted = GOOD[name]
    elif kind == "no":
        index, wanted, _ = BAD[rest]
    else:
        index = some_index(1000 + int(rest))
        wanted = "\n".join(list(index)[:2])
    statuses = of_wheels(asked(verify, tmp_path, index, wanted)).values()
    installs = pip_installs(tmp_path / "wheels", tmp_path / "requirements.txt")
    assert ("fail" not in statuses) is installs
