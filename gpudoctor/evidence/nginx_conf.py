"""An nginx configuration, or a piece of one, inside a paste. No other file is read for it.

Sample input:

    server {
      location /v1/ {
        proxy_pass http://127.0.0.1:8000;
      }
    }
"""

import re

import msgspec

from gpudoctor.evidence.blocks import Kind, Reading, While
from gpudoctor.facts.proxy import Proxy
from gpudoctor.matrices.nginx import directives
from gpudoctor.nginx.configuration import read_configuration
from gpudoctor.nginx.syntax import MAX_CHARS, NEVER_CLOSED

#: A file that an include names: it is not in the paste.
_ELSEWHERE = "(not pasted)"
_LEAST_KNOWN = 0.6
#: The part of its lines that end as statements and blocks do.
_LEAST_ENDED = 0.7
#: Blank lines, comments, braces, statements, and those that go on in the next line.
_LINE = re.compile(r"\s*$|\s*#|\s*[}{]|\s+[\"'$~^*\w/.\-]|[a-z][a-z0-9_]{1,60}(?:\s.{0,2000})?[;{}]\s*(?:#.*)?$|"
                   r"[a-z][a-z0-9]*_[a-z0-9_]{1,60}\s+\S.{0,2000}$")  # fmt: skip
_NAME = re.compile(r"(?:^|[;{}])[ \t]*([a-z][a-z0-9_]*)\b(?![ \t]*[:=])", re.MULTILINE)


def read(text: str, line: int, file: str) -> Reading | None:
    """Read a configuration; None where most of its words are none that nginx knows, or it leads nowhere."""
    known = directives()
    names = _NAME.findall(text[:MAX_CHARS])
    if len(names) < 2 or sum(name in known for name in names) < _LEAST_KNOWN * len(names):
        return None
    lines = [row for row in (each.partition(" #")[0].strip() for each in text.split("\n")) if row and row[0] != "#"]
    if sum(row[-1] in ";{}" for row in lines) < _LEAST_ENDED * len(lines):
        return None
    # Blank lines before it make its lines count as in the paste. What it includes was not pasted.
    whole = "\n" * (line - 1) + text
    found = read_configuration(file, lambda pattern: (_ELSEWHERE,), lambda name: whole if name == file else None)
    # A piece may end anywhere, and zones may be declared elsewhere.
    ours = tuple(each for each in found.problems if each.kind != "no-zone" and each.hint != NEVER_CLOSED)
    if not found.routes and not ours:
        return None
    found = msgspec.structs.replace(found, piece=True, unread=(), problems=ours)
    return Reading(sections={"proxy": Proxy(configurations=(found,))})


KIND = Kind(
    name="nginx-conf",
    begins=r"\s{0,8}(?:http|events|server|upstream [\w.\-]{1,80}|location(?: [=~^*]{1,2})? /\S{0,200}) ?\{|"
    r"(?:user|worker_processes|include) [^\s;]{1,200}(?: [^\s;]{1,80})?;\s*$|"
    r"\s{0,8}(?:proxy_pass https?://|limit_req_zone |proxy_buffering |proxy_read_timeout )",
    extent=lambda: While(_LINE),
    read=read,
    words=("proxy_pass",),
    most=16,
)
