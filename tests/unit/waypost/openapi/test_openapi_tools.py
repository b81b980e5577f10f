"""Tools from documents against a real server, and what is told of documents that make none."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import Raw

from tests.unit.waypost.http.provider import Provider, Reply, as_json
from waypost import NOT_DONE, ToolContext
from waypost.http import Egress, HttpLookUp, ResultUnusable, Secret
from waypost.openapi import BadDocument, openapi_tools
from waypost.outside_tools import ToolSet
from waypost_proto.codec import decode
from waypost_proto.errors import BadInput
from waypost_proto.values import Effect

DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Bank", "version": "1"},
    "servers": [{"url": "https://{region}.bank.example/v1", "variables": {"region": {"default": "eu"}}}],
    "security": [{"bearer": []}],
    "paths": {
        "/accounts/{accountId}": {
            "parameters": [{"name": "accountId", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 20}}],
            "get": {
                "operationId": "getAccount",
                "summary": "One account.",
                "parameters": [
                    {
                        "name": "fields",
                        "in": "query",
                        "description": "Which  fields.",
                        "schema": {"type": "array", "items": {"type": "string"}},
                    },
                    {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
                    {"name": "session", "in": "cookie", "schema": {"type": "string"}},
                    {"name": "filter", "in": "query", "content": {"application/json": {"schema": {"type": "object"}}}},
                    {"name": "Authorization", "in": "header", "schema": {"type": "string"}},
                ],
                "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Account"}}}}},
            },
            "delete": {"operationId": "closeAccount", "responses": {"204": {"description": "gone"}}},
        },
        "/transfers": {
            "post": {
                "operationId": "createTransfer",
                "requestBody": {"$ref": "#/components/requestBodies/Transfer"},
                "responses": {"201": {"$ref": "#/components/responses/Booked"}},
            },
            "put": {
                "operationId": "transferForm",
                "security": [{"key": []}, {}],
                "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}}},
                "responses": {},
            },
        },
        "/search": {"get": {"security": [{"key": []}, {"basic": []}], "parameters": [{"name": "body", "in": "query"}], "responses": {}}},
    },
    "components": {
        "schemas": {
            "Account": {
                "type": "object",
                "required": ["id"],
                "properties": {"id": {"type": "string"}, "parent": {"$ref": "#/components/schemas/Account"}},
            },
            "Transfer": {
                "type": "object",
                "required": ["id", "cents"],
                "properties": {
                    "id": {"type": "string", "readOnly": True},
                    "cents": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
                },
            },
        },
        "requestBodies": {
            "Transfer": {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Transfer"}}}}
        },
        "responses": {"Booked": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Transfer"}}}}},
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "basic": {"type": "http", "scheme": "basic"},
            "key": {"type": "apiKey", "in": "query", "name": "api_key"},
        },
    },
}  # fmt: skip
AUTH = {"bearer": Secret("bank-token"), "basic": Secret("bank-login"), "key": Secret("bank-key")}
CTX = ToolContext(idempotency_key="run/0:1")


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYPOST_SECRET_BANK_TOKEN", "tok-123456")
    monkeypatch.setenv("WAYPOST_SECRET_BANK_LOGIN", "user:pass-123456")
    monkeypatch.setenv("WAYPOST_SECRET_BANK_KEY", "key 123456")


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with Provider() as server:
        yield server


def tools(provider: Provider | None = None, document: Any = DOCUMENT, **options: Any) -> ToolSet:
    given: dict[str, Any] = {"auth": AUTH, "egress": Egress(allow=["127.0.0.0/8"]), **options}
    if provider is not None:
        given["server"] = f"{provider.url}/v1"
    return openapi_tools(document, **given)


def test_names_effects_and_schemas() -> None:
    made = tools()
    assert list(made) == ["get-account", "close-account", "transfer-form", "create-transfer", "get-search"]
    assert {name: tool.effect for name, tool in made.items()} == {
        "get-account": Effect.READ,
        "close-account": Effect.IDEMPOTENT,
        "transfer-form": Effect.IDEMPOTENT,
        "create-transfer": Effect.UNSAFE,
        "get-search": Effect.READ,
    }
    definition = made["get-account"].definition("b")
    assert definition.description == "One account."
    schema = decode(dict[str, Any], definition.args_schema)
    assert set(schema["properties"]) == {"accountId", "fields", "X-Trace", "session", "filter"}
    assert schema["required"] == ["accountId"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["fields"]["description"] == "Which fields."
    result = decode(dict[str, Any], definition.result_schema)
    assert result["$ref"] == "#/$defs/Account"
    assert made["close-account"].definition().result_schema == Raw(b"{}")
    assert set(decode(dict[str, Any], made["get-search"].definition().args_schema)["properties"]) == {"body-query"}


def test_some_of_it_under_other_names_and_effects() -> None:
    made = tools(
        include=["createTransfer", "get /search"], names={"get /search": "find"}, effects={"createTransfer": "idempotent"}, prefix="bank-"
    )
    assert list(made) == ["bank-create-transfer", "find"]
    assert made["bank-create-transfer"].effect is Effect.IDEMPOTENT
    assert "get-account" not in tools(exclude=["getAccount"])


async def test_a_request_as_the_server_sees_it(provider: Provider) -> None:
    made = tools(provider)
    provider.handle = lambda asked: as_json({"id": "a"})
    arguments = {"accountId": "a/1", "fields": ["x", "y z"], "X-Trace": "t", "session": "s;1", "filter": {"a": 1}}
    assert await made["get-account"](CTX, **arguments) == {"id": "a"}
    asked = provider.asked[0]
    assert (asked.method, asked.path) == ("GET", "/v1/accounts/a%2F1")
    assert asked.query == "fields=x&fields=y%20z&filter=%7B%22a%22%3A1%7D"
    assert asked.headers["authorization"] == "Bearer tok-123456"
    assert asked.headers["x-trace"] == "t"
    assert asked.headers["cookie"] == "session=s%3B1"
    assert "idempotency-key" not in asked.headers


async def test_bodies_and_keys(provider: Provider) -> None:
    made = tools(provider)
    await made["create-transfer"](CTX, body={"cents": 5})
    await made["transfer-form"](CTX, body={"a": "x y", "b": [1, 2]})
    await made["transfer-form"](CTX)
    posted, form, empty = provider.asked
    assert posted.json == {"cents": 5}
    assert posted.headers["idempotency-key"] == "run/0:1"
    assert form.body == b"a=x+y&b=1&b=2"
    assert form.headers["content-type"] == "application/x-www-form-urlencoded"
    assert form.query == "api_key=key%20123456"
    assert "authorization" not in form.headers
    assert empty.body == b""


async def test_basic_credentials_where_they_are_the_only_ones_given(provider: Provider) -> None:
    made = tools(provider, auth={"basic": AUTH["basic"]}, include=["get /search"])
    provider.handle = lambda asked: Reply(400, asked.headers["authorization"].encode())
    with pytest.raises(Exception, match="answered 400") as caught:
        await made["get-search"](CTX)
    assert provider.asked[0].headers["authorization"] == "Basic dXNlcjpwYXNzLTEyMzQ1Ng=="
    assert "dXNlc" not in str(caught.value)
    free = tools(provider, auth={}, include=["transferForm"])
    provider.handle = lambda asked: as_json(1)
    await free["transfer-form"](CTX)
    assert provider.asked[-1].query == ""


def test_arguments_are_held_against_the_document() -> None:
    made = tools()
    for name, args, why in (
        ("get-account", b"{}", '"accountId" is a required property'),
        ("get-account", b'{"accountId":"x","other":1}', "other"),
        ("get-account", b'{"accountId":"' + b"x" * 21 + b'"}', "longer than 20"),
        ("create-transfer", b'{"body":{"cents":0}}', r"less than or equal to the minimum of 0 at \$\.body\.cents"),
        ("create-transfer", b'{"body":{}}', '"cents" is a required property'),
        ("create-transfer", b"{}", '"body" is a required property'),
    ):
        with pytest.raises(BadInput, match=why):
            made[name].decode_arguments(args)
    with pytest.raises(TypeError, match="no parameter 'account'"):
        made["get-account"].bind(account="x")


async def test_answers_are_trusted_unless_asked_otherwise(provider: Provider) -> None:
    provider.handle = lambda asked: as_json({"odd": 1}, 201)
    assert await tools(provider)["create-transfer"](CTX, body={"cents": 1}) == {"odd": 1}
    with pytest.raises(ResultUnusable, match="does not fit the declared result"):
        await tools(provider, check_results=True)["create-transfer"](CTX, body={"cents": 1})


async def test_the_hook_signs_as_the_operation_does(provider: Provider) -> None:
    look_up = HttpLookUp(url=f"{provider.url}/v1/transfers?key={{ctx.idempotency_key}}&cents={{body.cents}}")
    tool = tools(provider, reconcile={"createTransfer": look_up})["create-transfer"]
    provider.handle = lambda asked: Reply(404)
    assert await tool.ask_reconcile(CTX, b'{"body":{"cents":5}}') is NOT_DONE
    assert provider.asked[0].query == "key=run%2F0%3A1&cents=5"
    assert provider.asked[0].headers["authorization"] == "Bearer tok-123456"
    with pytest.raises(TypeError, match="for unsafe tools"):
        tools(reconcile={"getAccount": look_up})


def broken(change: Any) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return document


def _set(*path: Any, value: Any) -> Any:
    def change(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


GET = ("paths", "/accounts/{accountId}", "get")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_set("paths", value=None), "#/paths: the document has no paths"),
        (_set("paths", "bad", value={}), "#/paths/bad: a path begins with '/'"),
        (_set(*GET, "operationId", value=3), "3 is no text"),
        (
            _set(*GET, "operationId", value="createTransfer"),
            r"#/paths/~1transfers/post: operationId 'createTransfer' is also that of GET /accounts",
        ),
        (_set("paths", "/accounts/{accountId}", "parameters", value=[]), "do not agree on accountId"),
        (_set("paths", "/accounts/{accountId}", "parameters", value={}), "parameters are a list"),
        (_set(*GET, "parameters", 0, "in", value="body"), r"get/parameters/0: a parameter has a name and is in path, query"),
        (_set(*GET, "parameters", 0, "style", value="deep"), "style 'deep' of a query parameter"),
        (
            _set(*GET, "parameters", 0, "schema", "items", value={"$ref": "#/components/schemas/No"}),
            r"parameters/0/schema/items: \$ref .* leads nowhere",
        ),
        (_set(*GET, "parameters", 0, "schema", value={"type": "lst"}), "no usable JSON Schema"),
        (_set(*GET, "parameters", 0, "schema", value=7), "a schema is an object, not 7"),
        (_set(*GET, "parameters", 1, "name", value="Host"), "header 'Host' cannot be set"),
        (_set(*GET, "responses", "200", value={"$ref": "http://evil.example/x"}), "leaves the document"),
        (_set(*GET, "security", value=[{"nope": []}]), r"it needs nope: give auth="),
        (_set("components", "securitySchemes", "bearer", value={"type": "mutualTLS"}), "#/components/securitySchemes/bearer: .*mutualTLS"),
        (_set("components", "securitySchemes", value={}), "there is no security scheme 'bearer'"),
        (_set("components", "requestBodies", "Transfer", "content", value={"multipart/form-data": {}}), r"multipart/form-data.*exclude="),
        (_set("servers", value=[{"url": "/v1"}]), "no whole URL: give server="),
        (_set("servers", value=[]), "names no server"),
        (_set("servers", value=[{"url": "http://127.1/"}]), "cannot be called"),
        (_set("servers", value=[{"url": "https://user:pw@bank.example/"}]), "cannot be called"),
    ],
)
def test_bad_documents_are_told_with_where(change: Any, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        tools(document=broken(change))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"include": ["nope"]}, "include= names 'nope', the document has no such operation; it has getAccount"),
        ({"include": "getAccount"}, "give a list"),
        ({"effects": {"nope": "read"}}, "effects= names 'nope'"),
        ({"effects": {"getAccount": "safe"}}, "effect='safe'"),
        ({"names": {"getAccount": "create-transfer"}}, "two operations make a tool named 'create-transfer'"),
        ({"names": {"getAccount": "Get Account"}}, "Get Account"),
        ({"headers": {"Host": "x"}}, "cannot be set"),
        ({"inlcude": []}, "no option 'inlcude'"),
    ],
)
def test_mistakes_in_the_call_are_told(options: dict[str, Any], why: str) -> None:
    with pytest.raises((BadInput, TypeError), match=why):
        tools(**options)


def test_bad_documents_are_bad_documents() -> None:
    with pytest.raises(BadDocument):
        openapi_tools({"swagger": "2.0"})


def test_a_tool_that_is_not_there_is_told() -> None:
    with pytest.raises(KeyError, match="there is get-account, close-account"):
        tools()["nope"]
