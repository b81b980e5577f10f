"""`waypost demo` as a person runs it: a process of its own, real servers, the exit code, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.waiting import wait_until
from waypost_cli.demo import rows
from waypost_examples.compliance.cases import COLUMNS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

ROWS = {
    "low": "C-1,ACC-1001,T-1,2026-03-02T09:15:00Z,100.00,EUR,Somebody,DE,transfer",
    "high": "C-2,ACC-1003,T-2,2026-03-02T09:15:00Z,100.00,EUR,Zarya Maritime Holding,CY,transfer",
    "bad": "C-3,ACC-1004,T-3,2026-03-02T09:15:00Z,much,EUR,Somebody,DE,transfer",
    "stranger": "C-4,X-1,T-4,2026-03-02T09:15:00Z,100.00,EUR,Somebody,DE,transfer",
}


@pytest.fixture
def csv(tmp_path: Path) -> Callable[..., Path]:
    def write(*names: str) -> Path:
        path = tmp_path / "cases.csv"
        path.write_text("\n".join([",".join(COLUMNS), *(ROWS[name] for name in names)]) + "\n")
        return path

    return write


@asynccontextmanager
async def started(*options: object, answers: bool = False) -> AsyncIterator[asyncio.subprocess.Process]:
    stdin = asyncio.subprocess.PIPE if answers else asyncio.subprocess.DEVNULL
    command = (sys.executable, "-m", "waypost_cli", "demo", *map(str, options))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=stdin, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def demo(*options: object, answers: str = "") -> tuple[int, str]:
    """Exit code and everything it printed."""
    async with started(*options, answers=bool(answers)) as process:
        out, _ = await process.communicate(answers.encode() or None)
        return process.returncode or 0, out.decode()


def verdict_of(text: str) -> str:
    """The final table and what follows it."""
    return text[text.index("at regulator") :]


def data_dir_of(text: str) -> Path:
    found = re.search(r"files and logs in (\S+)", text)
    assert found, text
    return Path(found[1])


def processes_with(text: str) -> list[int]:
    """Pids whose command line or environment mentions `text`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if text.encode() in told:
                found.append(int(entry.name))
    return found


async def test_the_file_that_ships_ends_with_one_report_each() -> None:
    code, text = await demo()
    assert code == 0, text
    assert "reports expected 13, received by the regulator 13: exactly one for each reported case" in text
    assert text.count("1 of 1") == 13
    assert "in doubt" in text
    assert re.search(r"C-1013 .* 0 of 0 .* denied by policy", text)
    assert re.search(r"file-report denied by rule 'own staff' of policy 2026-03-01@\w+: accounts of the bank's own staff", text)
    assert "ann approves a second time and is refused: ann has approved" in text
    assert "approved by ann and bert" in text
    assert re.search(r"C-1014 +the supervisor is told \(paused\): .* owner-tracer is paused: registry was called 3 times", text)
    assert "owner-tracer is told by dora" in text
    assert re.search(r"C-1003 +the supervisor is told \(in doubt\): .* freeze-account", text)
    assert "freeze-account had taken effect, says dora" in text
    for note in (rows.TWO_OFFICERS, rows.DENIED, rows.LOOP, rows.ASKED, rows.PERSON):
        assert note in verdict_of(text)
    assert "asked for 2 s" in text
    assert (data_dir_of(text) / "logs" / "coordinator.log").exists()
    assert not processes_with(str(data_dir_of(text)))


async def test_a_bad_row_is_named_and_the_rest_goes_on(csv: Callable[..., Path]) -> None:
    code, text = await demo("--input", csv("low", "bad", "stranger"))
    assert code == 1
    assert "line 3, column amount: 'much' is not an amount; write digits with a point, like 1250.00" in text
    assert "reports expected 2, received by the regulator 2: exactly one for each case" in text
    assert "held back until their rows are correct: C-3" in text


async def test_an_officer_at_the_terminal_approves_or_denies(csv: Callable[..., Path]) -> None:
    code, text = await demo("--interactive", "--input", csv("low", "high"), answers="what\nd\n")
    assert code == 0, text
    assert "counterparty 'Zarya Maritime Holding' is 'Zarya Maritime Holding'" in text
    assert "denied by ann: denied at the terminal" in text
    assert "0 of 0" in text
    assert "received by the regulator 1: exactly one for each reported case" in text


BAD_FILES = [("case,account\n", "column transaction"), (None, "cannot read"), (",".join(COLUMNS), "no case that can be reviewed")]


@pytest.mark.parametrize(("content", "says"), BAD_FILES)
async def test_a_file_that_cannot_be_used(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "cases.csv"
    if content is not None:
        path.write_text(content)
    code, text = await demo("--input", path)
    assert code == 2
    assert says in text
    assert "Traceback" not in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ending_it_leaves_nothing_behind(number: signal.Signals) -> None:
    async with started() as process:
        assert process.stdout is not None
        text = ""
        while "accepted" not in text:
            line = await process.stdout.readline()
            assert line, text
            text += line.decode()
        process.send_signal(number)
        rest = (await process.stdout.read()).decode()
        assert await process.wait() == 130, text + rest
        assert "Traceback" not in rest
    where = str(data_dir_of(text))
    await wait_until(lambda: not processes_with(where))


@pytest.mark.crash
async def test_chaos_changes_nothing_but_the_time() -> None:
    code, text = await demo("--chaos")
    assert code == 0, text
    for blow in ("kill -9 coordinator", "kill -9 worker", "kill -9 gateway", "kill -9 audit", "kill -9 NATS", "kill -9 Postgres"):
        assert f"*** {blow}" in text
    assert "*** NATS killed and every JetStream file deleted" in text
    assert "reports expected 13, received by the regulator 13: exactly one for each reported case" in text
    for note in (rows.TWO_OFFICERS, rows.DENIED, rows.LOOP, rows.ASKED, rows.PERSON):
        assert note in verdict_of(text)
    assert not processes_with(str(data_dir_of(text)))
