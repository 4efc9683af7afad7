"""A folder of wheels lacks what its own wheels require.

## Why it matters
`pip install --no-index --find-links FOLDER` stops at the first requirement that it does not find, on the machine that
cannot fetch it. Wheels for another Python or platform are the usual reason: `pip download` takes those of the machine
it runs on.

## How to fix
On a machine with a network, fetch the named requirements for the machine that will install:
`pip download -d FOLDER --only-binary=:all: --python-version 3.11 --platform manylinux_2_28_x86_64 NAME`. Then verify
again, with `--python` and `--platform` where that is not this machine.

Requirements are followed from wheel to wheel, with markers and extras, and must be met all at once by one version of
each project, as pip does it in an empty environment. Without `--require` everything in the folder is to be installed;
versions that only exclude each other are a warning then.

## References
- https://packaging.python.org/en/latest/specifications/dependency-specifiers/
- https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/
- https://pip.pypa.io/en/stable/cli/pip_download/
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, failed, noted, passed, saw, skipped, step, unknown, warned
from gpudoctor.facts.files import Files, MissingWheel, WheelFolder


@check()
def wheels_missing(files: Files) -> Iterator[Finding]:
    """Look at every folder that holds wheels."""
    for folder in files.wheel_folders:
        yield from _judge(folder)
    if not files.wheel_folders:
        yield skipped("host", "no folder of wheels is here")


def _judge(folder: WheelFolder) -> Iterator[Finding]:
    subject = f"file:{folder.path}"
    seen = (saw("wheels", folder.wheels, folder.path), saw("Python", folder.python, "--python"),
            saw("platform", folder.platform, "--platform"))
    for each in folder.missing:
        yield _lacking(subject, folder, each)
    yield from _conflicts(subject, folder)
    for each in folder.left_aside[:16]:
        yield noted(subject, "pip takes an older version than {files}: {wanted}, which {by} requires, is missing",
                    files=each.here, wanted=each.requirement, by=each.wanted_by)
    if folder.unfit and not folder.required:
        yield warned(subject, "no archive of {projects} fits Python {python} on {platform}", projects=folder.unfit,
                     python=folder.python, platform=folder.platform, evidence=seen,
                     fix=step("Fetch wheels that fit, or take these away if they are for another machine."))
    if folder.unread:
        # A source archive's requirements show only when it is built.
        yield unknown(subject, "what these require is not known: {archives}", archives=folder.unread[:16],
                      fix=step("Bring wheels instead of source archives.", "pip wheel --no-deps -w {path} {archive}",
                               path=folder.path, archive=folder.unread[0]))
    if not folder.missing and not folder.unread and not folder.conflicts:
        if folder.required or folder.wheels:
            yield passed(subject, "every requirement has a wheel for Python {python} on {platform}",
                         python=folder.python, platform=folder.platform, evidence=seen)
        else:
            yield noted(subject, "no wheel in it has a name that can be read", evidence=seen)


def _conflicts(subject: str, folder: WheelFolder) -> Iterator[Finding]:
    for each in folder.conflicts[:16]:
        if not each.project:
            yield unknown(subject, "whether all can be installed together is not known: there are too many versions",
                          fix=step("Name what shall be installed: --require requirements.txt."))
        elif folder.together:
            yield warned(subject, "not all of it fits into one environment: no version of {project} meets {asked}",
                         project=each.project, asked=each.asked or "all",
                         fix=step("Name what shall be installed together: --require requirements.txt."))
        else:
            yield failed(subject, "no version of {project} here meets all that is asked of it: {asked}",
                         project=each.project, asked=each.asked or "all",
                         fix=step("Fetch with one command all that shall be installed together, so that pip chooses "
                                  "versions that agree."))  # fmt: skip


def _lacking(subject: str, folder: WheelFolder, lacking: MissingWheel) -> Finding:
    fetch = step("Fetch it on a machine with a network, and copy it into the folder.",
                 "pip download --no-deps --only-binary=:all: {system} {wanted}", wanted=lacking.requirement,
                 system=("--python-version", folder.python, *(() if folder.platform == "this machine" else
                                                              ("--platform", folder.platform))))
    if lacking.here:
        return failed(subject, "{wanted} is missing: {by} requires it, and what is here does not fit: {here}",
                      wanted=lacking.requirement, by=lacking.wanted_by, here=lacking.here, fix=fetch,
                      evidence=(saw("Python", folder.python, "--python"),
                                saw("platform", folder.platform, "--platform")))
    return failed(subject, "{wanted} is missing: {by} requires it", wanted=lacking.requirement, by=lacking.wanted_by,
                  fix=fetch, evidence=saw("wheels", folder.wheels, folder.path))
