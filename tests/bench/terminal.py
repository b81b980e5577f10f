"""What the bench's commands share: arguments, the line of progress, a clean environment."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.bench.measuring import Progress


def forget_settings() -> None:
    """Settings from outside would change what is measured."""
    for name in [name for name in os.environ if name.startswith("WAYPOST_")]:
        del os.environ[name]


def positive(text: str) -> int:
    """For argparse: a whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def progress() -> Progress:
    """One line that changes on a terminal; a line for each part elsewhere."""
    last_what, last_time = "", 0.0

    def show(what: str, done: int, total: int) -> None:
        nonlocal last_what, last_time
        if sys.stderr.isatty():
            if time.monotonic() - last_time > 0.1 or what != last_what or done == total:
                print(f"\r\x1b[K{what}: {done} of {total}", end="", file=sys.stderr, flush=True)
                last_time = time.monotonic()
        elif what != last_what:
            print(what, file=sys.stderr, flush=True)
        last_what = what

    return show
