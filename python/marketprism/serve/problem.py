"""What an API answers when it cannot do what was asked: a problem document (RFC 9457).

Promises: each says what to change in its ``detail``; ``type`` is stable and documented in
docs/api.md; nothing of the server's inside (a path, an address, a traceback) is in it.

Not here: who may ask (``access``), and what is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from ..log import logger
from ..reading import UnknownName
from ..store.query import StoreError, TooMuch

__all__ = ["MEDIA_TYPE", "RESPONSES", "Problem", "ProblemDocument", "answered", "install"]

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:marketprism:problem:"
_log = logger(__name__)


class ProblemDocument(BaseModel):
    """RFC 9457. ``errors`` names each parameter that is wrong."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=[f"{_TYPE}unknown-name"])
    title: str = Field(examples=["Unknown name"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["no symbol 'BTCUSDT' is stored; did you mean 'BTC-USDT'?"])
    instance: str | None = None


RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "model": ProblemDocument,
        "description": "A problem document that says what to change",
        "content": {MEDIA_TYPE: {}},
    }
}
"""What every endpoint may answer beside what it is for."""


class Problem(Exception):
    """What is wrong with a request, by its kind (``unknown-name``), status and a sentence."""

    def __init__(
        self,
        kind: str,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.kind, self.status, self.detail = kind, status, detail
        self.headers, self.more = dict(headers or {}), more


def answered(problem: Problem, instance: str | None = None) -> Response:
    """The document as a response."""
    body = {
        "type": _TYPE + problem.kind,
        "title": problem.kind.replace("-", " ").capitalize(),
        "status": problem.status,
        "detail": problem.detail,
        **({"instance": instance} if instance else {}),
        **problem.more,
    }
    return Response(
        orjson.dumps(body), problem.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


def of_store(error: StoreError) -> Problem:
    """What keeps ClickHouse from answering, told to whoever asked."""
    if isinstance(error, UnknownName):
        return Problem("unknown-name", 404, str(error))
    if isinstance(error, TooMuch):
        return Problem(
            "too-much",
            413,
            "this is more than one answer may hold: ask for a shorter time, fewer names or a "
            "smaller limit",
        )
    _log.warning("not answered", reason=str(error))
    return Problem(
        "store-unavailable",
        503,
        "ClickHouse does not answer; ask again in a few seconds, and see /health for the reason",
        headers={"Retry-After": "2"},
    )


def install(app: FastAPI) -> None:
    """Every error that the application knows becomes a document."""

    async def told(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return answered(error, request.url.path)

    async def store(request: Request, error: Exception) -> Response:
        assert isinstance(error, StoreError)
        return answered(of_store(error), request.url.path)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answered(_invalid(error.errors()), request.url.path)

    async def plain(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answered(_http(error), request.url.path)

    app.add_exception_handler(Problem, told)
    app.add_exception_handler(StoreError, store)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)


def _invalid(errors: Sequence[Mapping[str, Any]]) -> Problem:
    told = [
        {"where": ".".join(str(part) for part in each["loc"]), "what": str(each["msg"])}
        for each in errors
    ]
    first = told[0] if told else {"where": "request", "what": "cannot be read"}
    return Problem(
        "invalid-request", 422, f"{first['where']}: {first['what']}; see /docs", errors=told
    )


def _http(error: HTTPException) -> Problem:
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Problem("too-much", 413, "the body is too large: send less at a time")
    try:
        kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    except ValueError:
        kind = "error"
    detail = {
        404: "there is nothing here; /docs lists every endpoint",
        405: "this method is not answered here; /docs says which is",
    }.get(error.status_code, str(error.detail))
    return Problem(kind, error.status_code, detail, headers=error.headers)
