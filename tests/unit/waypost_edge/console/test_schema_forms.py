"""Forms from JSON Schemas, and what people fill in as JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import UNSET, Meta, Raw, Struct

from waypost_edge.console.schema_forms import fields_of, read_form
from waypost_proto.errors import BadInput


class Place(Struct):
    street: str
    number: int | None = None


class Terms(Struct):
    amount: Annotated[int, Meta(gt=0, le=100)]
    rate: float
    currency: Literal["EUR", "USD"]
    place: Place
    tags: list[str] = []
    secured: bool = False
    note: str | None = None
    more: dict[str, int] = {}


def schema_of(kind: Any) -> Raw:
    return Raw(msgspec.json.encode(msgspec.json.schema(kind)))


def raw(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))


def test_a_struct_becomes_fields() -> None:
    fields = {field.name: field for field in fields_of(schema_of(Terms), UNSET)}
    assert {name: field.kind for name, field in fields.items()} == {
        "amount": "integer",
        "rate": "number",
        "currency": "choice",
        "place": "group",
        "tags": "lines",
        "secured": "boolean",
        "note": "text",
        "more": "json",
    }
    assert (fields["amount"].low, fields["amount"].high, fields["amount"].required) == ("1", "100", True)
    assert [choice[1] for choice in fields["currency"].choices] == ["EUR", "USD"]
    assert [(inner.name, inner.kind) for inner in fields["place"].fields] == [("place.street", "text"), ("place.number", "integer")]
    assert fields["note"].optional


def test_what_was_there_is_filled_in_and_comes_back() -> None:
    value = Terms(amount=5, rate=1.5, currency="USD", place=Place("Quay", 7), tags=["a", "b"], secured=True, note="x", more={"k": 1})
    sent = {}
    for field in fields_of(schema_of(Terms), raw(value)):
        for each in field.fields if field.kind == "group" else (field,):
            if each.kind != "boolean" or each.value:
                sent[f"f.{each.name}"] = each.value
    assert msgspec.json.decode(bytes(read_form(schema_of(Terms), sent)), type=Terms) == value


def test_what_is_left_empty_is_left_out() -> None:
    sent = {
        "f.amount": "5",
        "f.rate": "2",
        "f.currency": '"EUR"',
        "f.place.street": "Quay",
        "f.note": "",
        "f.more": " ",
        "decision": "answer",
    }
    found = msgspec.json.decode(bytes(read_form(schema_of(Terms), sent)))
    assert found == {"amount": 5, "rate": 2, "currency": "EUR", "place": {"street": "Quay"}, "secured": False}


@pytest.mark.parametrize(
    ("kind", "sent", "value"),
    [
        (Literal["yes", "no"], '"no"', "no"),
        (int, "7", 7),
        (str, "a <b>", "a <b>"),
        (bool, "true", True),
        (list[str], "x\n\ny ", ["x", "y"]),
        (dict[str, int], '{"a": 1}', {"a": 1}),
    ],
)
def test_an_answer_that_is_no_object(kind: Any, sent: str, value: object) -> None:
    assert [field.name for field in fields_of(schema_of(kind), UNSET)] == ["value"]
    assert msgspec.json.decode(bytes(read_form(schema_of(kind), {"f.value": sent}))) == value


@pytest.mark.parametrize(
    ("field", "text", "said"), [("amount", "many", "not a whole number"), ("rate", "x", "not a number"), ("more", "{", "not JSON")]
)
def test_what_cannot_be_read_is_named(field: str, text: str, said: str) -> None:
    sent = {"f.amount": "5", "f.rate": "1", "f.currency": '"EUR"', "f.place.street": "Q", f"f.{field}": text}
    with pytest.raises(BadInput, match=said):
        read_form(schema_of(Terms), sent)


@pytest.mark.parametrize(
    "schema",
    [
        b"",
        b"[]",
        b"{",
        b"7",
        b'{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}',
        b'{"type": "object", "properties": {"a": 7}}',
    ],
)
def test_no_schema_is_too_odd(schema: bytes) -> None:
    """Whoever wrote it, a form comes of it; at the worst one JSON text."""
    fields = fields_of(Raw(schema), raw({"a": [1]}))
    assert fields
    sent = {f"f.{field.name}": "1" for field in fields}
    assert bytes(read_form(Raw(schema), sent))


def test_a_form_is_bounded() -> None:
    wide = {"type": "object", "properties": {f"k{n}": {"type": "string"} for n in range(500)}}
    assert len(fields_of(raw(wide), UNSET)) <= 100
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(30):
        deep = {"type": "object", "properties": {"a": deep}}
    field = fields_of(raw(deep), UNSET)[0]
    depth = 0
    while field.kind == "group":
        field, depth = field.fields[0], depth + 1
    assert field.kind == "json"
    assert depth <= 4


def test_the_only_field_of_a_form_is_called_what_the_page_calls_it() -> None:
    [field] = fields_of(Raw(b'{"type":"string"}'), UNSET, "Input")
    assert (field.label, field.kind) == ("Input", "text")
