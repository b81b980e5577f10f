"""What of a run's contents its trace shows, as the settings say: the redaction that every text passes before it is cut.

In this order: values under keys of JSON that look like secrets, then secrets that this process knows, then the operator's own function
(`WAYPOST_TRACES_REDACT=my_company.redaction:hide`, called with the attribute's name and the text).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping

from waypost_core.tracing import Capture
from waypost_io import environment
from waypost_io.known_secrets import KNOWN
from waypost_io.redaction import MASK, redact
from waypost_io.settings import TraceContentSettings
from waypost_proto.errors import Misconfigured

Own = Callable[[str, str], str]


def capture_of(env: Mapping[str, str] | None = None) -> Capture:
    """The policy of this process. Raises `Misconfigured` for a function that cannot be used."""
    settings = environment.read(TraceContentSettings, env)
    return Capture(
        intent=settings.content in ("intent", "all"),
        content=settings.content == "all",
        max_bytes=settings.max_bytes,
        messages=settings.messages == "yes",
        redact=redaction(settings.hide_keys, _own(settings.redact)),
    )


def redaction(hide_keys: str, own: Own | None = None) -> Own:
    """The whole of it. `hide_keys`: words separated by commas."""
    hidden = _values_of(hide_keys)

    def shown(name: str, text: str) -> str:
        if hidden is not None:
            text = hidden.sub(rf'\g<1>"{MASK}"', text)
        text = redact(text)
        if KNOWN:
            text = KNOWN.hide(text)
        return text if own is None else own(name, text)

    return shown


def _values_of(hide_keys: str) -> re.Pattern[str] | None:
    """Strings, numbers, words and lists of them that are values of keys in which one of the words is found. `-` in a word stands for `_`
    and for nothing too. An object under such a key keeps its shape. A number under `…_tokens` is a count, and no secret."""
    words = [re.escape(word.strip()).replace(r"\-", "[-_]?") for word in hide_keys.split(",") if word.strip()]
    value = r'(?:"(?:[^"\\]|\\.)*+"?|\[[^\[\]{}]*+\]?|[^\s,{}\[\]"]++)'
    count = r'(?!"\w+_tokens"\s*+:\s*+\d++\s*+[,}\]])'
    return re.compile(rf'{count}("[^"\\]*(?:{"|".join(words)})[^"\\]*"\s*:\s*){value}', re.IGNORECASE) if words else None


def _own(path: str) -> Own | None:
    if not path:
        return None
    module, colon, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name) if colon else None
    except (ImportError, AttributeError) as error:
        raise Misconfigured(f"WAYPOST_TRACES_REDACT={path!r}: {error}") from error
    if not callable(found):
        raise Misconfigured(
            f"WAYPOST_TRACES_REDACT={path!r}: use module:function, a function of (attribute name, text) that returns a text"
        )

    def own(attribute: str, text: str) -> str:
        return str(found(attribute, text))

    return own
