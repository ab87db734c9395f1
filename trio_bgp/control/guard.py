"""What stands in front of the looking glass: it only shows, to anybody, and nobody's questions are everybody's wait."""

import base64
import hashlib
import json
import re
from collections import OrderedDict
from ipaddress import ip_address, ip_network
from typing import Any, Final

import attrs
import trio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trio_bgp.runtime.limits import RateLimit

__all__ = ["Guard", "page_policy"]

BURST_SECONDS: Final = 4.0
"""So many seconds' worth of questions may come at once."""
CLIENTS: Final = 4096
"""Clients whose rate is remembered."""
LISTINGS: Final = 8
"""Long answers at the same time."""
LISTING_SECONDS: Final = 300.0
KEPT_SECONDS: Final = 1.0
"""How long an answer serves whoever asks the same."""
KEPT: Final = 256
KEPT_OCTETS: Final = 1 << 20
LONG: Final = re.compile(r"/v1/routes$|/routes/|/route/")
LIVE: Final = "/v1/flow"
HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)


def page_policy(page: str) -> str:
    """The Content-Security-Policy of a page: its own script and style, its own server, nothing else."""

    def hashes(tag: str) -> str:
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@attrs.frozen
class _Kept:
    at: float
    start: Message
    body: bytes


class Guard:
    """ASGI around an application: GET and HEAD only, a rate for each client, bounds, short memory, headers.

    Args:
        app: the application.
        rate: questions a second that a client may ask in the long run; 0: any number.
    """

    def __init__(self, app: ASGIApp, rate: float) -> None:
        self._app = app
        self._rate = rate
        self._limits: OrderedDict[str, RateLimit] = OrderedDict()
        self._listings = 0
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse, one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        path: str = scope["path"]
        if scope["method"] not in ("GET", "HEAD"):
            await _refuse(send_with_headers, 405, "this only shows: GET", (b"allow", b"GET, HEAD"))
        elif not self._allows(scope):
            await _refuse(
                send_with_headers, 429, f"more than {self._rate:g} questions a second", (b"retry-after", b"1")
            )
        elif LONG.search(path):
            await self._listing(scope, receive, send_with_headers)
        elif path == LIVE:
            await self._app(scope, receive, send_with_headers)
        else:
            await self._short(scope, receive, send_with_headers)

    def _allows(self, scope: Scope) -> bool:
        if not self._rate:
            return True
        client = _client(scope)
        limit = self._limits.get(client)
        if limit is None:
            limit = self._limits[client] = RateLimit(self._rate, max(1.0, self._rate * BURST_SECONDS))
            if len(self._limits) > CLIENTS:
                self._limits.popitem(last=False)
        self._limits.move_to_end(client)
        return limit.allow(trio.current_time())

    async def _listing(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._listings >= LISTINGS:
            await _refuse(send, 503, f"{LISTINGS} long answers are under way", (b"retry-after", b"5"))
            return
        self._listings += 1
        try:
            with trio.move_on_after(LISTING_SECONDS):
                await self._app(scope, receive, send)
        finally:
            self._listings -= 1

    async def _short(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from memory, or remember the answer."""
        key = f"{scope['method']} {scope['path']}?{scope['query_string'].decode('latin-1')}"
        now = trio.current_time()
        kept = self._kept.get(key)
        if kept is not None and now - kept.at < KEPT_SECONDS:
            await send(dict(kept.start))
            await send({"type": "http.response.body", "body": kept.body})
            return
        start: Message = {}
        body = b""

        async def note(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = dict(message)
            elif len(body) <= KEPT_OCTETS:
                body += message.get("body", b"")
            await send(message)

        await self._app(scope, receive, note)
        if start.get("status") == 200 and len(body) <= KEPT_OCTETS:
            self._kept[key] = _Kept(now, start, body)
            self._kept.move_to_end(key)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)


def _client(scope: Scope) -> str:
    """Whose rate a request counts for: an address, or the /64 of an IPv6 address."""
    host = (scope.get("client") or ("",))[0]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return str(host)
    return str(address) if address.version == 4 else str(ip_network((address, 64), strict=False))


async def _refuse(send: Send, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
    found: list[Any] = [(b"content-type", b"application/json"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": found})
    await send({"type": "http.response.body", "body": json.dumps({"error": text}).encode()})
