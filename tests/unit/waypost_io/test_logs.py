from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from waypost_io import logs
from waypost_proto.errors import Misconfigured


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def _refused() -> None:
    raise OSError("postgresql://u:hunter2@h refused")


def _lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_one_json_object_per_line_with_the_service() -> None:
    out = io.StringIO()
    logs.configure("worker", environment={}, stream=out)
    structlog.get_logger().info("took over", partitions=[1, 2], who={"odd": object})
    structlog.get_logger().debug("not shown")
    (line,) = _lines(out)
    assert (line["event"], line["service"], line["level"], line["partitions"]) == ("took over", "worker", "info", [1, 2])
    assert line["timestamp"].endswith("Z")
    assert list(line)[:4] == ["timestamp", "level", "service", "event"]


def test_credentials_are_masked_also_in_tracebacks_and_foreign_logs() -> None:
    out = io.StringIO()
    logs.configure("worker", environment={}, stream=out)
    structlog.get_logger().info("connecting", url="nats://u:hunter2@h", error=OSError("nats://hunter2@h refused"))
    try:
        _refused()
    except OSError:
        structlog.get_logger().exception("failed")
    logging.getLogger("nats").warning("lost %s", "nats://hunter2@h")
    logging.getLogger("nats").info("not shown")
    assert "hunter2" not in out.getvalue()
    assert [line["event"] for line in _lines(out)] == ["connecting", "failed", "lost nats://***@h"]
    assert "refused" in _lines(out)[1]["exception"]


def test_the_level_comes_from_the_environment() -> None:
    out = io.StringIO()
    logs.configure("worker", environment={"WAYPOST_LOG_LEVEL": "debug"}, stream=out)
    structlog.get_logger().debug("shown")
    assert len(_lines(out)) == 1
    with pytest.raises(Misconfigured, match="WAYPOST_LOG_LEVEL='loud'"):
        logs.configure("worker", environment={"WAYPOST_LOG_LEVEL": "loud"}, stream=out)


def test_the_console_format_is_for_people() -> None:
    out = io.StringIO()
    logs.configure("worker", environment={"WAYPOST_LOG_FORMAT": "console"}, stream=out)
    structlog.get_logger().info("hello", url="nats://u:hunter2@h")
    assert "hello" in out.getvalue()
    assert "nats://***@h" in out.getvalue()
    assert not out.getvalue().startswith("{")
