"""What is measured of runs and steps, and the line of each reasoning step: from committed events, each once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Raw
from structlog.testing import capture_logs

from tests.unit.waypost_coordinator import rig
from tests.unit.waypost_coordinator.rig import Replica, Site
from tests.waiting import wait_until
from waypost_coordinator.measuring import MEASURED
from waypost_coordinator.step_lines import StepLines
from waypost_io.metrics import Histogram, Metrics
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.ids import CallId, RunId
from waypost_proto.mailbox import ToolFailed, ToolUncertain
from waypost_proto.models import ModelCall
from waypost_proto.usage import Usage
from waypost_proto.values import Budget, Failure

MODEL = ModelCall(
    model="gpt",
    provider="openai",
    answered_by="gpt-1",
    finish="tool_calls",
    input_tokens=100,
    output_tokens=20,
    cached_tokens=40,
    first_token_seconds=0.2,
    intent="look it up first",
    cost_micros=2_500,
)
CHAT = ("chat", "openai", "gpt", "gpt-1")


@asynccontextmanager
async def working(**settings: str) -> AsyncIterator[tuple[Site, Replica]]:
    async with rig.site(**settings) as site, site.replica() as replica:
        await site.hosts()
        yield site, replica


def shown(replica: Replica) -> dict[tuple[str, ...], Any]:
    """Value of each series: a number, or (count, sum) of a histogram."""
    registry: Metrics = replica.ground.metrics.registry
    found: dict[tuple[str, ...], Any] = {}
    for family in registry.families():
        for values, series in family.series():
            key = (family.name, *values)
            found[key] = (sum(series.counts), series.total) if isinstance(series, Histogram) else series.value
    return found


def thought(given: Any, call_id: str = "0:1", **model: Any) -> cmd.FinishStep:
    import msgspec

    return cmd.FinishStep(
        seen=given.upto,
        id=CallId(call_id),
        name="model",
        at=1.0,
        duration_seconds=0.5,
        result=Raw(b'"x"'),
        usage=Usage(tokens=120, cost_micros=2_500),
        model=msgspec.structs.replace(MODEL, **model),
    )


async def reasoned(site: Site, replica: Replica) -> RunId:
    """A run whose model chose a tool, and which then ended."""
    run_id = await replica.start(0, budget=Budget(max_cost_usd=0.01, max_steps=4))
    given = await site.activation(run_id)
    await site.advance(given, thought(given), rig.call("look", given, "0:2", because=CallId("0:1")))
    await site.succeed(await site.call(run_id))
    given = await site.activation(run_id, 2)
    await site.advance(given, thought(given, "0:3", finish="stop", intent="done"), rig.complete(given))
    await site.until(run_id, "run_completed")
    return run_id


async def test_a_run_its_steps_and_its_model_calls() -> None:
    async with working() as (site, replica):
        run_id = await reasoned(site, replica)
        await wait_until(lambda: shown(replica).get(("waypost_runs_ended_total", "clerk", "completed")))
        found = shown(replica)
    assert found["waypost_runs_started_total", "clerk"] == 1
    assert found["waypost_granted_usd_total", "clerk"] == 0.01
    assert found["waypost_steps_total", "clerk", "model", "completed"] == 2
    assert found["waypost_steps_total", "clerk", "tool", "completed"] == 1
    assert found["waypost_step_seconds", "clerk", "model"] == (2, 1.0)
    assert found["waypost_step_seconds", "clerk", "tool"][0] == 1
    assert found["waypost_tool_calls_total", "clerk", "look", "completed"] == 1
    assert found["waypost_spent_tokens_total", "clerk"] == 240
    assert found["waypost_spent_usd_total", "clerk"] == 0.005
    assert found["waypost_budget_used_ratio", "clerk", "max_cost_usd"] == (1, 0.5)
    assert found["waypost_budget_used_ratio", "clerk", "max_steps"] == (1, 0.75)
    assert found["gen_ai_client_inference_duration_seconds", *CHAT, ""] == (2, 1.0)
    assert found["gen_ai_client_inference_time_to_first_chunk_seconds", *CHAT] == (2, 0.4)
    assert found["gen_ai_client_inference_usage_input_tokens_total", *CHAT, "unknown"] == 200
    assert found["gen_ai_client_inference_usage_output_tokens_total", *CHAT, "unknown"] == 40
    assert found["gen_ai_client_inference_usage_cache_read_input_tokens_total", *CHAT, "unknown"] == 80
    assert ("gen_ai_client_inference_usage_reasoning_output_tokens_total", *CHAT, "unknown") not in found
    assert found["gen_ai_invoke_agent_inference_calls", "clerk"] == (1, 2.0)
    assert found["gen_ai_invoke_agent_tool_calls", "clerk"] == (1, 1.0)
    assert found["gen_ai_invoke_agent_duration_seconds", "clerk", ""][0] == 1
    assert found["gen_ai_invoke_workflow_duration_seconds", "clerk", ""][0] == 1
    assert found["gen_ai_execute_tool_duration_seconds", "look", "clerk", ""][0] == 1
    text = replica.ground.metrics.registry.render_openmetrics().decode()
    assert f'# {{trace_id="{run_id.replace("-", "")}"}}' in text


async def test_each_reasoning_step_has_one_line_and_its_cost_once() -> None:
    with capture_logs() as lines:
        async with working(WAYPOST_CAPTURE="answers") as (site, replica):
            run_id = await replica.start(0)
            given = await site.activation(run_id)
            chosen = [rig.call("look", given, call_id, because=CallId("0:1")) for call_id in ("0:2", "0:3")]
            await site.advance(given, thought(given), *chosen)
            for number in (1, 2):
                await site.succeed(await site.call(run_id, number))
            await site.until(run_id, "tool_call_completed", 2)
            given = await site.activation(run_id, 2)
            await site.advance(given, thought(given, "0:4", finish="stop", intent="all done"), rig.complete(given))
            await site.until(run_id, "run_completed")
            await wait_until(lambda: sum(line["event"] == "reasoning_step" for line in lines) == 3)
    found = [line for line in lines if line["event"] == "reasoning_step"]
    assert [(line["step"], line["tool"], line["status"], line["intent"], line["cost_usd"]) for line in found] == [
        ("0:2", "look", "completed", "look it up first", 0.0025),
        ("0:3", "look", "completed", "look it up first", None),
        ("0:4", "", "stop", "all done", 0.0025),
    ]
    assert {(line["run_id"], line["agent"]) for line in found} == {(run_id, "clerk")}


async def test_what_the_model_said_is_not_shown_unless_it_is_captured() -> None:
    for settings in ({}, {"WAYPOST_CAPTURE": "prompts"}, {"WAYPOST_CAPTURE": "all", "WAYPOST_CAPTURE_REDACT": "m:f"}):
        with capture_logs() as lines:
            async with working(**settings) as (site, replica):
                await reasoned(site, replica)
                await wait_until(lambda: sum(line["event"] == "reasoning_step" for line in lines) == 2)
        assert {line["intent"] for line in lines if line["event"] == "reasoning_step"} == {""}


async def test_lines_can_be_switched_off() -> None:
    with capture_logs() as lines:
        async with working(WAYPOST_LOG_STEPS="no") as (site, replica):
            await reasoned(site, replica)
            await wait_until(lambda: shown(replica).get(("waypost_runs_ended_total", "clerk", "completed")))
    assert not [line for line in lines if line["event"] == "reasoning_step"]


async def test_failures_doubts_and_retries() -> None:
    with capture_logs() as lines:
        async with working() as (site, replica):
            run_id = await replica.start(0)
            given = await site.activation(run_id)
            await site.advance(given, rig.call("look", given, "0:1"), rig.call("pay", given, "0:2"))
            look, pay = await site.call(run_id), await site.call(run_id, 2)
            look, pay = (look, pay) if look.tool == "look" else (pay, look)
            for attempt in (1, 2):
                failed = ToolFailed(
                    run_id=run_id, call_id=look.call_id, attempt=attempt, error=Failure(type="Gone", message="?"), retryable=True
                )
                await site.mail(failed)
                await site.until(run_id, "tool_attempt_failed" if attempt == 1 else "tool_call_failed")
                if attempt == 1:
                    await site.call(run_id, 3)
            await site.mail(ToolUncertain(run_id=run_id, call_id=pay.call_id, attempt=1, error=Failure(type="Timeout", message="?")))
            await site.until(run_id, "tool_call_in_doubt")
            await wait_until(lambda: ("waypost_tool_doubts_total", "clerk", "pay") in shown(replica))
            found = shown(replica)
    assert found["waypost_tool_attempts_failed_total", "look", "Gone"] == 1
    assert found["waypost_tool_calls_total", "clerk", "look", "failed"] == 1
    assert found["gen_ai_execute_tool_duration_seconds", "look", "clerk", "Gone"][0] == 1
    steps = {(line["tool"], line["status"]) for line in lines if line["event"] == "reasoning_step"}
    assert steps == {("look", "Gone"), ("pay", "in_doubt")}


async def test_a_commit_that_fails_is_not_measured_and_one_that_is_repeated_only_once() -> None:
    async with working() as (site, replica):
        replica.store.fail_next_commit("after")  # it is committed, and nobody learns it: redelivery shows that it was
        run_id = rig.new_run(0)
        await replica.submit(rig.start(run_id))
        await site.until(run_id, "run_started")
        await wait_until(lambda: len(replica.ground.epochs) == rig.PARTITIONS)
        again = await replica.submit(rig.start(run_id))
        assert again.ok
        other = await replica.start(0)
        await site.until(other, "run_started")
        await wait_until(lambda: ("waypost_runs_started_total", "clerk") in shown(replica))
        assert shown(replica)["waypost_runs_started_total", "clerk"] == 1
        assert shown(replica)["waypost_commits_failed_total", "unknown"] == 1


def test_every_event_that_says_something_is_measured_or_is_known_not_to_be() -> None:
    silent = {
        ev.RunAdvanced, ev.StepRequested, ev.ToolCallCancelRequested, ev.ChildCancelRequested, ev.TimerStarted, ev.TimerFired,
        ev.TimerCancelled, ev.SignalAwaited, ev.SignalWaitCancelled, ev.SignalReceived, ev.StateChanged, ev.ApprovalGiven, ev.RunResumed,
        ev.RunEnding, ev.CallFunded, ev.LeaseAsked, ev.LeaseReceived, ev.LeaseReturned, ev.LeaseWanted, ev.LeaseGranted, ev.LeaseRecalled,
        ev.LeaseTakenBack, ev.NoticeEscalated, ev.InstructionAdded, ev.CheckpointSaved, ev.WritesSaved, ev.StepRecalled,
        ev.ForkToolsChanged,
    }  # fmt: skip
    assert set(MEASURED) | silent == set(ev.AnyData.__args__)
    assert not set(MEASURED) & silent


def test_words_are_cut() -> None:
    from waypost_coordinator.course import Thought
    from waypost_core.state import RunState

    with capture_logs() as lines:
        state = RunState(run_id=rig.new_run(), agent="clerk")
        StepLines(intents=True).step(state, "0:1", tool="look", status="completed", seconds=1 / 3, thought=Thought("x" * 1_000, None))
    assert len(lines[0]["intent"]) == 300
    assert lines[0]["seconds"] == 0.333333
