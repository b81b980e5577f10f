"""How values are written: the table of styles in the specification (OpenAPI 3.1, "Style Examples")."""

from __future__ import annotations

from typing import Any

import pytest

from waypost.http import RequestInvalid
from waypost.openapi.parameters import Parameter, in_header, in_path, in_query

LIST = ["blue", "black", "brown"]
OBJECT = {"R": 100, "G": 200, "B": 150}


def parameter(place: Any, style: str, *, explode: bool, **more: Any) -> Parameter:
    return Parameter(name="color", argument="color", place=place, style=style, explode=explode, required=True, **more)


@pytest.mark.parametrize(
    ("style", "explode", "text", "listed", "object_"),
    [
        ("simple", False, "blue", "blue,black,brown", "R,100,G,200,B,150"),
        ("simple", True, "blue", "blue,black,brown", "R=100,G=200,B=150"),
        ("label", False, ".blue", ".blue,black,brown", ".R,100,G,200,B,150"),
        ("label", True, ".blue", ".blue.black.brown", ".R=100.G=200.B=150"),
        ("matrix", False, ";color=blue", ";color=blue,black,brown", ";color=R,100,G,200,B,150"),
        ("matrix", True, ";color=blue", ";color=blue;color=black;color=brown", ";R=100;G=200;B=150"),
    ],
)
def test_in_the_path(style: str, explode: bool, text: str, listed: str, object_: str) -> None:
    row = parameter("path", style, explode=explode)
    assert in_path(row, "blue") == text
    assert in_path(row, LIST) == listed
    assert in_path(row, OBJECT) == object_


@pytest.mark.parametrize(
    ("style", "explode", "listed", "object_"),
    [
        ("form", False, "color=blue,black,brown", "color=R,100,G,200,B,150"),
        ("form", True, "color=blue&color=black&color=brown", "R=100&G=200&B=150"),
        ("spaceDelimited", False, "color=blue%20black%20brown", "color=R%20100%20G%20200%20B%20150"),
        ("pipeDelimited", False, "color=blue%7Cblack%7Cbrown", "color=R%7C100%7CG%7C200%7CB%7C150"),
        ("deepObject", True, "color=blue,black,brown", "color[R]=100&color[G]=200&color[B]=150"),
    ],
)
def test_in_the_query(style: str, explode: bool, listed: str, object_: str) -> None:
    row = parameter("query", style, explode=explode)
    assert "&".join(f"{name}={value}" for name, value in in_query(row, LIST)) == listed
    assert "&".join(f"{name}={value}" for name, value in in_query(row, OBJECT)) == object_
    assert list(in_query(row, "a&b=c d/é")) == [("color", "a%26b%3Dc%20d%2F%C3%A9")]
    assert list(in_query(row, [])) == []


def test_in_a_header() -> None:
    assert in_header(parameter("header", "simple", explode=False), LIST) == "blue,black,brown"
    assert in_header(parameter("header", "simple", explode=False), OBJECT) == "R,100,G,200,B,150"
    assert in_header(parameter("header", "simple", explode=True), OBJECT) == "R=100,G=200,B=150"
    assert in_header(parameter("header", "simple", explode=False), True) == "true"


def test_as_json() -> None:
    row = parameter("query", "form", explode=True, as_json=True)
    assert list(in_query(row, {"a": [1]})) == [("color", "%7B%22a%22%3A%5B1%5D%7D")]


@pytest.mark.parametrize("value", ["", ".", "..", [], ["a", ""], [".."], [["a"]], {"a": {"b": 1}}])
def test_what_a_path_cannot_carry(value: Any) -> None:
    with pytest.raises(RequestInvalid, match="nothing was sent"):
        in_path(parameter("path", "simple", explode=False), value)
