"""What each command asks of the client and what it prints."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET, Raw

from tests.unit.waypost_cli.conftest import Command
from tests.unit.waypost_cli.fake_client import RUN, FakeClient, view
from waypost_proto.api import (
    ApprovalView,
    CallView,
    DeadDetail,
    DeadPage,
    DeadView,
    RedispatchAnswer,
    RunAnswer,
    RunsList,
)
from waypost_proto.events import Event
from waypost_proto.ids import RunId
from waypost_proto.values import BlobRef, Budget, Failure


def asked(client: FakeClient, method: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    [(args, kwargs)] = [(args, kwargs) for name, args, kwargs in client.asked if name == method]
    return args, kwargs


def event(seq: int, kind: str, data: bytes = b"{}") -> Event:
    return Event(
        run_id=RunId(RUN),
        seq=seq,
        type=kind,
        agent="desk",
        correlation_id="c",
        recorded_at="2026-11-22T12:00:04.123456Z",
        data=Raw(data),
    )


# -- run


def test_run_prints_the_id_for_scripts_and_a_hint_for_people(waypost: Command, client: FakeClient) -> None:
    outcome = waypost("run", "desk", "--input", '{"id": 1}')
    assert outcome.code == 0
    assert outcome.out == f"{RUN}\n"
    assert f"waypost runs watch {RUN}" in outcome.err
    args, kwargs = asked(client, "start")
    assert args[0] == "desk"
    assert bytes(args[1]) == b'{"id": 1}'
    assert kwargs["budget"] is None


def test_run_passes_every_option(waypost: Command, client: FakeClient) -> None:
    outcome = waypost(
        *("run", "desk", "--input", "1", "--idempotency-key", "k", "--max-steps", "5", "--max-cost", "1.5", "--max-tokens", "9"),
        *("--deadline", "PT1H", "--label", "a=b", "--label", "c=d=e", "--json"),
    )
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["run_id"] == RUN
    _, kwargs = asked(client, "start")
    assert kwargs == {
        "idempotency_key": "k",
        "budget": Budget(max_steps=5, max_cost_usd=1.5, max_tokens=9),
        "deadline": "PT1H",
        "labels": {"a": "b", "c": "d=e"},
    }


def test_input_from_a_file_and_from_standard_input(
    waypost: Command, client: FakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "case.json"
    file.write_bytes('{"n": "é"}\n'.encode())
    assert waypost("run", "desk", "--input", f"@{file}").code == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"[1, 2]")))
    assert waypost("run", "desk", "--input", "-").code == 0
    assert [bytes(args[1]) for name, args, _ in client.asked if name == "start"] == ['{"n": "é"}'.encode(), b"[1, 2]"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--input", "{bad"], "is not JSON"),
        (["--input", "hello"], "needs its quotes"),
        (["--input", "@/no/such/file"], "cannot read '/no/such/file': No such file"),
        (["--label", "novalue"], "--label 'novalue' is not key=value"),
        (["--max-steps", "0"], "--max-steps 0 is not a positive number"),
        (["--max-cost", "nan"], "--max-cost nan"),
    ],
)
def test_bad_values_are_usage_errors_before_anything_is_sent(waypost: Command, client: FakeClient, arguments: list[str], says: str) -> None:
    outcome = waypost("run", "desk", *arguments)
    assert outcome.code == 2
    assert says in outcome.err
    assert client.asked == []


def test_waiting_prints_the_result_alone_on_standard_output(waypost: Command, client: FakeClient) -> None:
    client.answers["get"] = view(result=Raw(b'{"risk":0.2}'))
    client.stream = [event(1, "run_started"), event(2, "run_completed", b'{"result":{"risk":0.2}}')]
    outcome = waypost("run", "desk", "--wait")
    assert (outcome.code, outcome.out) == (0, '{"risk":0.2}\n')
    assert "run_completed" in outcome.err


def test_waiting_for_a_run_that_fails_is_exit_1(waypost: Command, client: FakeClient) -> None:
    client.answers["get"] = view(status="failed", error=Failure(type="ValueError", message="no account"))
    client.stream = [event(1, "run_failed")]
    outcome = waypost("run", "desk", "--wait")
    assert (outcome.code, outcome.out) == (1, "")
    assert "failed: ValueError: no account" in outcome.err
    outcome = waypost("run", "desk", "--wait", "--json")
    assert outcome.code == 1
    assert json.loads(outcome.out)["status"] == "failed"


def test_a_large_result_is_fetched(waypost: Command, client: FakeClient) -> None:
    client.stream = [event(1, "run_started"), event(2, "run_completed")]
    client.answers["get"] = view(result_ref=BlobRef(sha256="a" * 64, size=3))
    client.answers["payload"] = b'"x"'
    assert waypost("run", "desk", "--wait").out == '"x"\n'


# -- runs


def test_list_shows_what_runs_wait_for(waypost: Command, client: FakeClient) -> None:
    client.answers["list"] = [
        view(status="waiting", waiting_for="core-banking attempt 3 of 8 failed, next at 12:00:04Z", created_at="2026-11-22T12:00:00Z"),
        view(status="failed", error=Failure(type="ValueError", message="[bold]no[/bold] account")),
    ]
    outcome = waypost("runs", "list", "--agent", "desk", "--status", "waiting", "--label", "a=b", "--limit", "7")
    assert "core-banking attempt 3 of 8 failed, next at 12:00:04Z" in outcome.out
    assert "ValueError: [bold]no[/bold] account" in outcome.out, "what users wrote is no markup"
    assert RUN in outcome.out
    assert asked(client, "list")[1] == {"agent": "desk", "status": "waiting", "labels": {"a": "b"}, "limit": 7, "where": None}


def test_list_takes_further_filters(waypost: Command, client: FakeClient) -> None:
    client.answers["list"] = []
    waypost("runs", "list", "--search", "order-", "--attention", "--created-from", "2026-11-22T12:00:00Z")
    where = RunsList(text="order-", needs_attention=True, created_from="2026-11-22T12:00:00Z")
    assert asked(client, "list")[1]["where"] == where


def test_an_empty_list_is_no_table(waypost: Command, client: FakeClient) -> None:
    client.answers["list"] = []
    outcome = waypost("runs", "list")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "no runs\n")
    assert json.loads(waypost("runs", "list", "--json").out) == []


def test_show_says_everything(waypost: Command, client: FakeClient) -> None:
    call = CallView(
        call_id="0:1", kind="tool", name="core-banking", state="retry", attempt=2, max_attempts=8, error=Failure(type="E", message="503")
    )
    client.answers["get"] = view(
        status="waiting", build="b1", budget=Budget(max_steps=5), labels={"a": "b"}, open_calls=[call], state=Raw(b'{"at":"risk"}')
    )
    text = waypost("runs", "show", RUN).out
    for part in ("desk (build b1)", "waiting", "max_steps 5", "a=b", "core-banking", "2 of 8", "E: 503", '{"at":"risk"}'):
        assert part in text
    assert json.loads(waypost("runs", "show", RUN, "--json").out)["open_calls"][0]["name"] == "core-banking"


def test_events_as_lines_and_as_json_lines(waypost: Command, client: FakeClient) -> None:
    client.stream = [event(1, "run_started"), event(2, "tool_call_completed", b'{"tool":"mail","call_id":"0:1","result":[1,2]}')]
    (line,) = waypost("runs", "events", RUN, "--after", "1").out.splitlines()
    assert line == "12:00:04.123     2  tool_call_completed        mail  (0:1)  [1,2]"
    assert asked(client, "events") == ((RUN,), {"after": 1, "follow": False})
    client.asked.clear()
    found = [json.loads(line) for line in waypost("runs", "events", RUN, "--json", "-f").out.splitlines()]
    assert [one["seq"] for one in found] == [1, 2]
    assert found[1]["data"]["result"] == [1, 2]
    assert asked(client, "events")[1]["follow"] is True


def test_watch_ends_with_the_run(waypost: Command, client: FakeClient) -> None:
    client.stream = [event(1, "run_started"), event(2, "run_cancelled")]
    client.answers["get"] = view(status="cancelled")
    outcome = waypost("runs", "watch", RUN)
    assert outcome.code == 1
    assert "run_cancelled" in outcome.err
    outcome = waypost("runs", "watch", RUN, "--json")
    assert outcome.code == 1
    assert len(outcome.out.splitlines()) == 2


@pytest.mark.parametrize("verb", ["pause", "cancel"])
def test_several_runs_at_once(waypost: Command, client: FakeClient, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "ann")
    monkeypatch.delenv("LOGNAME", raising=False)
    outcome = waypost("runs", verb, RUN, "other", "--reason", "look")
    assert outcome.code == 0
    assert [(name, args, kwargs) for name, args, kwargs in client.asked] == [
        (verb, (RUN,), {"reason": "look", "by": "ann"}),
        (verb, ("other",), {"reason": "look", "by": "ann"}),
    ]
    assert waypost("runs", verb).code == 2


def test_resume_with_more_of_a_limit_and_an_instruction(waypost: Command, client: FakeClient) -> None:
    client.answers["resume"] = RunAnswer(run_id=RUN, status="running")
    waypost("runs", "resume", RUN, "--max-cost", "+0.5", "--max-tokens", "900", "--instruction", "try the other list", "--by", "bob")
    extra, new = Budget(max_cost_usd=0.5), Budget(max_tokens=900)
    assert asked(client, "resume")[1] == {"budget": new, "extra": extra, "instruction": "try the other list", "tools": None, "by": "bob"}
    for wrong in (("--max-steps", "0"), ("--max-steps", "+1.5"), ("--max-cost", "much"), ("--max-cost", "inf")):
        assert waypost("runs", "resume", RUN, *wrong).code == 2


def test_resume_with_a_larger_limit(waypost: Command, client: FakeClient) -> None:
    client.answers["resume"] = RunAnswer(run_id=RUN, status="running", duplicate=True)
    outcome = waypost("runs", "resume", RUN, "--max-steps", "99", "--by", "bob")
    assert asked(client, "resume") == (
        (RUN,),
        {"budget": Budget(max_steps=99), "extra": None, "instruction": "", "tools": None, "by": "bob"},
    )
    assert "running" in outcome.out
    assert "was not paused" in outcome.out


def test_signal(waypost: Command, client: FakeClient) -> None:
    assert waypost("runs", "signal", RUN, "papers", "--payload", '{"n":1}', "--by", "ann").code == 0
    args, kwargs = asked(client, "signal")
    assert (args[0], args[1], bytes(args[2]), kwargs) == (RUN, "papers", b'{"n":1}', {"by": "ann"})


def test_resolve(waypost: Command, client: FakeClient) -> None:
    assert waypost("runs", "resolve", RUN, "0:3", "completed", "--result", '"r-17"', "--by", "ann").code == 0
    args, kwargs = asked(client, "resolve")
    assert args == (RUN, "0:3", "completed")
    assert bytes(kwargs["result"]) == b'"r-17"'
    client.asked.clear()
    assert waypost("runs", "resolve", RUN, "0:3", "not_done").code == 0
    assert asked(client, "resolve")[1]["result"] is UNSET
    assert waypost("runs", "resolve", RUN, "0:3", "perhaps").code == 2


# -- approvals


def approval(**more: Any) -> ApprovalView:
    return ApprovalView(
        **{
            "approval_id": "ap-1",
            "run_id": RUN,
            "agent": "desk",
            "call_id": "0:1",
            "tool": "file-report",
            "args": Raw(b'{"case":"c-1"}'),
            "args_digest": "d" * 64,
            "role": "officer",
            "state": "open",
            "requested_at": "2026-11-22T12:00:00Z",
            "expires_at": "2126-11-22T12:00:00Z",
            **more,
        }
    )


def test_approvals_show_what_they_are_bound_to(waypost: Command, client: FakeClient) -> None:
    client.answers["approvals"] = [approval(), approval(approval_id="ap-2", args=UNSET)]
    text = waypost("approvals", "list", "--all", "--role", "officer", "--run", RUN).out
    for part in ("ap-1", "file-report", "officer", '{"case":"c-1"}', "sha256 dddddddddddd", "expires in"):
        assert part in text
    assert asked(client, "approvals")[1] == {"state": "all", "role": "officer", "run_id": RUN}


@pytest.mark.parametrize(("command", "method"), [("approve", "approve"), ("deny", "deny")])
def test_deciding_needs_a_role(waypost: Command, client: FakeClient, command: str, method: str) -> None:
    outcome = waypost("approvals", command, "ap-1")
    assert outcome.code == 2
    assert "--role officer" in outcome.err
    assert client.asked == []
    outcome = waypost("approvals", command, "ap-1", "ap-2", "--role", "officer", "--role", "clerk", "--by", "ann", "--reason", "fine")
    assert outcome.code == 0
    assert [args for name, args, _ in client.asked if name == method] == [("ap-1",), ("ap-2",)]
    assert client.asked[0][2] == {"by": "ann", "roles": ["officer", "clerk"], "reason": "fine"}


# -- dead letters, care


def dead_view(dead_id: int = 7) -> DeadView:
    return DeadView(dead_id=dead_id, origin="tasks", reason="not JSON", at="2026-11-22T12:00:00Z", size=4, excerpt="{bad")


def test_dead_letters(waypost: Command, client: FakeClient) -> None:
    client.answers["call"] = DeadPage(dead=[dead_view()])
    assert "not JSON" in waypost("dead", "list").out
    client.answers["call"] = DeadDetail(view=dead_view(), subject="t.tasks.desk", headers={"A": "b"}, body=b"{bad")
    text = waypost("dead", "show", "7").out
    assert "t.tasks.desk" in text
    assert text.endswith("{bad\n")
    client.answers["call"] = dead_view()
    client.asked.clear()
    assert waypost("dead", "redrive", "7", "8").out == "7  published again\n8  published again\n"
    assert waypost("dead", "discard", "7").out == "7  discarded\n"
    assert [args[0] for _, args, _ in client.asked] == ["dead.redrive", "dead.redrive", "dead.discard"]
    assert waypost("dead", "redrive").code == 2


def test_the_original_bytes_of_a_dead_letter(client: FakeClient, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    client.answers["call"] = DeadDetail(view=dead_view(), subject="s", body=b"\xff\x00")
    from waypost_cli.__main__ import run

    assert run(["dead", "show", "7", "--raw"]) == 0
    assert capsysbinary.readouterr().out == b"\xff\x00"


def test_redispatch(waypost: Command, client: FakeClient) -> None:
    client.answers["call"] = RedispatchAnswer(runs=3, dispatches=5)
    assert waypost("redispatch").out == "5 dispatches of 3 runs\n"


def test_migrate_needs_a_database(waypost: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = waypost("migrate")
    assert outcome.code == 2
    assert "WAYPOST_POSTGRES_URL" in outcome.err


# -- services


@pytest.fixture
def becomes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """What the process would have become."""
    found: list[list[str]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.execv", lambda _path, arguments: found.append(arguments[1:]))
    return found


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["coordinator"], ["-m", "waypost_coordinator"]),
        (["audit-logger"], ["-m", "waypost_audit"]),
        (["gateway", "bank.tools", "--concurrency", "3"], ["-m", "waypost_gateway", "bank.tools", "--concurrency", "3"]),
        (
            ["worker", "bank.desk", "bank.risk", "--agent", "desk", "--agent", "risk"],
            ["-m", "waypost_worker", "bank.desk", "bank.risk", "--agent", "desk", "--agent", "risk"],
        ),
    ],
)
def test_services_take_over_the_process(waypost: Command, becomes: list[list[str]], arguments: list[str], command: list[str]) -> None:
    assert waypost(*arguments).code == 0
    assert becomes == [command]


@pytest.mark.parametrize("arguments", [["worker"], ["gateway"], ["worker", "missing.py"], ["worker", "desk", "--concurrency", "0"]])
def test_services_check_their_arguments(waypost: Command, becomes: list[list[str]], arguments: list[str]) -> None:
    assert waypost(*arguments).code == 2
    assert becomes == []
