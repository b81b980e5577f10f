"""Exit codes, and how a command ends early."""

from __future__ import annotations

FAILED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""


class Exit(Exception):
    """End the command with `code`; a text is printed to standard error, on one line."""

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(text)
        self.code = code
