"""What `waypost dev` runs: which services, with which environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from waypost_cli.dev.service import ServiceSpec
from waypost_io.servers import free_port
from waypost_io.servers.ports import LOOPBACK, can_bind

DRAIN_SECONDS = 5.0
"""A developer waits for less than a cluster does."""
STOP_MARGIN_SECONDS = 3.0
BUILD = "dev"
"""One build whatever the code: after a change, runs in flight go on with the new code, or pause with the difference."""
KEY_VARIABLE = "WAYPOST_AUDIT_KEY_FILE"
SERVICES = ("coordinator", "worker", "gateway", "audit")
EDGE = "edge"
EDGE_PORT = 8420
"""Where the edge listens unless that is taken; as in `EdgeSettings`."""
_MODULES = {name: f"waypost_{name}" for name in (*SERVICES, EDGE)}
_HOSTS_USER_CODE = ("worker", "gateway")
_NEEDS_NO_POSTGRES = ("worker",)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevOptions:
    """How to run everything on one machine.

    Servers whose URL is "" are embedded, with their files in `data_dir`.
    """

    modules: tuple[str, ...] = ()
    """The user's modules; without any there is neither worker nor gateway."""
    data_dir: Path = Path(".waypost")
    nats_url: str = ""
    postgres_url: str = ""
    prefix: str = "waypost"
    durability: str = "default"
    services: tuple[str, ...] = SERVICES
    edge_addr: str = ""
    """`host:port` of an edge that runs as well; "": none does. See `with_edge`."""
    replicas: Mapping[str, int] = field(default_factory=dict)
    """Service → processes (default 1); the second coordinator is named `coordinator-2`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """More variables for the services."""
    environment_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """More variables for one process, by its name (fault hooks)."""
    reload: bool = True
    """Restart worker and gateway when the user's files change."""
    console_logs: bool = False
    """Log lines for people instead of JSON."""

    @property
    def audit_key_file(self) -> Path:
        """The key of its audit log, made at the first start. `WAYPOST_AUDIT_KEY_FILE` names another."""
        return self.data_dir.absolute() / "audit.key"

    @property
    def edge_url(self) -> str:
        """Where people and Grafana find the edge; "" without one."""
        return f"http://{self.edge_addr}" if self.edge_addr else ""

    @property
    def log_dir(self) -> Path:
        return self.data_dir / "logs"

    @classmethod
    def from_environment(
        cls, modules: tuple[str, ...], environment: Mapping[str, str] | None = None, *, console_logs: bool = False
    ) -> DevOptions:
        """What `WAYPOST_NATS_URL`, `WAYPOST_POSTGRES_URL`, `WAYPOST_DATA_DIR`, `WAYPOST_PREFIX` and `WAYPOST_DURABILITY` say.

        Raises `Misconfigured`.
        """
        from waypost_io.settings import Settings, load

        source = os.environ if environment is None else environment
        settings = load(Settings, source)
        return cls(
            modules=modules,
            data_dir=settings.data_dir,
            nats_url=settings.nats_url if source.get("WAYPOST_NATS_URL", "").strip() else "",
            postgres_url=settings.postgres_url,
            prefix=settings.prefix,
            durability=settings.durability,
            console_logs=console_logs,
        )


def edge_installed() -> bool:
    """Whether the packages of the extra `waypost[edge]` are there."""
    return find_spec("starlette") is not None and find_spec("uvicorn") is not None


def with_edge(options: DevOptions, environment: Mapping[str, str] | None = None) -> DevOptions:
    """With an edge at `WAYPOST_HTTP_ADDR`; if that is not set at the usual port, or at a free one where that is taken."""
    given = (os.environ if environment is None else environment).get("WAYPOST_HTTP_ADDR", "").strip()
    return replace(options, edge_addr=given or f"{LOOPBACK}:{EDGE_PORT if can_bind(EDGE_PORT) else free_port()}")


def service_specs(options: DevOptions, nats_url: str, postgres_url: str) -> list[ServiceSpec]:
    """The service processes, each with a readiness port of its own."""
    specs = []
    for service in (*options.services, *((EDGE,) if options.edge_addr else ())):
        hosts = service in _HOSTS_USER_CODE
        if hosts and not options.modules:
            continue
        for number in range(1, options.replicas.get(service, 1) + 1):
            name = service if number == 1 else f"{service}-{number}"
            port = free_port()
            environment = _environment(options, nats_url) | {"WAYPOST_OPS_ADDR": f"127.0.0.1:{port}"}
            if service not in _NEEDS_NO_POSTGRES:
                environment["WAYPOST_POSTGRES_URL"] = postgres_url
            if service == "audit":
                environment.setdefault(KEY_VARIABLE, str(options.audit_key_file))
            if service == EDGE:
                environment["WAYPOST_HTTP_ADDR"] = options.edge_addr
            environment |= options.environment_of.get(name, {})
            specs.append(
                ServiceSpec(
                    name=name,
                    command=(sys.executable, "-m", _MODULES[service], *(options.modules if hosts else ())),
                    ops_port=port,
                    log_path=(options.log_dir / f"{name}.log").absolute(),
                    environment=environment,
                    reloads=hosts,
                    stop_seconds=float(environment["WAYPOST_DRAIN_SECONDS"]) + STOP_MARGIN_SECONDS,
                )
            )
    return specs


def _environment(options: DevOptions, nats_url: str) -> dict[str, str]:
    environment = {
        "WAYPOST_BUILD": BUILD,
        "WAYPOST_ALLOW_EMPTY": "yes",
        "WAYPOST_DRAIN_SECONDS": str(DRAIN_SECONDS),
        "WAYPOST_LOG_FORMAT": "console" if options.console_logs else "json",
        "PYTHONUNBUFFERED": "1",
        **os.environ,
        "WAYPOST_NATS_URL": nats_url,
        "WAYPOST_PREFIX": options.prefix,
        "WAYPOST_DURABILITY": options.durability,
        **options.environment,
    }
    environment.pop("WAYPOST_POSTGRES_URL", None)  # the worker must do without
    return environment
