"""The local effects of one run: what the code asked for and has not been started, and what is in flight."""

from __future__ import annotations

from collections.abc import Callable

from waypost.execution import EffectResult, LocalEffect
from waypost.step_scope import StepScope
from waypost_io.logs import AboutRun
from waypost_proto.ids import CallId
from waypost_proto.usage import Usage
from waypost_proto.values import Failure
from waypost_worker.effects import Done, EffectRunner, Handle


def _nobody(_result: EffectResult) -> None:
    """Told of what ends after `drop`."""


def _no_scope(_call_id: CallId) -> StepScope | None:
    return None


_NOT_STARTED = Failure(type="Cancelled", message="the step was cancelled before it began")


class RunEffects:
    """`done` gets the result of every effect that was wanted, once, unless `drop` came first. `scope` is asked for each that is started.

    `run_id` and `agent` are bound to the context in which an effect runs, with its step: whatever it logs says which run it is.
    """

    def __init__(
        self,
        runner: EffectRunner,
        clock: Callable[[], float],
        done: Done,
        scope: Callable[[CallId], StepScope | None] = _no_scope,
        *,
        run_id: str = "",
        agent: str = "",
    ) -> None:
        self._run_id, self._agent = run_id, agent
        self._runner = runner
        self._scope = scope
        self._clock = clock
        self._done = done
        self._wanted: list[LocalEffect] = []
        self._handles: dict[CallId, Handle] = {}

    @property
    def wanted(self) -> int:
        """Asked for and not started."""
        return len(self._wanted)

    @property
    def in_flight(self) -> int:
        """Started and not ended."""
        return len(self._handles)

    def want(self, effect: LocalEffect) -> None:
        """The code asks for it; nothing starts before `start`."""
        self._wanted.append(effect)

    def start(self) -> bool:
        """Start everything that is wanted; True if anything was.

        What the code gave up meanwhile is reported as cancelled at once, because the execution counts it.
        """
        wanted, self._wanted = self._wanted, []
        for effect in wanted:
            if effect.wanted:
                effect.scope = self._scope(effect.call_id)
                with AboutRun(self._run_id, self._agent, effect.call_id):
                    self._handles[effect.call_id] = self._runner.start(effect, self._ended)
            else:
                self._done(EffectResult(call_id=effect.call_id, at=self._clock(), error=_NOT_STARTED, usage=Usage()))
        return bool(wanted)

    def cancel(self, call_id: CallId) -> None:
        """Ask one to end; it is reported as cancelled. One that is not in flight changes nothing."""
        handle = self._handles.get(call_id)
        if handle is not None:
            handle.cancel()

    def drop(self) -> None:
        """Ask all to end and report none, and let go of whoever was told. Idempotent."""
        handles, self._handles = self._handles, {}
        self._wanted.clear()
        self._done, self._scope = _nobody, _no_scope
        for handle in handles.values():
            handle.drop()

    def _ended(self, result: EffectResult) -> None:
        self._handles.pop(result.call_id, None)
        self._done(result)
