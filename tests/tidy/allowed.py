"""What may break a rule of shape, and why. Keep it short: an entry that is no longer needed fails the test."""

from __future__ import annotations

_LEDGER_START = "one statement moves permitted to started; each parameter is a condition of it, and all are keywords"

ALLOWED: dict[tuple[str, str], str] = {
    ("long_files", "shared/waypost_io/store/ports.py"): "the whole contract of the store in one place; signatures and their words, no code",
    ("long_files", "proto/waypost_proto/events.py"): "the whole union of what can happen to a run in one place; fields, no code",
    ("many_parameters", "shared/waypost_io/store/ports.py::Ledger.start"): _LEDGER_START,
    ("many_parameters", "shared/waypost_io/store/memory/ledger.py::MemoryLedger.start"): _LEDGER_START,
    ("many_parameters", "shared/waypost_io/store/pg/ledger.py::PostgresLedger.start"): _LEDGER_START,
    ("busy_inits", "shared/waypost/__init__.py"): "Client is imported when it is asked for: a worker needs none of what it brings along",
    ("many_parameters", "services/waypost_cli/start.py::run"): "each parameter is an option of the command line",
    ("many_parameters", "services/waypost_cli/forks.py::fork"): "each parameter is an option of the command line",
    ("many_parameters", "shared/waypost/tools.py::tool"): "the options of a definition, as keywords, for who types them",
    ("many_parameters", "shared/waypost/function_agents.py::agent"): "the options of a definition, as keywords, for who types them",
    (
        "many_parameters",
        "shared/waypost/reasoning/agent.py::ReasoningAgent.__init__",
    ): "the options of a definition, as keywords, for who types them",
    (
        "many_parameters",
        "shared/waypost/langgraph/agent.py::LangGraphAgent.__init__",
    ): "the options of a definition, as keywords, for who types them",
    ("many_parameters", "shared/waypost/langgraph/tools.py::durable"): "the options of a definition, as keywords, for who types them",
    ("many_parameters", "shared/waypost/client.py::Client.start"): "the fields of a task, as keywords, for who types them",
    ("many_parameters", "shared/waypost/client.py::Client.fork"): "what a fork may change, as keywords, for who types them",
}
"""(rule, where) → reason."""
