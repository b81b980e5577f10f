"""What only Python's cyclic garbage collector would free."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """What is in memory is what somebody refers to, or a cycle; begins with none."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def in_memory(*names: str) -> Counter[str]:
    """How many objects of classes with these names there are that the collector would look at."""
    return Counter(name for each in gc.get_objects() if (name := type(each).__name__) in names)


def growth(before: Counter[str], names: Iterable[str], least: int) -> dict[str, int]:
    """The classes of which there are at least so many more objects than before; a few less may be somebody's latest."""
    now = in_memory(*names)
    return {name: now[name] - before[name] for name in names if now[name] - before[name] >= least}
