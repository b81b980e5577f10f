"""Random concurrent programs, made from a seed and run on whatever loop is given. Standard library only.

A program is a tree of tuples; `run` interprets it with plain asyncio. What it sees, in the order in which it sees it, goes
into `Api.trace`, so that two executions that differ anywhere differ in their traces.

As a script it prints the traces of many programs on the deterministic loop: two Python versions must print the same.
"""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio import as_completed, wait_for
from typing import Any, Protocol

Program = tuple[Any, ...]

LEAVES = ("ask", "ask", "sleep", "yield", "raise", "step", "signal", "state")
BRANCHES = ("seq", "seq", "gather", "gather_caught", "group", "timeout", "wait_for", "as_completed", "wait", "spawn_cancel",
            "catch", "lock", "queue", "agen", "shield", "event", "semaphore", "wait_gathered", "condition", "finally")  # fmt: skip


class Api(Protocol):
    """What a program needs of its surroundings."""

    trace: list[Any]

    async def ask(self, key: int) -> Any: ...
    async def step(self, key: int) -> Any: ...
    async def signal(self, key: int) -> Any: ...
    def state(self, key: int) -> None: ...


class Oops(Exception):
    """What `raise` raises."""


def make(rng: random.Random, depth: int) -> Program:
    """A random program of at most this depth."""
    if depth <= 0 or rng.random() < 0.15:
        return (rng.choice(LEAVES), rng.randrange(1000))
    kind = rng.choice(BRANCHES)
    if kind in {"timeout", "wait_for", "as_completed"}:
        return (kind, rng.choice([0.5, 1, 2, 5, 30, -1]), *(make(rng, depth - 1) for _ in range(rng.randint(1, 3))))
    return (kind, rng.randrange(1000), *(make(rng, depth - 1) for _ in range(rng.randint(1, 3))))


async def run(program: Program, api: Api) -> Any:
    """Interpret `program`; whatever happens is traced."""
    kind, number, *parts = program
    if kind in {"ask", "step", "signal"}:
        value = await getattr(api, kind)(number)
        api.trace.append([kind, number, value, asyncio.get_running_loop().time()])
        return value
    value = await _RUN[kind](number, parts, api)
    api.trace.append([kind, number])
    return value


async def _sleep(number: int, parts: list[Program], api: Api) -> Any:
    await asyncio.sleep(number % 7 + 0.25)
    return number


async def _yield(number: int, parts: list[Program], api: Api) -> Any:
    await asyncio.sleep(0)
    return number


async def _raise(number: int, parts: list[Program], api: Api) -> Any:
    if number % 3 == 0:
        raise Oops(number)
    return number


async def _state(number: int, parts: list[Program], api: Api) -> Any:
    api.state(number)


async def _seq(number: int, parts: list[Program], api: Api) -> Any:
    return [await run(part, api) for part in parts]


async def _gather(number: int, parts: list[Program], api: Api) -> Any:
    return await asyncio.gather(*(run(part, api) for part in parts))


async def _gather_caught(number: int, parts: list[Program], api: Api) -> Any:
    return [repr(v) for v in await asyncio.gather(*(run(part, api) for part in parts), return_exceptions=True)]


async def _group(number: int, parts: list[Program], api: Api) -> Any:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(part, api)) for part in parts]
    except* Oops as errors:
        api.trace.append(["group", len(errors.exceptions)])
    return [repr(task.exception()) if not task.cancelled() else "cancelled" for task in tasks]


async def _timeout(number: float, parts: list[Program], api: Api) -> Any:
    try:
        async with asyncio.timeout(number):
            return [await run(part, api) for part in parts]
    except TimeoutError:
        api.trace.append(["timed out", number])
        return "timeout"


async def _wait_for(number: float, parts: list[Program], api: Api) -> Any:
    try:
        return await wait_for(asyncio.gather(*(run(part, api) for part in parts)), number)
    except TimeoutError:
        api.trace.append(["timed out", number])
        return "timeout"


async def _wait_for_coroutine(number: float, part: Program, api: Api) -> Any:
    try:
        return await wait_for(run(part, api), number % 5 + 0.5)
    except TimeoutError:
        return "timeout"


async def _as_completed(number: float, parts: list[Program], api: Api) -> Any:
    results = []
    for awaitable in as_completed([run(part, api) for part in parts], timeout=number if number > 1 else None):
        try:
            results.append(await awaitable)
        except (Oops, TimeoutError) as error:
            results.append(repr(error))
    return results


async def _wait(number: int, parts: list[Program], api: Api) -> Any:
    tasks = [asyncio.create_task(run(part, api)) for part in parts]
    done, pending = await asyncio.wait(set(tasks), return_when=asyncio.FIRST_COMPLETED if number % 2 else asyncio.ALL_COMPLETED)
    for task in pending:
        task.cancel()
    api.trace.append(["waited", [tasks.index(task) for task in done], [tasks.index(task) for task in pending]])
    return [repr(task.exception()) if task.exception() else task.result() for task in done if not task.cancelled()]


async def _wait_gathered(number: int, parts: list[Program], api: Api) -> Any:
    gathered = [asyncio.gather(run(part, api), _yield(1, [], api), return_exceptions=True) for part in parts * 3]
    done, pending = await asyncio.wait(set(gathered), timeout=number % 4 + 0.5)
    api.trace.append(["gathered", [gathered.index(one) for one in done], [gathered.index(one) for one in pending]])
    for one in pending:
        one.cancel()
    return len(done)


async def _spawn_cancel(number: int, parts: list[Program], api: Api) -> Any:
    tasks = [asyncio.create_task(run(part, api)) for part in parts]
    await asyncio.sleep(number % 3)
    for task in tasks:
        task.cancel()
    return [repr(r) for r in await asyncio.gather(*tasks, return_exceptions=True)]


async def _catch(number: int, parts: list[Program], api: Api) -> Any:
    try:
        return [await _wait_for_coroutine(number, part, api) for part in parts]
    except (Oops, BaseExceptionGroup) as error:
        return repr(error)


async def _finally(number: int, parts: list[Program], api: Api) -> Any:
    try:
        return [await run(part, api) for part in parts[:-1]]
    finally:
        await run(parts[-1], api)


async def _lock(number: int, parts: list[Program], api: Api) -> Any:
    lock = asyncio.Lock()

    async def locked(part: Program) -> Any:
        async with lock:
            return await run(part, api)

    return await asyncio.gather(*(locked(part) for part in parts), return_exceptions=number % 2 == 0) and number


async def _semaphore(number: int, parts: list[Program], api: Api) -> Any:
    semaphore = asyncio.Semaphore(2)

    async def limited(part: Program) -> Any:
        async with semaphore:
            return await run(part, api)

    return await asyncio.gather(*(limited(part) for part in parts * 2), return_exceptions=True) and number


async def _condition(number: int, parts: list[Program], api: Api) -> Any:
    condition = asyncio.Condition()
    ready: list[int] = []

    async def consumer(index: int) -> None:
        async with condition:
            await condition.wait_for(lambda: index in ready)
            api.trace.append(["notified", index])

    waiting = [asyncio.create_task(consumer(index)) for index in range(len(parts))]
    try:
        for index, part in enumerate(parts):
            await run(part, api)
            async with condition:
                ready.append(index)
                condition.notify_all()
        await asyncio.gather(*waiting)
    finally:
        for task in waiting:
            task.cancel()
    return number


async def _queue(number: int, parts: list[Program], api: Api) -> Any:
    queue: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)

    async def produce(part: Program) -> None:
        try:
            await queue.put(await run(part, api))
        except Oops:
            await queue.put("oops")

    producers = [asyncio.create_task(produce(part)) for part in parts]
    try:
        return [await queue.get() for _ in producers]
    finally:
        for producer in producers:
            producer.cancel()


async def _event(number: int, parts: list[Program], api: Api) -> Any:
    event = asyncio.Event()

    async def waits() -> None:
        await event.wait()
        api.trace.append(["event", number])

    async def sets() -> None:
        try:
            for part in parts:
                await run(part, api)
        finally:
            event.set()

    return await asyncio.gather(waits(), sets(), waits(), return_exceptions=True) and number


async def _shield(number: int, parts: list[Program], api: Api) -> Any:
    inner = asyncio.gather(*(run(part, api) for part in parts), return_exceptions=True)
    try:
        async with asyncio.timeout(number % 5 + 0.5):
            await asyncio.shield(inner)
    except TimeoutError:
        api.trace.append(["shielded", number])
    return repr(await inner)


async def _agen(number: int, parts: list[Program], api: Api) -> Any:
    async def generate() -> Any:
        try:
            for part in parts * 2:
                yield await run(part, api)
        finally:
            await asyncio.sleep(1)
            api.trace.append(["generator closed", number])

    async for value in generate():
        if number % 2:
            return value
    return number


_RUN: dict[str, Any] = {kind: globals()[f"_{kind}"] for kind in {*LEAVES, *BRANCHES} - {"ask", "step", "signal"}}


class Driver:
    """Runs one program on the deterministic loop, answering what it asks for in a random order: `Api` and `LoopHooks`."""

    def __init__(self, program: Program, seed: int) -> None:
        from waypost_core.loop import DeterministicLoop

        self.trace: list[Any] = []
        self.log: list[Any] = []
        self.random = random.Random(seed)
        self.open: dict[str, asyncio.Future[Any] | float] = {}
        self.loop: Any = DeterministicLoop(self, seed=str(seed), clock=1000.0)
        self.root = self.loop.start(run(program, self))

    async def ask(self, key: int) -> Any:
        call_id = self.loop.next_id()
        self.log.append(["ask", call_id, key])
        future = self.open[call_id] = self.loop.create_future()
        try:
            return await future
        except asyncio.CancelledError:
            if self.open.pop(call_id, None) is not None:
                self.log.append(["cancel", call_id])
            raise

    step = signal = ask

    def state(self, key: int) -> None:
        self.log.append(["state", key])

    def start_timer(self, timer_id: str, fire_at: float) -> None:
        self.log.append(["timer", timer_id, fire_at])
        self.open[timer_id] = fire_at

    def cancel_timer(self, timer_id: str) -> None:
        self.log.append(["cancel", timer_id])
        del self.open[timer_id]

    def unhandled(self, context: dict[str, Any]) -> None:
        """Programs leave failed tasks behind."""

    def drive(self, steps: int = 300) -> list[Any]:
        """Run to the end, or as far as `steps` go. The whole story."""
        self.loop.run_until_quiescent()
        while not self.root.done() and self.open and steps:
            steps -= 1
            timers = sorted((at, i) for i, at in self.open.items() if isinstance(at, float))
            calls = sorted(i for i, future in self.open.items() if not isinstance(future, float))
            if timers and (not calls or self.random.random() < 0.5):
                timer_id = timers[0][1]
                del self.open[timer_id]
                self.log.append(["fire", timer_id])
                self.loop.fire_timer(timer_id)
            else:
                call_id = self.random.choice(calls)
                future: Any = self.open.pop(call_id)
                self.log.append(["answer", call_id])
                self.loop.advance_clock(self.loop.time() + self.random.random())
                if not future.done():
                    future.set_result(f"answer {call_id}")
            self.loop.run_until_quiescent()
        ending = "pending" if not self.root.done() else "cancelled" if self.root.cancelled() else repr(self.root.exception())
        self.loop.close()
        return [self.log, self.trace, ending]


def story(seed: int) -> list[Any]:
    """What happens in the program of this seed."""
    return Driver(make(random.Random(seed), 4), seed).drive()


def main() -> None:
    """`python programs.py FROM TO`: one line of JSON per seed."""
    import json

    for seed in range(int(sys.argv[1]), int(sys.argv[2])):
        sys.stdout.write(json.dumps([seed, story(seed)], default=repr) + "\n")


if __name__ == "__main__":
    main()
