"""What `tests.bench.breaker` measures: tools that work until they are said to be broken, and agents that keep calling one."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from waypost import Breaker, Context, Retry, Tool, ToolFailed, agent, tool

FAILURES = 5
ROUNDS = 8
CALLS = 400


def _flaky(number: int) -> Tool[[], int]:
    @tool(
        name=f"flaky-{number}", effect="read", breaker=Breaker(failures=FAILURES, share=0.01, open_seconds=60), retry=Retry(max_attempts=1)
    )
    async def flaky() -> int:
        """Says when and where it began, in one write. Nothing is awaited: when a second call begins, the first has failed."""
        broken = Path(os.environ["EFFECTS_FILE"] + f".broken-{number}").exists()
        with Path(os.environ["EFFECTS_FILE"]).open("a", encoding="utf-8") as file:
            file.write(f"{number} {time.monotonic_ns()} {os.getpid()} {int(broken)}\n")
        if broken:
            raise ConnectionError("broken")
        return number

    return flaky


TOOLS = [_flaky(number) for number in range(ROUNDS)]
globals().update({f"flaky_{number}": each for number, each in enumerate(TOOLS)})


@agent(tools=TOOLS)
async def caller(ctx: Context, number: int) -> int:
    """Calls its tool until that fails, then waits in the open breaker's queue."""
    for _ in range(CALLS):
        with contextlib.suppress(ToolFailed):
            await ctx.call(TOOLS[number])
    return number
