"""What several tests ask of gateway processes: to announce themselves, to die in the middle of a call, to reconcile it afterwards."""

from __future__ import annotations

from collections.abc import Callable

from tests.integration.gateway.process import GatewayProcess
from tests.unit.waypost_gateway.rig import Rig
from tests.waiting import wait_until
from waypost_io.bus.ports import Message
from waypost_proto.codec import decode, encode
from waypost_proto.mailbox import AnyToolMail, ToolUncertain
from waypost_proto.registry import Announce, Announced
from waypost_proto.tools import ToolCall

Start = Callable[..., GatewayProcess]


async def announcements(rig: Rig) -> list[Announce]:
    """From now on a coordinator takes what gateways announce: what it has taken."""
    taken: list[Announce] = []

    async def coordinator(message: Message) -> None:
        taken.append(decode(Announce, message.body))
        rig.bus.send(message.reply, encode(Announced(ok=True)))

    await rig.bus.subscribe(rig.subjects.announce(), coordinator)
    return taken


async def killed_at_work(start: Start, rig: Rig, call: ToolCall, at_work: Callable[[], object]) -> None:
    """Send the call to a gateway, and kill that as soon as the call is at work outside."""
    async with start() as gateway:
        await rig.permit(call)
        await rig.send(call)
        await wait_until(at_work)
        await gateway.kill()


async def reconciled(rig: Rig, call: ToolCall, gateway: GatewayProcess) -> AnyToolMail:
    """The call is in doubt because its gateway is gone: what its hook finds out."""
    doubt = await rig.answer(call)
    assert isinstance(doubt, ToolUncertain), gateway.log
    assert doubt.error.type == "GatewayLost"
    await rig.settled()
    await rig.send(rig.call(call.tool, run_id=call.run_id, call_id=call.call_id, mode="reconcile"))
    found = await rig.answer(call, 2)
    await rig.settled()
    return found
