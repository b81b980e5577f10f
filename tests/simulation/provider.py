"""The world outside: what tools do to it, counted where no fault of ours can reach. Owns the effects, and how tools misbehave."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from tests.simulation.chance import Chance
from tests.simulation.loop import SimulatedLoop
from tests.simulation.trouble import Trouble
from waypost import NOT_DONE, DoNotRetry, NotExecuted, ToolContext
from waypost.tool_context import NotDone

ODD_TIMES = 2
"""How often a call may meet trouble of the provider's own before it goes well: no number of attempts is used up by bad luck."""
MOST_DEATHS = 6
LANDING_SECONDS = 0.8
"""A request may be under way for so long after its sender has gone. Shorter than any settle time."""


class Provider:
    """One world. `effects` counts what took effect, by idempotency key; `landed` is when, and of which run."""

    def __init__(self, loop: SimulatedLoop, chance: Chance, trouble: Trouble) -> None:
        self._loop = loop
        self._chance = chance
        self._trouble = trouble
        self.effects: Counter[str] = Counter()
        self.deduplicated: dict[str, str] = {}
        self.steps: Counter[str] = Counter()
        self._odd: Counter[str] = Counter()
        self._deaths: Counter[str] = Counter()
        self._mortal: dict[str, int] = {}
        self.kill_me: Callable[[], None] = lambda: None
        """Kills the process that is running."""
        self.on_effect: Callable[[str], None] = lambda key: None
        self.on_step: Callable[[str], None] = lambda key: None
        self.on_call: Callable[[str], None] = lambda key: None
        """A tool call has come here, whatever it will do."""
        self.too_late = 0
        """Requests of processes that had been paused past their deadline: the provider refuses them, as `guarantees` demands."""

    async def read(self, ctx: ToolContext, value: int) -> int:
        """Look something up: it may be slow, hang or fail."""
        self.on_call(ctx.idempotency_key)
        way = self._way(f"read {ctx.idempotency_key}", ("slow", "hang", "fail"))
        await self._sleep(way)
        if way == "fail":
            raise ConnectionError("the register is down (simulated)")
        return value * 7

    async def post(self, ctx: ToolContext, text: str) -> str:
        """An idempotent effect: the provider knows the key."""
        self.on_call(ctx.idempotency_key)
        way = self._way(f"post {ctx.idempotency_key}", ("slow", "hang", "fail", "fail after"))
        if way == "fail":
            raise ConnectionError("no route (simulated)")
        await self._sleep(way if way == "slow" else "")
        self.deduplicated.setdefault(ctx.idempotency_key, text)
        await self._sleep(way if way == "hang" else "")
        if way == "fail after":
            raise ConnectionError("the line broke (simulated)")
        return f"posted {text}"

    async def pay(self, ctx: ToolContext, cents: int) -> str:
        """An effect that the provider does not deduplicate."""
        self.on_call(ctx.idempotency_key)
        way = self._way(f"pay {ctx.idempotency_key}", ("slow", "refused", "fail", "fail after", "hang", "hang after", "lands late"))
        if way == "refused":
            raise NotExecuted("busy (simulated)", retry_after=0.05)
        if way == "fail":
            raise ConnectionError("perhaps it arrived (simulated)")
        await self._sleep(way if way in ("slow", "hang") else "")
        if self._past(ctx):
            raise ConnectionError("the request was refused: its deadline has passed (simulated)")
        if way == "lands late":
            self._loop.later(self._chance.uniform(0.0, LANDING_SECONDS), self._take_effect, ctx.idempotency_key)
            raise ConnectionError("the line broke (simulated)")
        self._take_effect(ctx.idempotency_key)
        await self._sleep("hang" if way == "hang after" else "")
        if way == "fail after":
            raise ConnectionError("the answer was lost (simulated)")
        return receipt(cents)

    async def find(self, ctx: ToolContext, cents: int) -> str | None:
        """What the reconcile hook asks: the receipt, or None."""
        self.on_call(ctx.idempotency_key)
        if self._way(f"find {ctx.idempotency_key}", ("fail",)):
            raise ConnectionError("cannot tell (simulated)")
        await self._sleep("")
        return receipt(cents) if self.effects[ctx.idempotency_key] else None

    async def refuse(self) -> None:
        """A call that fails for good, always."""
        await self._sleep("")
        raise DoNotRetry("account closed")

    def counted(self, key: str) -> None:
        """A step begins."""
        self.steps[key] += 1
        self.on_step(key)

    async def step(self, key: str) -> None:
        """A local step of an agent."""
        self.counted(key)
        await self._sleep(self._way(f"step {key}", ("slow",)))

    async def perhaps_die(self, what: str) -> None:
        """Code that ends its process, as a crash in native code does; after a few times it goes well."""
        if self._deaths[what] < self._mortality(what):
            self._deaths[what] += 1
            self.kill_me()
            await asyncio.sleep(1e9)

    def _mortality(self, what: str) -> int:
        if what not in self._mortal:
            self._mortal[what] = self._chance.burst(MOST_DEATHS) if self._chance.hits(self._trouble.deaths) else 0
        return self._mortal[what]

    def stamp(self, ctx: ToolContext, text: str) -> str:
        """An idempotent effect of a thread."""
        self.on_call(ctx.idempotency_key)
        if self._way(f"stamp {ctx.idempotency_key}", ("fail",)):
            raise ConnectionError("no ink (simulated)")
        self.deduplicated.setdefault(ctx.idempotency_key, text)
        return f"stamped {text}"

    def cash(self, ctx: ToolContext, cents: int) -> str:
        """An effect of a thread that the provider does not deduplicate."""
        self.on_call(ctx.idempotency_key)
        way = self._way(f"cash {ctx.idempotency_key}", ("refused", "fail", "fail after"))
        if way == "refused":
            raise NotExecuted("busy (simulated)", retry_after=0.05)
        if way == "fail" or self._past(ctx):
            raise ConnectionError("perhaps it arrived (simulated)")
        self._take_effect(ctx.idempotency_key)
        if way == "fail after":
            raise ConnectionError("the answer was lost (simulated)")
        return receipt(cents)

    def found_now(self, ctx: ToolContext, cents: int) -> str | NotDone:
        """What a reconcile hook in a thread finds."""
        self.on_call(ctx.idempotency_key)
        if self._way(f"find {ctx.idempotency_key}", ("fail",)):
            raise ConnectionError("cannot tell (simulated)")
        return receipt(cents) if self.effects[ctx.idempotency_key] else NOT_DONE

    def _take_effect(self, key: str) -> None:
        self.effects[key] += 1
        self.on_effect(key)

    def _past(self, ctx: ToolContext) -> bool:
        from tests.simulation.loop import EPOCH

        assert ctx.deadline is not None
        late = EPOCH + self._loop.now > ctx.deadline.timestamp() + self.clock_error()
        self.too_late += late
        return late

    clock_error: Callable[[], float] = staticmethod(lambda: 0.0)

    def _way(self, what: str, ways: tuple[str, ...]) -> str:
        if not self._chance.hits(self._trouble.odd_tools) or self._odd[what] >= ODD_TIMES:
            return ""
        self._odd[what] += 1
        return self._chance.pick(ways)

    async def _sleep(self, way: str) -> None:
        await asyncio.sleep({"": self._chance.uniform(0.0, 0.02), "slow": self._chance.uniform(0.1, 1.5), "hang": 60.0}[way])


def receipt(cents: int) -> str:
    return f"receipt for {cents}"
