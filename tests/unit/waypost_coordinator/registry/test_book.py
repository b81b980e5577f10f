"""Definitions: what is news, which build is current, what is refused."""

from __future__ import annotations

import pytest

from waypost_coordinator.registry_book import Book
from waypost_proto.errors import BadInput, Conflict
from waypost_proto.registry import AgentDefinition, Announce, ToolDefinition
from waypost_proto.values import Effect


def agent(name: str = "desk", build: str = "b1", **more: object) -> AgentDefinition:
    return AgentDefinition(name=name, build=build, **more)  # type: ignore[arg-type]


def tool(name: str = "mail", effect: Effect = Effect.READ) -> ToolDefinition:
    return ToolDefinition(name=name, effect=effect)


def announce(peer: str = "p-1", *, agents: tuple[AgentDefinition, ...] = (), tools: tuple[ToolDefinition, ...] = ()) -> Announce:
    return Announce(peer=peer, kind="gateway" if tools else "worker", build="b1", agents=list(agents), tools=list(tools))


def nobody(_name: str) -> list[str]:
    return []


def test_only_what_differs_from_the_store_is_news() -> None:
    book = Book()
    first = announce(agents=(agent(), agent("other")), tools=(tool(),))
    assert book.news(first) == (first.agents, first.tools)
    assert book.committed(first.agents, first.tools) == {"desk", "other", "mail"}
    assert book.news(first) == ([], [])
    changed = agent(description="new words")
    assert book.news(announce(agents=(changed, agent("other")))) == ([changed], [])


def test_announcing_an_old_build_again_does_not_make_it_the_current_one() -> None:
    book = Book()
    book.committed([agent(build="b1")], [])
    book.committed([agent(build="b2")], [])
    assert book.news(announce(agents=(agent(build="b1"),))) == ([], [])
    entry = book.entry("desk", lambda _build: True)
    assert entry is not None
    assert entry.current.build == "b2"
    assert list(entry.builds) == ["b1", "b2"]


def test_a_roll_back_is_current_as_soon_as_the_newer_build_has_no_workers() -> None:
    book = Book()
    book.committed([agent(build="b1")], [])
    book.committed([agent(build="b2")], [])
    entry = book.entry("desk", lambda build: build == "b1")
    assert entry is not None
    assert entry.current.build == "b1"


def test_with_nobody_alive_the_newest_build_is_current() -> None:
    book = Book()
    book.committed([agent(build="b1")], [])
    book.committed([agent(build="b2")], [])
    entry = book.entry("desk", lambda _build: False)
    assert entry is not None
    assert entry.current.build == "b2"
    assert book.entry("unknown", lambda _build: True) is None


def test_loading_says_what_changed_and_keeps_the_order_of_the_store() -> None:
    book = Book()
    assert book.load([agent(build="b1"), agent(build="b2")], [tool()]) == {"desk", "mail"}
    assert book.load([agent(build="b1"), agent(build="b2")], [tool()]) == frozenset()
    assert book.load([agent(build="b2"), agent(build="b1")], [tool(effect=Effect.UNSAFE)]) == {"mail"}
    entry = book.entry("desk", lambda _build: True)
    assert entry is not None
    assert entry.current.build == "b1"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (announce(agents=(agent("De sk"),)), "agent name 'De sk'"),
        (announce(tools=(tool("a.b"),)), "tool name 'a.b'"),
        (announce(peer="w.1"), "worker name 'w.1'"),
        (announce(agents=(agent(build="b2"),)), "says build 'b2'"),
        (announce(agents=(agent(), agent())), "agent desk is announced twice"),
    ],
)
def test_what_cannot_be_accepted_is_refused_with_its_name(bad: Announce, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        Book().check(bad, nobody)


def test_one_tool_name_has_one_effect_while_another_gateway_lives() -> None:
    book = Book()
    book.committed([], [tool(effect=Effect.UNSAFE)])
    other = announce("g-2", tools=(tool(effect=Effect.READ),))
    with pytest.raises(Conflict, match=r"tool mail is 'unsafe' at gateway g-1 and 'read' at g-2"):
        book.check(other, lambda _name: ["g-1"])
    book.check(other, lambda _name: ["g-2"])
    book.check(other, nobody)
    book.check(announce("g-2", tools=(tool(effect=Effect.UNSAFE),)), lambda _name: ["g-1"])
