"""From operation ids to names of tools. Pure."""

from __future__ import annotations

import re
from hashlib import sha256

MAX_CHARS = 63
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z0-9]+")


def tool_name(text: str, prefix: str = "") -> str:
    """`listPetsByID` becomes `list-pets-by-id`. What is too long is cut, and ends with a digest of all of it."""
    name = "-".join(word.lower() for word in _WORDS.findall(text)) or "operation"
    name = f"{prefix}{name}"
    if len(name) > MAX_CHARS:
        name = f"{name[: MAX_CHARS - 9].rstrip('-')}-{sha256(text.encode()).hexdigest()[:8]}"
    return name


def id_of(method: str, path: str) -> str:
    """What stands for the id of an operation that has none."""
    return f"{method.lower()} {path}"
