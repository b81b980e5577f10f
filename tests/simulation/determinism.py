"""What a process otherwise gets from its machine: clocks, randomness, its own name, and load. Replaced for the length of a simulation."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from tests.simulation.chance import Chance
from tests.simulation.loop import EPOCH, PROCESS, SimulatedLoop
from waypost_coordinator import deciding
from waypost_io.bus.company import Company


@contextmanager
def simulated_machine(loop: SimulatedLoop, seed: int, *, containers: bool) -> Iterator[None]:
    """`containers`: every process has process id 1 and a host of its own that keeps its name, instead of one host and many ids."""
    chance = Chance(seed, "machine")
    jitter = Chance(seed, "jitter")

    company = Chance(seed, "company")
    patience = company.pick([0.0, 0.02, 0.3])

    def collect(self: Company) -> None:
        """In a loop of its own, every answer has a turn to itself. On a busy machine many come in one."""
        loop.call_later(company.uniform(0.0, patience), self._send) if patience else loop.call_soon(self._send)

    def wall() -> float:
        return EPOCH + loop.now + PROCESS.get(loop.world).wall_offset

    def host() -> str:
        return PROCESS.get(loop.world).name.partition("#")[0] if containers else "host"

    def process_id() -> int:
        return 1 if containers else 100 + PROCESS.get(loop.world).number

    with (
        mock.patch.object(time, "time", wall),
        mock.patch.object(time, "monotonic", loop.time),
        mock.patch.object(os, "urandom", chance.randbytes),
        mock.patch.object(os, "getpid", process_id),
        mock.patch.object(socket, "gethostname", host),
        mock.patch.object(Company, "_plan", collect),
        mock.patch.object(deciding, "Random", side_effect=lambda: random.Random(jitter.randbytes(8))),
    ):
        yield
