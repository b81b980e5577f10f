"""The deterministic loop: order, identity, time, what it refuses, and how it sits beside another loop."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import math
import sys
from typing import Any

import pytest

from waypost_core.loop import AgentSpins, DeterministicLoop, NotInAgentCode
from waypost_proto.errors import ContractError


class Hooks:
    """Remembers what the loop tells."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def start_timer(self, timer_id: str, fire_at: float) -> None:
        self.told.append(("start", timer_id, fire_at))

    def cancel_timer(self, timer_id: str) -> None:
        self.told.append(("cancel", timer_id))

    def unhandled(self, context: dict[str, Any]) -> None:
        self.told.append(("unhandled", repr(context.get("exception"))))


class Rig:
    """A loop with one root coroutine."""

    def __init__(self, **options: Any) -> None:
        self.hooks = Hooks()
        self.loop: Any = DeterministicLoop(self.hooks, seed="run", clock=100.0, **options)

    def run(self, coroutine: Any) -> Any:
        """Start it and run until it waits; its result if it is done."""
        self.root = self.loop.start(coroutine)
        self.loop.run_until_quiescent()
        return self.root.result() if self.root.done() else None

    def fire(self, timer_id: str) -> None:
        assert self.loop.fire_timer(timer_id)
        self.loop.run_until_quiescent()


@pytest.fixture
def rig() -> Any:
    made = Rig()
    yield made
    made.loop.close()


# -- order and identity


def test_row_18_ids_are_task_paths_and_counters_whatever_the_order(rig: Rig) -> None:
    ids: dict[str, list[str]] = {}

    async def worker(name: str, pauses: int) -> None:
        for _ in range(pauses):
            await asyncio.sleep(0)
        ids[name] = [rig.loop.next_id(), rig.loop.next_id()]
        await asyncio.create_task(inner(name))

    async def inner(name: str) -> None:
        ids[name].append(rig.loop.next_id())

    async def main() -> None:
        ids["root"] = [rig.loop.next_id()]
        await asyncio.gather(worker("slow", 5), worker("fast", 0))
        ids["root"].append(rig.loop.next_id())

    rig.run(main())
    assert ids == {"root": ["0:1", "0:2"], "slow": ["0.1:1", "0.1:2", "0.1.1:1"], "fast": ["0.2:1", "0.2:2", "0.2.1:1"]}


def test_row_18_sets_of_tasks_are_in_the_order_of_creation(rig: Rig) -> None:
    async def main() -> list[str]:
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(6)]
        done, _ = await asyncio.wait(set(tasks))
        return [task.get_name() for task in done]

    assert rig.run(main()) == [f"task-0.{n}" for n in range(1, 7)]


def test_row_18_a_task_group_cancels_in_the_order_of_creation(rig: Rig) -> None:
    cancelled: list[int] = []

    async def child(number: int) -> None:
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise

    async def main() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(6):
                    group.create_task(child(number))
                await asyncio.sleep(0)
                int("not a number")
        except* ValueError:
            pass

    rig.run(main())
    assert cancelled == list(range(6))


def test_row_18_as_completed_starts_in_the_order_of_its_arguments(rig: Rig) -> None:
    started: list[int] = []

    async def child(number: int) -> int:
        started.append(number)
        return number

    async def main() -> list[int]:
        return [await one for one in asyncio.as_completed([child(n) for n in range(20)])]

    assert rig.run(main()) == list(range(20))
    assert started == list(range(20))


def test_row_18_as_completed_is_an_async_iterator_too(rig: Rig) -> None:
    async def main() -> list[Any]:
        tasks = [asyncio.create_task(asyncio.sleep(0, n)) for n in range(3)]
        got = []
        iterator: Any = asyncio.as_completed(tasks)
        async for task in iterator:
            assert task in tasks
            got.append(task.result())
        return got

    assert rig.run(main()) == [0, 1, 2]


def test_row_18_wait_for_makes_no_task_of_its_own(rig: Rig) -> None:
    async def ask() -> str:
        return str(rig.loop.next_id())

    async def main() -> Any:
        return [await asyncio.wait_for(ask(), 5), await asyncio.wait_for(ask(), None), await asyncio.gather(asyncio.wait_for(ask(), 1))]

    assert rig.run(main()) == ["0:2", "0:3", ["0.1:2"]]  # the timers are 0:1 and 0.1:1


def test_row_18_futures_of_gather_have_a_place_in_sets(rig: Rig) -> None:
    async def main() -> list[int]:
        gathered = [asyncio.gather(asyncio.sleep(0, n), asyncio.sleep(0)) for n in range(5)]
        done, _ = await asyncio.wait(set(gathered))
        return [one.result()[0] for one in done]

    assert rig.run(main()) == list(range(5))


def test_hashes_of_two_runs_differ() -> None:
    loops: list[Any] = [DeterministicLoop(Hooks(), seed=seed) for seed in ("a", "b")]
    assert hash(loops[0].create_future()) != hash(loops[1].create_future())


def test_callbacks_outside_any_task_have_ids_too(rig: Rig) -> None:
    ids: list[str] = []

    async def main() -> None:
        rig.loop.call_soon(lambda: ids.append(rig.loop.next_id()))
        await asyncio.sleep(0)

    rig.run(main())
    assert ids == ["x:1"]


def test_a_task_made_by_hand_counts_as_outside(rig: Rig) -> None:
    async def ask() -> str:
        return str(rig.loop.next_id())

    async def main() -> list[str]:
        return [await asyncio.Task(ask()), await asyncio.create_task(ask())]

    assert rig.run(main()) == ["x:1", "0.1:1"]


def test_the_code_runs_in_an_empty_context(rig: Rig) -> None:
    outside = contextvars.ContextVar("outside", default="nothing")
    outside.set("the worker's")

    async def main() -> str:
        return outside.get()

    assert rig.run(main()) == "nothing"


# -- time


def test_the_clock_moves_only_when_it_is_told(rig: Rig) -> None:
    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        times = [loop.time()]
        await asyncio.sleep(10)
        return [*times, loop.time()]

    rig.run(main())
    assert rig.hooks.told == [("start", "0:1", 110.0)]
    rig.fire("0:1")
    assert rig.root.result() == [100.0, 110.0]
    rig.loop.advance_clock(50.0)
    assert rig.loop.time() == 110.0


def test_a_timer_that_is_no_longer_wanted_is_cancelled_once(rig: Rig) -> None:
    async def main() -> None:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)

    rig.run(main())
    assert rig.hooks.told == [("start", "0:1", 105.0), ("cancel", "0:1")]
    assert not rig.loop.fire_timer("0:1")


def test_a_timer_that_fired_is_not_cancelled_afterwards(rig: Rig) -> None:
    async def main() -> str:
        try:
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"
        return "never"

    rig.run(main())
    rig.fire("0:1")
    assert rig.root.result() == "timed out"
    assert rig.hooks.told == [("start", "0:1", 105.0)]


def test_infinity_needs_no_timer_and_nan_is_refused(rig: Rig) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="NaN"):
            asyncio.get_running_loop().call_later(math.nan, print)
        await asyncio.sleep(math.inf)

    rig.run(main())
    assert rig.hooks.told == []
    assert not rig.root.done()


# -- what is refused


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda: asyncio.to_thread(print),
        lambda: asyncio.open_connection("localhost", 1),
        lambda: asyncio.start_server(print, port=1),
        lambda: asyncio.create_subprocess_exec("true"),
        lambda: asyncio.get_running_loop().getaddrinfo("localhost", 1),
        lambda: asyncio.get_running_loop().run_in_executor(None, print),
    ],
)
def test_io_and_threads_say_what_to_do_instead(rig: Rig, forbidden: Any) -> None:
    async def main() -> None:
        await forbidden()

    with pytest.raises(NotInAgentCode, match=r"ctx\.step"):
        rig.run(main())


def test_code_that_spins_is_stopped() -> None:
    rig = Rig(callbacks_per_feed=1000)

    async def spins() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(AgentSpins, match="1000 callbacks"):
        rig.run(spins())
    rig.loop.close()


def test_an_agent_cannot_drive_a_loop(rig: Rig) -> None:
    other = Rig()

    async def main() -> None:
        with pytest.raises(ContractError, match="cannot drive"):
            other.run(asyncio.sleep(0))
        with pytest.raises(ContractError, match="cannot be closed"):
            rig.loop.close()

    rig.run(main())
    other.loop.close()


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt])
def test_what_would_end_a_process_stays_in_the_task(rig: Rig, ending: type[BaseException]) -> None:
    """An agent that raises it must not end every worker that takes its run."""

    async def main() -> None:
        raise ending

    rig.root = rig.loop.start(main())
    rig.loop.run_until_quiescent()
    assert asyncio._get_running_loop() is None
    assert gc.isenabled()
    assert isinstance(rig.root.exception(), ending)


def test_errors_nobody_retrieves_are_told(rig: Rig) -> None:
    async def fails() -> None:
        raise ValueError("lost")

    async def main() -> None:
        task = asyncio.create_task(fails())
        await asyncio.sleep(0)
        del task

    rig.run(main())
    rig.loop.close()
    assert rig.hooks.told == [("unhandled", "ValueError('lost')")]


# -- beside another loop


async def test_a_slice_inside_another_loop_leaves_it_as_it_was() -> None:
    rig = Rig()
    here = asyncio.get_running_loop()
    task = asyncio.current_task()
    hooks = sys.get_asyncgen_hooks()
    answered: asyncio.Future[Any] = here.create_future()

    async def main() -> Any:
        assert asyncio.get_running_loop() is rig.loop
        assert asyncio.current_task() is rig.root
        return await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0, 2))

    here.call_soon(lambda: answered.set_result(rig.run(main())))
    assert await answered == [1, 2]
    assert rig.run(main()) == [1, 2]
    assert asyncio.get_running_loop() is here
    assert asyncio.current_task() is task
    assert sys.get_asyncgen_hooks() == hooks
    assert await asyncio.wait_for(asyncio.sleep(0, "as ever"), 5) == "as ever"
    assert [await one for one in asyncio.as_completed([asyncio.sleep(0, 3)])] == [3]
    assert await asyncio.gather(asyncio.sleep(0, 4), return_exceptions=True) == [4]
    rig.loop.close()


def test_it_sits_beside_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")
    rig = Rig()

    async def agent() -> Any:
        return await asyncio.gather(asyncio.sleep(0, 1), asyncio.wait_for(asyncio.sleep(0, 2), 3))

    async def worker() -> Any:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_soon(lambda: done.set_result(rig.run(agent())))
        result = await done
        assert asyncio.get_running_loop() is loop
        return [result, await asyncio.to_thread(lambda: "threads as ever")]

    assert uvloop.run(worker()) == [[1, 2], "threads as ever"]
    rig.loop.close()


def test_names_imported_before_are_deterministic_too() -> None:
    """`from asyncio import wait_for` holds the function object: its code must have been replaced, not the attribute."""
    before = asyncio.tasks.as_completed
    rig = Rig()
    assert asyncio.as_completed is before

    async def main() -> str:
        return type(before([asyncio.sleep(0)])).__module__

    assert rig.run(main()) == "waypost_core.loop._asyncio"
    rig.loop.close()
