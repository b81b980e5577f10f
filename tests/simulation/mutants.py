"""Deliberately broken variants of the services: each takes one safeguard away, and the simulation must notice.

A variant that survives means that an invariant cannot fail, or that the faults never come to where the safeguard matters. Each is applied
in the process that simulates, and undone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from msgspec import structs

from waypost_audit.anchors.keeping import AnchorKeeper
from waypost_coordinator import front, mailroom, posting, settling, sweep, takeover, timers
from waypost_coordinator.api import fork
from waypost_coordinator.batch import Batch
from waypost_core import advancing, control, forked
from waypost_core import ending as ends
from waypost_core.drafting import Places
from waypost_gateway import calls
from waypost_gateway.classify import Doubt, Fail
from waypost_gateway.permits import Permits, _permit
from waypost_io.store.batch import positions_of
from waypost_io.store.memory.audit import MemoryAudit
from waypost_io.store.memory.log import MemoryLog
from waypost_io.store.ports import AnchorRow
from waypost_proto import commands
from waypost_proto.errors import SequenceTaken, WaypostError
from waypost_worker.outbox import Outbox

Patch = Any


@dataclass(frozen=True, slots=True)
class Mutant:
    """`without` is the safeguard that is gone; `patches` makes the patches that take it away.

    `needs` are the kinds of trouble that the safeguard is for: a hunt has them as strong as they get, so that it takes tens of seeds
    and not hundreds. All other seeds have them too, only weaker and less often.
    """

    name: str
    without: str
    patches: Callable[[], list[Patch]]
    needs: frozenset[str] = frozenset()

    @contextmanager
    def applied(self) -> Iterator[None]:
        patches = self.patches()
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in reversed(patches):
                patch.stop()


def _answers(answer: Any) -> Callable[..., Any]:
    """A function that says this, whatever it is asked."""
    return lambda *_, **__: answer


def _replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Patch:
    return mock.patch.object(owner, name, make(getattr(owner, name)))


def _ack_first(original: Any) -> Any:
    def opened(self: Any, partition: int, delivery: Any) -> Any:
        delivery.ack()
        return original(self, partition, delivery)

    return opened


def _any_base(original: Any) -> Any:
    return lambda state, message, env: original(state, structs.replace(message, base=state.digest), env)


def _no_lease_check(_original: Any) -> Any:
    def held(self: Any, batch: Any) -> set[int]:
        firsts, _ = positions_of(batch)
        for partition, first in firsts.items():
            if self._db.partitions[partition].position >= first:
                raise SequenceTaken(f"positions of partition {partition} are taken")
        return {partition for partition, _, _, _ in batch.leases}

    return held


def _permit_anyway(original: Any) -> Any:
    async def obtain(self: Any, call: Any, **more: Any) -> Any:
        outcome = await original(self, call, **more)
        return outcome if type(outcome).__name__ == "Permit" else _permit(self._new_owner(), call.attempt, 10.0)

    return obtain


def _never_in_doubt(original: Any) -> Any:
    def classify(effect: Any, ending: Any) -> Any:
        verdict = original(effect, ending)
        return Fail(verdict.failure, True) if isinstance(verdict, Doubt) else verdict

    return classify


def _nothing_taken_over(_original: Any) -> Any:
    async def take_over(self: Any, lease: Any) -> list[Any]:
        return []

    return take_over


def _unconfirmed(_original: Any) -> Any:
    async def settled(self: Any, sending: Any) -> None:
        try:
            await sending.confirmation
        except WaypostError:
            return

    return settled


def _no_keys(_original: Any) -> Any:
    async def reserve(self: Any, mail: Any) -> Any:
        return mail

    return reserve


def _early(original: Any) -> Any:
    return lambda self, row: original(self, replace(row, due_at=row.due_at - 0.5))


def _current_build(_original: Any) -> Any:
    def build_for(self: Any, live: Any) -> str | None:
        entry = self._registry.agent(live.state.agent)
        live_builds = entry is not None and self._registry.live_workers(live.state.agent, entry.current.build)
        return entry.current.build if live_builds else None

    return build_for


def _without_approval(original: Any) -> Any:
    return lambda turn, item: original(turn, structs.replace(item, approval=None))


def _ends_at_once(_original: Any) -> Any:
    return lambda state, ending, seen=0: [ends.terminal_event(ending, seen=seen)]


def _not_held(_original: Any) -> Any:
    def hold_back(state: Any, call: Any, approval: Any) -> None:
        call.approval = approval

    return hold_back


def _unchosen(original: Any) -> Any:
    return lambda api, _chosen: original(api, None)


def _everywhere(package: str, name: str, value: Any) -> list[Patch]:
    """A function under every name by which modules of a package have imported it."""
    modules = [module for module_name, module in sorted(sys.modules.items()) if module_name.startswith(f"{package}.")]
    return [mock.patch.object(module, name, value) for module in modules if hasattr(module, name)]


def _unfenced(original: Any) -> Any:
    async def append(self: Any, state: Any, spans: Any, nodes: Any) -> None:
        log = self._log
        owned = replace(state, owner=log.state.owner, epoch=log.state.epoch, size=log.state.size)
        await original(self, owned, [replace(span, position=log.cursors.get(span.partition, 0) + 1) for span in spans], nodes)

    return append


def _noted_first(original: Any) -> Any:
    async def put(self: Any, each: Any, there: Any) -> Any:
        newest = await self._audit.newest_head()
        if newest is not None and (there is None or there.size < newest.size):
            await self._audit.anchored(AnchorRow(name=each.name, size=newest.size, anchored_at=0.0, place=""))
        return await original(self, each, there)

    return put


MUTANTS = (
    Mutant("ack-before-commit", "a message is acked after its commit", lambda: [_replaced(mailroom.Mailroom, "_open", _ack_first)]),
    Mutant(
        "not-passed-on",
        "a part whose partition has moved is passed on",
        lambda: [mock.patch.object(mailroom.Mailroom, "_forward", _answers(None))],
    ),
    Mutant("no-digest", "an advance fits the journal it builds on", lambda: [_replaced(advancing, "advance", _any_base)]),
    Mutant(
        "no-lease-check",
        "a commit confirms its leases",
        lambda: [_replaced(MemoryLog, "_held", _no_lease_check)],
        needs=frozenset({"store"}),
    ),
    Mutant(
        "no-revocation",
        "cancel and pause revoke permits",
        lambda: [mock.patch.object(Batch, "revoke", _answers(None))],
        needs=frozenset({"network"}),
    ),
    Mutant(
        "no-permit",
        "the gateway executes what the ledger lets it",
        lambda: [_replaced(Permits, "obtain", _permit_anyway)],
        needs=frozenset({"kills"}),
    ),
    Mutant(
        "never-in-doubt",
        "an unsafe call that failed is not repeated",
        lambda: [_replaced(calls, "classify", _never_in_doubt)],
        needs=frozenset({"tools"}),
    ),
    Mutant(
        "same-ids",
        "work that is derived again has a new message id",
        lambda: [mock.patch.object(posting.Emissions, "again", _answers(0))],
        needs=frozenset({"kills"}),
    ),
    Mutant("no-take-over", "a take-over publishes what was not", lambda: [_replaced(takeover.TakeOver, "take_over", _nothing_taken_over)]),
    Mutant(
        "wipes-unnoticed",
        "streams are compared with their marks",
        lambda: [mock.patch.object(sweep.Sweep, "_other", _answers(False)), mock.patch.object(sweep.Sweep, "_shrunk", _answers(False))],
        needs=frozenset({"streams"}),
    ),
    Mutant(
        "publishes-once", "a publish is repeated until it is confirmed", lambda: [_replaced(settling.Settler, "_settled", _unconfirmed)]
    ),
    Mutant("no-keys", "one run for an idempotency key", lambda: [_replaced(front.FrontDesk, "reserve", _no_keys)]),
    Mutant("early-timers", "a timer fires when it is due", lambda: [_replaced(timers.Timers, "set", _early)]),
    Mutant(
        "newest-build",
        "a run stays with its build",
        lambda: [_replaced(posting.Poster, "build_for", _current_build)],
        needs=frozenset({"builds"}),
    ),
    Mutant(
        "no-approval",
        "a call waits for its approval",
        lambda: [mock.patch.dict(advancing._TAKE, {commands.CallTool: _without_approval(advancing._call_tool)})],
    ),
    Mutant(
        "ends-at-once",
        "a run that ends waits for what was started",
        lambda: [_replaced(advancing, "end", _ends_at_once), _replaced(control, "end", _ends_at_once)],
        needs=frozenset({"tools"}),
    ),
    Mutant(
        "no-limit",
        "a run pauses at its limit of steps",
        lambda: _everywhere("waypost_core", "fits", _answers(True)),
    ),
    Mutant(
        "forgetful-worker",
        "a worker repeats what nobody confirmed",
        lambda: [mock.patch.object(Outbox, "republish", _answers(0))],
        needs=frozenset({"wipes"}),
    ),
    Mutant("fork-executes", "a fork's calls wait for recorded answers", lambda: [_replaced(forked, "hold_back", _not_held)]),
    Mutant("fork-twice", "one fork for a request that is repeated", lambda: [_replaced(fork, "new_run_id", _unchosen)]),
    Mutant(
        "audit-unfenced",
        "an append to the audit log names the size and the cursors that it builds on",
        lambda: [_replaced(MemoryAudit, "append", _unfenced)],
        needs=frozenset({"store"}),
    ),
    Mutant("noted-first", "an anchor has a head before that is noted", lambda: [_replaced(AnchorKeeper, "_put", _noted_first)]),
    Mutant("fork-anywhere", "a fork is cut between two steps", lambda: [mock.patch.object(Places, "allow", _answers(True))]),
)
"""In the order in which they are told about. All but the rarest are caught within a few dozen seeds."""


def mutants(names: list[str]) -> list[Mutant]:
    """Those of these names, or all. Raises `KeyError` for a name that there is not."""
    known = {mutant.name: mutant for mutant in MUTANTS}
    return [known[name] for name in names] if names else list(MUTANTS)
