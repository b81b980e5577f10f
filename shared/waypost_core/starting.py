"""How a run begins, and what a repeated start means."""

from __future__ import annotations

import contextlib

import msgspec
from msgspec import UNSET

from waypost_core.decision import Decision, done, refused
from waypost_core.ending import child_ended
from waypost_core.loops import loop_limits
from waypost_core.messages import Env
from waypost_core.state import RunState
from waypost_core.timing import LATEST
from waypost_proto import events as ev
from waypost_proto.errors import BadInput
from waypost_proto.ids import digest_of
from waypost_proto.mailbox import StartRun
from waypost_proto.registry import AgentDefinition
from waypost_proto.task import parse_deadline
from waypost_proto.values import Budget


def start_run(state: RunState | None, message: StartRun, env: Env) -> Decision:
    """A new run, or the answer for one that exists: the same input again is a duplicate, another input a conflict.

    A finished child that is started again sends its outcome again: its parent may have lost it (CORRECTNESS.md row 2).
    """
    digest = input_digest(message)
    if state is not None:
        if message.tenant != state.tenant:  # its status is nobody's business
            return refused(message.run_id, "409", f"the run id {message.run_id} is taken: choose another, or none")
        return _again(state, digest)
    try:
        deadline_at = None if message.deadline is None else parse_deadline(message.deadline, now=env.now)
    except BadInput as error:
        return refused(message.run_id, "400", str(error))
    if deadline_at is not None and not 0 < deadline_at <= LATEST:
        return refused(message.run_id, "400", f"deadline {message.deadline!r} is not between 1970 and the year 9999; give an earlier one")
    definition = env.agent(message.agent)
    budget = allowed(definition, message.budget)
    started = ev.RunStarted(
        input=message.input,
        input_ref=message.input_ref,
        input_digest=digest,
        budget=budget,
        deadline_at=deadline_at,
        labels=message.labels,
        idempotency_key=message.idempotency_key,
        parent=message.parent,
        trace=message.trace,
        taint=message.taint,
        starter=message.starter,
        lease=message.lease,
        ladder=[] if definition is None else definition.ladder,
        known=definition is not None,
        watched=loop_limits(definition, budget) is not None,
    )
    return done(message.run_id, [started])


def allowed(definition: AgentDefinition | None, asked: Budget | None) -> Budget:
    """The limits of a run: its agent's, and a task or a parent may only make them tighter, unless the agent says that it may set them."""
    own = (definition.budget if definition is not None else None) or Budget()
    return own.overridden_by(asked) if definition is not None and definition.open_budget else own.tightened_by(asked)


def input_digest(message: StartRun) -> str:
    """What makes two starts the same: the agent, and the input as a JSON value (or the reference to its bytes).

    Spaces and the order of keys do not count: another client may write the same value otherwise.
    """
    if message.input_ref is not UNSET:
        return digest_of(message.agent.encode(), b"\0ref\0", message.input_ref.sha256.encode())
    body = b"" if message.input is UNSET else bytes(message.input)
    with contextlib.suppress(msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        body = msgspec.json.encode(msgspec.json.decode(body), order="sorted")  # else only its bytes can stand for it (1e400)
    return digest_of(message.agent.encode(), b"\0", body)


def _again(state: RunState, digest: str) -> Decision:
    if digest != state.input_digest:
        return refused(
            state.run_id,
            "409",
            f"run {state.run_id} exists with another agent or input; use another run id or idempotency key",
            state.status,
        )
    decision = done(state.run_id, [], duplicate=True)
    if state.terminal and state.parent is not None:
        decision.effects.append(child_ended(state, state.seq))
    return decision
