"""Subjects, streams and consumer names."""

from __future__ import annotations

import pytest

from waypost_proto.errors import BadInput, Misconfigured
from waypost_proto.ids import RunId
from waypost_proto.subjects import STREAMS, Subjects

RUN = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")
S = Subjects()


def matches(pattern: str, subject: str) -> bool:
    """NATS's own rule: `*` is one token, `>` one or more at the end."""
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted, tokens = wanted[:-1], tokens[: len(wanted) - 1] if len(tokens) >= len(wanted) else []
    return len(wanted) == len(tokens) and all(w in ("*", t) for w, t in zip(wanted, tokens, strict=True))


def test_the_names_that_the_design_promises() -> None:
    assert S.task("compliance") == "waypost.tasks.compliance"
    assert S.mail("advance", "compliance", RUN) == f"waypost.mailbox.advance.compliance.{RUN}"
    assert S.work("compliance", "b1") == "waypost.work.compliance.b1.any"
    assert S.tool("file-report") == "waypost.tools.file-report"
    assert S.event("compliance", RUN, "run_started") == f"waypost.events.compliance.{RUN}.run_started"
    assert S.supervisor("compliance") == "waypost.supervisor.compliance"
    assert S.dead("tasks") == "waypost.dead.tasks"
    assert S.api("runs", "start") == "waypost.api.runs.start"
    assert [S.stream(name) for name in STREAMS[:2]] == ["WAYPOST_TASKS", "WAYPOST_MAILBOX"]


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [
        (S.all_tasks(), S.task("a")),
        (S.all_tasks(), "waypost.tasks.bad.token"),
        (S.all_mail(), S.mail("result", "t", RUN)),
        (S.all_work(), S.work("a", "b1", "w1")),
        (S.all_tools(), S.tool("t")),
        (S.all_events(), S.event("a", RUN, "run_started")),
        (S.run_events(RUN), S.event("a", RUN, "run_started")),
        (S.all_supervisor(), S.supervisor("a")),
        (S.all_dead(), S.dead("tasks")),
    ],
)
def test_each_pattern_catches_its_subjects(pattern: str, subject: str) -> None:
    assert matches(pattern, subject)


def test_no_two_streams_overlap() -> None:
    samples = [
        S.task("a"),
        S.mail("advance", "a", RUN),
        S.work("a", "b"),
        S.tool("t"),
        S.event("a", RUN, "x"),
        S.supervisor("a"),
        S.dead("x"),
    ]
    patterns = [S.all_tasks(), S.all_mail(), S.all_work(), S.all_tools(), S.all_events(), S.all_supervisor(), S.all_dead()]
    for sample in samples:
        assert sum(matches(pattern, sample) for pattern in patterns) == 1


def test_core_subjects_are_in_no_stream() -> None:
    patterns = [S.all_tasks(), S.all_mail(), S.all_work(), S.all_tools(), S.all_events(), S.all_supervisor(), S.all_dead()]
    for subject in (S.tokens(RUN), S.confirm("w"), S.stop(), S.announce(), S.heartbeat(), S.roll_call(), S.broadcast(), S.api("a", "b")):
        assert not any(matches(pattern, subject) for pattern in patterns), subject


def test_the_agent_of_a_task_subject_may_be_illegal() -> None:
    assert S.agent_of_task("waypost.tasks.bad.token") == "bad.token"
    with pytest.raises(BadInput):
        S.task("bad.token")


def test_a_consumer_belongs_to_one_partition_and_epoch() -> None:
    names = {S.mail_consumer(partition, epoch) for partition in range(3) for epoch in range(3)}
    assert len(names) == 9
    assert matches(S.mail_partition(3), f"waypost.mailbox.3.advance.a.{RUN}")
    assert not matches(S.mail_partition(3), f"waypost.mailbox.4.advance.a.{RUN}")


def test_the_prefix_is_everywhere() -> None:
    mine = Subjects("my-app")
    assert mine.task("a") == "my-app.tasks.a"
    assert mine.stream("TASKS") == "MY_APP_TASKS"
    assert "{{partition(8,3)}}" in mine.mail_transform(8)


@pytest.mark.parametrize("prefix", ["", "a.b", "A", "a b", "a>", "x" * 33])
def test_a_prefix_that_cannot_be_a_token_is_refused(prefix: str) -> None:
    with pytest.raises(Misconfigured, match="prefix"):
        Subjects(prefix)
