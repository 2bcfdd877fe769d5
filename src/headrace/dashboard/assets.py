"""Files that browsers load: read once, packed once, kept by browsers for as long as they stay the same."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response

_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "LICENSE": "text/plain"}
_FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """One file."""

    body: bytes
    packed: bytes
    media: str


class Assets:
    """All files below ``static``, under a digest of them all, so that a new release is never mixed with an old one."""

    def __init__(self) -> None:
        self._files = dict(_read(files("headrace.dashboard") / "static", ""))
        digest = hashlib.sha256()
        for name in sorted(self._files):
            digest.update(name.encode() + b"\0" + self._files[name].body + b"\0")
        self.digest = digest.hexdigest()[:12]

    def path(self, name: str) -> str:
        """Where a file is, below the root."""
        if name not in self._files:
            raise KeyError(name)
        return f"/assets/{self.digest}/{name}"

    async def respond(self, request: Request) -> Response:
        """A file; an old digest is answered with what there is now, but not kept."""
        asset = self._files.get(request.path_params["name"])
        if asset is None:
            return Response("there is no such file", 404, media_type="text/plain")
        kept = _FOREVER if request.path_params["digest"] == self.digest else "no-cache"
        headers = {"cache-control": kept, "vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(asset.packed, 200, headers | {"content-encoding": "gzip"}, asset.media)
        return Response(asset.body, 200, headers, asset.media)


def _read(folder: Traversable, prefix: str) -> list[tuple[str, Asset]]:
    found: list[tuple[str, Asset]] = []
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            found += _read(entry, f"{name}/")
        elif name.rpartition(".")[2] in _TYPES:
            body = entry.read_bytes()
            found.append((name, Asset(body, gzip.compress(body, 9, mtime=0), _TYPES[name.rpartition(".")[2]])))
    return found
