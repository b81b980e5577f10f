"""`waypost audit …` as a person types it, on a real log: exit codes, JSON, files that somebody else can check."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from tests.unit.waypost_audit.events import Scribe
from tests.unit.waypost_audit.signed import SignedLog
from waypost_core.audit.notes import VerifierKey
from waypost_io.audit.keyfile import read_keys
from waypost_io.servers import EmbeddedPostgres
from waypost_io.store.postgres import PostgresStore

Waypost = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture(scope="module")
async def log(postgres: EmbeddedPostgres, postgres_template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scribe]:
    """With the key that `waypost audit new-key` has made."""
    name = f"c{os.urandom(6).hex()}"
    url = await postgres.create_database(name, template=postgres_template)
    key_file = tmp_path_factory.mktemp("keys") / "audit.key"
    code, out, err = await command("audit", "new-key", str(key_file))
    assert (code, key_file.stat().st_mode & 0o777) == (0, 0o600), err
    keys = read_keys(key_file)
    assert VerifierKey.parse(out) == keys[0].verifier
    async with PostgresStore(url) as store:
        scribe = await Scribe(store, url=url).start()
        await SignedLog(store, *keys).write(scribe, {0: 5, 1: 3}, {0: 4})
        scribe.url = url
        yield scribe
    await postgres.drop_database(name)


async def command(*arguments: str, **env: str) -> tuple[int, str, str]:
    done = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "waypost_cli",
        *arguments,
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await done.communicate()
    assert done.returncode is not None
    return done.returncode, out.decode(), err.decode()


@pytest.fixture
def waypost(log: Scribe) -> Waypost:
    async def run(*arguments: str) -> tuple[int, str, str]:
        return await command("audit", *arguments, WAYPOST_POSTGRES_URL=log.url)

    return run


async def test_the_whole_way_of_a_record(log: Scribe, waypost: Waypost, tmp_path: Path) -> None:
    (_, key, _), (code, out, _) = await asyncio.gather(waypost("keys"), waypost("head", "--json"))
    head = json.loads(out)
    assert (code, head["leaves"], head["behind"], head["head"]["size"]) == (0, 12, 0, 12)
    (tmp_path / "key").write_text(key)
    _, note, _ = await waypost("head", "--note")
    (tmp_path / "head").write_text(note)
    run = log.written[0].run_id
    files = {name: str(tmp_path / name) for name in ("all", "run", "proof", "growth")}
    verified, exported, of_run, proof, growth, listed = await asyncio.gather(
        waypost("verify", "--key", str(tmp_path / "key"), "--heads", str(tmp_path / "head"), "--json"),
        waypost("export", files["all"], "--json"),
        waypost("export", files["run"], "--run", run),
        waypost("prove", run, "2", "--out", files["proof"]),
        waypost("prove", "--from", "8", "--out", files["growth"]),
        waypost("head", "--all", "--json"),
    )
    assert verified[0] == 0, verified
    assert {name: json.loads(verified[1])[name] for name in ("ok", "leaves", "heads", "trusted")} == {
        "ok": True,
        "leaves": 12,
        "heads": 3,
        "trusted": True,
    }
    assert json.loads(exported[1])["events"] == 12
    assert "9 events, 3 leaves left out" in of_run[1]
    assert (proof[0], growth[0]) == (0, 0)
    assert [each["size"] for each in json.loads(listed[1])] == [12, 8]
    checks = await asyncio.gather(
        command("audit", "verify", "--export", files["all"], "--key", key.strip(), "--heads", str(tmp_path / "head")),
        command("audit", "verify", "--export", files["run"], "--key", key.strip()),
        command("audit", "verify", "--proof", files["proof"], "--key", key.strip()),
        command("audit", "verify", "--proof", files["growth"]),
    )
    assert [code for code, _, _ in checks] == [0, 0, 0, 0], checks
    assert "the record is whole: 12 leaves" in checks[0][1]
    assert checks[2][1] == "proved\n"
    assert "give --key to be sure" in checks[3][1]


async def test_what_is_wrong_ends_in_1_and_says_where(log: Scribe, waypost: Waypost, tmp_path: Path) -> None:
    path = tmp_path / "all"
    await waypost("export", str(path))
    path.write_bytes(path.read_bytes().replace(b"ann", b"eve", 1))
    code, out, _ = await waypost("verify", "--export", str(path))
    assert code == 1
    assert f"edited: event 1 of run {log.written[0].run_id} (leaf 0) does not fit its leaf hash" in out
    assert "THE RECORD IS NOT WHOLE" in out
    other = await command("audit", "new-key", str(tmp_path / "other.key"))
    code, out, _ = await waypost("verify", "--key", other[1].strip())
    assert code == 1
    assert "none of them is a key that you trust" in out
    connection = await asyncpg.connect(log.url)
    event = log.written[3]
    await connection.execute("UPDATE events SET data = data || ' ' WHERE run_id = $1 AND seq = $2", event.run_id, event.seq)
    try:
        (code, out, _), (proof_code, _, _) = await asyncio.gather(
            waypost("verify", "--json"), waypost("prove", event.run_id, str(event.seq), "--out", str(tmp_path / "p"))
        )
    finally:
        await connection.execute("UPDATE events SET data = $3 WHERE run_id = $1 AND seq = $2", event.run_id, event.seq, event.body)
        await connection.close()
    assert (code, proof_code) == (1, 0)
    assert json.loads(out)["findings"][0]["seq"] == event.seq
    assert (await command("audit", "verify", "--proof", str(tmp_path / "p")))[0] == 1


async def test_usage_and_servers_that_are_not_there(log: Scribe, waypost: Waypost, tmp_path: Path, free_port: int) -> None:
    outcomes = await asyncio.gather(
        waypost("verify", "--key", "nonsense"),
        waypost("verify", "--export", str(tmp_path / "none")),
        waypost("verify", "--since", "3"),
        waypost("prove"),
        waypost("prove", log.written[0].run_id, "99"),
        waypost("export", str(tmp_path / "x"), "--run", "r", "--since", "2026-01-01T00:00:00Z"),
        command("audit", "head", WAYPOST_POSTGRES_URL=f"postgresql://127.0.0.1:{free_port}/none"),
        command("audit", "head", WAYPOST_DATA_DIR=str(tmp_path), WAYPOST_POSTGRES_URL=""),
    )
    assert [code for code, _, _ in outcomes] == [2, 2, 2, 2, 1, 2, 3, 2], outcomes
    assert "is no verifier key" in outcomes[0][2]
    assert "waypost audit head --all" in outcomes[2][2]
    assert "is not in the audit log" in outcomes[4][2]
    assert "WAYPOST_POSTGRES_URL" in outcomes[7][2]
