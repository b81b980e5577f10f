"""Turns what asyncpg raises into Waypost's errors. Nothing of asyncpg's passes through `translated`.

Of a statement that failed as `Unreachable` nobody knows whether it took effect; after any other error it surely did not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from waypost_proto.errors import (
    BadMessage,
    ConcurrencyError,
    ContractError,
    LeaseLost,
    Misconfigured,
    SequenceTaken,
    Unreachable,
    WaypostError,
)

BROKEN = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""After one of these a connection is of no use any more. A server that is killed says so on idle connections too; a statement that is
begun between that message and the end of the connection ends in an `InternalClientError` (seen with asyncpg 0.32)."""
_POSITION_TAKEN = "WP001"
_NO_SENDER = "WP002"
"""Raised by our own functions, see schema/function_commit.sql."""
_UNIQUE = "23505"
_TRANSIENT = (
    "08",  # connection exceptions
    "40",  # deadlock, serialization failure: rolled back for the sake of others
    "53",  # out of connections, disk or memory
    "57",  # shut down, crashed, starting, cancelled
    "58",  # the server's own I/O
    "25006",  # became a read-only standby
    "55P03",  # lock not available
)
_BAD_VALUE = ("22", "23", "54")  # impossible value, violated check, past a limit of Postgres
_NOT_OURS = ("28", "3D", "3F", "42501")  # login, database, schema, privilege
_NOT_MIGRATED = ("42P01", "42703", "42883")  # no such table, column, function


@contextmanager
def translated() -> Iterator[None]:
    """Raise the `WaypostError` for whatever the block raises. Cancellation passes."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _of_server(error) from error
    except (OSError, TimeoutError) as error:
        raise Unreachable(f"Postgres did not answer: {_text(error)}; check that it runs and WAYPOST_POSTGRES_URL") from error
    except BROKEN as error:
        raise Unreachable(f"the connection to Postgres is gone: {_text(error)}") from error


def _of_server(error: asyncpg.PostgresError) -> WaypostError:
    state = error.sqlstate or "22000"  # asyncpg raises DataError itself, without a state, for what it cannot encode
    text = _text(error)
    if state.startswith(_TRANSIENT):
        return Unreachable(f"Postgres cannot answer now: {text}")
    if state == _POSITION_TAKEN:
        return SequenceTaken(f"{text}: another commit of this replica came first; load the runs again and decide again")
    if state == _NO_SENDER:
        return LeaseLost(f"{text}: nothing was written")
    if state == _UNIQUE:
        return _of_unique(error)
    if state.startswith(_BAD_VALUE):
        return BadMessage(f"the database cannot hold a value: {text}")
    if state.startswith(_NOT_OURS):
        return Misconfigured(f"Postgres refuses: {text}; check the user, the database and its grants (roles waypost_*)")
    if state in _NOT_MIGRATED:
        return Misconfigured(f"the database lacks something: {text}; run `waypost migrate`")
    return ContractError(f"Postgres answers {state}: {text}")


def _of_unique(error: asyncpg.PostgresError) -> WaypostError:
    table = getattr(error, "table_name", None) or ""
    text = _text(error)
    if table.startswith("events"):
        return SequenceTaken(f"an event is in the log already: {text}; load the run again and decide again")
    return ConcurrencyError(f"somebody else wrote first: {text}")


def _text(error: BaseException) -> str:
    detail = getattr(error, "detail", None)
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{text} ({detail})" if detail else text
