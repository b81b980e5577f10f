"""From arguments to requests: where values go, and that no value gets out of its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.http import EgressRefused, RequestInvalid, Secret
from waypost.http.plan import REST, Layout, TemplatePlan
from waypost.tool_context import ToolContext
from waypost_proto.errors import BadInput

CTX = ToolContext(idempotency_key="run/0:1", tenant="acme")


def plan(
    method: str = "POST", url: str = "https://bank.example/a/{id}", *, known: Any = None, any_host: bool = False, **layout: Any
) -> Any:
    given_layout = {"headers": {}, "query": {}, "body": REST, **layout}
    return TemplatePlan("tool 't'", Layout(method=method, url=url, **given_layout), known, any_host=any_host)


def built(arguments: Mapping[str, Any], **how: Any) -> Any:
    return plan(**how).build(CTX, arguments)


def test_arguments_go_to_the_path_and_the_rest_to_the_body_or_the_query() -> None:
    posted = built({"id": "x/y", "amount": 3, "note": None})
    assert str(posted.target) == "https://bank.example/a/x%2Fy"
    assert posted.body == b'{"amount":3,"note":null}'
    assert ("Content-Type", "application/json") in posted.headers
    got = built({"id": 7, "q": "a&b=c d", "tags": ["x", "y"], "none": None, "yes": True}, method="get")
    assert got.body is None
    assert got.target.path == "/a/7?q=a%26b%3Dc%20d&tags=x&tags=y&yes=true"


def test_parts_of_arguments_and_of_the_call() -> None:
    request = built(
        {"case": {"id": "c1", "n": 2}},
        url="https://bank.example/{case.id}/x?key={ctx.idempotency_key}",
        headers={"X-Tenant": "{ctx.tenant}", "X-N": "{case.n}", "X-None": "{missing}"},
        body={"n": "{case.n}", "text": "n={case.n}", "gone": "{missing}", "list": ["{case.n}", 1, True, None], "{literal}": "{{x}}"},
    )
    assert request.target.path == "/c1/x?key=run%2F0%3A1"
    assert request.headers[:2] == (("X-Tenant", "acme"), ("X-N", "2"))
    assert request.body == b'{"n":2,"text":"n=2","list":[2,1,true,null],"{literal}":"{x}"}'


def test_bodies_of_other_types() -> None:
    form = built({"id": "1", "a": "x y", "b": [1, 2]}, content_type="application/x-www-form-urlencoded")
    assert form.body == b"a=x+y&b=1&b=2"
    text = built({"id": "1", "text": "hello"}, body="{text}", content_type="text/plain")
    assert text.body == b"hello"
    whole = built({"id": "1", "payload": [1, {"a": None}]}, body="{payload}")
    assert whole.body == b'[1,{"a":null}]'
    assert built({"id": "1", "x": 1}, body=None).body is None
    with pytest.raises(RequestInvalid, match="one text"):
        built({"id": "1", "x": 1}, content_type="text/plain")


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_no_value_walks_out_of_its_place_in_the_path(value: str) -> None:
    with pytest.raises(RequestInvalid, match="change the path"):
        built({"id": value})


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "日本"])
def test_no_value_breaks_out_of_its_header(value: str) -> None:
    with pytest.raises(RequestInvalid, match="header 'X-Note'"):
        built({"id": "1", "note": value}, headers={"X-Note": "{note}"})


@given(st.text(min_size=1).filter(lambda text: text not in (".", "..")))
def test_any_text_stays_one_segment_of_the_path(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        return  # a lone surrogate: msgspec never makes one
    request = built({"id": value}, method="GET")
    assert request.target.origin == ("https", "bank.example", 443)
    assert request.target.path.startswith("/a/")
    assert request.target.path.count("/") == 2
    assert "?" not in request.target.path


@given(st.text())
def test_the_host_never_comes_out_of_a_value_in_the_path(value: str) -> None:
    try:
        request = built({"id": value}, url="https://bank.example/{id}", method="GET")
    except (RequestInvalid, UnicodeEncodeError):
        return
    assert request.target.origin == ("https", "bank.example", 443)


def test_a_missing_or_structured_value_in_the_path_makes_no_request() -> None:
    for arguments in ({}, {"id": None}, {"id": ["a"]}, {"id": {"a": 1}}):
        with pytest.raises(RequestInvalid, match="nothing was sent"):
            built(arguments)


def test_a_host_from_an_argument_needs_hosts() -> None:
    with pytest.raises(BadInput, match=r"egress=Egress\(hosts="):
        plan(url="https://{host}/x")
    with pytest.raises(BadInput, match="would choose whom to call"):
        plan(url="{url}")
    open_plan = plan("GET", "{url}", any_host=True)
    assert str(open_plan.build(CTX, {"url": "https://a.example/x?y=1"}).target) == "https://a.example/x?y=1"
    for evil in ("http://a.example@169.254.169.254/", "file:///etc/passwd", "http://2130706433/"):
        with pytest.raises(EgressRefused):
            open_plan.build(CTX, {"url": evil})


def test_secrets_come_by_name_and_are_to_be_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYPOST_SECRET_BANK_TOKEN", "s3cret")
    request = built({"id": "1"}, headers={"Authorization": Secret("bank-token", "Bearer {}")}, query={"key": Secret("bank-token")})
    assert ("Authorization", "Bearer s3cret") in request.headers
    assert request.target.path.endswith("?key=s3cret")
    assert "s3cret" not in repr(request).replace(str(request.headers), "").replace(repr(request.target), "")
    assert request.mask("it said s3cret") == "it said ***"


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"method": "TRACE"}, "method"),
        ({"url": "https://bank.example/{"}, "brace"),
        ({"url": "https://bank.example/{a b}"}, "write"),
        ({"url": "https://bank.example/{nope}", "known": ("id",)}, "no argument"),
        ({"url": "https://bank.example/{ctx.secret}"}, "nothing of the call"),
        ({"url": "https://bank.example/x#y"}, "fragment"),
        ({"url": "http://127.1/x"}, "unusual form"),
        ({"url": "ftp://bank.example/x"}, "scheme"),
        ({"headers": {"Host": "x"}}, "cannot be set"),
        ({"headers": {"a b": "x"}}, "cannot be set"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "cannot be set"),
        ({"headers": {"X": 3}}, "give a text"),
        ({"body": {"x": Secret("a")}}, "secrets go into headers"),
        ({"body": object()}, "use texts"),
    ],
)
def test_what_could_never_make_a_request_is_told_at_the_definition(how: dict[str, Any], why: str) -> None:
    with pytest.raises((BadInput, EgressRefused), match=why):
        plan(**how)


def test_secret_names() -> None:
    with pytest.raises(BadInput, match="never its value"):
        Secret("Bearer abc/def==")
    with pytest.raises(BadInput, match="once"):
        Secret("a", "Bearer")
