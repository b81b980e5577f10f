"""What of a run's contents its trace shows. Nothing, unless somebody asked for it: traces go to more people than runs do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec import Raw, UnsetType

from waypost_proto.values import BlobRef

MAX_ERROR_CHARS = 1_000

Redact = Callable[[str, str], str]
"""(attribute name, text) → the text that is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """`intent`: what a model said it was about to do. `content`: arguments, results, inputs and outputs. `max_bytes` bounds each text.
    `messages`: whether the sending of a run's work is a span of its own (see `messaging`).

    `redact` sees every text before it is cut. It must be pure: the same text always gives the same answer, or a repeated export differs.
    """

    intent: bool = False
    content: bool = False
    max_bytes: int = 4_096
    redact: Redact | None = None
    messages: bool = True

    def text(self, name: str, text: str) -> str:
        """`text` as it is shown under attribute `name`: redacted, then cut to `max_bytes` of UTF-8."""
        if self.redact is not None:
            text = self.redact(name, text)
        if len(text) * 4 <= self.max_bytes:
            return text
        data = text.encode("utf-8", "replace")
        if len(data) <= self.max_bytes:
            return text
        return f"{data[: self.max_bytes].decode('utf-8', 'ignore')}… ({len(data)} bytes)"

    def error(self, message: str) -> str:
        """An error's message, which is shown in any case (it says what is wrong), redacted and cut like all else."""
        return self.text("error", message if len(message) <= MAX_ERROR_CHARS else f"{message[:MAX_ERROR_CHARS]}…")

    def value(self, name: str, value: Raw | UnsetType, ref: BlobRef | UnsetType) -> str:
        """A recorded value as text; "" if there is none or it is not captured. A large value is named by its digest."""
        if not self.content:
            return ""
        if isinstance(ref, BlobRef):
            return f"sha256:{ref.sha256} ({ref.size} bytes)"
        return "" if isinstance(value, UnsetType) else self.text(name, bytes(value).decode("utf-8", "replace"))


NOTHING = Capture()
"""Shows no contents."""
