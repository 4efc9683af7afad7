"""TOML from the standard library, or its twin below Python 3.11."""

import sys
from typing import Any

if sys.version_info >= (3, 11):
    from tomllib import loads as _loads
else:
    from tomli import loads as _loads


def loads(text: str) -> dict[str, Any]:
    """Parse TOML text."""
    return _loads(text)
