"""`waypost approvals list|approve|deny`."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter
from msgspec import UNSET

from waypost_cli.connect import connected
from waypost_cli.options import AsJson, By, Reason, who
from waypost_cli.output import ago, print_json, print_table, say, short_json
from waypost_proto.api import ApprovalView
from waypost_proto.errors import BadInput

Roles = Annotated[list[str], Parameter(name="--role", help="The role you decide in; may be repeated.")]


async def list_approvals(
    *,
    all: Annotated[bool, Parameter(name="--all", help="Decided and expired ones too.")] = False,  # noqa: A002
    role: Annotated[str | None, Parameter(help="Only those for this role.")] = None,
    run: Annotated[str | None, Parameter(name="--run", help="Only those of this run.")] = None,
    json: AsJson = False,
) -> None:
    """List the approvals that wait for someone, with the exact arguments that each is bound to."""
    async with connected() as client:
        found = await client.approvals(state="all" if all else "open", role=role, run_id=run)
    if json:
        print_json(found)
        return
    rows = ([a.approval_id, a.tool, a.role, a.state, _when(a), a.agent, a.run_id, _args(a)] for a in found)
    print_table(["APPROVAL", "TOOL", "ROLE", "STATE", "WHEN", "AGENT", "RUN", "ARGUMENTS"], rows, empty="no approvals are open")


async def approve(*approval_id: str, role: Roles = [], by: By = "", reason: Reason = "", json: AsJson = False) -> None:  # noqa: B006
    """Let exactly the calls run that these approvals are bound to. Needs the --role that each of them asks for."""
    await _decide("approve", approval_id, role, by, reason, as_json=json)


async def deny(*approval_id: str, role: Roles = [], by: By = "", reason: Reason = "", json: AsJson = False) -> None:  # noqa: B006
    """Refuse the calls that these approvals are bound to; the agent's code gets ApprovalDenied."""
    await _decide("deny", approval_id, role, by, reason, as_json=json)


async def _decide(
    decision: Literal["approve", "deny"], approval_ids: tuple[str, ...], roles: list[str], by: str, reason: str, *, as_json: bool
) -> None:
    if not approval_ids:
        raise BadInput("name at least one approval; `waypost approvals list` shows them")
    if not roles:
        raise BadInput("say in which role you decide: --role officer, for example; `waypost approvals list` shows the role")
    async with connected() as client:
        act = client.approve if decision == "approve" else client.deny
        for approval_id in approval_ids:
            answer = await act(approval_id, by=who(by), roles=roles, reason=reason)
            if as_json:
                print_json(answer)
            else:
                say(f"{approval_id}  {'approved' if decision == 'approve' else 'denied'}  run {answer.run_id} is {answer.status}")


def _when(approval: ApprovalView) -> str:
    if approval.state == "open":
        return f"expires {ago(approval.expires_at)}"
    return f"by {approval.decided_by or '?'} {ago(approval.decided_at or '')}".strip()


def _args(approval: ApprovalView) -> str:
    if approval.args is UNSET:
        return f"sha256 {approval.args_digest[:12]}…"
    return short_json(approval.args, 200)
