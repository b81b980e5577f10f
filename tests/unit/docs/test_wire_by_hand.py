"""docs/wire.md is enough: a worker and a gateway that know nothing but JSON, subjects and SHA-256 live a run with a real coordinator."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tests.unit.waypost_coordinator import rig
from tests.waiting import wait_until
from waypost_io.bus.ports import Message

Json = dict[str, Any]
RUN = "0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55"


class Peer:
    """A process in another language, on the bus."""

    def __init__(self, site: rig.Site) -> None:
        self.site = site
        self.bus = site.bus
        self.digest = ""
        self.confirmed: list[Any] = []

    async def ask(self, subject: str, body: Json) -> Json:
        answer: Json = json.loads((await self.bus.request(subject, json.dumps(body).encode())).body)
        return answer

    async def on_confirm(self, message: Message) -> None:
        self.confirmed += json.loads(message.body)["accepted"]

    async def taken(self, stream: str, number: int) -> Json:
        """The n-th message that the coordinator sent to a stream."""
        await wait_until(lambda: len(self.site.on(stream)) >= number)
        body: Json = json.loads(self.site.on(stream)[number - 1].body)
        return body

    async def advance(self, activation: Json, items: str) -> None:
        """As the page says: the items' bytes are hashed as they are sent."""
        text = (
            f'{{"type":"advance","run_id":"{RUN}","agent":"greeter","worker":"by-hand","build":"b7",'
            f'"token":{json.dumps(activation["token"])},"base":"{activation["base"]}","seen":{activation["upto"]},"items":{items}}}'
        )
        await self.bus.publish(f"t.mailbox.advance.greeter.{RUN}", text.encode(), msg_id=f"{RUN}.{self.digest}.0")
        self.digest = hashlib.sha256(activation["base"].encode() + items.encode()).hexdigest()[:32]


async def test_a_run_by_hand() -> None:
    async with rig.site() as site, site.replica():
        peer = Peer(site)
        await peer.bus.subscribe("t.confirm.by-hand", peer.on_confirm)
        agent = {"name": "greeter", "build": "b7", "tools": ["lookup"]}
        tool = {"name": "lookup", "effect": "read"}
        assert await peer.ask("t.registry.announce", {"peer": "by-hand", "kind": "worker", "build": "b7", "agents": [agent]}) == {
            "ok": True
        }
        assert await peer.ask("t.registry.announce", {"peer": "hand-gw", "kind": "gateway", "build": "b7", "tools": [tool]}) == {"ok": True}
        await peer.bus.publish("t.tasks.greeter", json.dumps({"input": "ada", "run_id": RUN}).encode())

        activation = await peer.taken("WORK", 1)
        assert (activation["base"], activation["entries"][0]["data"]["input"]) == ("", "ada")
        await peer.advance(activation, '[{"type": "call_tool", "seen": 1, "id": "0:1", "tool": "lookup", "args": {"name": "ada"}}]')
        call = await peer.taken("TOOLS", 1)
        assert call["args_digest"] == hashlib.sha256(b'{"name": "ada"}').hexdigest()
        answer = {"type": "tool_succeeded", "run_id": RUN, "call_id": call["call_id"], "attempt": call["attempt"], "result": "Ada Lovelace"}
        await peer.bus.publish(f"t.mailbox.result.lookup.{RUN}", json.dumps(answer).encode())

        activation = await peer.taken("WORK", 2)
        assert activation["base"] == peer.digest
        journal = await peer.ask("t.api.runs.journal", {"run_id": RUN, "after": 0, "limit": 1000})
        assert [entry["type"] for entry in journal["entries"]] == ["run_started", "tool_call_requested", "tool_call_completed"]
        assert journal["digest"] == peer.digest
        result = activation["entries"][0]["data"]["result"]
        await peer.advance(activation, f'[{{"type":"complete_run","seen":3,"result":"Hello {result}"}}]')

        await wait_until(lambda: "run_completed" in site.types(RUN))  # type: ignore[arg-type]
        view = await peer.ask("t.api.runs.get", {"run_id": RUN})
        assert (view["status"], view["result"]) == ("completed", "Hello Ada Lovelace")
        await wait_until(lambda: len(peer.confirmed) == 2)
        assert peer.confirmed[-1] == [RUN, peer.digest, 3]


async def test_an_error_of_the_api_looks_as_the_page_says() -> None:
    async with rig.site() as site, site.replica():
        refused = await site.bus.request("t.api.runs.get", json.dumps({"run_id": RUN}).encode())
        assert refused.headers["Nats-Service-Error-Code"] == "404"
        assert json.loads(refused.body)["status"] == 404
        unknown = await site.bus.request("t.api.runs.get", b'{"run":"x"}')
        assert unknown.headers["Nats-Service-Error-Code"] == "400"
