"""A desk that hands over: it finds out who can help, and what that agent answers is the answer.

The accounts department gets what the desk writes for it, the technician the conversation too.
"""

from __future__ import annotations

import json

from waypost import ReasoningAgent, tool
from waypost.models import ModelRequest, ToolMessage
from waypost.models.scripted import Answer, uses
from waypost.reasoning import Handoff
from waypost_examples.chosen_model import chosen_model

INVOICES = {"C-7": "invoice 4711 over 120.00 EUR, due, not paid"}


@tool(effect="read")
async def invoices(customer: str) -> str:
    """The open invoices of a customer."""
    return INVOICES.get(customer, "no open invoices")


def route(request: ModelRequest) -> Answer:
    """The desk offline."""
    text = request.messages[0].text
    to = "accounts" if "invoice" in text.lower() else "technician"
    return uses(f"transfer-to-{to}", json.dumps({"input": text}))


def account(request: ModelRequest) -> Answer:
    """The accounts department offline."""
    last = request.messages[-1]
    if isinstance(last, ToolMessage):
        return f"Your account: {last.text}."
    return uses("invoices", json.dumps({"customer": request.messages[0].text.split()[0]}))


def technic(request: ModelRequest) -> Answer:
    """The technician offline."""
    handed_over = request.messages[0].text.splitlines()[-1]
    return f"Have you tried turning it off and on again? ({handed_over})"


accounts = ReasoningAgent(
    name="accounts",
    model=chosen_model(account, "scripted-accounts"),
    instructions="You answer questions about invoices. Look the customer's invoices up before you answer.",
    tools=[invoices],
    description="Knows the customers' invoices.",
)

technician = ReasoningAgent(
    name="technician",
    model=chosen_model(technic, "scripted-technician"),
    instructions="You help with technical trouble, in two sentences.",
    description="Helps with technical trouble.",
)

front_desk = ReasoningAgent(
    name="front-desk",
    model=chosen_model(route, "scripted-desk"),
    instructions="You are the front desk. Do not answer yourself: hand over to whoever can, with the customer's words.",
    handoffs=[accounts, Handoff(technician)],
)
