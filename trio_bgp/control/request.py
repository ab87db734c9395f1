"""What all endpoints of the HTTP interface share: refusals, what a question names, answers a line each."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Send

from trio_bgp.control.routes import find_family, parse_prefix
from trio_bgp.wire.numbers import Family

__all__ = ["NDJSON", "Endpoint", "Refused", "Streamed", "flag", "line_by_line", "number", "refused", "selection"]

NDJSON: Final = "application/x-ndjson"

Endpoint = Callable[[Request], Awaitable[Response]]


class Refused(Exception):  # noqa: N818 (an answer)
    """The request cannot be fulfilled; becomes JSON with `error`.

    Attributes:
        status: of HTTP.
        headers: of the answer.
    """

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers


async def refused(request: Request, error: Exception) -> Response:
    """The answer to what raised `Refused`."""
    if not isinstance(error, Refused):
        raise error
    return JSONResponse({"error": str(error)}, status_code=error.status, headers=error.headers)


def selection(family: str | None, prefix: str | None) -> tuple[Family | None, bytes | None]:
    """The address family and the table's key that a question names, None for each it does not name.

    Raises:
        Refused: they cannot be read.
    """
    try:
        found = find_family(family) if family else None
        if not prefix:
            return found, None
        return parse_prefix(prefix, found)
    except ValueError as error:
        raise Refused(400, str(error)) from None


def number(request: Request, name: str, default: float, highest: float) -> float:
    """A number of seconds or things in a question.

    Raises:
        Refused: it is none, or not between 0 and `highest`.
    """
    text = request.query_params.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    # A comparison with NaN is false, so `nan` is refused too.
    if not 0 <= value <= highest:
        raise Refused(400, f"{name} is {text!r}; accepted: a number from 0 to {highest:g}")
    return value


def flag(request: Request, name: str) -> bool:
    """Whether a question has `name=true`.

    Raises:
        Refused: it is neither true nor false.
    """
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise Refused(400, f"{name} is {text!r}; accepted: true, false")
    return text == "true"


class Streamed(StreamingResponse):
    """A long answer whose generator is closed with it, whatever ends it."""

    async def stream_response(self, send: Send) -> None:
        """Send what comes."""
        async with contextlib.aclosing(self.body_iterator):  # type: ignore[type-var]
            await super().stream_response(send)


def line_by_line(found: AsyncIterator[Sequence[dict[str, Any]]]) -> StreamingResponse:
    """Answer with a line of JSON for each of what comes; what comes together is sent together."""
    return Streamed(_lines(found), media_type=NDJSON)


async def _lines(found: AsyncIterator[Sequence[dict[str, Any]]]) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(found) as batches:  # type: ignore[type-var]
        async for batch in batches:
            yield b"".join([json.dumps(each).encode() + b"\n" for each in batch])
