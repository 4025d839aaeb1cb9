"""The files of the page. They need no key, are read once, and nothing but this server may be asked for by them."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

__all__ = ["PAGE_HEADERS", "PAGE_PATHS", "router"]

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
PAGE_HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # a browser asks whether its copy still holds, by the ETag
}

router = APIRouter(include_in_schema=False)


def _walk(folder: Traversable, above: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{above}{entry.name}/")
        elif entry.name.rpartition(".")[2] in _TYPES:
            yield f"{above}{entry.name}", entry.read_bytes()


_FILES = {
    "/" if path == "/page/index.html" else path: text for path, text in _walk(files(__package__) / "static", "/page/")
}
_PACKED = {path: gzip.compress(text, mtime=0) for path, text in _FILES.items()}
PAGE_PATHS = frozenset(_FILES)


@router.get("/")
@router.get("/page/{name:path}")
async def file(request: Request) -> Response:
    """Return a file of the page."""
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    if path not in _FILES:
        raise HTTPException(404)
    packed = "gzip" in request.headers.get("accept-encoding", "")
    content = (_PACKED if packed else _FILES)[path]
    headers = {**PAGE_HEADERS, "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"', "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(content, media_type=_TYPES["html" if path == "/" else path.rpartition(".")[2]], headers=headers)
