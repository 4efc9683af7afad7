"""What people write beside their logs, in English or Korean, of answers that come late: of several kinds of lateness.

Sample input:

    혼자 쓸 때는 괜찮은데 여러 명이 동시에 질문하면 답변이 엄청 느려집니다.
    It takes half a minute until the first token appears.
"""

import re

from gpudoctor.facts.signatures import COMPLAINT

#: A line of a log, of a program or of a table, whose "slow" is about something else.
_MACHINE = re.compile(
    r"\s*(?:[\[({<|#$+]|\d{4}-\d\d|\d\d:\d\d|time=|level=|(?:INFO|WARN|WARNING|ERROR|DEBUG)\b|[\w./-]+\[\d+\]|File \"|"
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d|\S+\.(?:py|cpp|go|cc|rs):\d)"
)
_ANY = re.compile(
    r"slow|lag|late|wait|forever|reload|again|delay|first (?:token|word)|ttft"
    r"|느리|느려|느립|느린|늦|오래|기다|지연|멈|버벅|로딩|로드|올라|내려|걸[려리]",
    re.IGNORECASE,
)
_LATE = r"(?:slow|lag|late\b|latenc|wait|forever|delay|queue|stuck|time ?outs?\b|hang|too long|degrad|crawl)"
_LATE_KO = r"(?:느리|느려|느립|느린|늦|오래|기다|지연|멈추|멈춰|버벅|밀리|밀려|렉)"
_CROWD = (
    r"(?:(?:several|multiple|many|more|two|three|four|five|ten|\d{1,4}) (?:\w+ )?(?:people|persons?|users?|clients?|"
    r"requests?|colleagues|sessions|chats?)\b|concurren\w+|simultaneous\w*|at (?:the same time|once)\b|everyone|"
    r"in parallel)"
)
_CROWD_KO = r"(?:(?:여러|다수|두|세|네|다섯|몇|\d{1,4}) ?(?:명|사람|분이|유저|사용자|동료)|동시|한꺼번에|동접|다 같이)"
_RELOAD = (
    r"(?<!daemon-)\b(?:re-?load(?:s|ed|ing)?|load(?:s|ed|ing)? (?:the |its |a )?models?|unload\w*|cold start)\b.{0,80}"
    r"\b(?:every|each|again|always|after|between|switch\w*|constantly)\b"
    r"|\b(?:every|each) (?:time|request|question|prompt)\b.{0,80}\b(?:re-?load|load(?:s|ed|ing)? (?:the |a )?model)"
    r"|(?:때마다|매번|다시|계속|또).{0,30}(?:로딩|로드|불러|적재|올리|올라(?!마))"
    r"|(?:로딩|로드).{0,20}(?:매번|때마다|다시)|모델.{0,15}(?:내려가|내려감|언로드)"
)
_TOGETHER = (
    rf"{_CROWD}.{{0,120}}{_LATE}|{_LATE}.{{0,80}}{_CROWD}|{_CROWD_KO}.{{0,60}}{_LATE_KO}|{_LATE_KO}.{{0,40}}{_CROWD_KO}"
)
_FIRST = (
    r"(?:\bfirst (?:token|word|character|letter)s?\b|\bTTFT\b|before it (?:starts|begins))"
    rf".{{0,80}}(?:{_LATE}|\d ?(?:s|sec)|long|takes)"
    rf"|{_LATE}.{{0,60}}(?:\bfirst (?:token|word|character|letter)\b|\bTTFT\b)"
    rf"|(?:첫|처음|맨 ?앞) ?(?:글자|토큰|단어|마디|답|응답|문장).{{0,40}}(?:{_LATE_KO}|걸|\d ?(?:초|분))"
)
_SLOW = (
    r"\b(?:too|very|so|really|extremely|super|painfully|is|are|got|gets?|runs?|running|becomes?) slow(?:ly|er)?\b"
    r"(?! (?:image|token))|\bslow (?:answers?|responses?|inference|generation|model)\b"
    rf"|(?:답변|답|응답|모델|추론|생성|속도|출력).{{0,30}}{_LATE_KO}"
)
#: The first that a text fits is what it is about.
_KINDS = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (("reload", _RELOAD), ("together", _TOGETHER), ("first", _FIRST), ("slow", _SLOW))
)
_MAX_LINE, _MAX_LINES = 400, 2000
_USERS = re.compile(r"(\d{1,4}) ?(?:people|persons?|users?|clients?|requests?|명|사람|분이|유저)")


class Complaints:
    """Finds complaints in the first lines of prose; a sentence may go on over a line's end."""

    def __init__(self) -> None:
        #: Kind -> the line that says so.
        self.found: dict[str, str] = {}
        self.users: int | None = None
        self._before = ""
        self._left = _MAX_LINES

    def feed(self, line: str) -> None:
        """Take a line that is part of no document."""
        if not self._left or not line.strip():
            return
        if len(line) > _MAX_LINE or _MACHINE.match(line):
            self._before = ""
            return
        text = f"{self._before} {line.strip()}" if self._before else line.strip()
        # A row of figures is no beginning of a sentence.
        letters = sum(each.isalpha() for each in line)
        self._before = line.strip() if letters * 2 > len(line.strip()) else ""
        if _ANY.search(text) is None:
            return
        self._left -= 1
        kind = next((name for name, pattern in _KINDS if pattern.search(text)), None)
        if kind is None:
            return
        self.found.setdefault(kind, text[:200])
        users = _USERS.search(text)
        if kind == "together" and users is not None and 1 < int(users[1]) <= 1000:
            self.users = self.users or int(users[1])

    def told(self) -> dict[str, str]:
        """Return what to keep: a general complaint only where no other says more."""
        kept = {name: text for name, text in self.found.items() if name != "slow" or len(self.found) == 1}
        return {f"{COMPLAINT}{name}": text for name, text in kept.items()}
