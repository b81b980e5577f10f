"""docs/wire.md: its JSON is what the code sends, its digests are those of the bytes on the page, its tables are complete."""

from __future__ import annotations

import re
from typing import Any, get_args

import msgspec
import pytest

from tests.unit.docs.pages import text_of
from waypost_coordinator.api.table import OPERATIONS
from waypost_coordinator.settling import _cloud_event as cloud_event
from waypost_core.decide import decide
from waypost_core.evolve import evolve
from waypost_core.messages import Env
from waypost_core.state import RunState
from waypost_io.settings import CoordinatorSettings
from waypost_io.store.ports import EventRow
from waypost_proto import api, catalogue, events, limits, mailbox
from waypost_proto import registry as reg
from waypost_proto.codec import decode, encode
from waypost_proto.ids import chain_digest, digest_of
from waypost_proto.mailbox import Advance
from waypost_proto.notices import Notice
from waypost_proto.task import parse_task
from waypost_proto.work import Activation, Confirm

PAGE = text_of("wire.md")
FLAT = " ".join(PAGE.split())
EXAMPLES = re.findall(r"<!-- (\w+) -->\n```json\n(.*?)\n```", PAGE, re.DOTALL)
KINDS = {kind.__name__: kind for kind in catalogue.messages()}


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table after a heading or sentence, without its head."""
    table = PAGE[PAGE.index(heading) :]
    lines = table.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|---"))
    found = []
    for line in lines[first + 1 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def of_kind(name: str) -> list[bytes]:
    return [text.encode() for kind, text in EXAMPLES if kind == name]


@pytest.mark.parametrize(("kind", "text"), EXAMPLES, ids=[f"{n}-{kind}" for n, (kind, _) in enumerate(EXAMPLES)])
def test_every_example_is_a_message_as_the_code_writes_it(kind: str, text: str) -> None:
    assert encode(decode(KINDS[kind], text.encode())).decode() == text


def test_every_json_block_says_what_it_is() -> None:
    assert PAGE.count("```json") == len(EXAMPLES)


def test_the_task_is_accepted() -> None:
    (body,) = of_kind("Task")
    parse_task(body)


def test_the_digests_follow_from_the_bytes_on_the_page() -> None:
    first, second = (decode(Advance, body) for body in of_kind("Advance"))
    digest = chain_digest(first.base, bytes(first.items))
    assert second.base == digest
    assert digest in PAGE
    last = chain_digest(second.base, bytes(second.items))
    assert f"The digest is now `{last}`" in FLAT
    assert decode(Confirm, of_kind("Confirm")[0]).accepted[0].digest == digest
    one, two = (decode(Activation, body) for body in of_kind("Activation"))
    assert (one.base, two.base) == ("", digest)
    call = msgspec.json.decode(of_kind("ToolCall")[0])
    assert call["args_digest"] == digest_of(b'{"name":"ada"}')


def test_the_run_of_the_page_is_what_the_state_machine_does() -> None:
    tool = reg.ToolDefinition(name="lookup", effect="read", timeout_seconds=10.0)  # type: ignore[arg-type]
    agent = reg.AgentDefinition(name="greeter", build="b7", tools=["lookup"])
    env = Env(now=1796144400.27, tools={"lookup": tool}, agents={"greeter": agent, "greeter@b7": agent})
    activations = [decode(Activation, body) for body in of_kind("Activation")]
    state = RunState(run_id=activations[0].run_id, agent="greeter")
    started = activations[0].entries[0]
    evolve(state, 1, started.at, decode(events.RunStarted, started.data))
    mails: list[Any] = [decode(Advance, of_kind("Advance")[0]), decode(mailbox.ToolSucceeded, of_kind("ToolSucceeded")[0])]
    mails.append(decode(Advance, of_kind("Advance")[1]))
    for mail in mails:
        decision = decide(state, mail, env)
        assert not decision.rejected
        for data in decision.events:
            evolve(state, state.seq + 1, env.now, data)
    assert state.status == "completed"
    assert f"`{state.digest}`" in PAGE


def test_every_event_type_has_its_line() -> None:
    found = {cells[0].strip("`"): cells[1] for cells in rows("The types.")}
    kinds = {kind.__struct_config__.tag: kind for kind in get_args(events.AnyData)}
    assert set(found) == set(kinds)
    for tag, kind in kinds.items():
        by = "given" if tag in events.OUTSIDE else "worker" if issubclass(kind, events.FromWorker) else ""
        assert found[tag] == by, tag


def test_every_endpoint_has_its_line() -> None:
    found = {cells[0].strip("`"): (cells[1].strip("`"), cells[2].strip("`")) for cells in rows("## The API")}
    assert set(found) == set(OPERATIONS)
    for endpoint in catalogue.ENDPOINTS:
        request, answer = found[f"{endpoint.noun}.{endpoint.verb}"]
        assert endpoint.request is None or request == endpoint.request.__name__
        assert endpoint.answer is None or answer == endpoint.answer.__name__


def test_every_limit_has_its_line() -> None:
    found = {cells[0].strip("`"): int(cells[1]) for cells in rows("## Limits")}
    names = {name for name in vars(limits) if name.isupper() and name != "PROTOCOL_VERSION"}
    assert found == {name: getattr(limits, name) for name in names}
    assert f"`{limits.PROTOCOL_VERSION}`" in PAGE


def test_messages_and_subjects_that_are_named_exist() -> None:
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", PAGE))
    unknown = {name for name in named if name not in KINDS and not hasattr(api, name) and name != Notice.__name__}
    assert not unknown
    for channel in catalogue.CHANNELS:
        prefix = channel.address.split("{")[0].rstrip(".")
        assert prefix in PAGE, channel.address


def test_items_and_answers_are_all_named() -> None:
    for kind in (*catalogue.ITEMS, *catalogue.TOOL_MAIL):
        assert f"`{kind.__struct_config__.tag}`" in PAGE, kind


def test_headers_are_named_as_they_are_sent() -> None:
    for header in (api.ERROR_CODE_HEADER, api.ERROR_HEADER, api.SHA256_HEADER, api.INDEX_HEADER, api.CHUNKS_HEADER):
        assert f"`{header}`" in PAGE


def test_the_registrys_times_are_those_of_the_code() -> None:
    assert reg.HEARTBEAT_SECONDS == 1
    assert "`Heartbeat` every second on" in FLAT
    assert f"silent for {CoordinatorSettings().heartbeat_seconds:g} seconds" in FLAT


def test_the_headers_of_an_event_are_all_named() -> None:
    row = EventRow(activation_run(), 1, "run_started", 0, 1, 1796144400.25, b"{}")
    block = cloud_event("waypost", "greeter", "the-id.1", row).decode()
    named = [line.partition(":")[0] for line in block.splitlines()]
    assert "ce-id" in named
    for header in named:
        assert f"`{header}`" in PAGE


def activation_run() -> Any:
    return decode(Activation, of_kind("Activation")[0]).run_id
