"""Asks the coordinator in a caller's name: the client's own code, with each request signed as whoever sent it. Owns no route."""

from __future__ import annotations

import os
import time
import uuid
from typing import Any

from msgspec import UNSET, Raw
from msgspec.structs import replace

from waypost.client import Client
from waypost_edge.api.operations import Operation
from waypost_edge.auth import Caller
from waypost_io.bus.ports import Bus
from waypost_io.payloads import Payloads
from waypost_proto.ids import uuid7
from waypost_proto.limits import CLAIM_CHECK_BYTES
from waypost_proto.subjects import Subjects


class Asking:
    """The way to `waypost.api.*`. `client` is over `bus` and signs nothing by itself."""

    def __init__(self, client: Client, bus: Bus, subjects: Subjects) -> None:
        self._client = client
        self.payloads = Payloads(bus, subjects, cache_bytes=0)

    async def ask(self, operation: Operation, request: Any, caller: Caller) -> Any:
        """The coordinator's answer. Raises the error that it carries; `Unreachable` when no coordinator answers in time.

        Cancelled, the coordinator may have done it all the same: whoever repeats it with the same key does nothing twice.
        """
        value = getattr(request, operation.large) if operation.large else UNSET
        if isinstance(value, Raw) and len(bytes(value)) > CLAIM_CHECK_BYTES:
            ref = await self.payloads.signed_by(caller.signer).store(bytes(value))
            request = replace(request, **{operation.large: UNSET, f"{operation.large}_ref": ref})
        if operation.once and not getattr(request, operation.once):
            made = uuid.uuid4().hex if operation.once == "request_id" else uuid7(int(time.time() * 1000), os.urandom(10))
            request = replace(request, **{operation.once: made})
        if operation.sends is not None:
            request = operation.sends(**{name: getattr(request, name) for name in operation.sends.__struct_fields__})
        assert operation.answer is not None
        return await self._client.signed_by(caller.signer).call(operation.name, request, operation.answer)
