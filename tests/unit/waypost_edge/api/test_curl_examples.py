"""Who copies an example from docs/http-api.md gets what the page says."""

from __future__ import annotations

import pytest

from tests.unit.waypost_edge.api import curl_examples
from tests.unit.waypost_edge.api.rig import Edge
from waypost_proto.errors import BadInput


async def test_every_example_gives_what_the_page_shows(edge: Edge) -> None:
    assert curl_examples.left_out() == []
    assert await curl_examples.run_all(*edge.address) >= 6


def test_what_differs_is_told() -> None:
    curl_examples.assert_alike({"a": ["x…z", 1]}, {"a": ["x-y-z", 1], "more": 2}, "here")
    for shown, found in (({"a": 1}, {"b": 1}), ([1], []), ("x…", "y"), ({"a": {}}, {"a": 1}), (1, 2)):
        with pytest.raises(AssertionError):
            curl_examples.assert_alike(shown, found, "here")
    with pytest.raises(BadInput, match="UUIDv7"):
        curl_examples.assert_alike("0192f0c1-…", "nobody", "here")
