"""What an agent's code asks for. Owns no state: everything goes to the run's `Engine`, which the execution is.

All of it is deterministic: on replay the same code gets the same answers, without effects.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

from waypost.metering import Usage
from waypost.options import Seconds
from waypost.run_log import RunLog
from waypost.targets import Target
from waypost_proto.ids import RunId

if TYPE_CHECKING:
    from waypost.models.messages import Message, ModelRequest, ModelResponse
    from waypost.models.protocol import Model

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Engine(Protocol):
    """What a run's execution offers to its context. Each method is called from the agent's code only."""

    run_id: RunId
    identity: RunId
    correlation_id: str
    tenant: str
    taint: tuple[str, ...]
    log: RunLog
    instructions: list[str]

    def call(self, target: Target[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]: ...
    def start(self, target: Target[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> RunHandle[Any]: ...
    def step(
        self,
        name: str,
        returns: Any,
        run: Callable[[], Any],
        reserve: Usage | None = None,
        *,
        asked: str | Callable[[], str] = "",
        model: bool = False,
    ) -> Awaitable[Any]: ...
    def signal(self, name: str, kind: Any) -> Awaitable[Any]: ...
    def ask(self, role: str, question: str, kind: Any, expires: Seconds) -> Awaitable[Any]: ...
    def set_state(self, value: object) -> None: ...
    def edits(self) -> list[ArgumentEdit]: ...
    def time(self) -> float: ...
    def random(self) -> random.Random: ...
    def uuid(self) -> uuid.UUID: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentEdit:
    """A person has changed the arguments of a call before approving it: the call ran with `arguments`, not with what the code gave.

    `arguments` is None when they are larger than 2 KiB.
    """

    tool: str
    call_id: str
    by: str
    reason: str
    arguments: dict[str, Any] | None


class RunHandle(Protocol, Generic[R_co]):
    """A child run that was started and is not awaited yet."""

    run_id: RunId
    """The child's run id, known at once."""

    async def result(self) -> R_co:
        """Wait for the child. Raises `ChildFailed`. Cancelling the wait does not cancel the child; may be awaited again."""
        ...

    def __await__(self) -> Generator[Any, None, R_co]:
        """`await handle` is `await handle.result()`; so handles can be given to `asyncio.gather`."""
        ...

    def cancel(self) -> None:
        """Cancel the child run; `result()` then raises `asyncio.CancelledError`. No effect once it has ended."""


class Context:
    """The first parameter of an agent. Use it only from the agent's own code, inside `await`ed calls or tasks of the run."""

    __slots__ = ("_engine",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # -- work

    async def call(self, target: Target[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a tool, or run another agent, and wait for the result.

        Raises `ToolDenied` if it is not in the agent's `tools=[…]`; `ApprovalDenied`; `ToolFailed`; `ChildFailed`;
        `BadInput` if arguments or result are not what was declared. Cancelling the wait cancels the call: one that has
        not started never takes effect, one that has is no longer awaited.
        """
        result: R = await self._engine.call(target, args, kwargs)
        return result

    def start(self, target: Target[P, R], *args: P.args, **kwargs: P.kwargs) -> RunHandle[R]:
        """Start a child run and go on; `await handle` or `await handle.result()` waits for it. Raises `ToolDenied` if it is not listed."""
        return self._engine.start(target, args, kwargs)

    @overload
    async def step(self, function: Callable[..., Awaitable[R]], *args: Any, name: str | None = None, reserve: Usage | None = None) -> R: ...
    @overload
    async def step(self, function: Callable[..., R], *args: Any, name: str | None = None, reserve: Usage | None = None) -> R: ...
    async def step(self, function: Callable[..., Any], *args: Any, name: str | None = None, reserve: Usage | None = None) -> Any:
        """Run `function(*args)` outside the run's loop and record its result: anything random, slow or with I/O.

        At least once: after a crash before the record it runs again. The result is JSON and comes back as the declared
        return type. A plain function runs in a thread. Raises `StepFailed` with what the function raised. `name`
        is shown to people; by default the function's. `reserve` is what it may use at most: where tokens or cost are
        limited it begins only once that is reserved, and otherwise the run pauses. The function says what it really used
        with `waypost.report(…)`; if it does not, it has used what it reserved.
        """
        label, returns, run = _step_of(function, args, name)
        return await self._engine.step(label, returns, run, reserve, asked=_asked_of(args))

    @overload
    async def generate(
        self, model: Model, prompt: str | Sequence[Message] | ModelRequest, *, instructions: str = "", reserve: Usage | None = None
    ) -> ModelResponse: ...
    @overload
    async def generate(
        self,
        model: Model,
        prompt: str | Sequence[Message] | ModelRequest,
        kind: type[R],
        *,
        instructions: str = "",
        repairs: int = 1,
        reserve: Usage | None = None,
    ) -> R: ...
    async def generate(
        self, model: Model, prompt: Any, kind: Any = None, *, instructions: str = "", repairs: int = 1, reserve: Usage | None = None
    ) -> Any:
        """Ask a model, and record its answer: it is asked once, paid once, and the same on replay.

        `prompt` is a text, a conversation, or a whole `ModelRequest`. Without `kind` the `ModelResponse` is returned; `kind=str` gives its
        text, any other type a value that the model was asked for with its JSON Schema. An answer that does not fit is told to the
        model, `repairs` times. Tokens and cost are reserved before (`reserve` instead of the estimate) and settled after. While the
        provider is busy the run waits, with timers of its own. Raises `ModelFailed`, and `AnswerUnusable` where there is a `kind`.
        """
        from waypost.models.generating import generate, generate_as, request_of

        request = request_of(prompt, instructions)
        if kind is None:
            return await generate(self._engine, model, request, reserve)
        return await generate_as(self._engine, model, request, kind, repairs=repairs, reserve=reserve)

    @overload
    async def signal(self, name: str) -> Any: ...
    @overload
    async def signal(self, name: str, kind: type[R]) -> R: ...
    async def signal(self, name: str, kind: Any = Any) -> Any:
        """Wait for the next signal of this name and return its payload as `kind`.

        Signals are kept until somebody asks, in the order of their arrival; each is given once. Raises `BadInput`
        if the payload does not fit (the signal is used up).
        """
        return await self._engine.signal(name, kind)

    @overload
    async def ask(self, role: str, question: str, *, expires: Seconds = ...) -> Any: ...
    @overload
    async def ask(self, role: str, question: str, kind: type[R], *, expires: Seconds = ...) -> R: ...
    async def ask(self, role: str, question: str, kind: Any = Any, *, expires: Seconds = timedelta(hours=48)) -> Any:
        """Ask somebody with `role`, wait, and return the answer as `kind`.

        People see a form made from the JSON Schema of `kind`; an answer that does not fit it is refused with the reason, and the
        question stays open. Raises `Unanswered` when somebody declines, or nobody answers within `expires`.

            limit = await ctx.ask("officer", "Up to which amount may this customer go?", int, expires=timedelta(hours=4))
        """
        return await self._engine.ask(role, question, kind, expires)

    @property
    def edits(self) -> list[ArgumentEdit]:
        """The calls of this run, so far, whose arguments a person has changed, in the order in which they ended."""
        return self._engine.edits()

    def set_state(self, value: object) -> None:
        """Show `value` (JSON) as the run's state to people. The last one counts."""
        self._engine.set_state(value)

    @property
    def instructions(self) -> tuple[str, ...]:
        """What people have told the agent while it was paused (`waypost runs resume --instruction`), oldest first.

        One that came is there when the code goes on after the resume; the same on replay.
        """
        return tuple(self._engine.instructions)

    # -- instead of the clock, random numbers and uuid4

    def now(self) -> datetime:
        """The run's clock, aware, in UTC: when the last thing that the code was told happened."""
        return datetime.fromtimestamp(self._engine.time(), UTC)

    def time(self) -> float:
        """The run's clock in Unix seconds; the same as `asyncio.get_running_loop().time()`."""
        return self._engine.time()

    def random(self) -> random.Random:
        """A generator of this task's own, seeded from the run id and the task's place in the run."""
        return self._engine.random()

    def uuid(self) -> uuid.UUID:
        """A new UUID, the same on replay."""
        return self._engine.uuid()

    # -- who we are

    @property
    def run_id(self) -> RunId:
        """Who the run is. In a fork that answers from its source, the source's: the code sees what that saw."""
        return self._engine.identity

    @property
    def correlation_id(self) -> str:
        return self._engine.correlation_id

    @property
    def tenant(self) -> str:
        return self._engine.tenant

    @property
    def taint(self) -> frozenset[str]:
        """Labels of everything from outside that the code has been given so far (`@tool(taint=…)`): they grow, and never go away."""
        return frozenset(self._engine.taint)

    @property
    def idempotency_key(self) -> str:
        """The same on every replay, different for every other run: for what a local step says to the outside. Add a suffix for each
        thing that must happen once. A tool call has a key of its own (`ToolContext.idempotency_key`)."""
        return f"{self._engine.identity}/run"

    @property
    def log(self) -> RunLog:
        """A structured logger that is silent while the code replays what it did before."""
        return self._engine.log


def _asked_of(args: tuple[Any, ...]) -> str:
    from waypost.execution.effects import asked_of

    return asked_of(args)


def _step_of(function: Callable[..., Any], args: tuple[Any, ...], name: str | None) -> tuple[str, Any, Callable[[], Any]]:
    from waypost.execution.effects import prepare_step

    return prepare_step(function, args, name)
