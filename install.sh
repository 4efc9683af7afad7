#!/bin/sh
# Installs gpudoctor from this checkout, or without network from a bundle. See --help.
# shellcheck disable=SC2317  # with_uv and others are called by a name put together at run time
{ # One compound command: a truncated download is a syntax error and runs nothing.

main() {
    set -u
    umask 022
    # Settings of the caller's shell that would send the installation elsewhere.
    unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_ROOT PIP_REQUIRE_VIRTUALENV
    export PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1

    action=install method='' prefix='' scope='' wheelhouse='' bundle='' python='' dry_run='' check='' strict='' offline=''
    while [ $# -gt 0 ]; do
        case $1 in
            --check) check=1 ;;
            --strict) check=1 strict=1 ;;
            --method) need_value "$@"; method=$2; shift ;;
            --method=*) method=${1#*=} ;;
            --prefix) need_value "$@"; prefix=$2; shift ;;
            --prefix=*) prefix=${1#*=} ;;
            --user | --system) scope=${1#--} ;;
            --python) need_value "$@"; python=$2; shift ;;
            --python=*) python=${1#*=} ;;
            --offline) offline=1 ;;
            --wheelhouse) need_value "$@"; wheelhouse=$2 offline=1; shift ;;
            --wheelhouse=*) wheelhouse=${1#*=} offline=1 ;;
            --bundle) need_value "$@"; bundle=$2 offline=1; shift ;;
            --bundle=*) bundle=${1#*=} offline=1 ;;
            --dry-run) dry_run=1 ;;
            --uninstall) action=uninstall ;;
            --version) action=version ;;
            -h | --help) usage; exit 0 ;;
            --) shift; break ;;
            *) die "unknown option: $1 (see --help)" ;;
        esac
        shift
    done
    if [ $# -gt 0 ] && [ -z "$check" ]; then
        die "arguments after -- are for 'gpudoctor check': add --check"
    fi
    case $method in
        '' | uv | pipx | venv) ;;
        *) die "--method must be uv, pipx or venv, not '$method'" ;;
    esac
    if [ -n "$prefix" ] && [ -n "$scope" ]; then
        die "--prefix and --$scope name two places: choose one"
    fi
    if [ -n "$wheelhouse" ] && [ -n "$bundle" ]; then
        die "--wheelhouse and --bundle name two sources: choose one"
    fi
    case $prefix$wheelhouse$bundle in
        *"
"*) die "a path must not contain a line break" ;;
    esac

    work='' fresh='' made_now=''
    trap 'cleanup' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP

    find_places
    if [ "$action" != uninstall ]; then
        [ -z "$bundle" ] || open_bundle
        find_source
    fi
    case $action in
        version)
            [ -n "$version" ] || die "neither a checkout nor a wheelhouse lies beside this script"
            say "$version"
            ;;
        uninstall) uninstall ;;
        install)
            install
            if [ -n "$check" ]; then
                run_check "$@"
            fi
            ;;
    esac
}

usage() {
    cat <<'USAGE'
Usage: ./install.sh [--check] [options] [-- ARGUMENTS OF gpudoctor check]

Installs gpudoctor from this checkout, or without network from a bundle: one that
'gpudoctor bundle' made elsewhere. In an unpacked bundle this script installs from it.
Run it again to upgrade. It never uses sudo and edits no shell start-up file.

  --check            run 'gpudoctor check' afterwards; exit 0 when it judged this machine,
                     whatever the verdict
  --strict           like --check, but exit with the verdict's own code
  --method M         uv, pipx or venv (default: the first that is here and works)
  --user             install below ~/.local (default, unless you are root)
  --system           install into /opt/gpudoctor and /usr/local/bin (default for root)
  --prefix DIR       put everything below DIR: DIR/bin/gpudoctor and DIR/lib/gpudoctor
  --python PATH      the Python to use, 3.10 or newer (default: the newest found)
  --offline          use no network, install from the bundle in which this script lies
  --bundle FILE      the same from an archive (or its unpacked folder); its SHA256SUMS must be right
  --wheelhouse DIR   the same from a folder of wheels with a SHA256SUMS that lists every one
  --dry-run          print what would be done, do nothing
  --uninstall        remove what this script installed (with the same --prefix)
  --version          print the version this script installs
  --help             print this

Exit codes: 0 done, 2 not installed or no report. With --strict those of 'gpudoctor check'.
USAGE
}

# Standard output is for what was asked for: a version, a plan, a report.
say() { printf '%s\n' "$*"; }
tell() { printf '%s\n' "$*" >&2; }
note() { printf 'note: %s\n' "$*" >&2; }
die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 2
}
need_value() {
    if [ $# -lt 2 ] || [ -z "$2" ]; then
        die "$1 needs a value"
    fi
}

quoted() {
    for word in "$@"; do
        case $word in
            '' | *[!A-Za-z0-9_./:=,+@%-]*) printf " '%s'" "$(printf %s "$word" | sed "s/'/'\\\\''/g")" ;;
            *) printf ' %s' "$word" ;;
        esac
    done
}

# Does what it is given, or says so.
run() {
    if [ -n "$dry_run" ]; then
        printf 'would run:%s\n' "$(quoted "$@")"
    else
        "$@"
    fi
}

# What tools say matters only when they fail.
run_quietly() {
    if [ -n "$dry_run" ]; then
        run "$@"
        return
    fi
    output=$("$@" 2>&1 </dev/null) && return
    printf '%s\n' "$output" >&2
    return 1
}

cleanup() {
    [ -z "$work" ] || rm -rf "$work"
    [ -z "$fresh" ] || rm -rf "$fresh"
    # Folders made for an installation that did not come to be.
    while [ -n "$made_now" ]; do
        rmdir "${made_now%%"
"*}" 2>/dev/null
        made_now=${made_now#*"
"}
    done
}

# --- where from, where to ---------------------------------------------------------------------

# Unpacks the bundle. Python does it, as tar programs differ in what they let an archive write where.
open_bundle() {
    case $bundle in /*) ;; *) bundle=$(pwd)/$bundle ;; esac
    if [ -d "$bundle" ]; then
        wheelhouse=$bundle/wheelhouse
        return
    fi
    [ -f "$bundle" ] || die "no such file: $bundle"
    given=$python
    find_python
    [ -n "$python" ] || no_python
    work=$(mktemp -d) || die "cannot make a temporary folder"
    problem=$("$python" -I - "$bundle" "$work/bundle" 2>&1 <<'PYTHON'
import os, shutil, sys, tarfile, zlib
archive, folder = sys.argv[1:]
top, files, size = None, 0, 0
try:
    os.mkdir(folder)
    with tarfile.open(archive, "r:*") as packed:
        for entry in packed:
            first, *parts = entry.name.split("/")
            top = top or first
            if first != top or first in ("", ".", "..") or not set(parts).isdisjoint(("", ".", "..")):
                sys.exit("names a file outside of its own folder: %r" % entry.name[:80])
            if not (entry.isreg() or entry.isdir()):
                sys.exit("holds %r, which is neither a file nor a folder" % entry.name[:80])
            files, size = files + 1, size + entry.size
            if files > 20000 or size > 2 << 30:
                sys.exit("is larger than any bundle")
            path = os.path.join(folder, *parts)
            os.makedirs(path if entry.isdir() else os.path.dirname(path), exist_ok=True)
            if entry.isreg():
                with open(path, "xb") as file:
                    shutil.copyfileobj(packed.extractfile(entry), file)
                os.chmod(path, 0o644)
        # The compressed stream's own checksum stands behind the last file.
        while packed.fileobj.read(1 << 20):
            size += 1 << 20
            if size > 2 << 30:
                sys.exit("is larger than any bundle")
except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
    sys.exit("is damaged or cut short: " + str(error).partition("\n")[0])
except OSError as error:
    sys.exit("cannot be unpacked: " + error.strerror if error.strerror else "is damaged or cut short: %s" % error)
PYTHON
    ) || die "$bundle $problem"
    wheelhouse=$work/bundle/wheelhouse python=$given
    [ -d "$wheelhouse" ] || die "$bundle is no bundle of gpudoctor (it holds no wheelhouse)"
}

find_source() {
    here='' source='' version=''
    # Piped into a shell, $0 is that shell's name and nothing lies beside it.
    if [ -f "$0" ] && [ "$(basename "$0")" = install.sh ]; then
        here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P) || here=''
    fi
    if [ -n "$here" ] && [ -z "$wheelhouse" ] && [ -d "$here/wheelhouse" ]; then
        wheelhouse=$here/wheelhouse offline=1
    fi
    if [ -n "$wheelhouse" ]; then
        case $wheelhouse in /*) ;; *) wheelhouse=$(pwd)/$wheelhouse ;; esac
        [ -d "$wheelhouse" ] || die "no such folder: $wheelhouse"
        for wheel in "$wheelhouse"/gpudoctor-*.whl; do
            [ -f "$wheel" ] || die "${bundle:-$wheelhouse} holds no gpudoctor wheel"
            [ -z "$version" ] || die "${bundle:-$wheelhouse} holds more than one gpudoctor wheel"
            version=${wheel##*/gpudoctor-}
            version=${version%%-*}
        done
    elif [ -n "$here" ] && grep -q '^name = "gpudoctor"$' "$here/pyproject.toml" 2>/dev/null; then
        source=$here
        version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$here/pyproject.toml" | head -n 1)
    fi
}

find_places() {
    root=''
    if [ "$(id -u)" -eq 0 ]; then
        [ "$scope" = user ] || root=1
    elif [ "$scope" = system ]; then
        [ -n "$dry_run" ] || die "--system writes to /opt and /usr/local: run it as root, or use --user or --prefix DIR"
        root=1
    fi
    case $prefix in '' | /*) ;; *) prefix=$(pwd)/$prefix ;; esac
    if [ -n "$prefix" ]; then
        home=$prefix/lib/gpudoctor bin=$prefix/bin
    elif [ -n "$root" ]; then
        home=/opt/gpudoctor bin=/usr/local/bin
    else
        [ -n "${HOME-}" ] || die "HOME is not set: use --prefix DIR"
        home=${XDG_DATA_HOME:-$HOME/.local/share}/gpudoctor bin=$HOME/.local/bin
    fi
    manifest=$home/install-manifest
    # A user's own uv and pipx keep their places, so that their list and upgrade commands see gpudoctor.
    own_places=''
    if [ -n "$prefix$root" ]; then own_places=1; fi
}

recorded() { sed -n "s/^$1 //p" "$manifest" 2>/dev/null; }

# --- Python -----------------------------------------------------------------------------------

# Prints "path version kind" of an interpreter when it is new enough.
interpreter() {
    "$1" -I -c '
import os, sys
if sys.version_info < (3, 10):
    sys.exit(1)
conda = os.path.isdir(os.path.join(sys.base_prefix, "conda-meta"))
home = os.path.expanduser("~")
private = os.getuid() == 0 and os.path.realpath(sys.executable).startswith(home.rstrip("/") + "/")
kind = "conda" if conda else "private" if private else "plain"
print("%s %d.%d %s" % (kind, sys.version_info[0], sys.version_info[1], sys.executable))
' 2>/dev/null </dev/null
}

# Sets python, python_version and python_kind; leaves python empty when there is none.
find_python() {
    wanted=''
    if [ -n "$offline" ]; then
        # Wheels with compiled parts fit one Python version only.
        wanted=$(for wheel in "$wheelhouse"/*-cp3[0-9]*-cp3[0-9]*-*.whl; do printf '%s\n' "$wheel"; done |
            sed -n 's/.*-cp3\([0-9]*\)-cp3\1[a-z]*-.*/3.\1/p' | sort -u | tr '\n' ' ')
        wanted=${wanted% }
    fi
    if [ -n "$python" ]; then
        given=$python
        answer=$(interpreter "$given") || die "$given is not a Python 3.10 or newer"
        take_python "$answer"
        fits_wheels "$python_version" ||
            die "the wheelhouse is made for Python $wanted, $given is $python_version"
        return
    fi
    other='' unfit=''
    old_ifs=$IFS
    for name in python3.13 python3.12 python3.11 python3.10 python3; do
        IFS=:
        for folder in $PATH; do
            IFS=$old_ifs
            [ -x "$folder/$name" ] || continue
            answer=$(interpreter "$folder/$name") || continue
            rest=${answer#* }
            if ! fits_wheels "${rest%% *}"; then
                case $unfit in *" ${rest%% *}"*) ;; *) unfit="$unfit ${rest%% *}" ;; esac
                continue
            fi
            case $answer in
                plain\ *)
                    take_python "$answer"
                    return
                    ;;
                *) [ -n "$other" ] || other=$answer ;;
            esac
        done
        IFS=$old_ifs
    done
    if [ -n "$other" ]; then
        take_python "$other"
        case $python_kind in
            conda) note "using conda's Python, $python, as no other is 3.10 or newer;" \
                "gpudoctor stops working when that environment is removed" ;;
            private) [ -n "$prefix" ] || note "$python lies in root's home:" \
                "other users may not be able to run gpudoctor (--python PATH chooses another)" ;;
        esac
        return
    fi
    if [ -n "$unfit" ]; then
        die "the wheelhouse is made for Python $wanted, which is not here (found:$unfit)"
    fi
}

take_python() {
    python_kind=${1%% *}
    rest=${1#* }
    python_version=${rest%% *} python=${rest#* }
}

fits_wheels() {
    [ -n "$wanted" ] || return 0
    for one in $wanted; do
        [ "$one" != "$1" ] || return 0
    done
    return 1
}

os_value() {
    sed -n "s/^$1=//p" "${GPUDOCTOR_OS_RELEASE:-/etc/os-release}" 2>/dev/null | tr -d "\"'" | head -n 1
}

family() {
    case " $(os_value ID) $(os_value ID_LIKE) " in
        *" nixos "*) say nixos ;;
        *" debian "* | *" ubuntu "*) say debian ;;
        *" rhel "* | *" fedora "* | *" centos "*) say rhel ;;
        *) say other ;;
    esac
}

no_python() {
    case $(family) in
        debian)
            case $(os_value ID)$(os_value VERSION_ID) in
                ubuntu20.* | ubuntu18.* | debian11* | debian10*) way="this release has no newer Python: install uv or another Python 3.10 first" ;;
                *) way="run: apt install python3 python3-venv" ;;
            esac
            ;;
        rhel)
            if [ "$(os_value ID)" = fedora ]; then way="run: dnf install python3"; else way="run: dnf install python3.12"; fi
            ;;
        nixos) way="run: nix-shell -p python3 --run './install.sh --check'" ;;
        *) way="install the package that brings Python 3.10 or newer, or name one with --python PATH" ;;
    esac
    die "no Python 3.10 or newer found; $way"
}

# --- install ----------------------------------------------------------------------------------

install() {
    if [ -z "$version" ]; then
        die "nothing to install: neither a checkout nor a wheelhouse lies beside this script"
    fi
    if [ -n "$offline" ] && [ -z "$wheelhouse" ]; then
        die "--offline needs a bundle (made on a machine with network by: gpudoctor bundle -o FILE)"
    fi
    find_python
    before=$(recorded method)
    candidates=$method
    if [ -z "$candidates" ]; then
        # An upgrade keeps to what is installed; a private place or an offline one to what needs no other tool.
        if [ -n "$before" ]; then
            candidates=$before
        elif [ -n "$prefix" ] || [ -n "$offline" ]; then
            candidates=venv
        else
            candidates='uv pipx venv'
        fi
    fi
    if [ -z "$python" ] && ! { [ -z "$offline" ] && usable uv; }; then
        no_python
    fi
    if [ -n "$offline" ]; then
        verify_wheelhouse
        verify_machine
    fi
    guard_command
    if [ -n "$before" ] && [ "$candidates" != "$before" ]; then
        uninstall
    fi
    prepare

    installed=''
    for one in $candidates; do
        if [ "$candidates" = 'uv pipx venv' ] && [ "$one" != venv ] && ! usable "$one"; then
            continue
        fi
        tell "Installing gpudoctor $version with $one${python:+, Python $python_version at $python}"
        if "with_$one"; then
            installed=$one
            break
        fi
        note "$one could not install it"
    done
    [ -n "$installed" ] || die "gpudoctor is not installed"

    if [ -z "$dry_run" ]; then
        problem=$("$command" --version 2>&1 </dev/null) || die "installed, but it does not start: $problem"
    fi
    write_manifest
    say_path
}

usable() {
    case " $candidates " in *" $1 "*) ;; *) return 1 ;; esac
    command -v "$1" >/dev/null 2>&1 && "$1" --version >/dev/null 2>&1 </dev/null
}

# Never over a command that something else put there.
guard_command() {
    command=$bin/gpudoctor
    if { [ -e "$command" ] || [ -L "$command" ]; } && ! ours "$command"; then
        die "$command exists and was not installed by this script: remove it or choose --prefix DIR"
    fi
}

ours() {
    [ ! -f "$manifest" ] || return 0
    # What uv and pipx installed for this user, they also replace.
    case $(readlink "$1" 2>/dev/null) in
        */uv/tools/gpudoctor/* | */pipx/venvs/gpudoctor/*) return 0 ;;
    esac
    return 1
}

# Sets pinned to the bundle's own list of versions, once that is verified, too.
verify_wheelhouse() {
    pinned='' checked=$wheelhouse
    if [ ! -f "$checked/SHA256SUMS" ]; then
        # A bundle has one list for all that it holds.
        checked=$(dirname -- "$wheelhouse")
        pinned=$checked/requirements/py3${python_version#3.}.txt
    fi
    [ -f "$checked/SHA256SUMS" ] || die "${bundle:-$checked}: SHA256SUMS is missing: not installing unchecked files"
    problem=$("${python:-python3}" -I - "$checked" "$wheelhouse" 2>&1 <<'PYTHON'
import hashlib, os, re, sys
folder, wheelhouse = sys.argv[1:]
def ends(text):
    sys.exit(text.encode("ascii", "backslashreplace").decode())
sums = {}
with open(os.path.join(folder, "SHA256SUMS"), encoding="utf-8", errors="replace") as lines:
    for line in lines:
        found = re.fullmatch("([0-9A-Fa-f]{64}) [ *](.+)", line.rstrip("\r\n"))
        if not found:
            ends("SHA256SUMS has a line that is no checksum: %r" % line[:80])
        if not {"", ".", ".."}.isdisjoint(found[2].split("/")):
            ends("SHA256SUMS names a file outside of its folder: %r" % found[2][:80])
        sums[found[2]] = found[1].lower()
below = os.path.relpath(wheelhouse, folder)
for name in sorted(os.listdir(wheelhouse)):
    name = name if below == "." else below + "/" + name
    if name != "SHA256SUMS" and name not in sums:
        ends(name + " has no checksum in SHA256SUMS")
for name in sorted(sums):
    path, digest = os.path.join(folder, name), hashlib.sha256()
    if not os.path.isfile(path):
        ends(name + " is listed in SHA256SUMS but not there")
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    if digest.hexdigest() != sums[name]:
        ends(name + " does not match its checksum")
if folder != wheelhouse and "install.sh" not in sums:
    ends("SHA256SUMS is not that of a bundle")
PYTHON
    ) || die "${bundle:-$checked}: $problem"
    [ -f "$pinned" ] || pinned=''
}

# pip says only that it finds no version; this says for which machine the wheels are.
verify_machine() {
    problem=$("${python:-python3}" -I - "$wheelhouse" 2>&1 <<'PYTHON'
import os, platform, re, sys
legacy = {"manylinux1": "2_5", "manylinux2010": "2_12", "manylinux2014": "2_17"}
try:
    library = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (AttributeError, OSError, ValueError):
    library = ""
kind, _, version = library.partition(" ")
glibc = tuple(map(int, re.findall("[0-9]+", version)[:2])) if kind == "glibc" else None
here = "%s with %s" % (platform.machine(), library or "a C library that is not glibc")
def fits(tag):
    if tag in ("any", "linux_" + platform.machine()):
        return True
    for name, numbers in legacy.items():
        tag = tag.replace(name + "_", "manylinux_%s_" % numbers)
    found = re.fullmatch("(many|musl)linux_([0-9]+)_([0-9]+)_(.+)", tag)
    if not found or found[4] != platform.machine():
        return False
    if found[1] == "musl":
        return glibc is None
    return glibc is not None and glibc >= (int(found[2]), int(found[3]))
tags = {}
for name in os.listdir(sys.argv[1]):
    if name.endswith(".whl"):
        tags.setdefault(name.split("-")[0], []).extend(name[:-4].split("-")[-1].split("."))
for project in sorted(tags):
    if not any(map(fits, tags[project])):
        text = "for another machine: %s is there for %s, here is %s" % (project, ", ".join(sorted(set(tags[project]))), here)
        sys.exit(text.encode("ascii", "backslashreplace").decode())
PYTHON
    ) || die "${bundle:-$wheelhouse} is $problem"
}

# The build happens in a copy: setuptools leaves folders behind, and would pick up modules deleted since.
prepare() {
    if [ -n "$offline" ]; then
        what=gpudoctor==$version
        return
    fi
    if [ -n "$dry_run" ]; then
        say "would copy $source to a temporary folder and build there"
        what=$source
        return
    fi
    work=$(mktemp -d) || die "cannot make a temporary folder"
    copy_source "$work/gpudoctor"
    what=$work/gpudoctor
}

copy_source() {
    mkdir -p "$1" || die "cannot write to $1"
    for entry in "$source"/*; do
        case ${entry##*/} in
            build | dist | *.egg-info | fixtures | tests | benchmarks) ;;
            *) cp -R "$entry" "$1/" || die "cannot copy $entry" ;;
        esac
    done
}

with_venv() {
    [ -n "$python" ] || no_python
    make_folder "$home" || return 1
    make_folder "$bin" || return 1
    if [ -n "$dry_run" ]; then
        env_folder=$home/env-NEW
    else
        # A new folder each time: the old installation works until the new one does.
        env_folder=$(mktemp -d "$home/env-XXXXXX") || return 1
        fresh=$env_folder
        chmod 755 "$env_folder"
    fi
    make_venv || return 1
    if [ -n "$offline" ]; then
        set -- "$what"
        [ -z "$pinned" ] || set -- --require-hashes --requirement "$pinned"
        # The caller's pip settings may name more places to install from, or forbid wheels.
        run_quietly env PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS='' PIP_EXTRA_INDEX_URL='' PIP_CONSTRAINT='' \
            PIP_NO_BINARY='' PIP_REQUIREMENT='' \
            "$env_folder/bin/python" -I "$pip_entry" install --no-index --find-links "$wheelhouse" "$@" || return 1
    else
        run_quietly "$env_folder/bin/python" -I "$pip_entry" install "$what" || return 1
    fi
    if [ -z "$dry_run" ]; then
        problem=$("$env_folder/bin/gpudoctor" --version 2>&1 </dev/null) || {
            note "it does not start: $problem"
            return 1
        }
    fi
    command=$bin/gpudoctor
    run ln -s "$env_folder/bin/gpudoctor" "$bin/.gpudoctor.$$" &&
        run mv -f "$bin/.gpudoctor.$$" "$command" || return 1
    fresh=''
    for old in "$home"/env-*; do
        if [ -d "$old" ] && [ "$old" != "$env_folder" ]; then
            run rm -rf "$old"
        fi
    done
    return 0
}

# A virtual environment and, in pip_entry, what runs pip in it.
make_venv() {
    pip_entry=$env_folder/bin/pip
    wheel=''
    # The bundle's pip needs no ensurepip, which Debian leaves out of its Python; any pip wheel runs uninstalled.
    if pip_wheel "$wheelhouse"; then return; fi
    if "$python" -I -c 'import venv; from ensurepip import version' 2>/dev/null; then
        run_quietly "$python" -I -m venv "$env_folder"
        return
    fi
    if pip_wheel /usr/share/python-wheels; then return; fi
    if "$python" -I -c 'import virtualenv' 2>/dev/null; then
        run_quietly "$python" -I -m virtualenv "$env_folder"
        return
    fi
    if [ -z "$offline" ] && "$python" -I -c 'import venv; from pip import __version__' 2>/dev/null; then
        run_quietly "$python" -I -m venv --without-pip "$env_folder" || return 1
        run_quietly "$python" -I -m pip install --target "$env_folder/lib/python$python_version/site-packages" pip ||
            return 1
        pip_entry=$env_folder/lib/python$python_version/site-packages/pip
        return
    fi
    if [ -z "$offline" ] && "$python" -I -c 'import venv, ssl' 2>/dev/null; then
        if [ -n "$dry_run" ]; then
            say "would fetch pip from the package index"
            wheel=PIP-WHEEL
        elif ! wheel=$(fetch_pip 2>&1); then
            note "cannot fetch pip: $(printf '%s\n' "$wheel" | tail -n 1)"
            wheel=''
        fi
        if [ -n "$wheel" ]; then
            pip_entry=$wheel/pip
            run_quietly "$python" -I -m venv --without-pip "$env_folder"
            return
        fi
    fi
    case $(family) in
        debian) way="run: apt install python3-venv" ;;
        rhel)
            way="run: dnf install python$python_version-pip-wheel"
            [ "$(os_value ID)" != fedora ] || way="run: dnf install python-pip-wheel"
            ;;
        *) way="install the package that brings Python's ensurepip module" ;;
    esac
    die "$python cannot make virtual environments (no ensurepip); $way"
}

# A virtual environment without pip, when the folder has a pip that can serve it.
pip_wheel() {
    for wheel in "${1:-/nonexistent}"/pip-*.whl; do
        if [ -f "$wheel" ] && "$python" -I -c 'import venv' 2>/dev/null; then
            pip_entry=$wheel/pip
            run_quietly "$python" -I -m venv --without-pip "$env_folder"
            return
        fi
    done
    return 1
}

# Prints the path of a pip wheel from the package index, checked against the index's checksum.
fetch_pip() {
    "$python" -I - "$work" <<'PYTHON'
import hashlib, html, os, re, ssl, sys, urllib.parse, urllib.request
index = os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
context = ssl.create_default_context(cafile=os.environ.get("PIP_CERT"))
page = index.rstrip("/") + "/pip/"
def fetch(url):
    with urllib.request.urlopen(url, timeout=60, context=context) as answer:
        return answer.read()
wheels = {}
for attributes in re.findall("<a ([^>]*)>", fetch(page).decode()):
    found = re.search(r'href="([^"#]*/(pip-([0-9.]+)-py3-none-any\.whl))#sha256=([0-9a-f]{64})"', attributes)
    if found and "data-yanked" not in attributes:
        wheels[tuple(map(int, found[3].split(".")))] = html.unescape(found[1]), found[2], found[4]
if not wheels:
    sys.exit(page + " lists no pip with a checksum")
url, name, digest = wheels[max(wheels)]
data = fetch(urllib.parse.urljoin(page, url))
if hashlib.sha256(data).hexdigest() != digest:
    sys.exit("its checksum is wrong")
path = os.path.join(sys.argv[1], name)
with open(path, "wb") as file:
    file.write(data)
print(path)
PYTHON
}

make_folder() {
    [ ! -d "$1" ] || return 0
    make_folder "$(dirname -- "$1")" || return 1
    run mkdir "$1" || {
        note "cannot make the folder $1"
        return 1
    }
    [ -n "$dry_run" ] || made_now="$1
$made_now"
}

uv_places() {
    [ -n "$own_places" ] || return 0
    make_folder "$home" && make_folder "$bin" || return 1
    export UV_TOOL_DIR="$home/uv" UV_TOOL_BIN_DIR="$bin"
}

pipx_places() {
    [ -n "$own_places" ] || return 0
    make_folder "$home" && make_folder "$bin" || return 1
    export PIPX_HOME="$home/pipx" PIPX_BIN_DIR="$bin" PIPX_MAN_DIR="$home/pipx/man"
}

with_uv() {
    uv_places || return 1
    command=$(uv tool dir --bin 2>/dev/null)/gpudoctor
    set -- --force --reinstall --python "${python:->=3.10}"
    if [ -n "$offline" ]; then
        set -- "$@" --offline --no-config --no-index --find-links "$wheelhouse"
        unset UV_FIND_LINKS UV_INDEX UV_DEFAULT_INDEX UV_INDEX_URL UV_EXTRA_INDEX_URL
    fi
    run_quietly uv tool install "$@" "$what"
}

with_pipx() {
    [ -n "$python" ] || no_python
    pipx_places || return 1
    command=$(pipx environment --value PIPX_BIN_DIR 2>/dev/null)/gpudoctor
    set -- --force --python "$python"
    if [ -n "$offline" ]; then
        # It installs with uv where that is there.
        set -- "$@" --pip-args "--no-index --find-links$(quoted "$wheelhouse")"
        export PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS='' PIP_EXTRA_INDEX_URL='' UV_OFFLINE=1 UV_NO_CONFIG=1
    fi
    run_quietly pipx install "$@" "$what"
}

write_manifest() {
    if [ -n "$dry_run" ]; then
        say "would write $manifest"
        return
    fi
    make_folder "$home" || die "cannot write $manifest"
    {
        say "# What install.sh put on this machine; --uninstall reads it."
        say "version $version"
        say "method $installed"
        say "command $command"
        # Innermost first, the order in which they can be removed.
        printf '%s' "$made_now" | sed '/^$/d; s/^/folder /'
        recorded folder | sed 's/^/folder /'
    } >"$manifest.new" || die "cannot write $manifest"
    mv -f "$manifest.new" "$manifest" || die "cannot write $manifest"
    made_now=''
}

say_path() {
    [ -z "$dry_run" ] || return 0
    tell "Installed: $command"
    folder=$(dirname -- "$command")
    case :${PATH-}: in
        *:"$folder":*)
            found=$(command -v gpudoctor 2>/dev/null)
            if [ -n "$found" ] && [ "$found" != "$command" ]; then
                note "another gpudoctor comes first on your PATH: $found"
            fi
            ;;
        *) note "$folder is not on your PATH; run $command, or first: export PATH=\"$folder:\$PATH\"" ;;
    esac
}

# --- uninstall --------------------------------------------------------------------------------

uninstall() {
    if [ ! -f "$manifest" ]; then
        tell "Nothing to remove: there is no $manifest"
        return
    fi
    command=$(recorded command)
    case $(recorded method) in
        venv)
            case $(readlink "$command" 2>/dev/null) in
                "$home"/env-*) run rm -f "$command" ;;
                *) note "$command is not ours any more: left alone" ;;
            esac
            ;;
        uv)
            uv_places
            run_quietly uv tool uninstall gpudoctor || die "uv could not remove it"
            ;;
        pipx)
            pipx_places
            run_quietly pipx uninstall gpudoctor || die "pipx could not remove it"
            ;;
        *) die "$manifest is not one that this script wrote" ;;
    esac
    for old in "$home"/env-* "$home/uv" "$home/pipx"; do
        [ ! -d "$old" ] || run rm -rf "$old"
    done
    folders=$(recorded folder)
    run rm -f "$manifest"
    old_ifs=$IFS
    IFS='
'
    for folder in $folders; do
        if [ -n "$dry_run" ]; then
            say "would remove $folder if empty"
        else
            rmdir "$folder" 2>/dev/null
        fi
    done
    IFS=$old_ifs
    [ -n "$dry_run" ] || tell "Removed gpudoctor: $command"
}

# --- the main job -----------------------------------------------------------------------------

run_check() {
    if [ -n "$dry_run" ]; then
        printf 'would run:%s\n' "$(quoted "$command" check "$@")"
        return
    fi
    tell
    "$command" check "$@"
    code=$?
    tell
    case $code in
        0) tell "gpudoctor check: exit code 0, nothing that stops this machine" ;;
        1) tell "gpudoctor check: exit code 1, see the failures above" ;;
        3) tell "gpudoctor check: exit code 3, part of this machine could not be judged" ;;
        *) tell "gpudoctor check: exit code $code, no verdict" ;;
    esac
    [ -z "$strict" ] || exit "$code"
    case $code in
        0 | 1 | 3) ;;
        *) exit "$code" ;;
    esac
}

main "$@"
exit $?
}
