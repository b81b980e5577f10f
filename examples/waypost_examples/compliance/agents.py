"""The desk's agents: one reviews a case, one assesses its risk. A worker hosts this module.

Durable functions: they survive the death of any process at any line, and a result once recorded is never asked for again.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from waypost import Approval, ApprovalDenied, Budget, Context, agent
from waypost_examples.compliance import rules
from waypost_examples.compliance.model import Account, Assessment, Case, Customer, Evidence, Hit, Outcome, Report
from waypost_examples.compliance.tools import core_banking, file_report, kyc, sanctions

OFFICER = Approval(role="officer", expires=timedelta(hours=48), reason="a suspicious activity report names a customer")


@agent(budget=Budget(max_steps=10))
async def risk_analyst(ctx: Context, evidence: Evidence) -> Assessment:
    """Weighs the evidence by rules. The rules are pure; the step records their answer so that a later change of a rule leaves it alone."""
    return await ctx.step(rules.assess, evidence)


@agent(tools=[core_banking, kyc, sanctions, file_report], agents=[risk_analyst], budget=Budget(max_steps=60))
async def compliance(ctx: Context, case: Case) -> Outcome:
    """Reviews one case: gathers evidence from three departments at once, has it assessed, and files exactly one report.

    A high risk waits for an officer's approval of exactly that report; a refused one ends the case without a report.
    """
    (account, customer), hits = await asyncio.gather(_holder(ctx, case.account), _screen(ctx, case.counterparties))
    evidence = Evidence(case=case, account=account, customer=customer, hits=hits)
    assessment = await ctx.call(risk_analyst, evidence)
    report = report_of(case, assessment)
    gate = OFFICER if assessment.level == "high" else None
    try:
        receipt = await ctx.call(file_report.using(approval=gate), report)
    except ApprovalDenied:
        return Outcome(case=case.id, decision="refused", risk=assessment.risk)
    return Outcome(
        case=case.id,
        decision="reported" if assessment.level == "high" else "summarised",
        risk=assessment.risk,
        report_id=receipt.report_id,
    )


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


async def _screen(ctx: Context, names: list[str]) -> list[Hit]:
    answers = await asyncio.gather(*(ctx.call(sanctions, name) for name in names))
    return [hit for hits in answers for hit in hits]
