"""`waypost doctor` and `waypost migrate` on real servers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.integration.api.test_command_line import Shell
from waypost_io.servers import EmbeddedPostgres


async def findings(shell: Shell) -> tuple[int, dict[str, Any]]:
    done = await shell("doctor", "--json")
    assert done.err == ""
    return done.code, {finding["check"]: finding for finding in json.loads(done.out)}


async def test_a_healthy_installation(shell: Shell) -> None:
    code, found = await findings(shell)
    assert {check: finding["level"] for check, finding in found.items() if finding["level"] != "ok"} == {}
    assert code == 0
    assert {"nats", "jetstream", "streams", "coordinator", "postgres", "migrations", "partitions", "audit log"} <= found.keys()
    text = await shell("doctor")
    assert text.out.count("✓") == len(found)


@pytest.mark.slow
async def test_what_is_wrong_is_said_with_its_mending(shell: Shell, postgres: EmbeddedPostgres) -> None:
    url = await postgres.create_database(f"doctor_{os.getpid()}")
    shell.environment |= {"WAYPOST_POSTGRES_URL": url, "WAYPOST_PARTITIONS": "1", "WAYPOST_NATS_ULR": "x"}
    code, found = await findings(shell)
    assert code == 1
    assert found["environment"]["level"] == "warning"
    assert found["migrations"]["mend"] == "run `waypost migrate`"
    assert (await shell("migrate", "--check")).code == 1
    migrated = await shell("migrate")
    assert migrated.code == 0, migrated.err
    assert "applying 0001" in migrated.err
    assert (await shell("migrate", "--check")).out == "up to date\n"
    assert (await shell("migrate")).out == "up to date\n"
    _, found = await findings(shell)
    assert found["migrations"]["level"] == "ok"
    assert found["partitions"]["level"] == "warning"


async def test_servers_that_are_not_there(tmp_path: Path, free_port: int) -> None:
    shell = Shell(f"nats://127.0.0.1:{free_port}", "waypost", tmp_path)
    shell.environment["WAYPOST_POSTGRES_URL"] = f"postgresql://x:secret@127.0.0.1:{free_port}/x"
    code, found = await findings(shell)
    assert code == 3
    assert (found["nats"]["level"], found["postgres"]["level"]) == ("failure", "failure")
    done = await shell("migrate")
    assert done.code == 3
    assert "secret" not in done.err
    assert done.err.count("\n") == 1
