"""The accounts block: what crosses is named, for the account that it is for, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from waypost_cli.dev.terminal import who_decides
from waypost_cli.nats_config.accounts import accounts, pool_account, users_of
from waypost_io.pools import parse_pools
from waypost_proto.errors import Misconfigured
from waypost_proto.registry import AgentDefinition, Announce, ToolDefinition
from waypost_proto.subjects import Subjects
from waypost_proto.values import Effect

TEXT = """
[pool.desk]
agents = ["a"]
builds = ["v1", "v2"]
workers = 2
[pool.bank]
tools = ["pay"]
"""


def block() -> dict[str, Any]:
    pools = parse_pools(TEXT, "pools.toml")
    return accounts(Subjects("w"), pools, {user: f"U{user}" for user in users_of(pools)})


def test_only_the_core_has_jetstream_and_every_export_names_its_accounts() -> None:
    made = block()
    assert set(made) == {"WAYPOST", "PEOPLE", "POOL_DESK", "POOL_BANK"}
    assert [name for name, account in made.items() if "jetstream" in account] == ["WAYPOST"]
    pairs = [(kind, export) for export in made["WAYPOST"]["exports"] for kind in ("service", "stream") if kind in export]
    exported = {(kind, export[kind]): export["accounts"] for kind, export in pairs}
    assert all(exported.values())
    for name, account in made.items():
        for each in account.get("imports", []):
            kind = "service" if "service" in each else "stream"
            if each[kind]["account"] != "WAYPOST":  # what models write goes from pools to people
                shown = made[each[kind]["account"]]["exports"]
                assert (name, shown) == ("PEOPLE", [{"stream": each[kind]["subject"], "accounts": ["PEOPLE"]}])
                continue
            assert name in exported[kind, each[kind]["subject"]]


def test_a_pool_may_say_what_is_its_own_and_no_wildcard_is_wider() -> None:
    (user,) = block()[pool_account("desk")]["users"]
    said = user["permissions"]["publish"]["allow"]
    names = ("any_a_v1", "any_a_v2", "sticky-desk-0", "sticky-desk-1")
    for name in names:
        assert f"$JS.API.CONSUMER.MSG.NEXT.W_WORK.{name}" in said
        assert f"$JS.ACK.W_WORK.{name}.>" in said
    assert [subject for subject in said if "*" in subject] == ["w.mailbox.advance.a.*", "w.stream.*"]
    assert not [subject for subject in said if subject.startswith("$JS") and not any(f".{name}" in subject for name in names)]
    heard = user["permissions"]["subscribe"]["allow"]
    assert heard[0] == "_INBOX_desk.>"
    assert not [subject for subject in heard[1:] if "*" in subject or ">" in subject]


def test_edges_with_webhooks_may_do_what_clients_may_and_pull_what_they_send() -> None:
    pools = parse_pools(TEXT + '[pool.edge]\nwebhooks = ["crm"]\n', "pools.toml")
    made = accounts(Subjects("w"), pools, {user: f"U{user}" for user in users_of(pools)})
    (client,), (edge,) = made["PEOPLE"]["users"], made["POOL_EDGE"]["users"]
    more = set(edge["permissions"]["publish"]["allow"]) - set(client["permissions"]["publish"]["allow"])
    assert more == {
        "$JS.API.CONSUMER.MSG.NEXT.W_EVENTS.webhook-crm",
        "$JS.ACK.W_EVENTS.webhook-crm.>",
        "w.registry.consumer",
        "w.dead.webhooks",
    }
    assert set(edge["permissions"]["subscribe"]["allow"]) >= set(client["permissions"]["subscribe"]["allow"]) - {"_INBOX_client.>"}
    assert made["POOL_DESK"]["exports"][0]["accounts"] == ["PEOPLE", "POOL_EDGE"], "what models write is shown in its pages, too"


def test_what_a_pool_says_of_itself_has_its_name_put_in_by_the_server() -> None:
    for pool in ("desk", "bank"):
        renamed = {each["to"]: each["service"]["subject"] for each in block()[pool_account(pool)]["imports"] if "to" in each}
        assert renamed["w.registry.announce"] == f"w.pool.{pool}.announce"
        assert renamed["w.registry.heartbeat"] == f"w.pool.{pool}.heartbeat"
        assert renamed["w.registry.consumer"] == f"w.pool.{pool}.consumer"


def test_what_may_be_announced() -> None:
    pools = parse_pools(TEXT, "pools.toml")

    def announced(pool: str, **fields: Any) -> str:
        made = Announce(**{"peer": f"{pool}-0", "kind": "worker", "build": "v1", **fields})
        return pools[pool].problem_of(pool, made)

    assert announced("desk", agents=[AgentDefinition(name="a", build="v2")]) == ""
    assert "build 'v3'" in announced("desk", agents=[AgentDefinition(name="a", build="v3")])
    assert "agent 'b'" in announced("desk", agents=[AgentDefinition(name="b", build="v1")])
    assert "begins with desk-" in announced("desk", peer="bank-0")
    assert "none of the 2" in announced("desk", peer="desk-2")
    assert announced("bank", kind="gateway", peer="bank-x", tools=[ToolDefinition(name="pay", effect=Effect.READ)]) == ""
    assert "tool 'steal'" in announced("bank", kind="gateway", peer="bank-x", tools=[ToolDefinition(name="steal", effect=Effect.READ)])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no .pool"),
        ('[pool.a]\ntools = ["x"]\nwebhooks = ["y"]\n', "host neither agents nor tools"),
        ("[pool.a]\n", "neither agents nor tools"),
        ('[pool.a]\nagents = ["x"]\n', "no builds"),
        ('[pool.A]\ntools = ["x"]\n', "pool name 'A'"),
        ('[pool.a]\ntools = ["x"]\nworkers = 0\n', "0 workers"),
        ('[pool.a]\ntools = ["x"]\n[pool.a-b]\ntools = ["y"]\n', "could not be told apart"),
        ('[pool.a]\ntool = ["x"]\n', "unknown field"),
        ("[pool", "pools.toml"),
    ],
)
def test_a_file_with_an_error_says_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(Misconfigured, match=problem):
        parse_pools(text, "pools.toml")


def test_dev_says_who_decides() -> None:
    assert "who they say they are" in who_decides({})
    assert "authenticated by f.toml" in who_decides({"WAYPOST_API_TOKENS_FILE": "f.toml"})
    assert "who they say they are" in who_decides({"WAYPOST_API_TOKENS_FILE": "f.toml", "WAYPOST_AUTH": "off"})
