"""The tree of commands. Each is imported only when it runs, so that `waypost --help` is quick; lists show the line given here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cyclopts import App, Group, Parameter

_QUIET = Parameter(negative=(), show_default=False)
"""No `--no-json`, no `--empty-label`, no `[default: False]`; a default worth knowing is in the help."""
_RUNS = Group("Runs", sort_key=1)
_SERVICES = Group("Services", sort_key=2)
_CARE = Group("Care", sort_key=3)


class _Command(NamedTuple):
    words: str
    target: str
    """Module and function in this package."""
    help: str
    group: Group | None = None


GROUPS = {
    "runs": ("See and control runs.", _RUNS),
    "approvals": ("See and decide approvals.", _RUNS),
    "traces": ("See and export the traces of runs.", _RUNS),
    "dead": ("See and settle dead letters.", _CARE),
    "mcp": ("See and accept what MCP servers offer.", _CARE),
    "audit": ("Prove and check the record: heads, proofs, exports.", _CARE),
    "tokens": ("Make, list, rotate and revoke the keys of people and services.", _CARE),
    "policy": ("Check and try policies of tool calls.", _CARE),
}

COMMANDS = (
    _Command("run", "start:run", "Start a run of an agent.", _RUNS),
    _Command("runs list", "runs:list_runs", "List runs, newest first."),
    _Command("runs show", "runs:show", "Show one run: status, open calls, result."),
    _Command("runs events", "watching:events", "Print a run's events."),
    _Command("runs watch", "watching:watch", "Follow a run live until it ends."),
    _Command("runs explain", "explaining:explain", "Tell a run in words: what was asked, done and awaited, and why."),
    _Command("runs pause", "control:pause", "Hold runs where they are."),
    _Command("runs resume", "control:resume", "Go on with a paused run, with new limits if given."),
    _Command("runs fork", "forks:fork", "Run again from one of a run's events, with recorded answers."),
    _Command("runs compare", "forks:compare", "Show two runs side by side, and where they part."),
    _Command("runs cancel", "control:cancel", "End runs; nothing queued takes effect any more."),
    _Command("runs signal", "control:signal", "Hand something from outside to a run."),
    _Command("runs resolve", "control:resolve", "Settle a tool call that is in doubt."),
    _Command("approvals list", "approvals:list_approvals", "List the approvals that wait for someone."),
    _Command("approvals approve", "approvals:approve", "Let exactly these calls run."),
    _Command("approvals deny", "approvals:deny", "Refuse these calls."),
    _Command("approvals answer", "approvals:answer", "Answer what an agent asks."),
    _Command("traces show", "traces:show", "Show a run's trace as a tree."),
    _Command("traces export", "traces:export", "Write a run's trace: the spans that a collector gets."),
    _Command("coordinator", "services:coordinator", "Run a coordinator.", _SERVICES),
    _Command("worker", "services:worker", "Run a worker for the agents of some modules.", _SERVICES),
    _Command("gateway", "services:gateway", "Run a gateway for the tools of some modules.", _SERVICES),
    _Command("audit-logger", "services:audit_logger", "Run the audit logger.", _SERVICES),
    _Command("edge", "services:edge", "Run the edge: HTTP, for Grafana first of all.", _SERVICES),
    _Command("dev", "services:dev", "Run everything on this machine, servers included.", _SERVICES),
    _Command("demo", "services:demo", "Show the compliance desk at work.", _SERVICES),
    _Command("agents", "care:agents", "List agents and who hosts them.", _CARE),
    _Command("tools", "care:tools", "List tools and who hosts them.", _CARE),
    _Command("dead list", "dead:list_dead", "List messages that could not be processed."),
    _Command("dead show", "dead:show", "Show one with its original bytes."),
    _Command("dead redrive", "dead:redrive", "Publish the original bytes again."),
    _Command("dead discard", "dead:discard", "Remove them for good."),
    _Command("mcp review", "mcp:review", "Compare what MCP servers offer with what is pinned."),
    _Command("audit verify", "audit:verify", "Check the log, an export or a proof; say what is wrong, and where."),
    _Command("audit prove", "audit:prove", "Prove one event, or that the log only grew."),
    _Command("audit export", "audit:export", "Write the record to a file that proves itself."),
    _Command("audit head", "audit:head", "Show the newest signed head, the lag and the anchors."),
    _Command("audit keys", "audit:keys", "Show the public keys that verify heads."),
    _Command("audit new-key", "audit:new_key", "Make a key that signs heads."),
    _Command("tokens create", "tokens:create", "Make a token for somebody."),
    _Command("tokens list", "tokens:list_tokens", "List who has one."),
    _Command("tokens rotate", "tokens:rotate", "Make a new one; the old one ends after a while."),
    _Command("tokens revoke", "tokens:revoke", "Take one away."),
    _Command("policy check", "policy:check", "Say what is wrong with a policy file, and where."),
    _Command("policy test", "policy:try_call", "Say what a policy file makes of a tool call."),
    _Command("nats-config", "nats_config:nats_config", "Write accounts and permissions for a NATS server.", _CARE),
    _Command("redispatch", "care:redispatch", "Derive outstanding work again from the log.", _CARE),
    _Command("migrate", "care:migrate", "Bring the database schema up to date.", _CARE),
    _Command("prune", "pruning:prune", "Drop old events on record; runs that have not ended keep theirs.", _CARE),
    _Command("doctor", "doctor:doctor", "Check servers, services and work; say how to mend.", _CARE),
    _Command("completion", "completing:completion", "Print what completes commands and options in a shell.", _CARE),
    _Command("version", "care:version", "Print the version.", _CARE),
)


def build(arguments: Sequence[str] = ()) -> App:
    """The application for these arguments.

    The line of help given here would hide a command's docstring even in its own `--help`; so the command that the arguments name
    is registered without it.
    """
    app = App(
        name="waypost",
        help="Durable execution for teams of autonomous agents, on NATS JetStream and Postgres.",
        help_epilogue="Servers are named by WAYPOST_NATS_URL and WAYPOST_POSTGRES_URL. Exit: 0 done, 1 failed, 2 usage, 3 no server.",
        default_parameter=_QUIET,
        version_flags=(),
    )
    subs = {name: _sub(app, name, text, group) for name, (text, group) in GROUPS.items()}
    named = [word for word in arguments if not word.startswith("-")]
    for command in COMMANDS:
        words = command.words.split()
        text = None if named[: len(words)] == words else command.help
        parent = app if len(words) == 1 else subs[words[0]]
        parent.command(f"waypost_cli.{command.target}", name=words[-1], help=text, group=command.group, help_epilogue="")
    return app


def _sub(app: App, name: str, text: str, group: Group) -> App:
    sub = App(name=name, help=text, help_epilogue="", group=group, default_parameter=_QUIET, version_flags=())
    app.command(sub)
    return sub
