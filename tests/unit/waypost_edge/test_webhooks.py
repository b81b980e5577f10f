"""Events to endpoints: what is sent and signed, to whom, how often, and what may be reached."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.waiting import wait_until
from waypost_edge.metrics import Metrics
from waypost_edge.webhooks.courier import Courier
from waypost_edge.webhooks.opening import couriers, subscriptions
from waypost_edge.webhooks.sending import Sender, headers_of
from waypost_edge.webhooks.subscriptions import Subscription, read_subscriptions
from waypost_io.bus.memory import MemoryBroker, MemoryBus
from waypost_io.bus.topology import stream_specs
from waypost_proto.codec import encode
from waypost_proto.errors import Misconfigured
from waypost_proto.events import Event
from waypost_proto.ids import RunId, uuid7
from waypost_proto.subjects import Subjects

KEY = b"k" * 32
SECRET = "whsec_" + base64.b64encode(KEY).decode()
SUBJECTS = Subjects("t")


class Endpoint:
    """Somebody's server on loopback. `answers`: statuses, the last one for ever."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers) or [204]
        self.requests: list[tuple[dict[str, str], bytes]] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                endpoint.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status = endpoint.answers.pop(0) if len(endpoint.answers) > 1 else endpoint.answers[0]
                self.send_response(status)
                self.send_header("content-length", "0")
                if status == 302:
                    self.send_header("location", "http://127.0.0.1:1/elsewhere")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def subscription(self, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Subscription:
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        given = {"url": f"http://127.0.0.1:{self.port}/hook", "allow": [f"127.0.0.1:{self.port}"], "secret_env": "HOOK_SECRET", **more}
        return msgspec.convert({"name": "crm", **given}, Subscription)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.server.shutdown()
    endpoint.server.server_close()


class Road:
    """A bus with the streams, and events on it."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.metrics = Metrics()

    async def happens(self, kind: str = "run_completed", *, tenant: str = "default", agent: str = "desk", seq: int = 3) -> Event:
        run_id = RunId(uuid7(1_700_000_000_000, seq.to_bytes(10)))
        event = Event(
            run_id=run_id,
            seq=seq,
            type=kind,
            agent=agent,
            correlation_id=run_id,
            recorded_at="2027-01-15T08:00:00Z",
            tenant=tenant,
            data=msgspec.Raw(b'{"type":"run_completed","result":"<b>"}'),
        )
        await self.bus.publish(SUBJECTS.event(agent, run_id, kind), encode(event))
        return event

    @asynccontextmanager
    async def delivering(self, webhook: Subscription, **how: Any) -> AsyncIterator[None]:
        courier = Courier(self.bus, SUBJECTS, webhook, self.metrics, first_seconds=0.01, **how)
        running = asyncio.create_task(courier.run())
        name = f"webhook-{webhook.name}"
        stream = SUBJECTS.stream("EVENTS")

        async def there() -> bool:
            return await self.bus.consumer_created(stream, name) is not None

        await wait_until(there)
        try:
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def counted(self, outcome: str) -> str:
        text = self.metrics.registry.render().decode()
        return next((line.split()[-1] for line in text.splitlines() if f'outcome="{outcome}"' in line), "0")


@pytest.fixture
async def road() -> AsyncIterator[Road]:
    async with MemoryBus(MemoryBroker()) as bus:
        for spec in stream_specs(SUBJECTS, partitions=1, replicas=1):
            await bus.ensure_stream(spec)
        yield Road(bus)


async def test_an_event_is_sent_signed_as_standard_webhooks_has_it(road: Road, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    await road.happens(seq=1)  # before anybody subscribed
    async with road.delivering(endpoint.subscription(monkeypatch)):
        event = await road.happens()
        await wait_until(lambda: endpoint.requests)
    [(headers, body)] = endpoint.requests
    assert headers["webhook-id"] == f"{event.run_id}.{event.seq}"
    said = json.loads(body)
    assert (said["type"], said["timestamp"], said["data"]["run_id"]) == (
        "run_completed",
        "2027-01-15T08:00:00Z",
        event.run_id,
    )
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of standardwebhooks.com's own libraries."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = headers_of("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', key, 1_614_265_330.0)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_subscription_gets_its_tenant_agents_and_types(road: Road, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = endpoint.subscription(monkeypatch, tenant="bank", agents=["desk"], types=["run_completed"])
    async with road.delivering(wanted):
        await road.happens(seq=1)
        await road.happens(seq=2, tenant="bank", agent="vault")
        await road.happens("run_paused", seq=3, tenant="bank")
        ours = await road.happens(seq=4, tenant="bank")
        await wait_until(lambda: endpoint.requests)
    assert [headers["webhook-id"] for headers, _ in endpoint.requests] == [f"{ours.run_id}.4"]


async def test_one_for_every_tenant_says_so(road: Road, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    async with road.delivering(endpoint.subscription(monkeypatch, tenant="*")):
        for seq, tenant in enumerate(("bank", "default"), 1):
            await road.happens(seq=seq, tenant=tenant)
        await wait_until(lambda: len(endpoint.requests) == 2)


async def test_what_fails_is_sent_again_with_the_same_id_until_it_is_taken(
    road: Road, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.answers = [500, 302, 429, 200]
    async with road.delivering(endpoint.subscription(monkeypatch)):
        await road.happens()
        await wait_until(lambda: road.counted("taken") == "1")
    assert len({headers["webhook-id"] for headers, _ in endpoint.requests}) == 1
    assert len(endpoint.requests) == 4  # and nobody followed the redirect
    assert road.counted("failed") == "3"


async def dead(road: Road) -> list[Any]:
    return list(road.bus._server().streams[SUBJECTS.stream("DEAD")].messages.values())


@pytest.mark.parametrize(("answer", "attempts"), [(500, 3), (410, 1)])
async def test_it_is_given_up_as_a_dead_letter(
    road: Road, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, answer: int, attempts: int
) -> None:
    endpoint.answers = [answer]
    async with road.delivering(endpoint.subscription(monkeypatch, attempts=3)):
        event = await road.happens()
        await wait_until(lambda: road.counted("given_up") == "1")
    [letter] = await dead(road)
    assert letter.subject == SUBJECTS.dead("webhooks")
    assert msgspec.json.decode(letter.body, type=Event) == event
    assert letter.headers["Waypost-Webhook"] == "crm"
    assert f"status {answer}, after {attempts} attempts" in letter.headers["Waypost-Reason"]
    assert len(endpoint.requests) == attempts


async def test_it_is_given_up_when_it_is_too_old(road: Road, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.answers = [503]
    async with road.delivering(endpoint.subscription(monkeypatch, give_up_seconds=60), clock=lambda: 4e9):
        await road.happens()
        await wait_until(lambda: road.counted("given_up") == "1")
    assert len(endpoint.requests) == 1


async def test_one_that_was_not_taken_is_another_edges_after_this_one(
    road: Road, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.answers = [500]
    webhook = endpoint.subscription(monkeypatch)
    async with road.delivering(webhook):
        event = await road.happens()
        await wait_until(lambda: endpoint.requests)
    endpoint.answers = [204]
    sent = len(endpoint.requests)
    async with road.delivering(webhook):
        await wait_until(lambda: len(endpoint.requests) > sent)
    assert endpoint.requests[-1][0]["webhook-id"] == f"{event.run_id}.{event.seq}"


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("https://127.0.0.1:{port}/x", []),
        ("https://localhost:{port}/x", []),
        ("https://169.254.169.254/latest/meta-data", []),
        ("https://10.0.0.1/x", []),
        ("https://[::1]:{port}/x", []),
        ("http://127.0.0.1:{port}/x", ["10.0.0.0/8"]),
    ],
)
async def test_addresses_that_nobody_meant_are_not_reached(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, url: str, allow: list[str]
) -> None:
    async with Sender(endpoint.subscription(monkeypatch, url=url.format(port=endpoint.port), allow=allow)) as sender:
        answer = await sender.send("id", b"{}", 1.0)
    assert "not called" in answer.problem or "not open" in answer.problem
    assert endpoint.requests == []


async def test_nobody_there_and_a_slow_answer_are_problems_and_no_more(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sender(endpoint.subscription(monkeypatch, url="http://127.0.0.1:1/x", allow=["127.0.0.1:1"])) as sender:
        assert "Connect" in (await sender.send("id", b"{}", 1.0)).problem


BASE = '[[webhook]]\nname = "crm"\nurl = "https://hooks.example.com/x"\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BASE, "secret"),
        (BASE + 'secret_env = "NOT_THERE"\n', "cannot be read"),
        (BASE + 'secret_env = "SHORT"\n', "bytes"),
        (BASE + 'secret_env = "ODD"\n', "base64"),
        (BASE + 'secret_env = "HOOK"\ntypes = ["run_exploded"]\n', "run_exploded"),
        (BASE + 'secret_env = "HOOK"\nagents = ["NOT OK"]\n', "agent"),
        (BASE + 'secret_env = "HOOK"\nsecret = "x"\n', "secret"),
        ((BASE + 'secret_env = "HOOK"\n') * 2, "another's"),
        (BASE.replace("https", "http") + 'secret_env = "HOOK"\n', "https"),
        (BASE.replace("hooks.", "user:pw@hooks.") + 'secret_env = "HOOK"\n', "without user"),
        (BASE.replace("crm", "Not a name") + 'secret_env = "HOOK"\n', "1 to 48"),
        ("nonsense", "WEBHOOKS"),
    ],
)
def test_what_cannot_be_a_subscription(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str) -> None:
    monkeypatch.setenv("HOOK", SECRET)
    monkeypatch.setenv("SHORT", base64.b64encode(b"short").decode())
    monkeypatch.setenv("ODD", "not base64!")
    file = tmp_path / "webhooks.toml"
    file.write_text(text)
    with pytest.raises(Misconfigured, match=why) as error:
        read_subscriptions(file)
    assert SECRET not in str(error.value)


def test_the_file_makes_couriers(tmp_path: Path, road: Road) -> None:
    assert subscriptions(None) == []
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "webhooks.toml").write_text(BASE + f'secret_file = "{tmp_path / "secret"}"\n')
    [webhook] = subscriptions(tmp_path / "webhooks.toml")
    assert webhook.secret() == KEY
    assert len(couriers([webhook], road.bus, SUBJECTS, Metrics())) == 1
    assert couriers([], road.bus, SUBJECTS, Metrics()) == []
