"""`waypost dev` in a terminal: prints what happens until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping

from waypost_cli.dev.notices import Terminal
from waypost_cli.dev.options import DevOptions
from waypost_cli.dev.supervisor import Supervisor
from waypost_io.lifecycle import Stop


async def run_dev(options: DevOptions, stop: Stop) -> None:
    """Run everything and print notices and logs to standard error until `stop` is requested.

    Raises what `Supervisor` raises. Meant for `lifecycle.run_service("dev", …)`.
    """
    terminal = Terminal()
    if not options.nats_url or not options.postgres_url:
        missing = " and ".join(
            name for name, url in (("WAYPOST_NATS_URL", options.nats_url), ("WAYPOST_POSTGRES_URL", options.postgres_url)) if not url
        )
        _say(f"{missing} not set: starting embedded servers, files in {options.data_dir.absolute()}")
    async with Supervisor(options, notify=terminal.notice, on_log_line=terminal.log_line) as supervisor:
        _say(f"up in {supervisor.seconds_to_start:.1f} s; logs in {options.log_dir.absolute()}; end with Ctrl-C")
        embedded = {"WAYPOST_NATS_URL": supervisor.nats, "WAYPOST_POSTGRES_URL": supervisor.postgres}
        for name, server in embedded.items():
            if server is not None:
                _say(f"  export {name}={server.url}")
        if options.edge_url:
            _say(f"  {options.edge_url}  HTTP; Grafana's data source of type Tempo: {options.edge_url}/tempo")
        _say(who_decides(os.environ))
        if not options.modules:
            _say("no MODULE given, so nothing is hosted: `waypost dev agents.py` hosts the agents and tools of a file")
        async with asyncio.TaskGroup() as tasks:
            stopping = tasks.create_task(stop.wait())
            failing = tasks.create_task(supervisor.wait())
            await asyncio.wait([stopping, failing], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            failing.cancel()


def who_decides(environment: Mapping[str, str]) -> str:
    """What is said of identities: without any, whoever reaches this NATS is who they say they are."""
    file = environment.get("WAYPOST_API_TOKENS_FILE", "").strip()
    if file and environment.get("WAYPOST_AUTH", "").strip() != "off":
        return f"callers are authenticated by {file}"
    return "development identities: whoever reaches this NATS decides as who they say they are (--by, --role); see docs/approvals.md"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
