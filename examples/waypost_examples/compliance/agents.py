"""The desk's agents: one reviews a case, one assesses its risk, one finds out who owns a company. A worker hosts this module.

Two durable functions and a reasoning agent: they survive the death of any process at any line, and a result once recorded is never asked
for again.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from waypost import Approval, ApprovalDenied, Budget, Context, LoopLimits, ReasoningAgent, ToolDenied, agent
from waypost.conversion import decode_value, encode_value
from waypost.models import ModelRequest
from waypost.reasoning import Window
from waypost_examples.chosen_model import chosen_model
from waypost_examples.compliance import rules
from waypost_examples.compliance.model import (
    Account,
    Assessment,
    Case,
    Customer,
    Evidence,
    Freeze,
    Hit,
    Outcome,
    Ownership,
    Receipt,
    Report,
)
from waypost_examples.compliance.tools import core_banking, file_report, freeze_account, kyc, registry, sanctions

OFFICER = Approval(role="officer", expires=timedelta(hours=48), reason="a suspicious activity report names a customer")
TWO_OFFICERS = replace(OFFICER, quorum=2, reason="a report on 100,000 or more is approved by two officers")
TWO_OFFICERS_FROM = Decimal(100_000)
OWNERS_FROM = Decimal(50_000)
"""From this amount on a foreign counterparty's owners are looked up."""


def weigh(request: ModelRequest) -> str:
    """The analyst offline: the rules, applied to the letter."""
    evidence = decode_value("the evidence", Evidence, request.messages[0].text.encode())
    return encode_value("the assessment", rules.assess(evidence)).decode()


risk_analyst = ReasoningAgent(
    name="risk-analyst",
    model=chosen_model(weigh, "scripted-analyst"),
    instructions=(
        "You are the risk analyst of a bank's compliance desk. Weigh the evidence of one case by the rules below, and by nothing else. "
        "Give every rule that applies as a reason, heaviest first, with its weight and one sentence that names what it applies to. The "
        f"risk is the sum of the weights, at most 0.99; from {rules.HIGH_FROM} on the level is high.\n\n{rules.BOOK}"
    ),
    input=Evidence,
    output=Assessment,
    budget=Budget(max_steps=10),
    window=Window(max_tokens=1_000_000),  # all of the evidence, however many transactions there are
    description="Assesses the risk of a case from its evidence.",
)


@agent(
    tools=[registry],
    budget=Budget(max_steps=25),
    loops=LoopLimits(same_call=3),
    escalate=[(timedelta(hours=1), "head of the desk")],
)
async def owner_tracer(ctx: Context, company: str) -> Ownership:
    """Goes from owner to owner until somebody owns the first company. It does not look for circles: the platform does.

    One that goes in a circle is paused there; told what to do (by any instruction), it stops and says what it has found.
    """
    chain = [company]
    while not ctx.instructions:
        found = await ctx.call(registry, chain[-1])
        if found.owner is None:
            return Ownership(chain=chain)
        chain.append(found.owner)
    ctx.log.info("stopped by an instruction", instruction=ctx.instructions[-1])
    return Ownership(chain=list(dict.fromkeys(chain)), circular=True)


@agent(
    tools=[core_banking, kyc, sanctions, file_report, freeze_account],
    agents=[risk_analyst, owner_tracer],
    budget=Budget(max_steps=100),
)
async def compliance(ctx: Context, case: Case) -> Outcome:
    """Reviews one case: gathers evidence from three departments at once, has it assessed, and files exactly one report.

    A high risk waits for an officer's approval of exactly that report, a high sum for two; a refused one ends the case without a report,
    and so does one that the gateway's policy denies. Dealings with somebody on a sanctions list freeze the account.
    """
    (account, customer), hits, owners = await asyncio.gather(
        _holder(ctx, case.account), _screen(ctx, case.counterparties), _owners(ctx, case)
    )
    evidence = Evidence(case=case, account=account, customer=customer, hits=hits, owners=owners)
    assessment = await ctx.call(risk_analyst, evidence)
    try:
        receipt = await _file(ctx, report_of(case, assessment))
    except ApprovalDenied:
        return Outcome(case=case.id, decision="refused", risk=assessment.risk)
    except ToolDenied as error:
        return Outcome(case=case.id, decision="denied", risk=assessment.risk, reason=error.failure.message)
    listed = next((hit.entry for hit in hits if hit.score >= rules.STRONG_MATCH), None)
    order = await ctx.call(freeze_account, Freeze(account=case.account, name=listed)) if listed else None
    return Outcome(
        case=case.id,
        decision="reported" if assessment.level == "high" else "summarised",
        risk=assessment.risk,
        report_id=receipt.report_id,
        freeze_order=order.order if order else None,
    )


async def _file(ctx: Context, report: Report) -> Receipt:
    """A routine summary needs nobody, a suspicious activity report an officer, and two of them from `TWO_OFFICERS_FROM` on."""
    if report.kind == "routine_summary":
        return await ctx.call(file_report, report)
    return await ctx.call(file_report.using(approval=TWO_OFFICERS if report.total >= TWO_OFFICERS_FROM else OFFICER), report)


def report_of(case: Case, assessment: Assessment) -> Report:
    """What is filed: suspicious activity for a high risk, a routine summary otherwise."""
    return Report(
        case=case.id,
        account=case.account,
        kind="suspicious_activity" if assessment.level == "high" else "routine_summary",
        total=case.total,
        risk=assessment.risk,
        reasons=[f"{reason.rule}: {reason.text}" for reason in assessment.reasons],
        transactions=[transaction.id for transaction in case.transactions],
    )


async def _holder(ctx: Context, account: str) -> tuple[Account, Customer]:
    found = await ctx.call(core_banking, account)
    return found, await ctx.call(kyc, found.customer)


async def _owners(ctx: Context, case: Case) -> list[Ownership]:
    large = (t for t in case.transactions if t.amount >= OWNERS_FROM and t.country != "DE" and t.kind == "transfer")
    names = dict.fromkeys(t.counterparty for t in large)
    return list(await asyncio.gather(*(ctx.call(owner_tracer, name) for name in names)))


async def _screen(ctx: Context, names: list[str]) -> list[Hit]:
    answers = await asyncio.gather(*(ctx.call(sanctions, name) for name in names))
    return [hit for hits in answers for hit in hits]
