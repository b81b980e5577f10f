"""The services as commands. This process becomes the service, so signals, logs and exit codes are the service's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import Parameter

from waypost_cli.connect import use_running_dev
from waypost_proto.errors import BadInput, Misconfigured

EDGE_MISSING = "the edge needs packages of its own: pip install 'waypost[edge]'"
Modules = Annotated[str, Parameter(help="Importable modules or .py files.")]


def coordinator() -> None:
    """Run a coordinator: it owns every run's state and hosts the API. Needs NATS and Postgres; start several for fail-over."""
    become("waypost_coordinator", [])


def worker(
    *module: Modules,
    agent: Annotated[list[str], Parameter(name="--agent", help="Host only this agent; may be repeated.")] = [],  # noqa: B006
    concurrency: Annotated[int | None, Parameter(help="Runs that work at the same time.")] = None,
) -> None:
    """Run a worker that hosts the agents defined in MODULE… Needs NATS and nothing else."""
    options = [part for name in agent for part in ("--agent", name)]
    if concurrency is not None:
        options += ["--concurrency", str(_positive("--concurrency", concurrency))]
    become("waypost_worker", [*_some(module, "agents"), *options])


def gateway(
    *module: Modules,
    concurrency: Annotated[int | None, Parameter(help="Tool calls that run at the same time.")] = None,
) -> None:
    """Run a gateway that hosts the tools defined in MODULE… Needs NATS and Postgres; it alone holds the tools' secrets."""
    options = ["--concurrency", str(_positive("--concurrency", concurrency))] if concurrency is not None else []
    become("waypost_gateway", [*_some(module, "tools"), *options])


def audit_logger() -> None:
    """Run the audit logger: it makes every event a leaf of a Merkle log and signs its heads. Needs NATS and Postgres."""
    become("waypost_audit", [])


def edge() -> None:
    """Run the edge: HTTP on WAYPOST_HTTP_ADDR: the API at /v1, Grafana's data source of type Tempo at /tempo. Needs NATS and Postgres."""
    from waypost_cli.dev.options import edge_installed

    if not edge_installed():
        raise Misconfigured(EDGE_MISSING)
    become("waypost_edge", [])


def dev(
    *module: Modules,
    reload: Annotated[bool, Parameter(name="--reload", negative="--no-reload", help="Restart the code when its files change.")] = True,
    coordinators: Annotated[int, Parameter(help="Coordinator processes.")] = 1,
    workers: Annotated[int, Parameter(help="Worker processes.")] = 1,
    gateways: Annotated[int, Parameter(help="Gateway processes.")] = 1,
    edge: Annotated[
        bool | None, Parameter(name="--edge", negative="--no-edge", help="HTTP on WAYPOST_HTTP_ADDR; by default where it is installed.")
    ] = None,
) -> int:
    """Run everything on this machine until Ctrl-C: every service its own process, restarted when it ends.

    The edge listens on 127.0.0.1:8420, or another free port if that one is taken.

    Without WAYPOST_NATS_URL and WAYPOST_POSTGRES_URL it starts a NATS and a Postgres of its own; their files are in WAYPOST_DATA_DIR.
    """
    from dataclasses import replace

    from waypost_cli.dev import DevOptions, run_dev
    from waypost_cli.dev.options import edge_installed, with_edge
    from waypost_io.lifecycle import run_service

    replicas = {"coordinator": coordinators, "worker": workers, "gateway": gateways}
    for service, count in replicas.items():
        _positive(f"--{service}s", count)
    modules = _some(module, "agents and tools") if module else ()
    options = DevOptions.from_environment(modules, console_logs=sys.stderr.isatty())
    options = replace(options, reload=reload, replicas=replicas)
    if edge and not edge_installed():
        raise Misconfigured(EDGE_MISSING)
    if edge is not False and edge_installed():
        options = with_edge(options)
    return run_service("dev", lambda stop: run_dev(options, stop))


def demo(
    *,
    interactive: Annotated[bool, Parameter(name="--interactive", help="You are the officer: approve or deny at the prompt.")] = False,
    chaos: Annotated[bool, Parameter(name="--chaos", help="Kill every service and server while it runs.")] = False,
    input: Annotated[Path | None, Parameter(name="--input", help="A CSV of transactions instead of the one that ships.")] = None,  # noqa: A002
    seed: Annotated[int, Parameter(help="Which requests the legacy systems fail.")] = 0,
) -> int:
    """Show the compliance desk at work: suspicious transactions, failing legacy systems, an officer's approval, a regulator.

    Ends by itself with a table; exit 1 unless every case ended with exactly the reports it should have.
    """
    from waypost_cli.demo import DemoOptions, run_demo

    return run_demo(DemoOptions(interactive=interactive, chaos=chaos, input=input, seed=seed))


def become(package: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by `python -m package`; the interpreter and environment stay the same."""
    use_running_dev()
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", package, *arguments])  # noqa: S606 - no shell is wanted


def _some(modules: tuple[str, ...], what: str) -> tuple[str, ...]:
    if not modules:
        raise BadInput(f"name at least one module whose {what} to host, for example desk.py or my_company.desk")
    for module in modules:
        if module.endswith(".py") and not Path(module).is_file():
            raise BadInput(f"there is no file {module!r}")
    return modules


def _positive(option: str, value: int) -> int:
    if value < 1:
        raise BadInput(f"{option} {value} is not a positive number")
    return value
