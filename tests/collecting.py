"""What only Python's cyclic garbage collector would free."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """What was made in here and is in memory is what somebody refers to, or a cycle. What was there before is not looked at."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def left(names: Iterable[str], least: int) -> dict[str, int]:
    """The classes of which at least so many objects are left; a few less may be somebody's latest."""
    now = Counter(name for each in gc.get_objects() if (name := type(each).__name__) in names)
    return {name: count for name, count in now.items() if count >= least}
