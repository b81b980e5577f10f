"""Every random decision of a simulation, from one seed. Separate streams: more trouble of one kind does not reshuffle another."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """One stream of decisions, named after what it decides."""

    def __init__(self, seed: int, name: str) -> None:
        self._random = random.Random(f"{seed}/{name}")
        self.random = self._random.random
        self.uniform = self._random.uniform
        self.randbytes = self._random.randbytes
        self.randrange = self._random.randrange

    def hits(self, share: float) -> bool:
        """True in this share of the cases."""
        return share > 0 and self.random() < share

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.random() * len(items))]

    def burst(self, most: int) -> int:
        """1 to `most`."""
        return 1 + int(self.random() * most)

    def latency(self, usual: float, slow: float, slow_share: float) -> float:
        """Seconds: mostly about `usual`, sometimes up to `slow`."""
        if self.hits(slow_share):
            return self.uniform(usual, slow)
        return usual * (0.2 + 1.6 * self.random())
