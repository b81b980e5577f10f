# ruff: noqa: S311 - the weather needs no cryptography
"""The first guide's example (docs/start.md): a booking that survives whatever happens to it."""

import asyncio
import random

from msgspec import Struct

from waypost import Approval, Context, Retry, ToolContext, agent, tool


class Trip(Struct):
    city: str
    nights: int


@tool(effect="read", retry=Retry(max_attempts=10))
async def weather(city: str) -> str:
    if random.random() < 0.6:
        raise ConnectionError("the weather service hung up")
    return f"sunny in {city}"


@tool(effect="idempotent")
async def book(ctx: ToolContext, city: str, nights: int) -> str:
    return f"{nights} nights in {city}, booked under {ctx.idempotency_key}"


@agent(tools=[weather, book])
async def trip(ctx: Context, wish: Trip) -> str:
    sky = await ctx.call(weather, wish.city)
    await asyncio.sleep(10)  # a timer in Postgres: nothing holds it but a row
    gate = Approval(role="manager") if wish.nights > 5 else None
    return f"{sky}: {await ctx.call(book.using(approval=gate), wish.city, wish.nights)}"
