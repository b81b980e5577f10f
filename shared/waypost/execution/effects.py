"""Local effects: functions that `ctx.step` runs outside the deterministic loop, on the worker's own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import typing
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from waypost._threads import in_thread
from waypost.conversion import encode_result, fit, shown
from waypost.metering import CURRENT, Meter
from waypost.step_scope import SCOPE, StepScope
from waypost.targets import Target
from waypost_proto.codec import encode
from waypost_proto.errors import WaypostError
from waypost_proto.ids import CallId, digest_of
from waypost_proto.limits import MAX_KEY_CHARS
from waypost_proto.models import ModelCall
from waypost_proto.usage import Usage
from waypost_proto.values import Failure

_MAX_MESSAGE_CHARS = 8_000
"""A failure is read by people and kept for ever: what an exception says past this is cut."""
_MAX_TYPE_CHARS = 128
_MAX_GROUP_MEMBERS = 20


class LocalEffect:
    """One request to run a local step. The worker decides when; it calls `run` at most once per object.

    The worker may set `on_cancel`: it is called (outside the deterministic loop) when the code stops waiting for the
    step, after which `wanted` is False. Whether or not it is wanted, every effect that was handed out must be ended
    with `Execution.finish_effect`, because it counts in `Execution.running` until then.
    """

    __slots__ = ("_asked", "_run", "attempt", "call_id", "meter", "model", "name", "on_cancel", "reserve", "scope", "wanted")

    def __init__(
        self,
        call_id: CallId,
        name: str,
        run: Callable[[], Awaitable[bytes]],
        reserve: Usage | None = None,
        *,
        asked: str | Callable[[], str] = "",
        model: bool = False,
    ) -> None:
        """`asked`: a digest of what it asks, or how to find it where that takes long; `model`: it asks a model, and does nothing else."""
        self.call_id = call_id
        self.name = name
        self.wanted = True
        self.on_cancel: Callable[[], object] | None = None
        self.reserve = reserve
        self.attempt = 1
        """Which request for allowance this is: more than 1 when another worker may have begun it."""
        self.meter = Meter()
        self.scope: StepScope | None = None
        """The worker sets it before it calls `run`."""
        self.model = model
        self._asked = asked
        self._run = run

    @property
    def asked(self) -> str:
        """The digest of its arguments as it is recorded; "" for a model call, whose request is recorded elsewhere, if nobody said."""
        return self._asked if isinstance(self._asked, str) else ""

    def asks(self) -> str:
        """The digest of what it asks, found now if need be."""
        return self._asked if isinstance(self._asked, str) else self._asked()

    async def run(self) -> bytes:
        """Run the function and return its result as JSON. Raises what the function raises: see `failure_of`.

        A plain function runs in a thread, a coroutine function on the loop that awaits this. Cancelling is passed on
        to a coroutine function; a thread cannot be stopped and its result is dropped. Await it in a task of its own: what the
        function reports goes to `meter` by way of the task's context.
        """
        CURRENT.set(self.meter)
        SCOPE.set(self.scope)
        return await self._run()

    def drop(self) -> None:
        """The code no longer waits for it."""
        self.wanted = False
        if self.on_cancel is not None:
            self.on_cancel()


class EffectResult(Struct, frozen=True, kw_only=True):
    """How a local effect ended: `result` (JSON bytes) or `error`. `at` is the worker's clock in Unix seconds."""

    call_id: CallId
    at: float
    duration_seconds: float = 0.0
    result: bytes | None = None
    error: Failure | None = None
    usage: Usage | None = None
    fingerprint: str = ""
    model: ModelCall | None = None


def failure_of(error: BaseException) -> Failure:
    """An exception as data, as it is recorded: class name and message, cut; the members of a group are named. Never raises."""
    try:
        message = str(error) or shown(error)
    except Exception as broken:  # noqa: BLE001 - a user's own __str__ may fail in any way, and the run must end all the same
        message = f"(its message cannot be shown: {type(broken).__name__})"
    if isinstance(error, BaseExceptionGroup):
        named = map(failure_of, error.exceptions[:_MAX_GROUP_MEMBERS])
        message += ": " + "; ".join(f"{inner.type}: {inner.message}" for inner in named)
    return Failure(type=type(error).__name__[:_MAX_TYPE_CHARS], message=text_of(message), details=_details_of(error))


def _details_of(error: BaseException) -> Raw | UnsetType:
    """What an error of Waypost's own says beside its message (`failure_details`): numbers that somebody goes by."""
    details = getattr(error, "failure_details", None) if isinstance(error, WaypostError) else None
    return Raw(encode(details)) if details else UNSET


def text_of(text: str) -> str:
    """A text as it can be recorded: lone surrogates replaced, and what is past the limit cut."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _MAX_MESSAGE_CHARS else f"{text[:_MAX_MESSAGE_CHARS]} … ({len(text)} characters)"


def prepare_step(function: Callable[..., Any], args: tuple[Any, ...], name: str | None) -> tuple[str, Any, Callable[[], Awaitable[bytes]]]:
    """Name, declared return type and body of `ctx.step(function, *args, name=name)`.

    Raises `TypeError` for what is no function, and for tools and agents: those are for `ctx.call`.
    """
    if isinstance(function, Target):
        raise TypeError(f"{function!r} is called with `await ctx.call(…)`; ctx.step is for plain functions")
    if not callable(function):
        raise TypeError(f"ctx.step needs a function and its arguments, not {function!r}: write ctx.step(f, x), not ctx.step(f(x))")
    plain = function.func if isinstance(function, functools.partial) else function
    label = name or str(getattr(plain, "__name__", type(plain).__name__))
    return label[:MAX_KEY_CHARS], _returns(plain), functools.partial(_run, label, function, args)


def asked_of(args: tuple[Any, ...]) -> str:
    """16 hex digits that tell the arguments of a step from others; "" for what is not JSON."""
    try:
        return digest_of(msgspec.json.encode(args, order="deterministic"))[:16]
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return ""


async def _run(label: str, function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    plain = function.func if isinstance(function, functools.partial) else function
    if inspect.iscoroutinefunction(plain):
        result = await _awaited(label, function(*args))
    else:
        result = await in_thread(function, *args)
        if inspect.isawaitable(result):
            result = await _awaited(label, result)
    what = f"the result of step {label!r}"
    return fit(what, encode_result(what, result))


async def _awaited(label: str, awaitable: Awaitable[Any]) -> Any:
    """The awaitable's result. A `GeneratorExit` of its own is no sign that we are being closed, and becomes `RuntimeError`."""
    task = asyncio.current_task()
    try:
        return await awaitable
    except GeneratorExit as error:
        if not _is_running(task):
            raise
        raise RuntimeError(f"{label} raised GeneratorExit") from error


def _is_running(task: asyncio.Task[Any] | None) -> bool:
    try:
        return asyncio.current_task() is task
    except RuntimeError:  # no loop is running any more
        return False


_RETURNS: weakref.WeakKeyDictionary[Callable[..., Any], Any] = weakref.WeakKeyDictionary()


def _returns(function: Callable[..., Any]) -> Any:
    """The declared return type; `Any` where there is none or it cannot be resolved."""
    function = getattr(function, "__func__", function)
    try:
        return _RETURNS[function]
    except (KeyError, TypeError):
        pass
    try:
        kind = typing.get_type_hints(function, include_extras=True).get("return", Any)
    except (NameError, TypeError, AttributeError):
        kind = Any
    with contextlib.suppress(TypeError):  # not weakly referable (a built-in): read again next time
        _RETURNS[function] = kind
    return kind
