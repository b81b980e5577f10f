"""What a run is between two messages: only what is outstanding, and counters. Owns the fold's shape, not its steps.

Finished calls and consumed signals are not kept (they are in the log), so a state does not grow with its history
(CORRECTNESS.md row 20). It is stored with the run as a disposable cache: `STATE_VERSION` changes with its meaning,
and a state of another version is folded anew from the log.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from waypost_core.budgets import NOTHING, UNBOUND, Account, Amount, Bound
from waypost_proto.forks import ForkTools
from waypost_proto.ids import CallId, RunId
from waypost_proto.limits import ARGS_IN_STATE_BYTES
from waypost_proto.usage import Rung
from waypost_proto.values import Approval, BlobRef, Budget, Edit, Effect, Failure, Parent, Retry, RunStatus

STATE_VERSION = 3
RECENT_CAUSES = 32
"""How many request ids of control messages are remembered; the unique cause in the log is the backstop."""

Stage = Literal["held", "approval", "sent", "unsent", "retry", "doubt", "reconcile", "set", "tape"]
"""Where an open call is: `held` until someone hosts the tool or agent, `approval` until it is decided, `sent` to a gateway,
child or worker, `unsent` for a child that was asked for while the run was paused, `retry` until its next attempt, `doubt` until
it is reconciled or resolved, `reconcile` while the hook is asked, `set` for timers and signal waits, `tape` in a fork that answers
from its source's log: not sent, and not taken from any budget."""


class Gate(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an open approval or question asks for, and who of the quorum has approved so far."""

    role: str
    quorum: int = 1
    given: tuple[str, ...] = ()
    separate: bool = True
    """Who started the run may not approve."""
    seconds: float = 0.0
    """How long people were given."""
    reason: str = ""
    rule: str = ""
    policy_version: str = ""
    escalate_to: str = ""
    escalate_seconds: float | None = None
    replaces: str = ""


class Call(Struct, kw_only=True, omit_defaults=True):
    """One open command of a run."""

    kind: Literal["tool", "child", "timer", "signal", "step", "ask"]
    seq: int
    """The event that requested it."""
    sent: int
    """The event that last put it on the road; what take-over compares with the published position."""
    name: str = ""
    stage: Stage = "sent"
    attempt: int = 1
    effect: Effect | None = None
    args: Raw | UnsetType = UNSET
    args_ref: BlobRef | None = None
    args_digest: str = ""
    timeout_seconds: float | None = None
    retry: Retry | None = None
    approval_id: str | None = None
    approved: bool = False
    gate: Gate | None = None
    """While it waits for people."""
    edit: Edit | None = None
    """A person has changed its arguments."""
    args_seq: int = 0
    """The event that has its arguments, where that is not the one that requested it."""
    terms: str = ""
    """On what terms the approval was asked for (`officer*2`), by the code or by a policy; escalation does not change them."""
    due_at: float | None = None
    tries: int = 0
    """How often the reconcile hook was asked."""
    deferred: int = 0
    """How often in a row a gateway would not start this attempt; while it waits to be sent again it is the same attempt."""
    child: RunId | None = None
    budget: Budget | None = None
    abandoned: bool = False
    """The code no longer waits for it."""
    error: Failure | None = None
    reserve: Amount = NOTHING
    """Tokens and cost held for it until it is settled."""
    unfunded: bool = False
    """The budget does not hold it: it is recorded and not sent."""
    lease: Bound = UNBOUND
    """Of a child: what it was given, in total."""
    back: Amount = NOTHING
    """Of a child: what it gave back, in total."""
    told: Amount = NOTHING
    """Of a child: what it has used, as it last told."""
    wants: Amount | None = None
    """Of a child: how much more it asks for, and waits."""
    asked: int = 0
    """Of a child: the number of its last question that is recorded."""
    recall: int = 0
    """Of a child: the number of our question for what it does not need, while that is unanswered."""
    level: int = 0
    """How far up the ladder the notice of its doubt has gone."""
    approval: Approval | None = None
    """In a fork: the approval that the code wants for it, while it has not been asked for."""

    @property
    def permit(self) -> bool:
        """Whether the gateway needs a ledger row to run it."""
        return self.effect != Effect.READ or self.approval_id is not None

    @property
    def binding(self) -> bool:
        """Whether the run cannot end before it is settled: it may have an effect, or it is a child."""
        if self.kind == "child":
            return self.stage not in ("unsent", "tape") and not self.unfunded
        return self.kind == "tool" and self.permit and not self.unfunded and self.stage in ("sent", "doubt", "reconcile")


class Ending(Struct, kw_only=True, omit_defaults=True):
    """How the run is to end once nothing binding is open."""

    outcome: Literal["completed", "failed", "cancelled"]
    reason: str = ""
    by: str = ""
    result: Raw | UnsetType = UNSET
    result_ref: BlobRef | UnsetType = UNSET
    error: Failure | None = None


class ForkState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run knows of being a fork. `began` is False while its copied events are folded, and always of a run that was not forked."""

    source: RunId
    seq: int
    tools: ForkTools
    identity: RunId
    changed: bool = False
    began: bool = False
    heard: int = 0
    """Signals and instructions of the source up to this event have been repeated."""
    skipped: int = 0
    """Timers that the source never had, and that were not waited for."""


NO_BUDGET = Budget()
NO_LABELS: dict[str, str] = {}
NO_SIGNALS: dict[str, int] = {}
"""What most runs have, held once: ten thousand of them may wait in memory. Neither is ever changed in place."""


class RunState(Struct, kw_only=True, omit_defaults=True):
    """The folded state of one run. `evolve` changes it in place: whoever needs the state before, copies it first."""

    run_id: RunId
    agent: str
    tenant: str = "default"
    correlation_id: str = ""
    build: str = ""
    status: RunStatus = RunStatus.PENDING
    seq: int = 0
    started_at: float = 0.0
    recorded_at: float = 0.0
    digest: str = ""
    seen: int = 0
    """Highest outside event that the worker has answered."""
    outside: int = 0
    """Highest outside event in the log."""
    running: int = 0
    """Local effects in flight, as the worker last said."""
    worker: str = ""
    budget: Budget = Budget()
    deadline_at: float | None = None
    labels: dict[str, str] = {}
    idempotency_key: str | None = None
    input_digest: str = ""
    parent: Parent | None = None
    trace: str = ""
    taint: tuple[str, ...] = ()
    """Labels of everything from outside that the code has been given; they only grow."""
    starter: str = ""
    """Who started it, as authenticated; "" when nobody knows."""
    calls: dict[CallId, Call] = {}
    signals: dict[str, int] = {}
    """By name, how many received signals no wait has taken yet."""
    approvals: int = 0
    """How many calls wait for an approval, and questions for an answer."""
    held: int = 0
    """How many calls wait for someone to host them."""
    paused: bool = False
    pause_reason: str = ""
    step_wanted: CallId | None = None
    account: Account = msgspec.field(default_factory=Account)
    waiting: int = 0
    """How many calls, and questions of children, wait for budget."""
    asks: int = 0
    """How many questions the parent was asked."""
    asking: bool = False
    """The last of them is not answered."""
    recalls: int = 0
    """How many rounds of asking children for what they do not need."""
    answering: int = 0
    """The parent's question for what we do not need, while it is unanswered."""
    answered: int = 0
    """The last such question that is recorded."""
    drained: bool = False
    """Every child has given back what it did not need, and nothing was given since."""
    warned: tuple[str, ...] = ()
    """Limits whose warning was given."""
    watched: bool = False
    """What follows is kept; a run that nobody checks for loops keeps nothing."""
    trail: tuple[str, ...] = ()
    """Short digests of the last calls, and (`trail_seqs`) the events that asked for them."""
    trail_seqs: tuple[int, ...] = ()
    outputs: tuple[str, ...] = ()
    """Fingerprints of the last outputs, and the events that recorded them."""
    outputs_seqs: tuple[int, ...] = ()
    streak: int = 0
    """How often the last call was made in a row."""
    model_calls: int = 0
    """How many models were asked, those of failed steps too."""
    tool_calls: int = 0
    stale: int = 0
    """Calls since the shown state changed; counted only once a state was shown."""
    ladder: tuple[Rung, ...] = ()
    level: int = 0
    """How far up the ladder the notice of the present pause has gone."""
    ending: Ending | None = None
    fork: ForkState | None = None
    recent: tuple[str, ...] = ()
    shown: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    result_ref: BlobRef | UnsetType = UNSET
    error: Failure | None = None

    @property
    def terminal(self) -> bool:
        return self.status.terminal

    @property
    def steps(self) -> int:
        """Steps that the run itself has asked for, without its children."""
        return self.account.own[0]

    @property
    def steps_left(self) -> int | None:
        """What the worker may begin before it asks; None when steps are not limited. A fork that does not go live is asked about each."""
        if self.plays:
            return 0
        return None if self.budget.max_steps is None and self.account.given[0] is None else self.account.worker

    @property
    def plays(self) -> bool:
        """Whether it is a fork whose calls are not executed: they are answered from its source's log, or refused."""
        return self.fork is not None and self.fork.began and self.fork.tools != "live"

    @property
    def taped(self) -> bool:
        """Whether its calls wait for the source's answers."""
        return self.fork is not None and self.fork.began and self.fork.tools == "recorded"

    @property
    def identity(self) -> RunId:
        """The run id from which ids are derived that the agent's code sees."""
        return self.run_id if self.fork is None else self.fork.identity

    @property
    def wants_worker(self) -> bool:
        """Whether there is something for the agent's code to do or to go on with."""
        if self.terminal or self.paused or self.ending is not None:
            return False
        return self.outside > self.seen or self.running > 0 or self.step_wanted is not None

    def current_status(self) -> RunStatus:
        """The status that follows from everything else; terminal ones stay."""
        if self.status.terminal:
            return self.status
        if self.paused and self.ending is None:
            return RunStatus.PAUSED
        if not self.worker and self.ending is None:
            return RunStatus.PENDING
        if self.wants_worker:
            return RunStatus.RUNNING
        if self.approvals and self.ending is None:
            return RunStatus.WAITING_APPROVAL
        return RunStatus.WAITING

    def binding_calls(self) -> bool:
        """Whether any open call must be settled before the run may end."""
        return any(call.binding for call in self.calls.values())


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(RunState)


def encode_state(state: RunState) -> bytes:
    """The state as stored. Large arguments are left out; they are read from the log when they are needed again.

    Not those of a child that is still to be started, and of a question that is still to be asked: nothing reads them again.
    """
    large = [
        i
        for i, c in state.calls.items()
        if c.args is not UNSET and len(c.args) > ARGS_IN_STATE_BYTES and (c.kind == "tool" or (c.binding and c.kind == "child"))
    ]
    if large:
        slim = {i: msgspec.structs.replace(c, args=UNSET) if i in large else c for i, c in state.calls.items()}
        state = msgspec.structs.replace(state, calls=slim)
    return _ENCODER.encode(state)


def decode_state(stored: bytes) -> RunState:
    """The inverse. Raises `msgspec.DecodeError` for bytes of another shape: fold from the log then."""
    return _DECODER.decode(stored)
