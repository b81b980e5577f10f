"""What a model writes, seen from outside while it writes; and when its worker is killed in the middle of it."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from tests.fake_provider import FakeProvider, Reply
from tests.integration.approvals.platform import Platform
from tests.integration.models.conftest import MODULE
from tests.waiting import wait_until
from waypost.client import Client
from waypost.streamed import Streamed


async def watch(client: Client, run_id: str, seen: list[Streamed]) -> list[Streamed]:
    async for item in client.stream(run_id):
        seen.append(item)  # noqa: PERF401 - somebody looks meanwhile
    return seen


async def test_pieces_come_before_the_answer(client: Client, provider: FakeProvider) -> None:
    provider.plan.append(Reply(text="word " * 40, pieces=40, piece_delay=0.02))
    run = await client.start("asker", {"prompt": "?"})
    items = await asyncio.wait_for(watch(client, run.run_id, []), 20)
    kinds = [item.kind for item in items]
    assert kinds[-2:] == ["answered", "ended"]
    assert items[-2].text == "word " * 40
    assert items[-1].text == "completed"
    assert kinds.count("answered") == 1
    assert kinds.count("text") > 1, "it was shown while it was written"
    # who began to watch after the first pieces misses these, and is told so
    shown = "".join(item.text for item in items if item.kind == "text")
    assert shown == "word " * 40 or ("gap" in kinds and ("word " * 40).endswith(shown))


async def test_several_calls_at_once_are_told_apart(client: Client, provider: FakeProvider) -> None:
    provider.plan.extend(Reply(text=f"{n}" * 30, pieces=10, piece_delay=0.02) for n in range(3))
    run = await client.start("several", {"prompt": "?", "times": 3})
    items = await asyncio.wait_for(watch(client, run.run_id, []), 20)
    answers = {item.call_id: item.text for item in items if item.kind == "answered"}
    assert sorted(answers.values()) == ["0" * 30, "1" * 30, "2" * 30]
    for call_id, answer in answers.items():
        shown = "".join(item.text for item in items if item.kind == "text" and item.call_id == call_id)
        assert answer.endswith(shown)


async def test_a_killed_worker_restarts_the_answer_and_nothing_is_final_twice(
    client: Client, desk: Platform, provider: FakeProvider
) -> None:
    provider.plan.extend(
        [Reply(text="first " * 200, pieces=200, piece_delay=0.02), Reply(text="second " * 20, pieces=20, piece_delay=0.01)]
    )
    run = await client.start("asker", {"prompt": "?"})
    seen: list[Streamed] = []
    watching = asyncio.create_task(watch(client, run.run_id, seen))
    await wait_until(lambda: any(item.kind == "text" for item in seen))
    worker = desk.processes[1]
    worker.kill()
    await worker.wait()
    await desk.start("waypost_worker", str(MODULE))
    desk.processes[1] = desk.processes.pop()
    assert await client.result(run.run_id, timeout=30) == ["second " * 20]
    items = await asyncio.wait_for(watching, 20)
    kinds = [item.kind for item in items]
    restart = kinds.index("restarted")
    assert all("first" in item.text or item.text in "first " for item in items[:restart] if item.kind == "text")
    assert "".join(item.text for item in items[restart:] if item.kind == "text") == "second " * 20
    assert [item.text for item in items if item.kind == "answered"] == ["second " * 20]


async def test_the_command_line_shows_them(client: Client, desk: Platform, provider: FakeProvider) -> None:
    provider.plan.append(Reply(text="word " * 20, pieces=20, piece_delay=0.02))
    run = await client.start("asker", {"prompt": "?"})
    for more in ([], ["--json"]):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "waypost_cli", "runs", "watch", run.run_id, "--tokens", *more,
            env={**os.environ, **desk.environment}, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0
        lines = output.decode().strip().splitlines()
        if more:
            assert [json.loads(line)["kind"] for line in lines][-2:] == ["answered", "ended"]
        else:
            assert lines[-1] == "— run completed"
            assert "word word" in output.decode()
