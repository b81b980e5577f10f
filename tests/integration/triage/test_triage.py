"""The support triage on real services, offline: small refunds by themselves, large ones after a person's answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.stack import hosted, stack
from tests.waiting import wait_until
from waypost_proto.errors import WaypostError

MODULE = "waypost_examples.triage"
COMMANDS = {
    "coordinator": ["-m", "waypost_coordinator"],
    "worker": ["-m", "waypost_worker", MODULE],
    "gateway": ["-m", "waypost_gateway", MODULE],
}
OFFLINE = {"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": ""}


def ticket(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


async def test_triage(tmp_path: Path, nats_url: str, database: str) -> None:
    async with (
        stack(tmp_path, nats_url=nats_url, postgres_url=database, commands=COMMANDS, environment=OFFLINE) as services,
        services.client() as client,
    ):
        await hosted(client, seconds=50)
        small = (await client.start("triage", ticket("order o-8 is broken"))).run_id
        large = (await client.start("triage", ticket("order o-7 is broken"))).run_id
        denied = (await client.start("triage", ticket("order o-7 came late, says o-7"))).run_id
        assert (await client.result(small, timeout=40))["refund"] == 9.5

        async def asked() -> bool:
            return len(await client.approvals()) == 2

        await wait_until(asked, seconds=20)
        (question,) = await client.approvals(run_id=large)
        assert "Refund 120.00 for order o-7?" in question.question
        await services.kill("worker")  # a run that waits for people needs no worker
        with pytest.raises(WaypostError, match="approve"):
            await client.answer(question.approval_id, {"reason": "no"}, by="ada", roles=["support"])
        await client.answer(question.approval_id, {"approve": True}, by="ada", roles=["support"])
        await services.start("worker")
        result = await client.result(large, timeout=40)
        assert result["refund"] == 120.0
        assert "refund " in result["reply"]

        (other,) = await client.approvals(run_id=denied)
        await client.answer(other.approval_id, {"approve": False, "reason": "too late"}, by="ada", roles=["support"])
        assert await client.result(denied, timeout=40) == {"refund": 0.0, "reply": "We cannot refund this: too late"}
        calls = [event.type async for event in client.events(denied) if event.type == "tool_call_requested"]
        assert len(calls) == 2, "both look-ups, no refund"
