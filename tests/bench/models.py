"""What Waypost adds to a model call: `python -m tests.bench.models`. Milliseconds, one call after another.

A provider on loopback, a process of its own, answers after a given time in twenty pieces. Asked by the SDK alone, streaming, from this
process; and by `ctx.generate` in a durable function on real services, streaming and shown on `waypost.stream`. Measured from one recorded
answer to the next, by the worker's clock in the log: the request, the record, the advance in JetStream before the next call begins.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.bench.modelling import PROMPT
from tests.bench.terminal import forget_settings, positive
from tests.integration.approvals.platform import Platform, platform
from waypost_io.servers import EmbeddedNats, EmbeddedPostgres
from waypost_io.store.migrate import migrate

MODULE = Path(__file__).with_name("modelling.py")
GOAL_MILLISECONDS = 5.0
GOAL_SHARE = 0.02
"""Of a call of one second."""
_WARM_UP = 5


class Figures(Struct, frozen=True, kw_only=True):
    """Milliseconds for one call."""

    calls: int
    provider_seconds: float
    sdk_p50: float
    waypost_p50: float
    waypost_p90: float

    @property
    def overhead_p50(self) -> float:
        return self.waypost_p50 - self.sdk_p50


async def measure(calls: int, provider_seconds: float) -> Figures:
    """Servers and services of its own; `calls` each way after a warm-up."""
    with tempfile.TemporaryDirectory(prefix="waypost-bench-") as folder:
        path = Path(folder)
        path.chmod(0o755)  # as root, Postgres is another user
        async with (
            _provider(provider_seconds) as url,
            EmbeddedNats(path / "nats") as nats,
            EmbeddedPostgres(path / "postgres") as postgres,
        ):
            database = await postgres.create_database("bench")
            await migrate(database)
            async with platform(path, nats_url=nats.url, postgres_url=database, module=MODULE, FAKE_PROVIDER_URL=url) as desk:
                recorded = await _recorded(desk, calls)
            alone = await _alone(url, calls)
    recorded.sort()
    return Figures(
        calls=calls,
        provider_seconds=provider_seconds,
        sdk_p50=statistics.median(alone),
        waypost_p50=statistics.median(recorded),
        waypost_p90=recorded[max(0, round(0.9 * len(recorded)) - 1)],
    )


@asynccontextmanager
async def _provider(seconds: float) -> AsyncIterator[str]:
    command = [sys.executable, "-m", "tests.fake_provider", "--seconds", str(seconds), "--pieces", "20", "--text", "word " * 40]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


async def _alone(url: str, calls: int) -> list[float]:
    from openai import AsyncOpenAI

    taken = []
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
        for number in range(_WARM_UP + calls):
            began = time.perf_counter()
            stream = await client.chat.completions.create(
                model="bench", messages=[{"role": "user", "content": PROMPT}], stream=True, stream_options={"include_usage": True}
            )
            async for _ in stream:
                pass
            if number >= _WARM_UP:
                taken.append((time.perf_counter() - began) * 1e3)
    return taken


class _At(Struct):
    at: float


async def _recorded(desk: Platform, calls: int) -> list[float]:
    async with desk.client() as client:
        run = await client.start("talker", _WARM_UP + calls + 1)
        await client.result(run.run_id, timeout=600)
        at = [msgspec.json.decode(e.data, type=_At).at async for e in client.events(run.run_id) if e.type == "step_completed"]
    return [(after - before) * 1e3 for before, after in zip(at[_WARM_UP:], at[_WARM_UP + 1 :], strict=False)]


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 whatever the figures are."""
    forget_settings()
    parser = argparse.ArgumentParser(prog="python -m tests.bench.models", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--calls", type=positive, default=200, help="calls of a provider that answers at once")
    parser.add_argument("--slow-calls", type=positive, default=20, help="calls of a provider that takes a second")
    options = parser.parse_args(sys.argv[1:] if argv is None else argv)
    for calls, seconds in ((options.calls, 0.0), (options.slow_calls, 1.0)):
        found = asyncio.run(measure(calls, seconds))
        share = f", {found.overhead_p50 / found.sdk_p50:.1%} of the call" if seconds else ""
        print(f"{found.calls} calls, one after another, to a provider that takes {seconds:g} s")
        print(f"  by the SDK alone       p50 {found.sdk_p50:7.1f} ms")
        print(f"  as a recorded step     p50 {found.waypost_p50:7.1f} ms   p90 {found.waypost_p90:7.1f} ms")
        print(f"  what Waypost adds      p50 {found.overhead_p50:7.1f} ms{share}")
    print(f"  the goal is {GOAL_MILLISECONDS:g} ms, and {GOAL_SHARE:.0%} of a call of one second")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
