"""Violations that are known and not mended yet: they do not hide others, and each is a line here until its cause is gone."""

from __future__ import annotations

import re

OPEN: dict[str, str] = {}
"""What is wrong, and how its violation reads."""

_PATTERNS = [re.compile(pattern) for pattern in OPEN.values()]


def known(violation: str) -> bool:
    """Whether this is one of those."""
    return any(pattern.search(violation) for pattern in _PATTERNS)
