"""Token buckets in memory: so many requests in a while for each key, and a bound on how many keys are remembered."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """`per_second` on average and `burst` at once, for each key. `per_second` 0: no limit.

    Of more than `most` keys the one that asked longest ago is forgotten, which gives it a full bucket again: by then it nearly always
    has one.
    """

    def __init__(self, per_second: float, burst: float, *, most: int = 10_000, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._burst = max(1.0, burst)
        self._most = most
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str) -> float:
        """Take one: 0.0 when there was one, otherwise the seconds until there is, rounded up to whole ones."""
        wait = self.wait(key)
        if wait == 0 and self._rate > 0:
            self._buckets[key].tokens -= 1
        return wait

    def wait(self, key: str) -> float:
        """The seconds until there is one, without taking it."""
        if self._rate <= 0:
            return 0.0
        now = self._monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._burst, now)
            while len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
        bucket.at = now
        return 0.0 if bucket.tokens >= 1 else float(math.ceil((1 - bucket.tokens) / self._rate))
