"""Whether a run goes in circles: four checks over a short memory of what it asked for and put out. Pure; microseconds a call.

    same_call         the same tool (or agent) with the same arguments, so many times among the last calls or in a row
    cycle             the last calls are one sequence of two to eight, so many times in a row
    no_progress       so many calls since the state that the run shows changed
    similar_outputs   so many near-identical outputs among the last ones

The memory is part of the run's state: `TRAIL` short digests of calls with their names, `OUTPUTS` fingerprints, and counters, whatever the
length of the history; a run that is not checked keeps none. A resume empties it: whoever resumes has seen what repeated.

A fingerprint is a simhash (M. Charikar, "Similarity Estimation Techniques from Rounding Algorithms", STOC 2002) of 64 bits over groups of
three words of the normalised text: texts that differ in a few words differ in a few bits. It is computed by the worker and carried with
the step's result, so that the coordinator compares numbers and never texts.
"""

from __future__ import annotations

import re
import unicodedata
from hashlib import blake2b
from typing import TYPE_CHECKING

from msgspec import UNSET

from waypost_proto import events as ev
from waypost_proto.registry import AgentDefinition
from waypost_proto.usage import LoopLimits
from waypost_proto.values import Budget

if TYPE_CHECKING:
    from waypost_core.state import RunState

TRAIL = 24
"""Calls that are remembered: three times the longest cycle."""
LONGEST_CYCLE = 8
OUTPUTS = 8
NEAR_BITS = 10
"""Fingerprints that differ in at most so many of their 64 bits are of near-identical texts."""
_NAME_CHARS = 24
_TEXT_CHARS = 20_000
"""Of a longer output only the beginning and the end count."""
_LANE_BITS = 16
_LANE = (1 << _LANE_BITS) - 1
_SPREAD = tuple(
    tuple(sum(1 << ((8 * place + bit) * _LANE_BITS) for bit in range(8) if byte >> bit & 1) for byte in range(256))
    for place in range(7, -1, -1)
)
"""A digest's bytes, first to last, as sixty-four counters side by side in one integer: one addition counts all of its bits. A lane
holds more than the groups of `_TEXT_CHARS`."""
_USUAL = LoopLimits()
_OFF = LoopLimits(same_call=0, cycle=0, no_progress=0, similar_outputs=0)


def loop_limits(definition: AgentDefinition | None, budget: Budget) -> LoopLimits | None:
    """The thresholds of a run; None: nothing is checked.

    Plain code may well poll: without `loops=` only agents in which a model decides are checked. `max_repeats` of the budget is the
    number of times that the same call may be made: one more is a loop, whatever the agent says.
    """
    limits = definition.loops if definition is not None else None
    if limits is None:
        limits = _USUAL if definition is not None and definition.kind in ("reasoning", "langgraph") else _OFF
    return None if limits == _OFF and budget.max_repeats is None else limits


# -- the memory


def call_print(name: str, digest: str) -> str:
    """What a call is remembered as: its name, and a short digest of name and arguments."""
    return f"{name[:_NAME_CHARS]}#{blake2b(f'{name}/{digest}'.encode(), digest_size=4).hexdigest()}"


def remember_call(state: RunState, mark: str, seq: int) -> None:
    """A call was asked for (with "" one that has no arguments to compare, and only counts as work)."""
    if not state.watched:
        return
    if state.shown is not UNSET:
        state.stale += 1
    if mark:
        state.streak = state.streak + 1 if state.trail and state.trail[-1] == mark else 1
        state.trail = (*state.trail[1 - TRAIL :], mark)
        state.trail_seqs = (*state.trail_seqs[1 - TRAIL :], seq)


def remember_output(state: RunState, fingerprint: str, seq: int) -> None:
    """A step put something out."""
    if not state.watched:
        return
    state.outputs = (*state.outputs[1 - OUTPUTS :], fingerprint)
    state.outputs_seqs = (*state.outputs_seqs[1 - OUTPUTS :], seq)


def forget_trail(state: RunState) -> None:
    """Begin anew."""
    state.trail, state.trail_seqs, state.outputs, state.outputs_seqs = (), (), (), ()
    state.stale = state.streak = 0


# -- the checks


def call_loop(state: RunState, limits: LoopLimits, max_repeats: int | None) -> ev.LoopDetected | None:
    """What the last call that is remembered repeats, if anything."""
    if not state.trail:
        return None
    return _same_call(state, limits, max_repeats) or _cycle(state, limits)


def _same_call(state: RunState, limits: LoopLimits, max_repeats: int | None) -> ev.LoopDetected | None:
    most = limits.same_call
    if max_repeats is not None:
        most = min(most, max_repeats + 1) if most else max_repeats + 1
    last = state.trail[-1]
    times = max(state.streak, state.trail.count(last))
    if not most or times < most:
        return None
    seqs = [seq for mark, seq in zip(state.trail, state.trail_seqs, strict=True) if mark == last]
    return ev.LoopDetected(
        kind="same_call", message=f"{_name(last)} was called {times} times with the same arguments", seqs=seqs, times=times
    )


def _cycle(state: RunState, limits: LoopLimits) -> ev.LoopDetected | None:
    trail, times = state.trail, limits.cycle
    if times < 2:
        return None
    for period in range(2, LONGEST_CYCLE + 1):
        length = period * times
        if length > len(trail):
            return None
        if trail[-1] != trail[-1 - period]:  # most runs end here, without making lists
            continue
        last = trail[-period:]
        if trail[-length:] == last * times and len(set(last)) > 1:
            names = ", ".join(map(_name, last))
            message = f"the calls {names} were made {times} times in a row with the same arguments"
            return ev.LoopDetected(kind="cycle", message=message, seqs=list(state.trail_seqs[-length:]), times=times)
    return None


def stalled(state: RunState, limits: LoopLimits, seq: int) -> ev.LoopDetected | None:
    """Whether the shown state stood still for too many calls."""
    if not limits.no_progress or state.stale < limits.no_progress:
        return None
    message = f"the state that the run shows has not changed for {state.stale} calls"
    return ev.LoopDetected(kind="no_progress", message=message, seqs=[*state.trail_seqs[-3:]] or [seq], times=state.stale)


def output_loop(state: RunState, limits: LoopLimits) -> ev.LoopDetected | None:
    """What the last output that is remembered repeats, if anything."""
    if not limits.similar_outputs or len(state.outputs) < limits.similar_outputs:
        return None
    last = state.outputs[-1]
    near = [seq for other, seq in zip(state.outputs, state.outputs_seqs, strict=True) if alike(other, last)]
    if len(near) < limits.similar_outputs:
        return None
    message = f"{len(near)} of the last {len(state.outputs)} outputs are near-identical"
    return ev.LoopDetected(kind="similar_outputs", message=message, seqs=near, times=len(near))


def alike(one: str, other: str) -> bool:
    """Whether two fingerprints are of near-identical texts. Those of another form are compared as they are."""
    if one == other:
        return True
    try:
        return len(one) == len(other) == 16 and (int(one, 16) ^ int(other, 16)).bit_count() <= NEAR_BITS
    except ValueError:
        return False


def _name(mark: str) -> str:
    return mark.rpartition("#")[0]


# -- fingerprints, for workers

_UUID_OR_HEX = re.compile(r"\b(?:0x)?(?=[0-9a-f-]*\d)[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b")
_DIGITS = re.compile(r"\d+")
_WORD = re.compile(r"[^\W_]+|#")


def normalised(text: str) -> list[str]:
    """The words of a text without what changes from one time to the next: case, space, punctuation, numbers and ids."""
    if len(text) > _TEXT_CHARS:
        text = text[: _TEXT_CHARS // 2] + " " + text[-_TEXT_CHARS // 2 :]
    text = unicodedata.normalize("NFKC", text).casefold()
    return _WORD.findall(_DIGITS.sub("#", _UUID_OR_HEX.sub("#", text)))


def fingerprint(text: str) -> str:
    """The 64-bit simhash of the normalised text as 16 hexadecimal digits; "" for a text without words."""
    words = normalised(text)
    if not words:
        return ""
    groups = {" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))}
    ones = 0
    for group in groups:
        digest = blake2b(group.encode("utf-8", "replace"), digest_size=8).digest()
        for spread, byte in zip(_SPREAD, digest, strict=True):
            ones += spread[byte]
    half = len(groups) // 2  # of an odd number, more than half is more than this too
    return f"{sum(1 << bit for bit in range(64) if (ones >> (bit * _LANE_BITS)) & _LANE > half):016x}"
