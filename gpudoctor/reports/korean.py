"""Korean particles that depend on the sound before them, written as both forms: ``은(는)``, ``이(가)``, ``(으)로``."""

import re

_PARTICLES = re.compile(r"([0-9가-힣])(은\(는\)|이\(가\)|을\(를\)|과\(와\)|\(으\)로)(?![가-힣])")
#: Digits whose names end in a consonant; 1, 7 and 8 end in one that (으)로 takes for a vowel.
_CLOSED, _LIQUID = "013678", "178"
_FORMS = {"은(는)": "은는", "이(가)": "이가", "을(를)": "을를", "과(와)": "과와"}
_FIRST, _FINALS, _RIEUL = 0xAC00, 28, 8


def settle(text: str) -> str:
    """Return the text with each particle in the form that its sound asks for.

    Behind Latin letters both forms stay: how a name is read is not written in it.
    """
    return _PARTICLES.sub(_chosen, text)


def _chosen(found: re.Match[str]) -> str:
    last, particle = found[1], found[2]
    if last.isdigit():
        closed, liquid = last in _CLOSED, last in _LIQUID
    else:
        final = (ord(last) - _FIRST) % _FINALS
        closed, liquid = final > 0, final == _RIEUL
    if particle == "(으)로":
        return last + ("으로" if closed and not liquid else "로")
    return last + _FORMS[particle][0 if closed else 1]
