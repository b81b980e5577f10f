"""`waypost policy check|test`: a policy file on the desk, before a gateway reads it. Needs no server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from msgspec import Struct
from msgspec import json as msgspec_json

from waypost_cli.exits import FAILED, Exit
from waypost_cli.options import AsJson, JsonText, parse_json, parse_labels
from waypost_cli.output import print_json, say
from waypost_core.policy import Allow, Deny, Policy, PolicyFault, PolicyRequest, RequireApproval, Verdict
from waypost_proto.errors import BadInput
from waypost_proto.values import BudgetLeft, Effect

File = Annotated[Path, Parameter(help="The policy, as WAYPOST_POLICY_FILE would name it.")]


class Checked(Struct, frozen=True, kw_only=True):
    """What `check --json` prints."""

    ok: bool
    version: str = ""
    rules: int = 0
    default: str = ""
    line: int = 0
    fault: str = ""


class Judged(Struct, frozen=True, kw_only=True):
    """What `test --json` prints."""

    decision: Literal["allow", "deny", "require_approval"]
    rule: str
    version: str
    reason: str = ""
    approval: RequireApproval | None = None


async def check(file: File, /, *, json: AsJson = False) -> None:
    """Read a policy file as a gateway would. Exit 1 and the line of the first fault if it could not be used."""
    try:
        policy = Policy.parse(_text(file))
    except PolicyFault as error:
        if json:
            print_json(Checked(ok=False, line=error.line, fault=str(error)))
            raise Exit(FAILED) from None
        raise Exit(FAILED, f"{file}: {error}") from None
    if json:
        print_json(Checked(ok=True, version=policy.version, rules=policy.rules, default=policy.default))
        return
    rules = "1 rule" if policy.rules == 1 else f"{policy.rules} rules"
    say(f"{file}: {rules}, then {policy.default}; version {policy.version}")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Run:
    """Options that say what the run is like."""

    agent: Annotated[str, Parameter(help="The agent that calls the tool.")] = "agent"
    taint: Annotated[tuple[str, ...], Parameter(help="A taint label that the run carries; may be repeated.")] = ()
    label: Annotated[tuple[str, ...], Parameter(help="A label key=value of the run; may be repeated.")] = ()
    tenant: Annotated[str, Parameter(help="The run's tenant.")] = "default"
    steps_left: Annotated[int | None, Parameter(help="Steps that the run's budget still allows.")] = None


ANY_RUN = Run()


async def try_call(
    file: File,
    /,
    *,
    tool: Annotated[str, Parameter(help="The tool that is called.")],
    args: JsonText = "{}",
    effect: Annotated[Literal["read", "idempotent", "unsafe"], Parameter(help="The tool's effect.")] = "unsafe",
    run: Run = ANY_RUN,
    json: AsJson = False,
) -> None:
    """Say which rule decides a call, and how. Hooks in Python are not asked. Exit 0 whatever the decision, 1 for a file with faults."""
    try:
        policy = Policy.parse(_text(file))
    except PolicyFault as error:
        raise Exit(FAILED, f"{file}: {error}") from None
    request = PolicyRequest(
        agent=run.agent,
        tool=tool,
        effect=Effect(effect),
        arguments=_arguments(args),
        taint=run.taint,
        labels=parse_labels(run.label),
        tenant=run.tenant,
        budget_left=None if run.steps_left is None else BudgetLeft(steps=run.steps_left),
    )
    found = policy.judge(request)
    judged = _judged(found or policy.otherwise(), policy.version, matched=found is not None)
    if json:
        print_json(judged)
        return
    say(_in_words(judged))


def _judged(verdict: Verdict, version: str, *, matched: bool) -> Judged:
    rule = verdict.rule if matched else "default"
    match verdict:
        case Allow():
            return Judged(decision="allow", rule=rule, version=version)
        case Deny():
            return Judged(decision="deny", rule=rule, version=version, reason=verdict.reason)
        case RequireApproval():
            return Judged(decision="require_approval", rule=rule, version=version, reason=verdict.reason, approval=verdict)


def _in_words(judged: Judged) -> str:
    by = "no rule matches, the default decides" if judged.rule == "default" else f"rule {judged.rule!r}"
    why = f": {judged.reason}" if judged.reason and judged.rule != "default" else ""
    who = ""
    if judged.approval is not None:
        asked = judged.approval
        people = f"{asked.quorum} people with role" if asked.quorum > 1 else "somebody with role"
        who = f" ({people} {asked.role!r} within {asked.expires_seconds / 3600:g} hours, then {asked.on_expiry})"
    return f"{judged.decision.replace('_', ' ')}{who}: {by}{why}"


def _arguments(text: str) -> dict[str, Any]:
    value = msgspec_json.decode(parse_json("--args", text))
    if not isinstance(value, dict):
        raise BadInput('--args is no JSON object: arguments go by name, for example {"amount": 3}')
    return value


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise Exit(FAILED, f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Exit(FAILED, f"{file} is not UTF-8") from None
