"""The one error tree of Waypost.

    WaypostError
    ├── TransientError          try again later: nothing is wrong with what was asked
    │   ├── Unreachable         NATS or Postgres did not answer
    │   ├── PublishTimeout      JetStream did not confirm a publish in time (it may be stored all the same)
    │   └── NotConfirmed        a command was sent, its commit was not confirmed in time
    ├── PermanentError          the same input will fail again: dead letter, or tell the caller
    │   ├── BadMessage          bytes that are not a message of ours
    │   │   └── TooLarge        a message or payload past its limit
    │   ├── BadInput            a value a caller gave does not fit (names what, which value, what to do)
    │   ├── NotFound            no such run, approval, call, payload, …
    │   ├── Conflict            the request contradicts what is recorded (same key with other input, …)
    │   ├── NotAuthenticated    nobody knows who asks: no signature, or one that is not good
    │   ├── Denied              not allowed (allow-list, role, approval)
    │   ├── TooManyRequests     more than a caller may ask in this time
    │   └── RunFailed           a run that somebody awaits ended without a result
    ├── ConcurrencyError        somebody else moved first
    │   ├── LeaseLost           this replica no longer owns the partition
    │   └── SequenceTaken       an event with this number is already there
    └── ContractError           one of our own promises is broken: a bug, or a configuration that cannot work
        └── Misconfigured       settings that contradict each other or the server

Adapters translate driver errors into this tree with ``raise … from``; asyncpg and nats types never leave them.
A message says what was wrong, with which value, and what to do about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waypost_proto.values import Failure


class WaypostError(Exception):
    """Root of every error that Waypost raises on purpose."""

    code: str = "500"
    """The `Nats-Service-Error-Code` under which `waypost.api.*` reports it (HTTP status numbers)."""


class TransientError(WaypostError):
    """Nothing is wrong with what was asked; trying again later may succeed."""

    code = "503"


class Unreachable(TransientError):
    """A server (NATS, Postgres) did not answer."""


class PublishTimeout(TransientError):
    """JetStream did not confirm a publish in time. It may be stored all the same: publish again with the same id."""


class NotConfirmed(TransientError):
    """A command was sent but its commit was not confirmed in time; it may still be applied."""

    code = "504"


class PermanentError(WaypostError):
    """The same input will fail again."""

    code = "400"


class BadMessage(PermanentError):
    """Bytes that are not a valid message of ours."""


class TooLarge(BadMessage):
    """A message or payload is past its limit."""

    code = "413"


class BadInput(PermanentError):
    """A value given by a caller does not fit."""


class NotFound(PermanentError):
    """No such run, approval, call or payload."""

    code = "404"


class Conflict(PermanentError):
    """The request contradicts what is already recorded."""

    code = "409"


class NotAuthenticated(PermanentError):
    """Nobody knows who asks: the request is not signed, or its signature, its key or its time is not good."""

    code = "401"


class Denied(PermanentError):
    """The caller, agent or tool is not allowed to do this."""

    code = "403"


class TooManyRequests(PermanentError):
    """More than a caller may ask in this time; `retry_after_seconds` says when the next one is taken."""

    code = "429"

    def __init__(self, message: str, *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RunFailed(PermanentError):
    """A run that somebody awaits ended without a result (`failed` or `cancelled`); `failure` says why, if it failed."""

    code = "422"

    def __init__(self, message: str, *, run_id: str = "", status: str = "failed", failure: Failure | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id
        self.status = status
        self.failure = failure


class ConcurrencyError(WaypostError):
    """Somebody else moved first; reload and decide again."""

    code = "409"


class LeaseLost(ConcurrencyError):
    """This replica no longer owns the partition it wrote to."""


class SequenceTaken(ConcurrencyError):
    """An event with this number, or of this cause, is already in the log."""


class ContractError(WaypostError):
    """One of our own promises is broken: a bug, or a configuration that cannot work."""


class Misconfigured(ContractError):
    """Settings contradict each other or the server they meet."""


class NotMigrated(Misconfigured):
    """The database lacks migrations of this version. A service that starts waits for them: whoever deploys it runs them beside it."""
