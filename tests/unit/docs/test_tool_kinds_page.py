"""docs/tool-kinds.md: its code runs, and its tables are those of the code."""

from __future__ import annotations

import re
import types

import pytest

from tests.unit.docs.pages import run_blocks, text_of
from waypost.http import errors
from waypost.http.meaning import Says, says
from waypost.http.tool import HttpOptions
from waypost.mcp import errors as mcp_errors
from waypost.mcp.stdio import INHERITED
from waypost.mcp.tools import McpOptions
from waypost.openapi.tools import OpenApiOptions

PAGE = "tool-kinds.md"


@pytest.fixture(scope="module")
def page() -> types.ModuleType:
    return run_blocks(PAGE)


def test_the_tools_of_the_page_are_tools(page: types.ModuleType) -> None:
    assert page.transfer.has_reconcile
    assert page.transfer.bind(account="a", amount_cents=300) == page.transfer.bind(page.Transfer("a", 300))
    assert page.balance.bind(account="a") == b'{"account":"a"}'
    assert page.page.effect.value == "read"


def test_every_option_is_told() -> None:
    text = text_of(PAGE)
    for name in (*HttpOptions.__annotations__, *OpenApiOptions.__annotations__, *McpOptions.__annotations__):
        assert f"`{name}`" in text or f"{name}=" in text, name


def test_every_error_and_every_word_is_told() -> None:
    text = text_of(PAGE)
    for name in (*errors.__all__, *mcp_errors.__all__):
        assert f"`{name}`" in text, name
    for word in Says.__args__:  # type: ignore[attr-defined]
        assert f"`{word}`" in text or f'"{word}"' in text, word


def test_the_table_of_statuses_is_the_codes() -> None:
    rows = {
        error: [int(number) for number in re.findall(r"\b[2-5]\d\d\b", cells)]
        for cells, error in re.findall(r"^\| ([^|]*\d{3}[^|]*) \| `(\w+)`", text_of(PAGE), re.MULTILINE)
    }
    for status in rows["HttpBusy"]:
        assert says(status, {}) == "not-executed", status
    for status in rows["HttpRefused"]:
        assert says(status, {}) == "failed", status
    for status in rows["HttpFailed"]:
        assert says(status, {}) == "retry", status


def test_what_a_process_inherits_is_told() -> None:
    for name in INHERITED:
        assert name in text_of(PAGE)
