"""How hypothesis draws programs: a strategy for each depth, so that shrinking takes statements and levels away."""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

from tests.programs import blocks as b
from tests.programs import leaves as f
from tests.programs.tree import Body, Node, Program

TIMES = st.sampled_from((0, 1, 2, 3, 5, 0.5))
DEPTH = 4
_AFTER = st.sampled_from((1, 2, 3, 0.5, 5, 0, -1))
_CLEAN = ("await", "cancel await", "cancel", "")


@cache
def leaves() -> st.SearchStrategy[Node]:
    """One statement without others inside."""
    call = st.builds(f.Call, tool=st.sampled_from(("look", "keep")), takes=TIMES, fails=st.sampled_from((0, 0, 0, 1, 3)))
    approved = st.builds(f.Call, tool=st.just("keep"), takes=TIMES, approval=st.just(True))
    step = st.builds(f.Step, takes=TIMES, fails=st.sampled_from((0, 0, 1)))
    return st.one_of(
        call,
        step,
        st.builds(f.Sleep, seconds=TIMES),
        call,
        st.builds(f.Draw, what=st.sampled_from(f.DRAWS)),
        st.builds(f.State),
        st.builds(f.Signal, name=st.sampled_from("ab")),
        st.builds(f.Child, number=st.integers(0, 1)),
        st.builds(f.Do, what=st.sampled_from(sorted(f.DOINGS))),
        st.builds(f.Raise),
        approved,
    )


@cache
def bodies(depth: int, *, least: int = 0, most: int = 3) -> st.SearchStrategy[Body]:
    """Some statements of at most this depth."""
    return st.lists(nodes(depth), min_size=least, max_size=most).map(tuple)


@cache
def _parts(depth: int) -> st.SearchStrategy[tuple[Body, ...]]:
    return st.lists(bodies(depth, least=1, most=2), min_size=1, max_size=3).map(tuple)


@cache
def nodes(depth: int) -> st.SearchStrategy[Node]:
    """One statement of at most this depth."""
    if depth <= 0:
        return leaves()
    body, parts, some = bodies(depth - 1, least=1, most=2), _parts(depth - 1), bodies(depth - 1, most=1)
    until = st.sampled_from(("ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"))
    return st.one_of(
        leaves(),
        leaves(),
        st.builds(b.Gather, parts=parts, keep=st.booleans()),
        st.builds(b.Group, parts=parts, body=some, caught=st.booleans()),
        st.builds(b.Timeout, after=_AFTER, body=body, later=st.none() | _AFTER, caught=st.booleans()),
        st.builds(b.WaitFor, after=_AFTER, part=body),
        st.builds(b.Wait, parts=parts, until=until, after=st.none() | TIMES, cancel=st.booleans()),
        st.builds(b.AsCompleted, parts=parts, after=st.none() | TIMES),
        st.builds(b.Spawn, part=body, body=some, then=st.sampled_from(_CLEAN)),
        st.builds(b.Shield, part=body, after=_AFTER),
        st.builds(b.Catch, body=body, cancelled=st.sampled_from(("", "raise", "swallow")), last=some),
        st.builds(b.Finally, body=body, last=some),
        st.builds(b.Locked, body=body, lock=st.sampled_from(("lock", "turns"))),
        st.builds(b.Repeat, times=st.integers(2, 3), body=body),
        st.builds(b.If, body=body, other=some, condition=st.sampled_from(b.CONDITIONS)),
        st.builds(b.Generate, body=body, last=some, early=st.booleans()),
        st.builds(b.Start, number=st.integers(0, 1), body=some, then=st.sampled_from(_CLEAN)),
    )


def programs(*, depth: int = DEPTH) -> st.SearchStrategy[Program]:
    """Whole programs: an agent, up to two that it starts, and the signals that it is sent."""
    signal = st.tuples(st.sampled_from((0, 1, 2, 3, 5, 8)), st.sampled_from("ab"))
    return st.builds(
        Program,
        main=bodies(depth, least=2, most=7),
        children=st.lists(bodies(depth - 1, least=1, most=2), max_size=2).map(tuple),
        signals=st.lists(signal, max_size=3).map(tuple),
        bare=st.sampled_from((False, False, True)),
    )
