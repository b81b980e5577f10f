"""Four messages per step with a tool, counted from the streams: no more, and no fewer. It counts, and times nothing."""

from __future__ import annotations

from tests.bench.driver import Driver
from tests.bench.measuring import COUNTS, messages_per_step
from tests.bench.platform import Waypost, stream_positions

STEPS = 4
RUNS = 12


async def test_a_step_with_a_tool_is_four_messages(platform: Waypost, driver: Driver) -> None:
    """Advance, tool call, result, activation."""
    messages = await messages_per_step(platform, driver, STEPS)

    events = messages.pop("EVENTS")
    assert messages == {"TASKS": 0, "MAILBOX": 2, "WORK": 1, "TOOLS": 1, "SUPERVISOR": 0, "DEAD": 0}
    assert events == 3, "the local step's end, the call, its result"


async def test_a_run_adds_its_task_its_first_activation_and_its_end(platform: Waypost, driver: Driver) -> None:
    """Also when runs share batches: what travels together is not what is sent twice.

    The least of some counts: now and then the coordinator puts a message of its own into a queue (`waypost_coordinator.keeping`).
    """
    counts = [await _sent(platform, driver) for _ in range(COUNTS)]
    sent = {name: min(each[name] for each in counts) for name in counts[0]}
    assert sent["TASKS"] == RUNS
    alone = 2 * STEPS + 1
    assert alone <= sent["MAILBOX"] < RUNS * alone, "answers to one coordinator share messages"
    assert RUNS <= sent["WORK"] <= RUNS * (STEPS + 1), "activations for one worker share messages"
    assert sent["TOOLS"] == RUNS * STEPS
    assert sent["SUPERVISOR"] == sent["DEAD"] == 0


async def _sent(platform: Waypost, driver: Driver) -> dict[str, int]:
    before = await stream_positions(platform.nats.url, platform.side.prefix)
    await driver.in_flight(RUNS, STEPS, RUNS, lambda _done: None)
    after = await stream_positions(platform.nats.url, platform.side.prefix)
    return {name: after[name] - before[name] for name in after}
