"""`waypost approvals list|approve|deny|answer`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from msgspec import UNSET

from waypost_cli.connect import connected, has_token
from waypost_cli.options import AsJson, By, JsonText, Reason, parse_json, who
from waypost_cli.output import ago, print_json, print_table, say, short_json
from waypost_proto.api import ApprovalView, RunAnswer
from waypost_proto.errors import BadInput

if TYPE_CHECKING:
    from waypost.client import Client

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


async def approve(
    *approval_id: str,
    role: Roles = [],  # noqa: B006
    by: By = "",
    reason: Reason = "",
    edit: Annotated[str | None, Parameter(help="Other arguments by name (JSON, @FILE or -): the call then runs with these.")] = None,
    json: AsJson = False,
) -> None:
    """Let exactly the calls run that these approvals are bound to. Needs the --role that each of them asks for."""
    if edit is not None and len(approval_id) > 1:
        raise BadInput("--edit goes with one approval: the arguments are those of one call")
    edited = {} if edit is None else {"args": parse_json("--edit", edit)}

    def act(client: Client, one: str) -> Awaitable[RunAnswer]:
        return client.approve(one, by=who(by), roles=role, reason=reason, **edited)

    await _decide(approval_id, "approved", role, act, json)


async def deny(*approval_id: str, role: Roles = [], by: By = "", reason: Reason = "", json: AsJson = False) -> None:  # noqa: B006
    """Refuse the calls that these approvals are bound to (the agent's code gets ApprovalDenied), or decline to answer questions."""
    await _decide(approval_id, "denied", role, lambda client, one: client.deny(one, by=who(by), roles=role, reason=reason), json)


async def answer(
    approval_id: str,
    answer: JsonText,
    /,
    *,
    role: Roles = [],  # noqa: B006
    by: By = "",
    reason: Reason = "",
    json: AsJson = False,
) -> None:
    """Answer what an agent asks. ANSWER is JSON; what does not fit the question's form is refused, and says why."""
    value = parse_json("ANSWER", answer)
    await _decide(
        (approval_id,), "answered", role, lambda client, one: client.answer(one, value, by=who(by), roles=role, reason=reason), json
    )


async def _decide(
    approval_ids: tuple[str, ...], done: str, roles: list[str], act: Callable[[Client, str], Awaitable[RunAnswer]], as_json: bool
) -> None:
    if not approval_ids:
        raise BadInput("name at least one approval; `waypost approvals list` shows them")
    if not roles and not has_token():
        raise BadInput("say in which role you decide: --role officer, for example; `waypost approvals list` shows the role")
    async with connected() as client:
        for approval_id in approval_ids:
            answer = await act(client, approval_id)
            if as_json:
                print_json(answer)
            else:
                say(f"{approval_id}  {done}  run {answer.run_id} is {answer.status}")


def _when(approval: ApprovalView) -> str:
    if approval.state == "open":
        return f"expires {ago(approval.expires_at)}"
    return f"by {approval.decided_by or '?'} {ago(approval.decided_at or '')}".strip()


def _args(approval: ApprovalView) -> str:
    if approval.kind == "question":
        return approval.question
    if approval.args is UNSET:
        return f"sha256 {approval.args_digest[:12]}…"
    return short_json(approval.args, 200)
