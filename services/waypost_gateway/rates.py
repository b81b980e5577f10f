"""How many calls of a tool may begin: a token bucket per tool, of which each gateway fills its share. Pure: time comes from outside.

The share is 1/n of the rate, n being the gateways that host the tool and live (see `neighbours`). A call takes its token before its message
is taken from the queue: what must wait waits in JetStream, for any gateway, and holds nothing here.
"""

from __future__ import annotations

from waypost_proto.values import Rate


class TokenBucket:
    """Tokens for one tool at one gateway; `now` is monotonic seconds."""

    def __init__(self, rate: Rate, *, now: float) -> None:
        self._rate = rate
        self._sharers = 1
        self._tokens = 0.0
        self._at = now
        self._tokens = self._burst

    @property
    def sharers(self) -> int:
        return self._sharers

    @property
    def _per_second(self) -> float:
        return self._rate.count / self._rate.seconds / self._sharers

    @property
    def _burst(self) -> float:
        """At least one token, or a slow rate that many share would let nothing through."""
        return max(1.0, (self._rate.burst or self._rate.count) / self._sharers)

    def share(self, sharers: int, now: float) -> None:
        """So many gateways share the rate from now on, this one included."""
        self._refill(now)
        if sharers > self._sharers:
            self._tokens *= self._sharers / sharers  # the others bring their own
        self._sharers = max(1, sharers)
        self._tokens = min(self._tokens, self._burst)

    def available(self, now: float) -> int:
        """Whole tokens there are."""
        self._refill(now)
        return int(self._tokens + 1e-9)

    def take(self, now: float) -> None:
        """One call begins. More may be taken than there are (a pull brought more than was asked for): the debt is paid first."""
        self._refill(now)
        self._tokens -= 1.0

    def give_back(self) -> None:
        """It did not begin after all."""
        self._tokens = min(self._burst, self._tokens + 1.0)

    def wait_seconds(self, now: float) -> float:
        """Until there is a whole token."""
        self._refill(now)
        return max(0.0, (1.0 - self._tokens) / self._per_second)

    def _refill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._per_second)
        self._at = now
