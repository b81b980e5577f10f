"""The demo's last question: does the audit log prove the record, every event of it? Asked as `waypost audit verify --key` asks it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from waypost_cli.dev.options import KEY_VARIABLE
from waypost_core.audit.report import Report
from waypost_io.audit.keyfile import read_keys
from waypost_io.audit.verifying import Wanted, verify
from waypost_io.store.ports import Audit
from waypost_io.store.postgres import PostgresStore

SIGNED_SECONDS = 20.0
"""How long to wait until a head covers all that was recorded: one is signed every second."""
POLL_SECONDS = 0.1


async def check_record(postgres_url: str, key_file: Path) -> Report:
    """Wait until everything is under a signed head, at most `SIGNED_SECONDS`, then verify against the key in the file.

    Raises `TransientError` when Postgres is silent.
    """
    trusted = [key.verifier for key in read_keys(Path(os.environ.get(KEY_VARIABLE, "") or key_file))]
    async with PostgresStore(postgres_url, pool_size=4, application_name="waypost demo") as store:
        await _signed(store.audit)
        return await verify(store.audit, Wanted(trusted=trusted))


async def _signed(audit: Audit) -> None:
    """Until a head covers all leaves and no event waits; after a while it is for the check to say what is missing."""
    for _ in range(round(SIGNED_SECONDS / POLL_SECONDS)):
        newest, state, behind = await audit.newest_head(), await audit.state(), sum((await audit.lag()).values())
        if newest is not None and newest.size == state.size and not behind:
            return
        await asyncio.sleep(POLL_SECONDS)
