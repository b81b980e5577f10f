"""What the provider answers to one request, and how it goes wrong."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tool:
    """The model wants a tool."""

    name: str
    arguments: str = "{}"
    id: str = "use-1"


@dataclass(frozen=True)
class Reply:
    """An answer, or an error (`status`), or silence.

    `delay`: seconds before the first byte. `pieces` and `piece_delay`: how it is streamed. `cut_after`: the connection closes after so many
    pieces. `end_early`: the stream ends in order, but before the answer does. `raw`: these bytes as the body, whatever was asked.
    `error_after`: an error event in the stream after so many pieces.
    """

    text: str = ""
    tools: tuple[Tool, ...] = ()
    thinking: str = ""
    refusal: str = ""
    finish: str = ""
    input_tokens: int = 11
    output_tokens: int = 7
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    status: int = 200
    error: str = "the provider is not well"
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    pieces: int = 3
    piece_delay: float = 0.0
    cut_after: int | None = None
    end_early: bool = False
    error_after: int | None = None
    hang: bool = False
    raw: bytes | None = None
    usage: bool = True

    def parts(self) -> list[str]:
        """The text in pieces."""
        size = max(1, -(-len(self.text) // max(1, self.pieces)))
        return [self.text[i : i + size] for i in range(0, len(self.text), size)]
