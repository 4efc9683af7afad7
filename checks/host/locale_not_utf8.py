"""The console's character encoding is not UTF-8, so a model's answers may break on it.

## Why it matters
Models answer in UTF-8. A console in another encoding (cp949, EUC-KR, ISO-8859-1) shows garbage, and programs that print
an answer end with UnicodeEncodeError; gpudoctor's own output is safe. `C` or nothing set, as in containers and cron, is
only noted: Python then prints UTF-8 by itself (PEP 538 and 540), other programs may not. Services have a locale of
their own and are not judged by this one.

## How to fix
Set a UTF-8 locale for this user or for the system. `C.UTF-8` is there everywhere.

## References
- https://peps.python.org/pep-0538/
- https://man7.org/linux/man-pages/man7/locale.7.html
"""

from collections.abc import Iterator

from gpudoctor.checking import Finding, check, known, noted, passed, saw, skipped, step, unknown, warned
from gpudoctor.checking.finding import Step
from gpudoctor.facts.base import Unavailable
from gpudoctor.facts.host import Host, Locale
from gpudoctor.judging.remedies import fitting

SOURCE = "environment"


@check(gatekeeper_of="locale")
def locale_not_utf8(locale: Locale | Unavailable, host: Host | Unavailable) -> Iterator[Finding]:
    """Judge the encoding that the user's locale gives."""
    if isinstance(locale, Unavailable):
        said = skipped if locale.harmless else unknown
        yield said("host", "the locale could not be read: {reason}", reason=locale.reason)
        return
    seen = (
        saw(locale.variable, locale.value or "not set", SOURCE),
        saw("encoding", locale.encoding or "not named", "nl_langinfo"),
        saw("the system's default", known(locale.system_default), "/etc/locale.conf, /etc/default/locale"),
    )
    values = {"variable": locale.variable, "value": locale.value, "encoding": locale.encoding}
    if _is_utf8(locale.encoding):
        yield passed("host", "the console's encoding is UTF-8", evidence=seen)
    elif _is_utf8(locale.value.partition(".")[2].partition("@")[0]):
        yield warned("host", "the locale {value} is set but not installed, so programs fall back to ASCII", **values,
                     evidence=seen, fix=_install(host, locale.value))
    elif locale.value in ("", "C", "POSIX"):
        yield noted("host", "no UTF-8 locale is set here: some programs cannot print a model's answers", **values,
                    evidence=seen, fix=_use_utf8())
    else:
        yield warned("host", "the console's locale {variable}={value} is not UTF-8: a model's answers break on it",
                     **values, evidence=seen, fix=_use_utf8())


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("-", "").replace("_", "") == "utf8"


def _use_utf8() -> tuple[Step, ...]:
    return (step("Use a UTF-8 locale; this holds for this shell.", "export LC_ALL=C.UTF-8"),)


def _install(host: Host | Unavailable, value: str) -> tuple[Step, ...]:
    return (
        *fitting(
            host,
            debian=step("Install it.", "sudo apt install locales && sudo locale-gen {value}", value=value),
            rhel=step("Install it.", "sudo dnf install glibc-langpack-{language}", language=value.partition("_")[0]),
            nixos=step("Add it to i18n.supportedLocales, then rebuild.", "sudo nixos-rebuild switch"),
            other=step("Install it with your distribution's tools."),
        ),
        step("Or use the one that is always there, for this shell.", "export LC_ALL=C.UTF-8"),
    )
