"""What is wrong with NATS, made to be wrong: doctor sees it and says how to mend it."""

from __future__ import annotations

from pathlib import Path

import nats as nats_client
import pytest
from nats.js.api import RetentionPolicy, StreamConfig, SubjectTransform

from tests.integration.doctor.conftest import Examine, OddNats
from tests.unit.waypost_coordinator.api.rig import Desk

pytestmark = pytest.mark.slow
"""Each makes a server wrong, and many start one of their own."""


async def test_no_server(examine: Examine, free_port: int) -> None:
    look = await examine(WAYPOST_NATS_URL=f"nats://127.0.0.1:{free_port}")
    assert look.code == 3
    assert "WAYPOST_NATS_URL" in look["nats"]["mend"]


async def test_a_server_without_jetstream(examine: Examine, server_dir: Path) -> None:
    async with OddNats(server_dir / "without", jetstream=None) as server:
        look = await examine(WAYPOST_NATS_URL=server.url)
    assert (look.code, look["jetstream"]["found"]) == (1, "not enabled")
    assert "-js" in look["jetstream"]["mend"]


async def test_a_server_that_takes_only_small_messages(examine: Examine, server_dir: Path) -> None:
    async with OddNats(server_dir / "small", max_payload=65_536) as server:
        look = await examine(WAYPOST_NATS_URL=server.url)
    assert "65536" in look["nats limits"]["found"]
    assert look.code == 1


async def test_wrong_credentials(examine: Examine, server_dir: Path) -> None:
    async with OddNats(server_dir / "auth", authorization={"user": "ann", "password": "right"}) as server:
        look = await examine(WAYPOST_NATS_URL=server.url.replace("//", "//ann:wrong@"))
        assert look.code == 1
        assert "refuses us" in look["nats"]["found"]
        assert "WAYPOST_NATS_CREDS" in look["nats"]["mend"]
        assert "wrong" not in str(look.all)
        assert "refuses" not in str((await examine(WAYPOST_NATS_URL=server.url.replace("//", "//ann:right@"))).all)


async def test_a_permission_that_is_missing_is_named_with_its_subject(examine: Examine, server_dir: Path) -> None:
    permissions = {"publish": {"deny": ["$JS.API.INFO"]}, "subscribe": {"deny": ["waypost.events.>"]}}
    users = {"users": [{"user": "ann", "password": "a", "permissions": permissions}]}
    async with OddNats(server_dir / "rights", authorization=users) as server:
        look = await examine(WAYPOST_NATS_URL=server.url.replace("//", "//ann:a@"))
    assert look["nats rights"]["level"] == "failure"
    assert "publish $JS.API.INFO" in look["nats rights"]["found"]
    assert "subscription waypost.events.>" in look["nats rights"]["found"]
    assert "nats-config" in look["nats rights"]["mend"]


async def test_more_replicas_than_servers(examine: Examine, env: dict[str, str]) -> None:
    look = await examine(**{**env, "WAYPOST_REPLICAS": "3"})
    assert look["replicas"]["found"] == "WAYPOST_REPLICAS is 3, and there is 1 server"
    assert "WAYPOST_REPLICAS=1" in look["replicas"]["mend"]
    assert look["streams"]["level"] == "warning", "the streams have one replica, too"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"retention": RetentionPolicy.LIMITS}, "retention is 'limits', must be 'workqueue'"),
        ({"max_msg_size": 1_000}, "max_msg_size is 1000"),
        ({"subjects": ["{prefix}.tasks.one"]}, "subjects is ["),
        ({"subject_transform": SubjectTransform(src="{prefix}.tasks.>", dest="{prefix}.other.>")}, "its partition transform is"),
    ],
)
async def test_a_stream_with_other_settings(
    examine: Examine, env: dict[str, str], desk: Desk, nats_url: str, change: dict[str, object], says: str
) -> None:
    connection = await nats_client.connect(nats_url)
    try:
        stream = connection.jetstream()
        name = desk.subjects.stream("TASKS")
        await stream.delete_stream(name)
        config = StreamConfig(name=name, subjects=[desk.subjects.all_tasks()], retention=RetentionPolicy.WORK_QUEUE, max_bytes=1 << 20)
        for field, value in change.items():
            setattr(config, field, _filled(value, desk.subjects.prefix))
        await stream.add_stream(config)
    finally:
        await connection.close()
    look = await examine(**env)
    assert look.code == 1
    assert says in look["streams"]["found"]
    assert look["streams"]["mend"]


def _filled(value: object, prefix: str) -> object:
    if isinstance(value, list):
        return [_filled(one, prefix) for one in value]
    if isinstance(value, SubjectTransform):
        return SubjectTransform(src=str(_filled(value.src, prefix)), dest=str(_filled(value.dest, prefix)))
    return value.replace("{prefix}", prefix) if isinstance(value, str) else value


async def test_other_partitions_than_the_deployment_has(examine: Examine, env: dict[str, str]) -> None:
    look = await examine(**{**env, "WAYPOST_PARTITIONS": "4"})
    assert "its partition transform is" in look["streams"]["found"]
    assert look["partitions"]["found"] == "the deployment has 1, WAYPOST_PARTITIONS is 4"
    assert "WAYPOST_PARTITIONS=1" in look["partitions"]["mend"]


async def test_streams_that_are_missing(examine: Examine, env: dict[str, str], desk: Desk, nats_url: str) -> None:
    connection = await nats_client.connect(nats_url)
    await connection.jetstream().delete_stream(desk.subjects.stream("TOOLS"))
    await connection.close()
    look = await examine(**env)
    assert look["streams"]["found"] == f"missing: {desk.subjects.stream('TOOLS')}"
    assert "start a coordinator" in look["streams"]["mend"]


async def test_a_prefix_that_nobody_uses(examine: Examine, env: dict[str, str], desk: Desk) -> None:
    look = await examine(**{**env, "WAYPOST_PREFIX": "nobodys"})
    assert look["prefix"]["level"] == "failure"
    _, _, others = look["prefix"]["found"].partition("no streams of prefix 'nobodys', but of ")
    named = others.split(", ")
    # other tests share the server, and only the first five are named
    assert desk.subjects.stream("TASKS").removesuffix("_TASKS") in named or len(named) == 5


async def test_a_stream_that_is_nearly_full(examine: Examine, env: dict[str, str], desk: Desk, nats_url: str) -> None:
    connection = await nats_client.connect(nats_url)
    try:
        stream = connection.jetstream()
        config = (await stream.stream_info(desk.subjects.stream("TASKS"))).config
        config.max_bytes = 200_000
        await stream.update_stream(config)
        for _ in range(9):
            await stream.publish(f"{desk.subjects.prefix}.tasks.nobody", b"x" * 20_000)
    finally:
        await connection.close()
    look = await examine(**env)
    assert "(9 messages)" in look["streams"]["found"]
    assert "do not keep up" in look["streams"]["mend"]


async def test_an_account_whose_storage_is_nearly_full(examine: Examine, server_dir: Path) -> None:
    accounts = {"A": {"jetstream": {"max_file": 1_000_000, "max_mem": 1_000}, "users": [{"user": "ann", "password": "a"}]}}
    async with OddNats(server_dir / "account", accounts=accounts) as server:
        url = server.url.replace("//", "//ann:a@")
        connection = await nats_client.connect(url)
        await connection.jetstream().add_stream(StreamConfig(name="S", subjects=["s"]))
        for _ in range(9):
            await connection.jetstream().publish("s", b"x" * 99_000)
        await connection.close()
        look = await examine(WAYPOST_NATS_URL=url)
    assert look["jetstream"]["level"] == "warning"
    assert "more storage" in look["jetstream"]["mend"]
