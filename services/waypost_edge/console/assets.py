"""Static files from the package, read once, under `/static/<digest>/…`: what has that address never changes and may be kept for ever."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response

from waypost_proto.errors import NotFound

_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
_NOT_COMPRESSED = (".woff2", ".png")
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    packed: bytes | None
    type: str


class Assets:
    """All static files of the console; `root` is what templates put before a name."""

    def __init__(self) -> None:
        found = dict(_walk(files("waypost_edge.console") / "static", ""))
        digest = hashlib.sha256()
        for name in sorted(found):
            digest.update(name.encode() + b"\0" + found[name])
        self.digest = digest.hexdigest()[:12]
        self.root = f"/static/{self.digest}"
        self._files = {name: _made(name, body) for name, body in found.items()}

    async def serve(self, request: Request) -> Response:
        """`/static/{digest}/{name}`. Another digest is that of another version: it is answered too, and not kept."""
        name = request.path_params["name"]
        file = self._files.get(name)
        if file is None:
            raise NotFound(f"there is no static file {name!r}")
        current = request.path_params["digest"] == self.digest
        headers = {"Cache-Control": FOREVER if current else "no-cache", "X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding"}
        if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(file.packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=file.type)
        return Response(file.body, headers=headers, media_type=file.type)


def _made(name: str, body: bytes) -> _File:
    suffix = name[name.rfind(".") :]
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return _File(body, None if suffix in _NOT_COMPRESSED else gzip.compress(body, 9), kind)


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        found += _walk(entry, f"{name}/") if entry.is_dir() else [(name, entry.read_bytes())]
    return found
