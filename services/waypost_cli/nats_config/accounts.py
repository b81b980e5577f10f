"""Which account may say and hear what: the `accounts` block of a NATS server's configuration, as data. Pure.

    WAYPOST        coordinators and audit loggers, and all of JetStream
    POOL_<name>    one per pool: workers or gateways; neither streams nor consumers of its own
    PEOPLE         clients: the API, tasks, and events to follow
    POOL_<name>    with webhooks: edges that send them; what clients may, and the webhooks' consumers

Accounts do not hear each other. What crosses is an export of WAYPOST that is named here (and, from pools to people, what models write), and
each user is denied everything that is not named for it. A pool's announcements, heartbeats, questions for consumers and journals arrive
under `waypost.pool.<name>.…`: the server puts the name in. See ADR 0248 for what a shared account would leave open.
"""

from __future__ import annotations

from typing import Any

from waypost_io.pools import Pool
from waypost_proto.subjects import Subjects

Block = dict[str, Any]
CORE, PEOPLE = "WAYPOST", "PEOPLE"
COORDINATOR, AUDIT, CLIENT = "coordinator", "audit", "client"


def pool_account(pool: str) -> str:
    """`desk-north` is `POOL_DESK_NORTH`."""
    return f"POOL_{pool.upper().replace('-', '_')}"


def inbox_of(user: str) -> str:
    """The root of a user's reply subjects (`WAYPOST_NATS_INBOX`): nobody else may listen there."""
    return f"_INBOX_{user}"


def users_of(pools: dict[str, Pool]) -> list[str]:
    """Every user: one for each kind of process and each pool."""
    return [COORDINATOR, AUDIT, CLIENT, *pools]


def accounts(subjects: Subjects, pools: dict[str, Pool], keys: dict[str, str]) -> Block:
    """The block; `keys` is the public nkey of each of `users_of`."""
    exports: dict[tuple[str, str], Block] = {}
    made: Block = {}
    for name, pool in pools.items():
        made[pool_account(name)] = _importing(exports, pool_account(name), name, keys[name], _of_pool(subjects, name, pool))
    made[PEOPLE] = _importing(exports, PEOPLE, CLIENT, keys[CLIENT], _of_people(subjects))
    watching = [PEOPLE, *(pool_account(name) for name, pool in pools.items() if pool.webhooks)]
    showing = [name for name, pool in pools.items() if pool.agents]
    for name in showing:
        made[pool_account(name)]["exports"] = [{"stream": subjects.all_tokens(), "accounts": watching}]
    for account in watching:
        made[account]["imports"] += [{"stream": {"account": pool_account(name), "subject": subjects.all_tokens()}} for name in showing]
    core: Block = {
        "jetstream": "enabled",
        "users": [_coordinator(subjects, keys[COORDINATOR]), _audit(subjects, keys[AUDIT])],
        "exports": list(exports.values()),
    }
    return {CORE: core, **made}


class _Needs:
    """What an account imports: `services` (local subject, exported subject, several answers?) and `streams`."""

    def __init__(self) -> None:
        self.services: list[tuple[str, str, bool]] = []
        self.streams: list[str] = []
        self.inside: list[str] = []
        """Heard from others than WAYPOST."""
        self.said: list[str] = []
        """Said without WAYPOST hearing it."""

    def service(self, subject: str, *, as_: str = "", many: bool = False) -> None:
        self.services.append((subject, as_ or subject, many))


def _of_pool(subjects: Subjects, name: str, pool: Pool) -> _Needs:
    needs = _of_people(subjects) if pool.webhooks else _Needs()
    for spec in pool.consumers(name, subjects).values():
        needs.service(f"$JS.API.CONSUMER.MSG.NEXT.{spec.stream}.{spec.name}", many=True)
        needs.service(f"$JS.ACK.{spec.stream}.{spec.name}.>")
    needs.service(subjects.consumer(), as_=subjects.pool(name, "consumer"))
    for agent in pool.agents:
        needs.service(f"{subjects.prefix}.mailbox.advance.{agent}.*")
    for tool in pool.tools:
        needs.service(f"{subjects.prefix}.mailbox.result.{tool}.*")
    if pool.agents:
        needs.service(subjects.api("runs", "journal"), as_=subjects.pool(name, "journal"))
        needs.service(subjects.api("payloads", "get"))
        needs.service(subjects.api("payloads", "put"))
        needs.said.append(subjects.all_tokens())
    if pool.webhooks:
        needs.service(subjects.dead("webhooks"))
        return needs
    needs.service(subjects.announce(), as_=subjects.pool(name, "announce"))
    needs.service(subjects.heartbeat(), as_=subjects.pool(name, "heartbeat"))
    if pool.tools:
        needs.service(subjects.dead("tools"))
        needs.service(subjects.gateways(), as_=subjects.pool(name, "gateways"))  # its gateways hear each other, coordinators hear it too
        needs.inside.append(subjects.gateways())
    needs.streams += [subjects.roll_call(), subjects.stop(), *(subjects.confirm(worker) for worker in pool.worker_names(name))]
    return needs


def _of_people(subjects: Subjects) -> _Needs:
    needs = _Needs()
    needs.service(f"{subjects.prefix}.api.*.*")
    needs.service(f"{subjects.prefix}.tasks.*")
    needs.streams += [subjects.all_events(), subjects.all_supervisor()]
    needs.inside.append(subjects.all_tokens())  # from the pools' accounts, not from WAYPOST: nobody there listens
    return needs


def _importing(exports: dict[tuple[str, str], Block], account: str, user: str, key: str, needs: _Needs) -> Block:
    """An account that only imports, with one user that may say what it imports and hear its own inbox and the streams."""
    imports: list[Block] = []
    for subject, exported, many in needs.services:
        export = exports.setdefault(("service", exported), {"service": exported, "accounts": []})
        if many:
            export["response_type"] = "stream"
        export["accounts"].append(account)
        made: Block = {"service": {"account": CORE, "subject": exported}}
        imports.append(made if subject == exported else {**made, "to": subject})
    for subject in needs.streams:
        exports.setdefault(("stream", subject), {"stream": subject, "accounts": []})["accounts"].append(account)
        imports.append({"stream": {"account": CORE, "subject": subject}})
    permissions = {
        "publish": {"allow": [*(subject for subject, _, _ in needs.services), *needs.said]},
        "subscribe": {"allow": [f"{inbox_of(user)}.>", *needs.streams, *needs.inside]},
    }
    return {"users": [{"nkey": key, "permissions": permissions}], "imports": imports}


def _coordinator(subjects: Subjects, key: str) -> Block:
    own = f"{inbox_of(COORDINATOR)}.>"
    return {
        "nkey": key,
        "permissions": {
            # `_R_` is where answers to other accounts go
            "publish": {"allow": [f"{subjects.prefix}.>", "$JS.API.>", "$JS.ACK.>", "_R_.>", own]},
            "subscribe": {"allow": [f"{subjects.prefix}.>", "$SRV.>", own]},
            "allow_responses": {"max": 1_000, "expires": "5m"},
        },
    }


def _audit(subjects: Subjects, key: str) -> Block:
    return {
        "nkey": key,
        "permissions": {"publish": {"deny": [">"]}, "subscribe": {"allow": [subjects.all_events(), f"{inbox_of(AUDIT)}.>"]}},
    }
