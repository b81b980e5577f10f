"""How signals and waits for them pair off in a state: in order, by name. Part of `evolve`."""

from __future__ import annotations

from waypost_core.forked import heard
from waypost_core.naming import shared
from waypost_core.state import NO_SIGNALS, Call, RunState
from waypost_proto import events as ev


def signal_awaited(state: RunState, data: ev.SignalAwaited, seq: int) -> None:
    """Every wait is recorded, also one that an earlier signal already answers: signals and waits pair off in order, by name."""
    unread = state.signals.get(data.name, 0)
    if unread:
        _count_signals(state, data.name, unread - 1)
    else:
        state.calls[data.call_id] = Call(kind="signal", seq=seq, sent=seq, stage="set", name=shared(data.name))


def signal_received(state: RunState, data: ev.SignalReceived, seq: int) -> None:
    """The oldest wait for its name gets it, or it is kept."""
    heard(state, data, seq)
    for call_id, call in state.calls.items():
        if call.kind == "signal" and call.name == data.name:
            del state.calls[call_id]
            return
    _count_signals(state, data.name, state.signals.get(data.name, 0) + 1)


def _count_signals(state: RunState, name: str, unread: int) -> None:
    rest = {key: count for key, count in state.signals.items() if key != name}
    state.signals = rest | {name: unread} if unread else rest or NO_SIGNALS
