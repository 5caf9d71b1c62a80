"""The dashboard's files: one page, one script, one style sheet, built from ``web/`` at build time.

A package that was built without Node has none of them: the page then says so, and how to get it.

Promises: nothing is loaded from elsewhere, and no other page may frame it or run a script in it.

Not here: what the page asks for (``screen``, ``data``, ``statistics``).
"""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response

from .problem import Problem

__all__ = ["WEB", "dashboard"]

WEB = Path(__file__).parent / "web" / "dist"
_TYPES = {".js": "text/javascript", ".css": "text/css"}
_POLICY = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_MISSING = """\
<!doctype html><html lang="en"><head><meta charset="utf-8"><title>MarketPrism</title></head>
<body><main><h1>The dashboard was not built</h1>
<p>This installation was made without Node.js, which builds the page that stands here. Everything
else works: <a href="docs">the API</a>, <a href="health">its health</a>, and
<code>marketprism top</code> in a terminal.</p>
<p>To have it, install Node.js 20 or newer with npm and, in a clone, <code>make web</code> and then
<code>make run</code>.</p></main></body></html>
"""


def dashboard(web: Path = WEB) -> APIRouter:
    """The page and its files, as they were built in ``web``; else what says that they were not."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> Response:
        """Asked for anew each time."""
        found = _read(web / "index.html")
        body = _MISSING.encode() if found is None else found
        return Response(
            body, media_type="text/html", headers=_POLICY | {"Cache-Control": "no-cache"}
        )

    @router.get("/web/{name}")
    async def asset(name: str) -> Response:
        """Its name has the hash of its content, so it is kept for ever."""
        kind = _TYPES.get(Path(name).suffix)
        found = _read(web / name) if kind and Path(name).name == name else None
        if found is None:
            raise Problem("not-found", 404, "no such file of the dashboard: load the page anew")
        keep = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(found, media_type=kind, headers=_POLICY | keep)

    return router


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None
