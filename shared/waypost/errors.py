"""Errors that agents and tools meet, under the one root of `waypost_proto.errors`. Owns no transport error.

What an agent's code can catch:

    ToolError               a tool call ended without a result: `.tool`, `.call_id`, `.failure`
    ├── ToolFailed          it failed for good (attempts used up, not retryable, or given up by a person)
    └── ToolDenied          it may not be called: not in `tools=[…]`, or refused by the gateway
        └── ApprovalDenied  the approval it needed was denied, or expired
    Unanswered              `ctx.ask(…)`: nobody answered in time, or somebody declined; `.type` tells which
    StepFailed              `ctx.step(…)` raised; `.type` is the class name of what it raised
    ChildFailed             a child run ended without a result (a `RunFailed`)

The same class is raised live and on replay: that is why a local step's `ValueError` reaches the code as `StepFailed`.

What a tool's code can raise:

    NotExecuted             the effect surely did not take place: try again (the only thing that retries an unsafe tool)
    └── DoNotRetry          … and trying again cannot help
    RetryLater              failed for now, with the time a server asked for (`Retry-After`); an unsafe call is in doubt
"""

from __future__ import annotations

from waypost_proto.errors import PermanentError, RunFailed, TransientError, WaypostError
from waypost_proto.values import Failure, RunStatus


class ToolError(PermanentError):
    """A tool call ended without a result. `tool` and `call_id` say which, `failure` is what was recorded."""

    def __init__(self, tool: str, call_id: str, failure: Failure) -> None:
        super().__init__(f"tool {tool!r} (call {call_id}): {failure.type}: {failure.message}")
        self.tool = tool
        self.call_id = call_id
        self.failure = failure

    @property
    def type(self) -> str:
        """Class name of the error that the tool raised, or one of Waypost's own."""
        return self.failure.type


class ToolFailed(ToolError):
    """The call failed for good."""


class ToolDenied(ToolError):
    """The call is not allowed: the tool is not in the agent's `tools=[…]`, or the gateway refused it."""


class ApprovalDenied(ToolDenied):
    """The approval that the call needed was denied, or expired without a decision."""


class Unanswered(PermanentError):
    """A question got no answer. `type` is `QuestionExpired` or `QuestionDeclined`; `failure` holds the reason that was given."""

    def __init__(self, role: str, question_id: str, failure: Failure) -> None:
        super().__init__(f"question {question_id} to {role!r}: {failure.type}: {failure.message}")
        self.role = role
        self.question_id = question_id
        self.failure = failure

    @property
    def type(self) -> str:
        """`QuestionExpired` or `QuestionDeclined`."""
        return self.failure.type


class StepFailed(PermanentError):
    """A local step (`ctx.step`) raised. `type` is the class name of what it raised, the text is its message."""

    def __init__(self, name: str, call_id: str, failure: Failure) -> None:
        super().__init__(f"step {name!r} ({call_id}): {failure.type}: {failure.message}")
        self.name = name
        self.call_id = call_id
        self.failure = failure

    @property
    def type(self) -> str:
        """Class name of the error that the step raised."""
        return self.failure.type


class ChildFailed(RunFailed):
    """A child run ended without a result; `status` tells `failed` from `cancelled`."""

    def __init__(self, agent: str, run_id: str, status: RunStatus, failure: Failure) -> None:
        super().__init__(f"child run {run_id} of {agent!r} {status.value}: {failure.type}: {failure.message}")
        self.agent = agent
        self.run_id = run_id
        self.status = status
        self.failure = failure


class NotExecuted(WaypostError):
    """Raised by a tool: its effect surely did not take place, so the call may be tried again, even an unsafe one.

    `retry_after`: seconds before which another attempt is useless (from a `Retry-After` header, say).
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DoNotRetry(NotExecuted):
    """Raised by a tool: its effect surely did not take place, and trying again cannot help. The call fails at once."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class RetryLater(TransientError):
    """Raised by a tool: it failed for now; try again, but not before `retry_after` seconds.

    Says nothing about whether an effect took place, so an unsafe call that raises it is in doubt: raise
    `NotExecuted(…, retry_after=…)` where the server surely did nothing.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


__all__ = [
    "ApprovalDenied",
    "ChildFailed",
    "DoNotRetry",
    "NotExecuted",
    "RetryLater",
    "RunFailed",
    "StepFailed",
    "ToolDenied",
    "ToolError",
    "ToolFailed",
    "Unanswered",
    "WaypostError",
]
