"""The tree of `runs watch`: what is done, what is awaited with its countdown, children below their call, what it cost."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import Raw
from rich.console import Console

from tests.unit.waypost_cli.fake_client import RUN
from tests.unit.waypost_cli.test_explaining import CHILD, event
from waypost_cli.watched import Board, TreeScreen, lines_of
from waypost_core.tracing import Capture
from waypost_proto import events as ev
from waypost_proto.errors import BadInput
from waypost_proto.ids import RunId
from waypost_proto.models import ModelCall
from waypost_proto.usage import Usage
from waypost_proto.values import Effect, Mark

OTHER = "0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e57"
BEGAN = datetime.fromtimestamp(1_000, UTC)
MARK = Mark(digest="d", seen=1, worker="w")


def board(*data: ev.Data, roots: tuple[str, ...] = (RUN,), **more: Any) -> Board:
    made = Board(list(roots), Capture(intent=True, content=True), **more)
    for seq, one in enumerate(data, 1):
        made.feed(event(seq, one))
    return made


def shown(of: Board, after: float = 10.0, height: int = 100) -> list[str]:
    return [line.plain() for line in lines_of(of, BEGAN + timedelta(seconds=after), height)]


def call(call_id: str = "0:1", tool: str = "pay", effect: Effect | None = Effect.UNSAFE) -> ev.ToolCallRequested:
    return ev.ToolCallRequested(
        call_id=call_id,
        tool=tool,
        args=Raw(b'{"a":1}'),
        args_digest="d",
        idempotency_key="k",
        effect=effect,
        mark=MARK,
        seen=1,  # type: ignore[arg-type]
    )


START = ev.RunStarted(input=Raw(b"1"))


def test_a_retry_counts_down() -> None:
    failed = ev.ToolAttemptFailed(
        call_id="0:1",
        tool="pay",
        attempt=1,
        max_attempts=8,
        error=ev.Failure(type="Busy", message="no"),
        next_attempt_at=1_034.0,  # type: ignore[arg-type]
    )
    of = board(START, call(), failed)
    assert '  ▸ Tool pay (0:1, unsafe) with {"a":1} (8.0 s)' in shown(of)
    assert "    … waits for pay: attempt 2 of 8, 24.0 s left" in shown(of)
    assert "    … waits for pay: attempt 2 of 8, any moment now" in shown(of, after=60)


def test_an_approval_says_what_to_type() -> None:
    asked = ev.ApprovalRequested(approval_id="ap-1", call_id="0:1", tool="pay", args_digest="d", role="officer", expires_at=1_000 + 7_210)  # type: ignore[arg-type]
    text = shown(board(START, call(), asked))
    assert "    … waits for approval of pay by officer, 2.0 h left" in text
    assert "        allow exactly this call: waypost approvals approve ap-1 --role officer" in text


def test_children_lie_below_their_call_and_count_with_their_parent() -> None:
    child = ev.ChildRequested(call_id="0:1", child_agent="helper", child_run_id=RunId(CHILD), mark=MARK, seen=1)  # type: ignore[arg-type]
    of = board(START, child)
    assert list(of.runs) == [RUN, CHILD]
    assert f"    ● run {CHILD}: not begun" in shown(of)
    model = ModelCall(model="small", input_tokens=10, output_tokens=2)
    step = ev.StepCompleted(call_id="m1", name="small", at=1_001.0, model=model, usage=Usage(cost_micros=5_000), result=Raw(b"1"))  # type: ignore[arg-type]
    of.feed(event(1, START, CHILD))
    of.feed(event(2, step, CHILD))
    lines = shown(of)
    assert lines[0] == f"● desk {RUN}: waiting, 9.0 s, 1 model calls, 12 tokens, 0.005 USD"
    assert any(line.startswith(f"    ● desk {CHILD}: ") for line in lines)
    assert list(board(START, child, children=False).runs) == [RUN]


def test_the_end_of_each_run_and_several_at_once() -> None:
    of = board(
        START, call(), ev.RunFailed(error=ev.Failure(type="ValueError", message="no such case"), mark=MARK, seen=1), roots=(RUN, OTHER, RUN)
    )
    assert of.roots == [RUN, OTHER]
    assert not of.ended
    lines = shown(of)
    assert lines[0].startswith(f"✗ desk {RUN}: failed, ")
    assert any(line.endswith("ValueError: no such case") for line in lines)
    assert lines[-1] == f"● run {OTHER}: not begun"
    of.feed(event(1, START, OTHER))
    of.feed(event(2, ev.RunCancelled(reason="enough", by="ann"), OTHER))
    assert of.ended
    assert shown(of)[-1] == "  ✗ it was cancelled by ann: enough"


def test_a_pause_says_who_can_do_what() -> None:
    of = board(
        START,
        ev.BreakerTripped(limit="max_steps", value=5, maximum=5, message="max_steps 5 reached"),
        ev.RunPaused(reason="max_steps 5 reached"),
    )
    assert "  … waits for somebody to resume it (paused: max_steps 5 reached)" in shown(of)
    assert f"      go on with a higher limit: waypost runs resume {RUN} --max-steps +20" in shown(of)


def test_it_fits_the_window_and_keeps_what_is_open() -> None:
    done = [
        one
        for number in range(60)
        for one in (call(f"0:{number}"), ev.ToolCallCompleted(call_id=f"0:{number}", tool="pay", attempt=1, result=Raw(b"1")))  # type: ignore[arg-type]
    ]
    of = board(START, call("9:9", "last"), *done, ev.RunAdvanced(seen=500, mark=Mark(digest="d", seen=500, worker="w")))
    for height in (100, 30, 10, 5):
        lines = shown(of, height=height)
        assert len(lines) <= height
        assert any("last" in line for line in lines)
    assert "  · 58 earlier" in shown(of, height=6)
    assert "  · 60 earlier" in shown(of, height=4)
    assert shown(of, height=2)[-1].endswith("lines more: make the window larger")


def test_a_worker_that_is_not_there_is_missed_after_a_moment() -> None:
    of = board(START)
    assert len(shown(of, after=2)) == 1
    assert shown(of)[1:] == [
        "  … waits for a worker for agent desk to take what is new to its code",
        "      see which workers host it: waypost agents",
        "      host it: waypost worker MODULE",
    ]


def test_lost_connections_are_said() -> None:
    of = board(START)
    of.trouble = "NATS does not answer"
    assert shown(of)[-1] == "✗ nothing arrives, trying again: NATS does not answer"


def test_without_unicode() -> None:
    assert lines_of(board(START), BEGAN, 9)[0].plain(ascii_only=True).startswith("* desk")


def test_what_is_no_run_is_refused() -> None:
    with pytest.raises(BadInput):
        board(roots=("nonsense",))


def test_commands_are_whole_in_a_narrow_window() -> None:
    asked = ev.ApprovalRequested(approval_id="ap-1", call_id="0:1", tool="pay", args_digest="d", role="officer", expires_at=9_000)  # type: ignore[arg-type]
    out = io.StringIO()
    console = Console(file=out, width=40, height=40)
    console.print(TreeScreen(console, board(START, call(), asked))._drawing())
    assert "waypost approvals approve ap-1 --role officer" in " ".join(out.getvalue().split())
    assert max(map(len, out.getvalue().splitlines())) <= 40
