"""Closing suspended code whose context is muted. Python runs `finally` blocks when a coroutine is dropped: they cannot
be kept from running, so they run here, at a known time, on a loop that refuses everything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from waypost_core.loop._errors import Evicted

ATTEMPTS = 8
"""A `finally` block may await again; each attempt throws into the next await. After these the code is left as it is."""
_left_behind: deque[object] = deque(maxlen=1_000)
"""Code that cannot be closed, kept so that Python does not try again when it drops it."""


def close_coroutine(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Close `coroutine`; what it raises is dropped, because the run goes on elsewhere or has ended."""
    for _ in range(ATTEMPTS):
        try:
            coroutine.close()
        except BaseException:  # noqa: BLE001, S112 - nobody is left to tell. Either it awaited again (RuntimeError), or it is closed now
            continue
        return
    _left_behind.append(coroutine)


def close_generator(generator: AsyncGenerator[Any, Any]) -> None:
    """The same for an asynchronous generator, whose `aclose` must be driven by hand."""
    inner: Any = getattr(generator, "ag_await", None)
    if inner is not None and hasattr(inner, "close"):
        close_coroutine(inner)  # closing the code that iterates does not reach into a generator that waits itself
    closing = generator.aclose()
    try:
        closing.send(None)
        for _ in range(ATTEMPTS):
            closing.throw(Evicted())
    except BaseException:  # noqa: BLE001 - StopIteration and GeneratorExit are the good ends, the rest is dropped
        return
