"""``gpudoctor integrate NAME``: the files by which other programs run gpudoctor."""

import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpudoctor.cli.failure import Failure, say
from gpudoctor.reports.language import tell
from gpudoctor.reports.retold import retold
from gpudoctor.reports.words import told

if TYPE_CHECKING:
    from gpudoctor.cli.integrations import File, Integration

_PACKAGE = "gpudoctor.integrations"


def integrate(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME[/FILE]]", help="slurm, npd, kubernetes, systemd ...; none lists all.")
    ] = None,
    print_: Annotated[bool, typer.Option("--print", help="Write the files to standard output.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Write the files into this folder.")
    ] = None,
    program: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Where gpudoctor is on those machines; default: where it is here."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As one JSON document, with the files' texts.")] = False,
) -> int:
    """Print the files by which Slurm, Kubernetes, systemd, Docker and others run gpudoctor, and where they belong.

    Nothing is installed, and no service is reloaded. Examples: gpudoctor integrate; gpudoctor integrate slurm --print;
    gpudoctor integrate systemd -o units; gpudoctor integrate kubernetes/daemonset.yaml --print | kubectl apply -f -
    """
    from gpudoctor.cli.integrations import INTEGRATIONS

    path = _program(program)
    if name is None:
        if print_ or output is not None:
            raise Failure("whose files?", "integrate", f"there are {', '.join(INTEGRATIONS)}")
        _list(INTEGRATIONS, path, json)
        return 0
    wanted, _, file_name = name.partition("/")
    if wanted not in INTEGRATIONS:
        raise Failure(f"nothing is called {wanted[:40]!r}", "integrate", f"there are {', '.join(INTEGRATIONS)}")
    one = INTEGRATIONS[wanted]
    if file_name:
        one = one._replace(files=tuple(file for file in one.files if _below(file) == file_name))
        if not one.files:
            known = ", ".join(_below(file) for file in INTEGRATIONS[wanted].files)
            raise Failure(f"{wanted} has no file {file_name[:60]!r}", "integrate", f"it has {known}")
    if output is not None:
        _write(output, one, path)
    if json:
        _list({wanted: one}, path, json)
    elif print_:
        _print(one, path)
    elif output is None:
        _list({wanted: one}, path, json)
        say(told("gpudoctor integrate {name} --print writes them here, -o DIR into a folder.", {"name": wanted}) + "\n")
    if output is not None or (print_ and not json and len(one.files) == 1):
        sys.stderr.write("".join(f"gpudoctor: {line}\n" for line in (*_places(one), *map(retold, one.notes))))
    return 0


def _below(file: "File") -> str:
    """Return a file's name within its integration's folder."""
    return file.source.partition("/")[2]


def _text(file: "File", program: str) -> str:
    from gpudoctor.cli.integrations import PROGRAM

    text = files(_PACKAGE).joinpath(*file.source.split("/")).read_text(encoding="utf-8")
    # In an image it lies where the image has it.
    return text if file.source.endswith("Dockerfile") else text.replace(PROGRAM, program)


def _program(given: str | None) -> str:
    """Return the absolute path that the files name.

    Raises:
        Failure: It would have to be quoted, in one way for every kind of file.
    """
    from gpudoctor.cli.integrations import PROGRAM

    here = Path(sys.argv[0]).absolute()
    path = given if given is not None else str(here) if here.name == "gpudoctor" and here.is_file() else PROGRAM
    if re.fullmatch(r"/[A-Za-z0-9._+/-]{1,400}", path):
        return path
    if given is None:
        return PROGRAM
    raise Failure(f"{path[:80]!r} is no absolute path of letters, digits and ._+-", "--program",
                  f"for example {PROGRAM}")  # fmt: skip


def _places(one: "Integration") -> list[str]:
    return [f"{_below(file)} -> {retold(file.place)} (mode {file.mode:04o})" for file in one.files]


def _print(one: "Integration", program: str) -> None:
    """Write one file as it is, so that it can be redirected; several with a line before each."""
    if len(one.files) == 1:
        say(_text(one.files[0], program))
        return
    parts = ["".join(f"# {line}\n" for line in one.notes)]
    for file, place in zip(one.files, _places(one), strict=True):
        # Three dashes divide YAML documents, so that kubectl reads the whole.
        divider = "---\n" if file.source.endswith(".yaml") else ""
        parts.append(f"{divider}# ==> {place}\n{_text(file, program)}")
    say("\n".join(part for part in parts if part))


def _write(folder: Path, one: "Integration", program: str) -> None:
    """Write the files, each whole or not at all; what is there and differs is not ours to replace.

    Raises:
        Failure: A file is there and differs (then nothing is written), or cannot be written.
    """
    from gpudoctor.facts.snapshot import write_atomically

    texts = {folder / _below(file): (_text(file, program).encode(), file.mode) for file in one.files}
    try:
        for path, (data, _) in texts.items():
            if path.is_symlink() or (path.exists() and not (path.is_file() and path.read_bytes() == data)):
                raise Failure("there is another file by that name, and nothing was written", str(path),
                              "compare it with --print, and remove it or choose another folder")  # fmt: skip
        for path, (data, mode) in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                write_atomically(path, data)
            path.chmod(mode)
    except OSError as error:
        raise Failure(f"cannot write: {error.strerror or error}", str(error.filename or folder)) from None


def _list(some: "dict[str, Integration]", program: str, json: bool) -> None:
    if json:
        from gpudoctor.reports.json_report import encode

        rows = [
            {"name": name, "about": one.about, "notes": list(one.notes),
             "files": [{"name": _below(file), "place": file.place, "mode": f"{file.mode:04o}",
                        "text": _text(file, program)} for file in one.files]}
            for name, one in some.items()
        ]  # fmt: skip
        say(encode({"schema": "gpudoctor.integrations/1", "integrations": rows}) + "\n")
        return
    width = max(len(name) for name in some)
    for name, one in some.items():
        say(f"{name:<{width}}  {tell(one.about)}\n")
        say("".join(f"{'':<{width}}    {place}\n" for place in _places(one)) if len(some) == 1 else "")
