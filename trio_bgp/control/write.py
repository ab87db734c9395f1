"""Endpoints that change something: sessions, routes of our own, the configuration."""

from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Final

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trio_bgp.control.own_route import OwnRoute, parse_own_route
from trio_bgp.control.request import Refused, Streamed
from trio_bgp.control.routes import parse_prefix
from trio_bgp.control.snapshot import Snapshot
from trio_bgp.recording.dump import dump_tables
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.wire.nlri import format_nlri
from trio_bgp.wire.numbers import Family
from trio_bgp.wire.route_refresh import RouteRefreshMessage, encode_route_refresh

__all__ = ["Act", "Reload"]

Reload = Callable[[bool, str | None], dict[str, Any]]
"""Read the configuration again (or another file) and, if true, apply it; what differs, or `error`."""

VERBS: Final = ("clear", "clear-in", "clear-out", "shutdown", "enable")


class Act:
    """The endpoints.

    Args:
        snapshot: finds peers.
        reload: for `reload` and `diff`.
    """

    def __init__(self, snapshot: Snapshot, reload: Reload | None) -> None:
        self._snapshot = snapshot
        self._speaker: Speaker = snapshot.speaker
        self._reload = reload
        self._until: dict[tuple[Family, bytes], float] = {}
        """Routes of our own, and when each is withdrawn, on Trio's clock."""

    def endpoints(self) -> list[Route]:
        """All of them."""
        return [
            Route("/v1/dump", self.dump),
            Route("/v1/diff", self.diff),
            Route("/v1/reload", self.reload, methods=["POST"]),
            Route("/v1/shutdown", self.shutdown, methods=["POST"]),
            Route("/v1/do/{verb}/{name:path}", self.do, methods=["POST"]),
            Route("/v1/announce", self.announce, methods=["POST"]),
            Route("/v1/withdraw", self.withdraw, methods=["POST"]),
        ]

    async def dump(self, request: Request) -> Response:
        """All routes as MRT."""
        return Streamed(dump_tables(self._speaker), media_type="application/octet-stream")

    async def diff(self, request: Request) -> Response:
        """What a reload would change."""
        return JSONResponse(self._reloaded(False, request.query_params.get("config")))

    async def reload(self, request: Request) -> Response:
        """Take over the configuration file."""
        return JSONResponse(self._reloaded(True, None))

    def _reloaded(self, apply: bool, path: str | None) -> dict[str, Any]:
        if self._reload is None:
            raise Refused(409, "this daemon was not started from a file")
        found = self._reload(apply, path)
        if "error" in found:
            raise Refused(409, found["error"])
        return found

    async def shutdown(self, request: Request) -> Response:
        """End the daemon."""
        self._speaker.shutdown(request.query_params.get("text", ""))
        return JSONResponse({"done": True})

    async def do(self, request: Request) -> Response:
        """`clear`, `clear-in`, `clear-out`, `shutdown`, `enable` a peer; `all` is every peer that is up."""
        verb, wanted = request.path_params["verb"], request.path_params["name"]
        if verb not in VERBS:
            raise Refused(404, f"there is no verb {verb!r}; there are {', '.join(VERBS)}")
        text = request.query_params.get("text", "")
        if len(text.encode()) > 255:
            raise Refused(400, f"the text has {len(text.encode())} octets; accepted: up to 255 (RFC 9003)")
        if wanted == "all" and self._snapshot.resolve("all") is None and verb.startswith("clear"):
            names = [member.name for member in self._speaker.forwarder.members]
        else:
            name = self._snapshot.resolve(wanted)
            if name is None:
                raise Refused(404, f"there is no peer {wanted!r}")
            names = [name]
        for name in names:
            self._do(verb, name, text)
        return JSONResponse({"done": True, "peers": names})

    def _do(self, verb: str, name: str, text: str) -> None:
        member = self._speaker.member(name)
        if verb == "enable":
            if name not in self._speaker.disabled:
                raise Refused(409, f"{name} is not disabled")
            self._speaker.enable(name)
        elif verb == "shutdown":
            if name in self._speaker.disabled:
                raise Refused(409, f"{name} is disabled already")
            peer = self._speaker.peer(name)
            if peer is not None and peer.settings.address is None:
                raise Refused(409, f"{name} comes from a range and cannot be kept down; `clear` ends its session")
            try:
                self._speaker.disable(name, text)
            except KeyError:
                raise Refused(409, f"{name} is not running") from None
        elif member is None:
            raise Refused(409, f"{name} is not established")
        elif verb == "clear":
            self._speaker.reset(name, text=text)
        elif verb == "clear-out":
            self._speaker.forwarder.refresh(member)
        elif not member.negotiated.route_refresh:
            raise Refused(409, f"{name} has no route refresh capability (RFC 2918)")
        else:
            for family in member.negotiated.families:
                member.outbound.put(encode_route_refresh(RouteRefreshMessage(family, 0)))

    async def announce(self, request: Request) -> Response:
        """Announce routes of our own; see `parse_own_route` for what the JSON may have."""
        routes, seconds = parse_own_route(await _json(request))
        for route in routes:
            self._announce(route, seconds)
        return JSONResponse({"done": True, "prefixes": [format_nlri(each.family, each.key) for each in routes]})

    def _announce(self, route: OwnRoute, seconds: float | None) -> None:
        forwarder = self._speaker.forwarder
        forwarder.announce(route.family, route.key, route.attributes, route.next_hop)
        which = (route.family, route.key)
        until = self._until[which] = inf if seconds is None else trio.current_time() + seconds

        def expire() -> None:
            # Announced again meanwhile it has another time, or none.
            if self._until.get(which) == until:
                del self._until[which]
                forwarder.withdraw(*which)

        if seconds is not None:
            self._speaker.later(seconds, expire)

    async def withdraw(self, request: Request) -> Response:
        """Withdraw routes of our own: those of `prefixes`, or with `all` every one."""
        wanted = await _json(request)
        keys: Iterable[tuple[Family, bytes]]
        if wanted.get("all") is True:
            keys = list(self._until)
        else:
            try:
                prefixes = wanted["prefixes"] if "prefixes" in wanted else [wanted["prefix"]]
                keys = [parse_prefix(str(prefix), None) for prefix in prefixes]
            except (ValueError, KeyError, TypeError) as error:
                raise Refused(400, f"no prefix: {error}") from None
        gone: list[str] = []
        unknown: list[str] = []
        for family, key in keys:
            self._until.pop((family, key), None)
            found = self._speaker.forwarder.withdraw(family, key)
            (gone if found else unknown).append(format_nlri(family, key))
        if unknown:
            raise Refused(404, f"not announced here: {', '.join(unknown)}")
        return JSONResponse({"done": True, "prefixes": gone})


async def _json(request: Request) -> dict[str, Any]:
    try:
        found = await request.json()
    except ValueError as error:
        raise Refused(400, f"no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Refused(400, "no JSON object")
    return found
