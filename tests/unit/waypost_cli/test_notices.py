"""What supervisor notices and error messages tell people to type is something that can be typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import waypost_core
from waypost_cli.app import build
from waypost_core import notices
from waypost_core.state import RunState
from waypost_proto import events as ev
from waypost_proto.ids import CallId, RunId
from waypost_proto.notices import Notice
from waypost_proto.values import Failure

RUN = RunState(run_id=RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55"), agent="desk")
CALL = CallId("0:1")
DOUBT = ev.ToolCallInDoubt(call_id=CALL, tool="mail", attempt=1, error=Failure(type="E", message="m"))
ASKED = ev.ApprovalRequested(approval_id="ap-1", call_id=CALL, tool="mail", args_digest="d", role="officer", expires_at=1.0)
NOTICES: list[Notice] = [
    notices.paused_notice(RUN, 1, ev.RunPaused(reason="look")),
    notices.doubt_notice(RUN, 1, DOUBT),
    notices.approval_notice(RUN, 1, ASKED),
    notices.failed_notice(RUN, 1, ev.RunFailed(error=Failure(type="E", message="m"))),
]
COMMANDS = sorted({action.command for notice in NOTICES for action in notice.actions})
SENTENCES = sorted(
    {
        found
        for root in (Path(waypost_core.__file__).parent,)
        for path in root.rglob("*.py")
        for found in re.findall(r"`(waypost [a-z][^`{]*)`", path.read_text())
    }
)


def parses(command: str) -> None:
    words = command.replace("RESULT", "null").replace(" N", " 3").split()[1:]
    build(words).parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_action_of_a_notice_is_a_command(command: str) -> None:
    parses(command)


@pytest.mark.parametrize("command", SENTENCES)
def test_every_command_in_a_message_is_one(command: str) -> None:
    parses(command)


def test_there_is_something_to_test() -> None:
    assert len(COMMANDS) >= 8
    assert SENTENCES
