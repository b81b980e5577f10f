"""`python -m waypost_gateway MODULE… [--concurrency N]`: the composition root of the tool gateway."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import secrets
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

import msgspec
import structlog

from waypost import load_module
from waypost.outside_tools import resources_of
from waypost.policies import hooks_in
from waypost_gateway.gateway import Gateway, GatewayConfig, Rules
from waypost_gateway.hosting import definitions_of, tools_of
from waypost_gateway.metrics import Metrics
from waypost_gateway.policing import PolicyDesk
from waypost_gateway.reloading import Reloader, Watched
from waypost_gateway.secrets import Secrets
from waypost_gateway.threads import ToolThreads
from waypost_io.bus.jetstream import JetStreamBus
from waypost_io.bus.opening import bus_of
from waypost_io.lifecycle import Stop, run_service
from waypost_io.logs import guarded
from waypost_io.observing import observe
from waypost_io.ops import Check
from waypost_io.peer import Peer
from waypost_io.settings import GatewaySettings, load
from waypost_io.starting import StartAbandoned, Starting
from waypost_io.store.postgres import PostgresStore
from waypost_proto.registry import Announce

THREADS_PER_CALL = 2
"""Threads of plain functions, per call that may run: half of them may be abandoned ones."""
DRAIN_SHARE = 0.7
"""Of the time to stop, what running calls may use; the rest is for writing down what was interrupted."""

_log = structlog.get_logger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="waypost gateway", description="Host the tools that are defined in the modules.")
    parser.add_argument("modules", nargs="+", metavar="MODULE", help="an importable module, or a .py file")
    parser.add_argument("--concurrency", type=_at_least_one, help="tool calls at once (default: WAYPOST_GATEWAY_CONCURRENCY)")
    arguments = parser.parse_args(argv)

    async def run(stop: Stop) -> None:
        settings = load(GatewaySettings)
        if arguments.concurrency is not None:
            settings = msgspec.structs.replace(settings, concurrency=arguments.concurrency)
        await serve(arguments.modules, settings, stop)

    sys.exit(run_service("gateway", run))


async def serve(names: Sequence[str], settings: GatewaySettings, stop: Stop) -> None:
    """Host the tools of the modules until `stop`. Raises `Misconfigured`, or `Unreachable` when a server is not there in time."""
    modules = [load_module(name) for name in names]
    tools = tools_of(modules, allow_empty=settings.allow_empty == "yes")
    build = settings.build_of(modules)
    peer_name = _peer_name(settings.nats_pool)
    definitions = definitions_of(tools, build)
    secrets_of_tools = Secrets(os.environ, settings.secrets_file)
    policy = PolicyDesk(settings.policy_file, [hook for module in modules for hook in hooks_in(module)], build=build)
    sys.stdout = guarded(sys.stdout)  # what tools print is no place for secrets either
    sys.stderr = guarded(sys.stderr)
    config = GatewayConfig(
        peer=peer_name,
        concurrency=settings.concurrency,
        ack_wait_seconds=settings.ack_wait_seconds,
        lease_seconds=settings.lease_seconds,
        settle_seconds=settings.settle_seconds,
        drain_seconds=DRAIN_SHARE * settings.drain_seconds,
    )
    asyncio.get_running_loop().set_default_executor(ToolThreads(THREADS_PER_CALL * settings.concurrency))
    announce = Announce(peer=peer_name, kind="gateway", build=build, tools=definitions, concurrency=settings.concurrency)
    metrics = Metrics()
    metrics.concurrency.set(settings.concurrency)
    rules = Rules(policy=policy, secrets=secrets_of_tools)
    starting = Starting(stop, settings.start_seconds)
    async with AsyncExitStack() as stack:
        await observe(stack, "gateway", settings.ops_addr, checks=starting.checks, metrics=metrics.registry)
        with suppress(StartAbandoned):
            bus = await starting.enter(stack, lambda: _bus(settings, peer_name))
            store = await starting.enter(stack, lambda: _store(settings, peer_name))
            gateway = Gateway(bus, store, settings.subjects, tools, config, rules=rules, metrics=metrics)
            reloader = Reloader(_watched(settings, policy, secrets_of_tools), metrics)
            peer = Peer(bus, settings.subjects, announce, beat_seconds=settings.heartbeat_seconds)
            async with resources_of(tools), peer, asyncio.TaskGroup() as tasks:
                starting.done(_checks(bus, store, gateway, peer, policy))
                tasks.create_task(_say_draining(stop, peer))
                reloading = tasks.create_task(reloader.run())
                _log.info(
                    "gateway serves",
                    peer=peer_name,
                    build=build,
                    tools=[tool.name for tool in tools],
                    policy=policy.version,
                    secrets=sorted(secrets_of_tools),
                )
                await gateway.serve(stop)
                reloading.cancel()


def _bus(settings: GatewaySettings, name: str) -> JetStreamBus:
    return bus_of(settings, name)


def _store(settings: GatewaySettings, name: str) -> PostgresStore:
    return PostgresStore(settings.postgres_url, pool_size=settings.postgres_pool, application_name=name)


def _watched(settings: GatewaySettings, policy: PolicyDesk, secrets_of_tools: Secrets) -> list[Watched]:
    return [
        Watched("policy", settings.policy_file, policy.reload),
        Watched("secrets", settings.secrets_file, secrets_of_tools.reload),
    ]


def _checks(bus: JetStreamBus, store: PostgresStore, gateway: Gateway, peer: Peer, policy: PolicyDesk) -> dict[str, Check]:
    async def database() -> None:
        await store.leases.now()

    return {
        "nats": lambda: bus.connected,
        "postgres": database,
        "consumers": lambda: gateway.pulling,
        "announced": lambda: peer.is_announced,
        # a file that cannot be used is no reason to take no calls: the policy before it is in force
        "policy": lambda: f"{policy.version}; {policy.fault}" if policy.fault else policy.version,
    }


async def _say_draining(stop: Stop, peer: Peer) -> None:
    await stop.wait()
    peer.set_state("draining")


def _peer_name(pool: str) -> str:
    """Unique per process start; its pool, or where it runs, stands in front."""
    host = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower()).strip("-")[:40]
    return f"{pool or 'gateway'}-{host}-{secrets.token_hex(4)}"


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return value


if __name__ == "__main__":
    main()
