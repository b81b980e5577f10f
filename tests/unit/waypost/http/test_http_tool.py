"""`http_tool` against a real server: what is sent, what comes back, and what every kind of failure proves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import Struct

from tests.unit.waypost.http.provider import Asked, Provider, Reply, as_json
from waypost import NOT_DONE, Breaker, DoNotRetry, NotExecuted, RetryLater, ToolContext
from waypost.http import Egress, EgressRefused, HttpLookUp, Secret, http_tool
from waypost.http.errors import HttpBusy, HttpFailed, HttpRefused, HttpUnavailable, NoAnswer, NotConnected, ResultUnusable
from waypost.outside_tools import OutsideTool, resources_of
from waypost.tools import ResultNotEncodable
from waypost_proto.codec import decode
from waypost_proto.errors import BadInput
from waypost_proto.values import Effect


class Transfer(Struct):
    account: str
    amount: int
    note: str = ""


class Receipt(Struct):
    id: str


def made(server: Provider | None, method: str = "POST", path: str = "/accounts/{account}/transfers", **options: Any) -> OutsideTool:
    base = server.url if server is not None else "https://bank.example"
    given: dict[str, Any] = {"effect": "unsafe", "args": Transfer, "egress": Egress(allow=["127.0.0.0/8"]), "timeout": 5, **options}
    return http_tool("transfer", method, base + path, **given)


async def call(tool: OutsideTool, **arguments: Any) -> Any:
    ctx = ToolContext(tool=tool.name, idempotency_key="run/0:1", run_id="0198c0de-0000-7000-8000-000000000001")
    return await tool(ctx, **(arguments or {"account": "a 1", "amount": 3}))


async def test_a_call_as_the_server_sees_it(provider: Provider) -> None:
    provider.handle = lambda asked: as_json({"id": "r1", "more": True})
    assert await call(made(provider, result=Receipt)) == Receipt("r1")
    asked = provider.asked[0]
    assert (asked.method, asked.path, asked.json) == ("POST", "/accounts/a%201/transfers", {"amount": 3, "note": ""})
    assert asked.headers["idempotency-key"] == "run/0:1"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["user-agent"] == "waypost"
    assert asked.headers["traceparent"].startswith("00-0198c0de000070008000000000000001-")


async def test_the_idempotency_header_has_the_name_the_server_wants_and_reads_have_none(provider: Provider) -> None:
    await call(made(provider, idempotency_header="X-Request-Id"))
    await call(made(provider, idempotency_header=None))
    await call(made(provider, "GET", effect="read"))
    first, second, third = (asked.headers for asked in provider.asked)
    assert first["x-request-id"] == "run/0:1"
    assert not {"idempotency-key", "x-request-id"} & {*second, *third}
    assert provider.asked[2].query == "amount=3&note="


async def test_secrets_are_read_for_each_call_and_never_shown(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = made(provider, headers={"Authorization": Secret("bank-token", "Bearer {}")})
    with pytest.raises(NotExecuted, match="WAYPOST_SECRET_BANK_TOKEN"):
        await call(tool)
    monkeypatch.setenv("WAYPOST_SECRET_BANK_TOKEN", "s3cret-value")
    provider.handle = lambda asked: Reply(400, f"you sent {asked.headers['authorization']}".encode())
    with pytest.raises(HttpRefused) as caught:
        await call(tool)
    assert provider.asked[0].headers["authorization"] == "Bearer s3cret-value"
    assert "s3cret" not in str(caught.value)
    assert "you sent Bearer ***" in str(caught.value)
    assert "s3cret" not in str(tool.definition())


ENDS: list[tuple[Reply, type[Exception], float | None]] = [
    (Reply(429, b"", {"Retry-After": "7"}), HttpBusy, 7.0),
    (Reply(429), HttpBusy, None),
    (Reply(503, b"", {"Retry-After": "9"}), HttpUnavailable, 9.0),
    (Reply(503), HttpFailed, None),
    (Reply(500, b"oops"), HttpFailed, None),
    (Reply(504), HttpFailed, None),
    (Reply(303, b"", {"Location": "/done"}), HttpFailed, None),
    (Reply(308, b"", {"Location": "/moved"}), HttpRefused, None),
    (Reply(400, b"bad"), HttpRefused, None),
    (Reply(404), HttpRefused, None),
]


@pytest.mark.parametrize(("reply", "error", "retry_after"), ENDS)
async def test_statuses(provider: Provider, reply: Reply, error: type[Exception], retry_after: float | None) -> None:
    provider.handle = lambda asked: reply
    with pytest.raises(error) as caught:
        await call(made(provider))
    assert type(caught.value) is error
    assert getattr(caught.value, "retry_after", None) == retry_after
    assert f"answered {reply.status}" in str(caught.value)


def test_what_each_error_means_for_an_unsafe_call() -> None:
    assert issubclass(HttpBusy, NotExecuted)
    assert issubclass(NotConnected, NotExecuted)
    assert issubclass(HttpRefused, DoNotRetry)
    assert issubclass(EgressRefused, DoNotRetry)
    assert issubclass(HttpUnavailable, RetryLater)
    assert issubclass(ResultUnusable, ResultNotEncodable)
    for doubtful in (HttpFailed, NoAnswer, HttpUnavailable, ResultUnusable):
        assert not issubclass(doubtful, NotExecuted)


async def test_nobody_listens(free_port: int) -> None:
    tool = http_tool("t", "POST", f"http://127.0.0.1:{free_port}/", effect="unsafe", egress=Egress(allow=["127.0.0.1"]))
    with pytest.raises(NotConnected, match="nothing was sent"):
        await tool()


HALF = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
LOST = [
    Reply(raw=b"", drop=True),
    Reply(raw=b"HTTP/1.1 20", drop=True),
    Reply(raw=HALF, drop=True),
    Reply(raw=b"nonsense\r\n\r\n", drop=True),
    Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", drop=True),
    Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", drop=True),
]


@pytest.mark.parametrize("reply", LOST)
async def test_an_answer_that_does_not_come_whole(provider: Provider, reply: Reply) -> None:
    provider.handle = lambda asked: reply
    with pytest.raises(NoAnswer):
        await call(made(provider))


async def test_a_server_that_never_answers(provider: Provider) -> None:
    async def forever(asked: Asked) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    provider.handle = forever
    with pytest.raises(NoAnswer, match="ReadTimeout"):
        await call(made(provider, timeout=0.2))


async def test_an_endless_answer_is_cut_off(provider: Provider) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    provider.handle = lambda asked: Reply(raw=head + b"x" * 300_000, drop=True)
    with pytest.raises(ResultUnusable, match="larger than 1000 bytes"):
        await call(made(provider, max_bytes=1_000))
    provider.handle = lambda asked: Reply(raw=head.replace(b"200 OK", b"500 X") + b"x" * 300_000, drop=True)
    with pytest.raises(HttpFailed) as caught:
        await call(made(provider))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (as_json({"other": 1}), "does not fit"),
        (Reply(200, b"{", {"Content-Type": "application/json"}), "does not fit"),
        (Reply(200, b"[" * 100 + b"]" * 100, {"Content-Type": "application/json"}), "nested"),
        (Reply(200, b"\x89PNG", {"Content-Type": "image/png"}), "image/png"),
        (Reply(200, b"{}", {}), "no content type"),
        (Reply(200, b"\xff", {"Content-Type": "text/plain"}), "not text in"),
        (Reply(200, b"x", {"Content-Type": "text/plain; charset=nonsense"}), "not text in"),
        (Reply(200, b"x", {"Content-Type": "application/json", "Content-Encoding": "gzip"}), "encoded"),
    ],
)
async def test_answers_that_cannot_be_the_result(provider: Provider, reply: Reply, why: str) -> None:
    provider.handle = lambda asked: reply
    with pytest.raises(ResultUnusable, match=why):
        await call(made(provider, result=Receipt))


async def test_results_of_other_kinds(provider: Provider) -> None:
    provider.handle = lambda asked: Reply(204)
    assert await call(made(provider)) is None
    provider.handle = lambda asked: Reply(200, "grüß".encode("latin-1"), {"Content-Type": "text/plain; charset=latin-1"})
    assert await call(made(provider, result=str)) == "grüß"
    provider.handle = lambda asked: Reply(200, b"\x00\x01", {"Content-Type": "image/png"})
    assert await call(made(provider, result=bytes)) == b"\x00\x01"
    provider.handle = lambda asked: Reply(404, b"gone")
    assert await call(made(provider, "GET", effect="read", statuses={404: "none"})) is None
    provider.handle = lambda asked: as_json({"n": "x"})
    with pytest.raises(ResultUnusable, match=r'"x" is not of type "integer" at \$\.n'):
        await call(made(provider, result={"type": "object", "properties": {"n": {"type": "integer"}}}))


async def test_the_hook_by_another_request(provider: Provider) -> None:
    look_up = HttpLookUp(url=f"{provider.url}/transfers?key={{ctx.idempotency_key}}&account={{account}}", absent=[404, 410])
    tool = made(provider, result=Receipt, reconcile=look_up)
    assert tool.has_reconcile
    ctx, args = ToolContext(idempotency_key="k/1"), b'{"account":"a","amount":1}'
    provider.handle = lambda asked: as_json({"id": "r9"})
    assert await tool.ask_reconcile(ctx, args) == b'{"id":"r9"}'
    assert (provider.asked[0].method, provider.asked[0].query) == ("GET", "key=k%2F1&account=a")
    for status in (404, 410):
        provider.handle = lambda asked, status=status: Reply(status)
        assert await tool.ask_reconcile(ctx, args) is NOT_DONE
    for reply in (Reply(500), Reply(403), Reply(429), as_json({"odd": 1}), Reply(204, raw=b"", drop=True)):
        provider.handle = lambda asked, reply=reply: reply
        with pytest.raises((HttpFailed, HttpRefused, HttpBusy, ResultUnusable, NoAnswer)):
            await tool.ask_reconcile(ctx, args)


async def test_the_hook_picks_from_a_list(provider: Provider) -> None:
    tool = made(provider, result=Receipt, reconcile=HttpLookUp(url=f"{provider.url}/search", pick="items.0"))
    ctx, args = ToolContext(), b'{"account":"a","amount":1}'
    provider.handle = lambda asked: as_json({"items": [{"id": "r1"}]})
    assert await tool.ask_reconcile(ctx, args) == b'{"id":"r1"}'
    provider.handle = lambda asked: as_json({"items": []})
    assert await tool.ask_reconcile(ctx, args) is NOT_DONE
    provider.handle = lambda asked: as_json({"things": []})
    with pytest.raises(HttpFailed, match=r"items\.0"):
        await tool.ask_reconcile(ctx, args)


async def test_a_hook_in_python_gets_the_arguments_by_name(provider: Provider) -> None:
    async def find(ctx: ToolContext, account: str, amount: int, note: str) -> Any:
        return {"id": f"{account}-{amount}{note}"}

    assert await made(provider, reconcile=find).ask_reconcile(ToolContext(), b'{"account":"a","amount":1}') == b'{"id":"a-1"}'


async def test_an_open_resource_keeps_connections_and_tools_share_it(provider: Provider) -> None:
    first, second = made(provider), made(provider, "GET", effect="read")
    assert first.resource is second.resource
    async with resources_of([first, second]):
        for tool in (first, second, first):
            await call(tool)
    assert (len(provider.asked), provider.connections) == (3, 1)
    await call(first)
    assert provider.connections == 2


def test_the_definition_that_is_announced() -> None:
    tool = made(None, result=Receipt, description="Moves money.", timeout=9, concurrency=3)
    definition = tool.definition("b1")
    assert (definition.name, definition.effect, definition.build) == ("transfer", Effect.UNSAFE, "b1")
    assert (definition.description, definition.timeout_seconds, definition.concurrency) == ("Moves money.", 9.0, 3)
    assert b"account" in bytes(definition.args_schema)
    assert b"Receipt" in bytes(definition.result_schema)
    assert tool.outside
    plain = http_tool("t", "GET", "https://x.example/", effect="read", args={"type": "object", "required": ["a"]}, result={"type": "array"})
    assert decode(dict[str, Any], plain.definition().args_schema) == {"type": "object", "required": ["a"]}
    assert decode(dict[str, Any], plain.definition().result_schema) == {"type": "array"}


def test_what_can_be_said_of_any_tool_can_be_said_of_it() -> None:
    signed = {"Authorization": Secret("bank-token"), "X-Key": Secret("bank-key")}
    tool = made(None, rate="10/s", breaker=Breaker(failures=3), settle=7, headers=signed, query={"k": Secret("bank-key")})
    definition = tool.definition()
    assert definition.rate is not None
    assert definition.rate.count == 10
    assert definition.breaker == Breaker(failures=3)
    assert definition.settle_seconds == 7.0
    assert definition.taint == ("outside",)
    assert tool.policy.secrets == ("bank-key", "bank-token")
    assert made(None, taint="bank").definition().taint == ("bank",)


def test_how_an_agent_calls_it() -> None:
    tool = made(None)
    assert tool.bind(account="a", amount=1) == tool.bind(Transfer("a", 1)) == b'{"account":"a","amount":1,"note":""}'
    assert tool.using(timeout=3).bind(Transfer("a", 1)) == tool.bind(Transfer("a", 1))
    assert tool.using(timeout=3).options.timeout_seconds == 3
    assert isinstance(tool.using(timeout=3), OutsideTool)
    for wrong in ({"account": 1, "amount": 1}, {"account": "a"}):
        with pytest.raises(TypeError, match="tool 'transfer'"):
            tool.bind(**wrong)
    with pytest.raises(TypeError, match="by name"):
        tool.bind("a", 1)
    closed = http_tool("t", "GET", "https://x.example/", effect="read", args={"properties": {"a": {}}, "additionalProperties": False})
    assert closed.bind(a=1) == closed.bind({"a": 1}) == b'{"a":1}'
    with pytest.raises(TypeError, match="no parameter 'b'"):
        closed.bind(b=1)


def test_arguments_are_checked_before_anything_starts() -> None:
    with pytest.raises(BadInput, match=r"\$\.amount"):
        made(None).decode_arguments(b'{"account":"a","amount":"x"}')
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"maximum": 3}}}, "required": ["a", "b"]}
    tool = http_tool("t", "GET", "https://x.example/", effect="read", args=schema)
    with pytest.raises(BadInput, match=r'"b" is a required property at \$; 5 is greater than the maximum of 3 at \$\.a\[0\]'):
        tool.decode_arguments(b'{"a":[5]}')


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"effect": "sometimes"}, "effect='sometimes'"),
        ({"effect": "read", "reconcile": HttpLookUp(url="https://x.example")}, "for unsafe tools"),
        ({"args": int}, "must be a Struct"),
        ({"args": {"type": "nonsense"}}, "no usable JSON Schema"),
        ({"args": {"$ref": "http://169.254.169.254/schema"}}, "outside of the document"),
        ({"args": {"$ref": "file:///etc/passwd"}}, "outside of the document"),
        ({"result": {"type": 3}}, "no usable JSON Schema"),
        ({"max_bytes": 0}, "max_bytes=0"),
        ({"max_bytes": 1 << 40}, "a result is at most"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"timeout": 0}, "timeout is 0"),
        ({"statuses": {200: "x"}}, "statuses="),
        ({"tiemout": 3}, "no option 'tiemout'"),
    ],
)
def test_mistakes_are_told_at_the_definition(options: dict[str, Any], why: str) -> None:
    with pytest.raises((BadInput, TypeError, ValueError), match=why):
        made(None, **options)
