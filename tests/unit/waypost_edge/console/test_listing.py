"""What an address asks of the list of runs."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from waypost_edge.console.listing import VIEWS, Filters, filters_of
from waypost_edge.console.pages import query
from waypost_proto.errors import BadInput
from waypost_proto.values import RunStatus


def asked(text: str) -> Filters:
    return filters_of(Request({"type": "http", "method": "GET", "path": "/", "query_string": text.encode(), "headers": []}))


@pytest.mark.parametrize("text", ["status=paused&status=failed", "status=failed,paused", "status=failed%2C+paused&status=failed&status="])
def test_several_statuses_however_they_are_written(text: str) -> None:
    found = asked(text)
    assert found.status == "paused,failed"
    assert found.statuses == ["paused", "failed"]
    assert query(found.pairs) == "?status=paused%2Cfailed"


def test_all_statuses_are_none() -> None:
    assert not asked(f"status={','.join(RunStatus)}").any
    assert asked("status=").statuses == []


def test_a_status_that_there_is_none_of() -> None:
    with pytest.raises(BadInput, match="'odd' is not one of pending, running"):
        asked("status=paused&status=odd")


def test_every_ready_made_view_is_written_as_the_list_writes_it() -> None:
    assert [query(asked(text).pairs).removeprefix("?") for _, text in VIEWS] == [text for _, text in VIEWS]
