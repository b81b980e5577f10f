"""What stands before a tool besides its permit: the policy and the breaker. Owns how they are asked and told, not what they decide."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from msgspec import Raw, Struct

from waypost_core.policy import Allow, Deny, RequireApproval
from waypost_gateway.answers import Answers, encoded
from waypost_gateway.breaking import ToolBreaker, Wait
from waypost_gateway.classify import Ending, Raised, Returned, TimedOut, Unusable
from waypost_gateway.metrics import Metrics
from waypost_gateway.outcomes import Answered
from waypost_gateway.policing import PolicyDesk, PolicyFailed
from waypost_proto.codec import encode
from waypost_proto.tools import ToolCall
from waypost_proto.values import Breaker, Effect, Failure


class Denial(Struct, frozen=True):
    """What the log keeps of a denial, in the error's `details`."""

    rule: str
    policy_version: str


class Admitted:
    """A call that a breaker let through. `report` how it ended; a probe that ends without a report (refused, crashed) is given back."""

    __slots__ = ("_breaker", "_changed", "_now", "_policy", "_probe", "_told")

    def __init__(
        self, breaker: ToolBreaker | None, policy: Breaker | None, *, probe: bool, now: Callable[[], float], changed: Callable[[], None]
    ) -> None:
        self._breaker = breaker
        self._policy = policy
        self._probe = probe
        self._now = now
        self._changed = changed
        self._told = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._breaker is not None and self._probe and not self._told and self._breaker.spared(self._now()):
            self._changed()

    def report(self, ending: Ending) -> None:
        """How the tool's code ended. What says nothing of the tool (it was interrupted, it says that the call is wrong) is no report."""
        breaker, policy = self._breaker, self._policy
        if breaker is None or policy is None:
            return
        match ending:
            case Returned() | Unusable():
                changed = breaker.succeeded(self._now(), probe=self._probe)
            case Raised(failure) if ending.retryable and not any(name in policy.ignore for name in (failure.type, *ending.kinds)):
                changed = breaker.failed(self._now(), failure.type, probe=self._probe)
            case TimedOut() if "Timeout" not in policy.ignore:
                changed = breaker.failed(self._now(), "Timeout", probe=self._probe)
            case _:
                return
        self._told = True
        if changed:
            self._changed()


def _nothing() -> None:
    """Nobody is told."""


_ALWAYS = Admitted(None, None, probe=False, now=float, changed=_nothing)


class Guard:
    """One gateway's policy and breakers."""

    def __init__(
        self,
        policy: PolicyDesk,
        answers: Answers,
        metrics: Metrics,
        *,
        breakers: Mapping[str, tuple[ToolBreaker, Breaker]],
        now: Callable[[], float],
    ) -> None:
        self._policy = policy
        self._answers = answers
        self._metrics = metrics
        self._breakers = breakers
        self._now = now
        self.changed: Callable[[str], None] = lambda _tool: None
        """Called with the tool whose breaker has changed."""

    def admit(self, tool: str) -> Admitted | Wait:
        """Whether the tool's breaker lets a call through."""
        found = self._breakers.get(tool)
        if found is None:
            return _ALWAYS
        breaker, policy = found
        verdict = breaker.admit(self._now(), random.random())  # noqa: S311 - spreads calls out
        if isinstance(verdict, Wait):
            return verdict
        if verdict == "probe":
            self.changed(tool)
        return Admitted(breaker, policy, probe=verdict == "probe", now=self._now, changed=lambda: self.changed(tool))

    def judge(self, call: ToolCall, effect: Effect, args: bytes) -> Answered | None:
        """What the policy has against the call, as an answer; None: nothing."""
        if self._policy.idle:
            return None
        try:
            verdict = self._policy.judge(call, effect, args)
        except PolicyFailed as error:
            self._metrics.policy("failed")
            failure = Failure(type="PolicyFailed", message=str(error))
            return Answered(encoded(self._answers.failed(call, failure, retryable=True)), "failed")
        version = self._policy.version
        match verdict:
            case Allow():
                self._metrics.policy("allow")
                return None
            case Deny():
                self._metrics.policy("deny")
                details = Raw(encode(Denial(rule=verdict.rule, policy_version=version)))
                reason = verdict.reason or "the policy denies it"
                message = f"{reason} (rule {verdict.rule!r} of policy {version}); the call was not started"
                return Answered(
                    encoded(self._answers.refused(call, Failure(type="ToolDenied", message=message, details=details))), "denied"
                )
            case RequireApproval():
                if call.approval_id is not None and verdict.terms.met_by(call.approval_terms):
                    self._metrics.policy("approved")
                    return None  # whether it was granted, for these arguments, is the ledger's to check
                self._metrics.policy("require_approval")
                return Answered(encoded(self._answers.needs_approval(call, verdict, version)), "needs_approval")
