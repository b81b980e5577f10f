"""Values that must not leave this process: in logs, messages, the database, error messages. Owns where they are recognised, not the values.

A value of at least `MIN_CHARS` characters is recognised as it is and in the encodings in which it usually travels: as JSON writes it,
percent-encoded, hexadecimal, and base64 (plain and URL-safe, at each of the three places at which it may stand in something larger, as in
`Basic dXNlcjpwYXNz`). What was hashed, compressed, split or reversed is not. One instance per process, `KNOWN`: the log's last step
hides what it knows in every line.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from waypost_io.redaction import MASK

MIN_CHARS = 8
"""A shorter value would be found everywhere."""
_MIN_CORE_CHARS = 8
"""Of what remains of a base64 form when its ends, which depend on what stands beside it, are cut off."""

_MASK_BYTES = MASK.encode()


class KnownSecrets:
    """What is hidden. `replace` is atomic: texts are hidden by the old values or by the new ones."""

    def __init__(self) -> None:
        self._texts: tuple[str, ...] = ()
        self._bytes: tuple[bytes, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._texts)

    def replace(self, values: Iterable[str]) -> None:
        """Hide these from now on, and what was hidden before no more. Longer forms are looked for first."""
        forms = {form for value in values if len(value) >= MIN_CHARS for form in _forms(value)}
        self._texts = tuple(sorted(forms, key=lambda form: (-len(form), form)))
        self._bytes = tuple(form.encode("utf-8", "surrogatepass") for form in self._texts)

    def hide(self, text: str) -> str:
        """`text` with each known value replaced by `***`; the same object when there is none."""
        for form in self._texts:
            if form in text:
                text = text.replace(form, MASK)
        return text

    def hide_bytes(self, data: bytes) -> bytes:
        """The same for UTF-8 bytes."""
        for form in self._bytes:
            if form in data:
                data = data.replace(form, _MASK_BYTES)
        return data


def _forms(value: str) -> Iterator[str]:
    yield value
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield json.dumps(value)[1:-1]
    plain = value.encode("utf-8", "surrogatepass")
    for safe in ("", "/"):
        yield quote(plain, safe=safe)
        yield quote_plus(plain, safe=safe)
    yield plain.hex()
    yield plain.hex().upper()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            yield from _cores(encode(b"\0" * shift + plain).decode(), shift, len(plain))


def _cores(encoded: str, shift: int, size: int) -> Iterator[str]:
    """The part of a base64 text that the value alone determines: six bits per character, `shift` bytes in front."""
    first = -(-shift * 8 // 6)
    last = (shift + size) * 8 // 6
    core = encoded[first:last]
    if len(core) >= _MIN_CORE_CHARS:
        yield core


KNOWN = KnownSecrets()
"""This process's."""
