"""Every bound and interval that the worker works by, with its unit in its name. The environment sets some of them, tests all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from waypost_io.settings import WorkerSettings
from waypost_proto.registry import HEARTBEAT_SECONDS

_DRAIN_SHARE = 0.6
"""Of the time a process has to end, what its runs may use; the rest is for publishing and closing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The defaults are those of production."""

    concurrency: int = 256
    """Runs that may be active (taken up and not yet waiting again) before no more are pulled, and local effects at one time."""
    cache_runs: int = 5_000
    """Waiting coroutines kept in memory; the least recently used are let go first. Active runs come on top."""
    ack_wait_seconds: float = 4.0
    """Silence after which JetStream gives an activation to another worker; we say "in progress" three times as often."""
    republish_seconds: float = 5.0
    """An advance that no coordinator confirmed for so long is published again, then after twice as long, and so on …"""
    republish_max_seconds: float = 60.0
    """… up to this, so that a coordinator that was away for hours finds no flood."""
    retry_seconds: float = 0.25
    """Between tries of a publish that JetStream did not confirm."""
    announce_running_seconds: float = 0.25
    """A local effect that takes longer than this is told to the coordinator, so that the run's status says what it does."""
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    held_seconds: float = 2.0
    """Activations held for longer than this are listed in the heartbeat."""
    drain_seconds: float = 12.0
    """At a stop, how long active runs may go on to where they wait."""
    fresh_seconds: float = 1.0
    """A run's first activation that was stored later than this after the run was recorded may be a repeat …"""
    fresh_wait_seconds: float = 3.0
    """… and one that waited longer than this may be for a run that another worker was given since; shorter than the silence that counts."""
    suspect_after: int = 2
    """An activation delivered more often than this may be what kills its workers: it is taken up late, and alone."""
    suspect_max_seconds: float = 30.0
    """The longest delay of a suspect."""

    @classmethod
    def of(cls, settings: WorkerSettings) -> Self:
        """What the environment says."""
        return cls(
            concurrency=settings.concurrency,
            cache_runs=settings.cache_runs,
            ack_wait_seconds=settings.ack_wait_seconds,
            heartbeat_seconds=settings.heartbeat_seconds,
            republish_seconds=settings.resend_seconds,
            drain_seconds=settings.drain_seconds * _DRAIN_SHARE,
        )
