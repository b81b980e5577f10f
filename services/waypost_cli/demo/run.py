"""`waypost demo`: the compliance desk on a platform of its own, from start to verdict."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sized
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from waypost.client import Client
from waypost_cli.connect import quiet
from waypost_cli.demo import verdict
from waypost_cli.demo.board import Board
from waypost_cli.demo.chaos import Chaos, Toll
from waypost_cli.demo.departments import SUPERVISOR, Plan, counts, departments, freezes, open_core_banking
from waypost_cli.demo.display import Display
from waypost_cli.demo.intake import Intake
from waypost_cli.demo.officer import Desk, Officer, approve_all
from waypost_cli.demo.options import DemoOptions
from waypost_cli.demo.platform import Platform
from waypost_cli.demo.record import check_record
from waypost_cli.demo.supervisor import Notices
from waypost_cli.demo.supervisor import Supervisor as DeskSupervisor
from waypost_cli.dev import DevOptions, Supervisor
from waypost_cli.dev.options import edge_installed, with_edge
from waypost_cli.exits import FAILED
from waypost_examples.compliance.cases import CaseFile, Expected, UnreadableFile, expected, read_cases, shipped
from waypost_examples.compliance.legacy.http import serve
from waypost_examples.compliance.model import Case
from waypost_proto.errors import BadInput, WaypostError

MODULES = ("waypost_examples.compliance.agents", "waypost_examples.compliance.tools")
Submit = Callable[[list[Case]], Awaitable[None]]
LIMIT_SECONDS = 300.0
"""An unattended demo that has not ended by then never will."""


def run_demo(options: DemoOptions) -> int:
    """`demo` for a command line: SIGTERM ends it like Ctrl-C, with everything it started; both raise `KeyboardInterrupt`."""
    try:
        return asyncio.run(_terminable(options))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _terminable(options: DemoOptions) -> int:
    """A handler of the loop's and not of Python's: that would raise in the middle of whatever runs."""
    work = asyncio.current_task()
    assert work is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    return await demo(options)


async def demo(options: DemoOptions) -> int:
    """Run the demo; returns the exit code: 0 when each case ended with exactly one report (or none where an officer refused it), and
    the audit log proves the whole record.

    Raises `BadInput` for a file that cannot be used, `NotReady` when a process does not start. Cancelling stops everything it started.
    """
    started = time.monotonic()
    quiet()
    file = _read(options)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 200
    for fault in file.faults:
        console.print(Text(str(fault), style="red"), soft_wrap=True)
    if file.held_back:
        console.print(f"held back until their rows are correct: {', '.join(file.held_back)}", style="red", soft_wrap=True)
    if not file.cases:
        raise BadInput(f"{options.input} has no case that can be reviewed; correct it and try again")
    with _data_dir(options) as data_dir, _first_error():
        right = await _Demo(options, file, data_dir, console).run()
    console.print(f"took {time.monotonic() - started:.1f} s; logs in {data_dir / 'logs'}", soft_wrap=True)
    if file.faults:
        console.print(f"{_count(file.faults, 'fault')} in the file (see above): correct them and run it again", style="red")
    return 0 if right and not file.faults else FAILED


class _Demo:
    """One demo from its start to its verdict."""

    def __init__(self, options: DemoOptions, file: CaseFile, data_dir: Path, console: Console) -> None:
        self._options = options
        self._file = file
        self._plan = Plan.make(data_dir, options.seed)
        self._dev = _dev_options(self._plan, with_http=options.interactive)
        self._console = console
        self._board = Board(file.cases)
        self._notices = Notices(self._plan.secret)
        self._display = Display(self._board, console, "chaos at the compliance desk" if options.chaos else "the compliance desk")

    async def run(self) -> bool:
        """Start everything, work, judge; whether all is right."""
        self._announce()
        async with AsyncExitStack() as stack:
            supervisor = Supervisor(self._dev)
            async with asyncio.TaskGroup() as starting:
                starting.create_task(stack.enter_async_context(departments(self._plan, self._file.cases)))
                starting.create_task(stack.enter_async_context(supervisor))
            listening = await serve(self._notices, "127.0.0.1", self._plan.ports[SUPERVISOR])
            stack.callback(listening.close)
            await open_core_banking(self._plan, self._file.cases, supervisor.postgres_url)
            client = await stack.enter_async_context(Client(supervisor.nats_url, prefix=self._dev.prefix))
            seconds = f"{supervisor.seconds_to_start:.1f} s"
            self._console.print(f"up in {seconds}; beside it the departments: core banking (Postgres), kyc, sanctions, regulator")
            if self._dev.edge_url:
                self._console.print(f"while you decide, look at {self._dev.edge_url}", soft_wrap=True)
            toll = await self._work(Platform(supervisor, client), client)
            self._display.flush()
            record = await check_record(supervisor.postgres_url, self._dev.audit_key_file)
            received = await counts(self._plan)
            frozen = Counter(entry.account for entry in await freezes(self._plan))
        if toll is not None:
            self._console.print(f"struck: {toll}", soft_wrap=True)
        right = verdict.show(self._console, verdict.judge(self._board, received, frozen=frozen, expected=self._expected()))
        return verdict.show_record(self._console, record) and right

    def _expected(self) -> dict[str, Expected]:
        """Known for the file that ships, with the usual failures and nobody at the terminal."""
        known = self._options.input is None and self._options.seed == 0 and not self._options.interactive
        return expected() if known else {}

    def _announce(self) -> None:
        embedded = self._embedded()
        if self._options.chaos and len(embedded) < 2:
            raise BadInput("--chaos kills NATS and Postgres, so it needs its own: unset WAYPOST_NATS_URL and WAYPOST_POSTGRES_URL")
        started = ", ".join([*(f"embedded {name}" for name in embedded), *self._dev.services, *(["edge"] if self._dev.edge_url else [])])
        self._console.print(
            f"{_count(self._file.cases, 'case')} from {self._options.input or shipped()}\n"
            f"starting {started}, each a process of its own; files and logs in {self._plan.data_dir}",
            soft_wrap=True,
        )

    def _embedded(self) -> list[str]:
        return [name for name, url in (("NATS", self._dev.nats_url), ("Postgres", self._dev.postgres_url)) if not url]

    async def _work(self, platform: Platform, client: Client) -> Toll | None:
        """Hand in, follow, approve and strike until every case has ended or time is up."""
        # cases of other demos on the same servers must not be taken for ours
        intake = Intake(client, self._board, key_prefix="" if len(self._embedded()) == 2 else f"{self._plan.data_dir.name}-")
        desk = Desk(0 if self._options.chaos else None)
        officer = Officer(client, self._board, self._display.ask if self._options.interactive else approve_all, desk)
        chief = DeskSupervisor(client, self._board, self._notices, partial(freezes, self._plan))
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(work) for work in (self._display.run(), officer.run(), chief.run(), platform.watch())]
            try:
                async with asyncio.timeout(None if self._options.interactive else LIMIT_SECONDS), asyncio.TaskGroup() as following:

                    async def submit(cases: list[Case]) -> None:
                        await intake.submit(cases)
                        for case in cases:
                            following.create_task(intake.follow(case))

                    return await self._feed(platform, desk, submit)
            except TimeoutError:
                self._board.say("", f"gave up after {LIMIT_SECONDS:g} s; what still waits is in the table", "bad")
                return None
            finally:
                for task in background:
                    task.cancel()

    async def _feed(self, platform: Platform, desk: Desk, submit: Submit) -> Toll | None:
        if not self._options.chaos:
            await submit(self._file.cases)
            return None
        chaos = Chaos(platform, self._board, desk, submit)
        await chaos.run(self._file.cases)
        return chaos.toll


def _read(options: DemoOptions) -> CaseFile:
    try:
        return read_cases(options.input or shipped())
    except UnreadableFile as error:
        raise BadInput(str(error)) from error


def _dev_options(plan: Plan, *, with_http: bool) -> DevOptions:
    """An edge only for a person who has the time to look."""
    found = replace(DevOptions.from_environment(MODULES), data_dir=plan.data_dir, environment=plan.environment, reload=False)
    return with_edge(found) if with_http and edge_installed() else found


@contextmanager
def _data_dir(options: DemoOptions) -> Iterator[Path]:
    """Where everything is kept. A temporary one keeps its logs and loses its databases, unless something went wrong."""
    named = options.data_dir or (Path(text) if (text := os.environ.get("WAYPOST_DATA_DIR", "").strip()) else None)
    if named is not None:
        named.mkdir(parents=True, exist_ok=True)
        yield named.absolute()
        return
    path = Path(tempfile.mkdtemp(prefix="waypost-demo-"))
    path.chmod(0o755)  # as root, Postgres runs as another user
    try:
        yield path
    except WaypostError:
        raise  # worth a look
    except BaseException:
        _remove_databases(path)
        raise
    else:
        _remove_databases(path)


def _remove_databases(data_dir: Path) -> None:
    for name in ("nats", "postgres"):
        shutil.rmtree(data_dir / name, ignore_errors=True)


@contextmanager
def _first_error() -> Iterator[None]:
    """Several tasks may fail of one cause; a person wants one line."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from group


def _count(things: Sized, noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"
