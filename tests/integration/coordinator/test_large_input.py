"""A large value is a row in Postgres: whatever happens to the broker, it is there (CORRECTNESS.md row 3)."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.chaos.stack import hosted, stack
from tests.waiting import wait_until
from waypost_io.servers import EmbeddedNats, EmbeddedPostgres


@pytest.mark.crash
async def test_a_large_input_survives_the_loss_of_every_stream(
    tmp_path: Path, own_nats: EmbeddedNats, postgres: EmbeddedPostgres, postgres_template: str
) -> None:
    name = f"l{uuid.uuid4().hex[:12]}"
    url = await postgres.create_database(name, template=postgres_template)
    text = "x" * 400_000
    async with stack(tmp_path, nats_url=own_nats.url, postgres_url=url) as services:
        async with services.client() as client:
            await hosted(client)
            await services.kill("worker")
            run_id = (await client.start("helper", text)).run_id
        await own_nats.kill()
        await own_nats.wipe()
        await own_nats.start()
        await services.start("worker")
        async with services.client() as client:
            await wait_until(lambda: client.get(run_id), ignore=(Exception,))
            assert await client.result(run_id, timeout=60) == text.upper(), services.log()
    await postgres.drop_database(name)
