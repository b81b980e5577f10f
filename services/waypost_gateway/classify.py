"""What a call's ending means for its caller: (effect, ending) → verdict. Pure: no clock, no I/O, no logging.

The theory, in one table (CORRECTNESS.md row 6). "In doubt" is not an error of the tool but a statement about our knowledge: an unsafe call
that was started may have taken effect whenever we cannot prove the opposite, and only its own `NotExecuted` proves it.

    ending                    read            idempotent      unsafe
    returned                  success         success         success
    raised NotExecuted        failed, retry   failed, retry   failed, retry
    raised DoNotRetry         failed, final   failed, final   failed, final
    raised anything else      failed, retry   failed, retry   in doubt
    timed out                 failed, retry   failed, retry   in doubt
    its gateway stops         given back      given back      in doubt
      … before it began       given back      given back      failed, retry
    its run has ended         dropped         given back      in doubt      (only reads are ever interrupted for this)
    result cannot be carried  failed, final   failed, final   in doubt
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

from waypost_proto.values import Effect, Failure

TIMEOUT_KINDS = ("Timeout", "TimeoutError", "OSError")
"""What a retry policy may call a time limit that passed."""

# -- how an execution ended


@dataclass(frozen=True, slots=True)
class Returned:
    """The tool returned; `result` is its JSON."""

    result: bytes


@dataclass(frozen=True, slots=True)
class Raised:
    """The tool raised. `not_executed`: it says itself that nothing took effect. Not `retryable`: and that trying again is useless."""

    failure: Failure
    not_executed: bool = False
    retryable: bool = True
    retry_after_seconds: float | None = None
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TimedOut:
    """The call was cancelled after this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The gateway cancelled the call: it is stopping, or nobody wants the answer any more. `began`: the tool's code was running."""

    why: Literal["draining", "ended"]
    began: bool = True


@dataclass(frozen=True, slots=True)
class Unusable:
    """The tool returned, so it took effect, but its result cannot be carried (not JSON, or past the limit)."""

    failure: Failure


Ending = Returned | Raised | TimedOut | Interrupted | Unusable

# -- what follows from it


@dataclass(frozen=True, slots=True)
class Succeed:
    result: bytes


@dataclass(frozen=True, slots=True)
class Fail:
    """The attempt failed and has no unsafe effect."""

    failure: Failure
    retryable: bool = True
    retry_after_seconds: float | None = None
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Doubt:
    """The call may have taken effect."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class GiveBack:
    """No answer: the message stays unacked and its lease is given back, so that another gateway takes the same attempt."""


@dataclass(frozen=True, slots=True)
class Drop:
    """No answer, message acked: nobody waits for it."""


Verdict = Succeed | Fail | Doubt | GiveBack | Drop


def classify(effect: Effect, ending: Ending) -> Verdict:  # noqa: PLR0911 - a row of the table each
    """The verdict on one started execution. Total over its arguments."""
    match ending:
        case Returned(result):
            return Succeed(result)
        case Raised() if ending.not_executed or effect is not Effect.UNSAFE:
            return Fail(ending.failure, ending.retryable, ending.retry_after_seconds, ending.kinds)
        case Raised(failure):
            return Doubt(failure)
        case TimedOut(seconds):
            failure = Failure(type="Timeout", message=f"no answer within {seconds:g} s")
            return Doubt(failure) if effect is Effect.UNSAFE else Fail(failure, kinds=TIMEOUT_KINDS)
        case Interrupted("ended") if effect is Effect.READ:
            return Drop()
        case Interrupted():
            if effect is not Effect.UNSAFE:
                return GiveBack()
            if not ending.began:
                return Fail(Failure(type="NotExecuted", message="the gateway stopped before the call began"))
            return Doubt(Failure(type="Interrupted", message="the gateway stopped while the call was running"))
        case Unusable(failure):
            return Doubt(failure) if effect is Effect.UNSAFE else Fail(failure, retryable=False)
    assert_never(ending)


def stricter(declared: Effect, asked: Effect) -> Effect:
    """Of two opinions on a tool's effect (its own definition, the coordinator's call) the one that allows less."""
    if declared is asked:
        return declared
    order = (Effect.READ, Effect.IDEMPOTENT, Effect.UNSAFE)
    return max(declared, asked, key=order.index)
