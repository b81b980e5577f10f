"""What the console is shown with: a lending desk whose runs do a little of everything, offline and in seconds.

underwriter   a model that plans, calls tools in parallel (one of them flaky), asks a child, and pays out under an approval
analyst       its child: one look-up, one opinion
payments      asks a person for a typed answer, then pays
courier       an unsafe call that times out: in doubt until a person resolves it
looper        goes on until its budget pauses it
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from waypost import Approval, Budget, Context, ReasoningAgent, Retry, ToolContext, agent, tool
from waypost.models import AssistantMessage, ModelRequest, ToolMessage
from waypost.models.options import ModelOptions
from waypost.models.prices import Price
from waypost.models.scripted import Answer, Say, ScriptedModel, uses


class Application(Struct, frozen=True):
    """What somebody asks for."""

    applicant: str
    amount: int
    purpose: str = "working capital"
    pace: float = 1.0


class Terms(Struct, frozen=True):
    """What a person decides."""

    amount: Annotated[int, Meta(gt=0, le=100_000, description="Whole units of the currency")]
    currency: Literal["EUR", "USD", "CHF"] = "EUR"
    months: Annotated[int, Meta(ge=6, le=84)] = 36
    secured: bool = False
    note: str = ""


@tool(effect="read", retry=Retry(max_attempts=6, initial_seconds=0.6, factor=1.6))
async def credit_bureau(ctx: ToolContext, applicant: str) -> dict[str, Any]:
    """The applicant's score, from a bureau that is often busy."""
    await asyncio.sleep(0.12)
    if ctx.attempt < 3:
        raise ConnectionError(f"503 from the bureau, attempt {ctx.attempt}: try again later")
    return {"applicant": applicant, "score": 71 + len(applicant) % 20, "open_loans": len(applicant) % 3}


@tool(effect="read")
async def sanctions(applicant: str) -> list[str]:
    """Names on lists that resemble the applicant's."""
    await asyncio.sleep(0.3)
    return []


@tool(effect="read")
async def filings(applicant: str) -> dict[str, Any]:
    """The last filed accounts."""
    await asyncio.sleep(0.7)
    return {"applicant": applicant, "revenue": 1_240_000, "equity": 310_000, "year": 2025}


@tool(effect="unsafe")
async def pay_out(ctx: ToolContext, account: str, amount: int, reference: str = "") -> str:
    """Sends money. The bank is given the idempotency key."""
    await asyncio.sleep(0.25)
    return f"receipt {ctx.idempotency_key[-6:]} for {amount} to {account}"


@tool(effect="unsafe", timeout=0.4)
async def parcel(address: str) -> str:
    """Orders a courier at a carrier that does not always answer."""
    await asyncio.sleep(5)
    return address


@tool(effect="read")
async def note(text: str) -> str:
    """Gives back what it is given."""
    return text


PRICE = ModelOptions(price=Price(input=2.5, output=10.0))


def _turn(request: ModelRequest) -> int:
    return sum(isinstance(message, AssistantMessage) for message in request.messages)


def underwrite(request: ModelRequest) -> Answer:
    """The underwriter's script, by the turn of the conversation."""
    asked = json.loads(request.messages[0].text)
    name, amount, pace = asked["applicant"], asked["amount"], asked.get("pace", 1.0)
    match _turn(request):
        case 0:
            tools = tuple(
                uses(each, json.dumps({"applicant": name}), id=f"use-{each}") for each in ("credit-bureau", "sanctions", "filings")
            )
            text = f"I check {name} with the bureau and the sanctions lists, and read the last filed accounts."
            return Say(text=text, tool_uses=tools, delay=0.9 * pace, pieces=6)
        case 1:
            text = "Score and filings are sound. I want a second opinion on the sector before I decide."
            ask = uses("analyst", json.dumps({"input": f"sector outlook for {asked.get('purpose', 'the purpose')}"}), id="use-analyst")
            return Say(text=text, tool_uses=(ask,), delay=1.1 * pace, pieces=6)
        case 2:
            text = f"Nothing speaks against it: I pay {amount} out, which an officer has to approve."
            pay = uses("pay-out", json.dumps({"account": f"acc-{name.lower()}", "amount": amount, "reference": "loan"}), id="use-pay")
            return Say(text=text, tool_uses=(pay,), delay=0.7 * pace, pieces=4)
        case _:
            last = next((m.text for m in reversed(request.messages) if isinstance(m, ToolMessage)), "")
            return Say(text=f"Decided for {name}: {amount} granted. {last}", delay=0.4 * pace, pieces=4)


def opine(request: ModelRequest) -> Answer:
    """The analyst's script."""
    if _turn(request) == 0:
        look = uses("filings", json.dumps({"applicant": "sector"}), id="use-filings")
        return Say(text="I look the sector's figures up.", tool_uses=(look,), delay=0.5, pieces=3)
    return Say(text="The sector grows by four percent a year; margins are stable.", delay=0.6, pieces=3)


analyst = ReasoningAgent(
    name="analyst",
    model=ScriptedModel(opine, name="gpt-5-mini", options=PRICE),
    instructions="You give opinions on sectors.",
    tools=[filings],
    input=str,
    description="Gives an opinion on a sector from its filed figures.",
)
underwriter = ReasoningAgent(
    name="underwriter",
    model=ScriptedModel(underwrite, name="gpt-5", options=PRICE),
    instructions="You decide on loans.",
    tools=[
        credit_bureau,
        sanctions,
        filings,
        analyst,
        pay_out.using(approval=Approval(role="officer", reason="money leaves the bank", expires=timedelta(hours=8))),
    ],
    input=Application,
    budget=Budget(max_steps=40, max_tokens=20_000, max_cost_usd=0.5),
    description="Decides on a loan: bureau, sanctions, filings, a second opinion, and the payment under an officer's approval.",
)


@agent(tools=[pay_out], budget=Budget(max_steps=20))
async def payments(ctx: Context, applicant: str) -> str:
    """Asks an officer for the terms, and pays."""
    terms = await ctx.ask("officer", f"On which terms does {applicant} get a loan?", Terms, expires=timedelta(hours=4))
    gate = Approval(role="officer", quorum=2, expires=timedelta(hours=24), escalate_to="director", reason="above the limit of one person")
    return await ctx.call(pay_out.using(approval=gate if terms.amount > 50_000 else None), f"acc-{applicant.lower()}", terms.amount)


@agent(tools=[parcel, note])
async def courier(ctx: Context, address: str) -> str:
    """Sends a contract by courier."""
    await ctx.call(note, f"contract for {address}")
    return await ctx.call(parcel, address)


@agent(tools=[note], budget=Budget(max_steps=4))
async def looper(ctx: Context, wanted: int) -> int:
    """Asks again and again."""
    for number in range(wanted):
        await ctx.call(note, f"page {number + 1} of {wanted}")
    return wanted


@agent(tools=[note])
async def sleeper(ctx: Context, seconds: float) -> str:
    """Waits for a timer, then for a signal."""
    await asyncio.sleep(seconds)
    return await ctx.signal("documents-received", str)
