"""Documents that can be read, and what is told of those that cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from waypost.openapi import BadDocument
from waypost.openapi.document import load
from waypost.openapi.naming import tool_name
from waypost.openapi.schemas import Gatherer
from waypost.schemas import Schema
from waypost_proto.errors import BadInput, Misconfigured

BOMB = "\n".join(
    ["a: &a [x, x]"] + [f"{name}: &{name} [{', '.join(['*' + last] * 8)}]" for last, name in zip("abcdefgh", "bcdefghi", strict=True)]
)
MINIMAL = {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {}}


def test_json_yaml_paths_and_values_are_one_document(tmp_path: Path) -> None:
    text = "openapi: 3.1.0\ninfo:\n  title: t\n  version: '1'\npaths: {}\n"
    path = tmp_path / "api.yaml"
    path.write_text(text)
    for source in (text, text.encode(), path, str(path), MINIMAL, '{"openapi":"3.1.0","info":{"title":"t","version":"1"},"paths":{}}'):
        assert load(source).root == MINIMAL


def test_yaml_has_the_values_of_json() -> None:
    root = load("openapi: 3.0.3\nx:\n  200: a\n  date: 2024-01-01\n  yes: no\n  true: true\n  null: ~\n").root
    assert root["x"] == {"200": "a", "date": "2024-01-01", "yes": "no", "True": True, "None": None}


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ({"swagger": "2.0"}, "Swagger 2.0"),
        ({"openapi": "4.0.0"}, "3.0.x and 3.1.x"),
        ({}, "3.0.x and 3.1.x"),
        ("{", "it is not JSON"),
        ("[1]", "an object is needed"),
        ("a: [\n", "neither JSON nor YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", "neither JSON nor YAML"),
        ("just\ntext", "an object is needed"),
        (BOMB, "more than 1000000 values"),
        ("a: &a\n  b: *a\n", "nested deeper"),
        ("{" + '"a":{' * 300 + "}" * 301, "nested deeper"),
    ],
)  # fmt: skip
def test_what_is_no_document_is_told(source: Any, why: str) -> None:
    with pytest.raises(BadDocument, match=why):
        load(source)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(Misconfigured, match=r"'nowhere\.yaml' cannot be read: No such file"):
        load("nowhere.yaml")


def translated(schema: Any, *, version: str = "3.0.3", side: Any = "request", **components: Any) -> Any:
    document = load({**MINIMAL, "openapi": version, "components": {"schemas": components}})
    gatherer = Gatherer(document, side)
    found = gatherer.schema(schema, "#/x")
    return gatherer.with_definitions(found) if isinstance(found, dict) else found


def fits(schema: Any, value: Any) -> bool:
    return not Schema("s", schema).problems(value)


def test_words_of_3_0() -> None:
    schema = translated(
        {"type": "integer", "minimum": 0, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": False, "nullable": True}
    )
    assert schema == {"type": ["integer", "null"], "exclusiveMinimum": 0, "maximum": 9}
    assert [fits(schema, value) for value in (None, 0, 1, 9, 10)] == [True, False, True, True, False]
    assert fits(translated({"type": "string", "enum": ["a"], "nullable": True}), None)
    assert fits(translated({"allOf": [{"type": "string"}], "nullable": True}), None)


def test_references_are_gathered_also_recursive_ones() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Node"}, "pet": {"$ref": "#/components/schemas/P~1et"}}}
    schema = translated({"$ref": "#/components/schemas/Node"}, Node=node, **{"P/et": {"type": "string"}})
    assert set(schema["$defs"]) == {"Node", "P_et"}
    assert fits(schema, {"next": {"next": {"pet": "x"}}})
    assert not fits(schema, {"next": {"pet": 1}})


def test_words_beside_a_reference_count_in_3_1_only() -> None:
    schema = {"$ref": "#/components/schemas/N", "maximum": 5}
    assert fits(translated(schema, N={"type": "integer"}), 9)
    assert not fits(translated(schema, version="3.1.0", N={"type": "integer"}), 9)


def test_what_a_side_does_not_have_is_not_required_there() -> None:
    schema = {
        "type": "object",
        "required": ["id", "password"],
        "properties": {"id": {"type": "string", "readOnly": True}, "password": {"type": "string", "writeOnly": True}},
    }
    assert translated(schema)["required"] == ["password"]
    assert translated(schema, side="response")["required"] == ["id"]


@pytest.mark.parametrize(
    ("pointer", "why"),
    [
        ("http://169.254.169.254/x", "leaves the document"),
        ("other.yaml#/x", "leaves the document"),
        ("file:///etc/passwd", "leaves the document"),
        ("#/components/schemas/Nope", "leads nowhere: there is no 'Nope'"),
        ("#nope", "names an anchor"),
    ],
)
def test_references_that_cannot_be_followed(pointer: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        Schema("s", translated({"$ref": pointer})).check()


def test_references_in_a_circle() -> None:
    document = load({**MINIMAL, "x": {"$ref": "#/y"}, "y": {"$ref": "#/x"}})
    with pytest.raises(BadDocument, match="in a circle"):
        document.resolved({"$ref": "#/x"}, "#/z")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("listPets", "list-pets"),
        ("getPetByID", "get-pet-by-id"),
        ("HTTPServer_v2", "http-server-v2"),
        ("pets/list.all", "pets-list-all"),
        ("get /pets/{id}", "get-pets-id"),
        ("日本", "operation"),
        ("--", "operation"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert tool_name(text) == name


def test_a_long_name_is_cut_and_stays_its_own() -> None:
    first, second = tool_name("veryLongName" * 10 + "A"), tool_name("veryLongName" * 10 + "B")
    assert first != second
    assert len(first) <= 63
    assert tool_name("x", "bank-") == "bank-x"
