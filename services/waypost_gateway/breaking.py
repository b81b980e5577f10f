"""One tool's breaker as a state machine: closed, open, half-open. Pure: time and dice come from outside. Owns no exchange with others.

    closed ── enough failures ──▶ open ── its time is over, a call asks ──▶ half-open (one call is let through)
      ▲                            ▲                                          │
      └────────── it worked ───────┼──────────────────────────────────────────┤
                                   └────────────── it failed ─────────────────┘

Failures are counted where they happen, in a window of `BUCKETS` parts; what is shared between gateways is the state (see `neighbours`). Of
two reports the one that happened later counts, so that all agree whatever the order in which they hear of it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from waypost_proto.registry import BreakerNews
from waypost_proto.values import Breaker

BUCKETS = 12
PROBE_SECONDS = 5.0
"""How long others wait before they ask again while one call is let through."""
SPREAD = 0.1
"""Calls that waited come back spread over this part of the open time, at most `PROBE_SECONDS`."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The call must not start. `seconds` from now it may ask again."""

    seconds: float
    message: str


class ToolBreaker:
    """The breaker of `tool` at one gateway. Times are Unix seconds by the database's clock, which all gateways agree on."""

    def __init__(self, tool: str, policy: Breaker, *, gateway: str, probe_seconds: float) -> None:
        self._policy = policy
        self._gateway = gateway
        self._probe_seconds = probe_seconds
        self._news = BreakerNews(tool=tool, state="closed", at=0.0)
        self._window: deque[list[float]] = deque()
        """[start, succeeded, failed] of each part of the window that saw anything."""
        self.trips = 0

    @property
    def news(self) -> BreakerNews:
        """As others should know it."""
        return self._news

    @property
    def state(self) -> Literal["closed", "open", "half_open"]:
        return self._news.state

    def admit(self, now: float, dice: float) -> Wait | Literal["closed", "probe"]:
        """May a call start? `probe`: it may, and must be reported, whatever becomes of it. `dice` is a random number in [0, 1)."""
        news = self._news
        if news.state == "closed":
            return "closed"
        left = news.until - now
        if left > 0:
            what = "its breaker is open" if news.state == "open" else "one call is tried, its breaker is half-open"
            again = left if news.state == "open" else min(left, PROBE_SECONDS)
            spread = dice * min(PROBE_SECONDS, SPREAD * self._policy.open_seconds)
            return Wait(again + spread, f"tool {news.tool} fails: {what} ({news.reason})")
        # a probe that never reports (its gateway died) is one that another follows after its time
        self._set("half_open", now, until=now + self._probe_seconds, probe=self._gateway)
        return "probe"

    def succeeded(self, now: float, *, probe: bool = False) -> bool:
        """A call worked. True: the state has changed."""
        if probe or (self._news.state == "half_open" and self._news.probe == self._gateway):
            self._window.clear()
            self._set("closed", now, reason="")
            return True
        if self._news.state == "closed":
            self._bucket(now)[1] += 1
        return False

    def failed(self, now: float, what: str, *, probe: bool = False) -> bool:
        """A call failed in a way that says something of the tool. True: the state has changed."""
        if probe:
            self._open(now, f"the call that was let through failed: {what}")
            return True
        if self._news.state != "closed":
            return False  # begun before it opened
        bucket = self._bucket(now)
        bucket[2] += 1
        failures = sum(part[2] for part in self._window)
        ended = failures + sum(part[1] for part in self._window)
        if failures < self._policy.failures or failures < self._policy.share * ended:
            return False
        self._open(now, f"{int(failures)} of {int(ended)} calls failed within {self._policy.window_seconds:g} s, the last with {what}")
        return True

    def spared(self, now: float) -> bool:
        """A probe ended without saying anything of the tool (it was refused): the next call is one. True: the state has changed."""
        if self._news.state != "half_open" or self._news.probe != self._gateway:
            return False
        self._set("open", now, until=now)
        return True

    def heard(self, news: BreakerNews) -> bool:
        """Another gateway's view. True: it is newer than ours and taken over. Idempotent."""
        mine = self._news
        if (news.at, news.state, news.probe) <= (mine.at, mine.state, mine.probe):
            return False
        self._news = news
        if news.state == "closed" or mine.state == "closed":
            self._window.clear()
        return True

    def _open(self, now: float, reason: str) -> None:
        self.trips += 1
        self._window.clear()
        self._set("open", now, until=now + self._policy.open_seconds, reason=reason)

    def _set(
        self, state: Literal["closed", "open", "half_open"], now: float, *, until: float = 0.0, reason: str | None = None, probe: str = ""
    ) -> None:
        at = max(now, self._news.at + 1e-6)  # a state that follows another is later, whatever the clock says
        why = self._news.reason if reason is None else reason
        self._news = replace(self._news, state=state, at=at, until=until, reason=why, probe=probe)

    def _bucket(self, now: float) -> list[float]:
        window, size = self._window, self._policy.window_seconds / BUCKETS
        while window and window[0][0] <= now - self._policy.window_seconds:
            window.popleft()
        if not window or now >= window[-1][0] + size:
            window.append([now, 0.0, 0.0])
        return window[-1]
