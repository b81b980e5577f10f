"""Local effects: functions that `ctx.step` runs outside the deterministic loop, on the worker's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from waypost_proto.ids import CallId
from waypost_proto.values import Failure


class LocalEffect:
    """One request to run a local step. The worker decides when; it calls `run` at most once per object.

    The worker may set `on_cancel`: it is called (outside the deterministic loop) when the code stops waiting for the
    step, after which `wanted` is False. Whether or not it is wanted, every effect that was handed out must be ended
    with `Execution.finish_effect`, because it counts in `Execution.running` until then.
    """

    __slots__ = ("_run", "call_id", "name", "on_cancel", "wanted")

    def __init__(self, call_id: CallId, name: str, run: Callable[[], Awaitable[bytes]]) -> None:
        self.call_id = call_id
        self.name = name
        self.wanted = True
        self.on_cancel: Callable[[], None] | None = None
        self._run = run

    async def run(self) -> bytes:
        """Run the function and return its result as JSON. Raises what the function raises: see `failure_of`.

        A plain function runs in a thread, a coroutine function on the loop that awaits this. Cancelling is passed on
        to a coroutine function; a thread cannot be stopped and its result is dropped.
        """
        return await self._run()


class EffectResult(Struct, frozen=True, kw_only=True):
    """How a local effect ended: `result` (JSON bytes) or `error`. `at` is the worker's clock in Unix seconds."""

    call_id: CallId
    at: float
    duration_seconds: float = 0.0
    result: bytes | None = None
    error: Failure | None = None


def failure_of(error: BaseException) -> Failure:
    """An exception as data, as it is recorded: class name and message."""
    return Failure(type=type(error).__name__, message=str(error) or repr(error))


def prepare_step(function: Callable[..., Any], args: tuple[Any, ...], name: str | None) -> tuple[str, Any, Callable[[], Any]]:
    """Name, declared return type and body of `ctx.step(function, *args, name=name)`. (Interface; the body follows.)"""
    raise NotImplementedError
