"""The HTTP interface: what there is to ask, and on the Unix socket what there is to tell."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from trio_bgp.control.birdwatcher import Birdwatcher
from trio_bgp.control.metrics import CONTENT_TYPE, render
from trio_bgp.control.routes import attributes_in_words, find_family, parse_prefix
from trio_bgp.control.snapshot import Snapshot
from trio_bgp.control.web import PAGE
from trio_bgp.recording.dump import dump_tables
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.wire.as_path import encode_as_path
from trio_bgp.wire.attribute_block import encode_attribute
from trio_bgp.wire.attributes import AttributeContext, parse_attributes
from trio_bgp.wire.nlri import format_nlri, split_nlri
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import IPV4_UNICAST, AttributeType, Family, afi_of
from trio_bgp.wire.route_refresh import RouteRefreshMessage, encode_route_refresh
from trio_bgp.wire.update import sections

__all__ = ["Reload", "make_app"]

TAIL_MESSAGES: Final = 1000
"""UPDATEs that wait for a reader of `tail`; what is more is left out, and counted."""
POLL_SECONDS: Final = 0.05
NDJSON: Final = "application/x-ndjson"

Reload = Callable[[bool, str | None], dict[str, Any]]
"""Read the configuration again (or another file) and, if true, apply it; what differs, or `error`."""
Endpoint = Callable[[Request], Awaitable[Response]]


class Refused(Exception):  # noqa: N818 (an answer)
    """The request cannot be fulfilled."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def make_app(speaker: Speaker, *, reload: Reload | None = None, writable: bool = False) -> Starlette:
    """The application.

    Args:
        speaker: the daemon.
        reload: for `reload` and `diff`.
        writable: also offer what changes something.
    """
    api = _Api(speaker, reload)
    routes = [
        Route("/", api.page),
        Route("/metrics", api.metrics),
        Route("/v1/status", api.status),
        Route("/v1/peers", api.peers),
        Route("/v1/peers/{name:path}", api.peer, methods=["GET"]),
        Route("/v1/groups", api.groups),
        Route("/v1/memory", api.memory),
        Route("/v1/bmp", api.bmp),
        Route("/v1/routes", api.routes),
        Route("/v1/explain", api.explain),
        Route("/v1/wait", api.wait),
        *_birdwatcher(api.snapshot),
    ]
    if writable:
        routes += [
            Route("/v1/tail", api.tail),
            Route("/v1/dump", api.dump),
            Route("/v1/diff", api.diff),
            Route("/v1/reload", api.reload, methods=["POST"]),
            Route("/v1/shutdown", api.shutdown, methods=["POST"]),
            Route("/v1/do/{verb}/{name:path}", api.do, methods=["POST"]),
            Route("/v1/announce", api.announce, methods=["POST"]),
            Route("/v1/withdraw", api.withdraw, methods=["POST"]),
        ]
    return Starlette(routes=routes, exception_handlers={Refused: _refused})


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=error.status if isinstance(error, Refused) else 500)


class _Api:
    def __init__(self, speaker: Speaker, reload: Reload | None) -> None:
        self.speaker = speaker
        self.snapshot = Snapshot(speaker)
        self._reload = reload

    async def page(self, request: Request) -> Response:
        return HTMLResponse(PAGE)

    async def metrics(self, request: Request) -> Response:
        return Response(render(self.snapshot), media_type=CONTENT_TYPE)

    async def status(self, request: Request) -> Response:
        return JSONResponse(self.snapshot.status())

    async def peers(self, request: Request) -> Response:
        return JSONResponse(self.snapshot.peers())

    async def peer(self, request: Request) -> Response:
        found = self.snapshot.peer(request.path_params["name"])
        if found is None:
            raise Refused(404, f"there is no peer {request.path_params['name']!r}")
        return JSONResponse(found)

    async def groups(self, request: Request) -> Response:
        return JSONResponse(self.snapshot.groups())

    async def bmp(self, request: Request) -> Response:
        return JSONResponse(self.snapshot.bmp())

    async def memory(self, request: Request) -> Response:
        return JSONResponse(self.snapshot.memory())

    async def routes(self, request: Request) -> Response:
        query = request.query_params
        family, key = _selection(query.get("family"), query.get("prefix"))
        match = query.get("match", "exact")
        if match not in ("exact", "longest", "longer"):
            raise Refused(400, f"match is {match!r}; accepted: exact, longest, longer")
        for which in ("from", "to"):
            name = query.get(which)
            if name and self.snapshot.peer(name) is None and not (which == "from" and name == "local"):
                raise Refused(404, f"there is no peer {name!r}")
        if query.get("to") and self.speaker.member(query["to"]) is None:
            raise Refused(409, f"{query['to']} is not established")
        found = self.snapshot.routes(
            family=family, key=key, match=match, source=query.get("from") or None, receiver=query.get("to") or None
        )
        return StreamingResponse(_lines(found), media_type=NDJSON)

    async def explain(self, request: Request) -> Response:
        query = request.query_params
        family, key = _selection(query.get("family"), query.get("prefix"))
        if family is None or key is None:
            raise Refused(400, "explain needs a prefix")
        name = query.get("to", "")
        if self.snapshot.peer(name) is None:
            raise Refused(404, f"there is no peer {name!r}")
        found = self.snapshot.explain(family, key, name)
        if found is None:
            raise Refused(409, f"{name} is not established")
        return JSONResponse(found)

    async def wait(self, request: Request) -> Response:
        """Until a peer is established, or has said End-of-RIB, or has announced a prefix; or until `timeout`."""
        query = request.query_params
        name, what = query.get("peer", ""), query.get("for", "established")
        seconds = float(query.get("timeout", "60"))
        family, key = _selection(query.get("family"), query.get("prefix"))
        with trio.move_on_after(seconds):
            while not self._is(name, what, family, key):  # noqa: ASYNC110 (nothing tells of all three)
                await trio.sleep(POLL_SECONDS)
            return JSONResponse({"done": True})
        return JSONResponse({"done": False, "error": f"{name}: not {what} within {seconds:g} s"}, status_code=408)

    def _is(self, name: str, what: str, family: Family | None, key: bytes | None) -> bool:
        member = self.speaker.member(name)
        if member is None:
            return False
        if what == "eor":
            return member.end_of_rib >= member.negotiated.families
        if what == "prefix" and family is not None and key is not None:
            return bool(self.speaker.forwarder.server.table(family).lanes_of(member.source, [key]))
        return what == "established"

    async def tail(self, request: Request) -> Response:
        """UPDATEs as they come: peer, octets, and what they say."""
        names = set(request.query_params.getlist("from"))
        wanted = request.query_params.get("prefix")
        put, take = trio.open_memory_channel[tuple[str, bytes]](TAIL_MESSAGES)
        lost = 0

        def observe(name: str, octets: bytes) -> None:
            nonlocal lost
            if not names or name in names:
                try:
                    put.send_nowait((name, octets))
                except trio.WouldBlock:
                    lost += 1

        async def messages() -> AsyncIterator[dict[str, Any]]:
            nonlocal lost
            self.speaker.forwarder.observers.append(observe)
            try:
                async for name, octets in take:
                    if lost:
                        yield {"lost": lost}
                        lost = 0
                    words = self._update(name, octets)
                    if wanted is None or wanted in words["announced"] or wanted in words["withdrawn"]:
                        yield words
            finally:
                self.speaker.forwarder.observers.remove(observe)

        return StreamingResponse(_lines(messages()), media_type=NDJSON)

    def _update(self, name: str, octets: bytes) -> dict[str, Any]:
        member = self.speaker.member(name)
        found: dict[str, Any] = {"from": name, "announced": [], "withdrawn": [], "octets": octets.hex()}
        try:
            asn4 = member is None or member.negotiated.asn4
            add_path = frozenset() if member is None else member.negotiated.add_path_receive
            withdrawn_end, attributes_end = sections(octets, 0, len(octets))
            block = octets[withdrawn_end + 2 : attributes_end]
            parsed = parse_attributes(block, AttributeContext(asn4=asn4, external=False))
            for kind, field in (("withdrawn", octets[21:withdrawn_end]), ("announced", octets[attributes_end:])):
                found[kind] += _words(IPV4_UNICAST, field, add_path)
            for kind, mp in (("withdrawn", parsed.mp_unreach), ("announced", parsed.mp_reach)):
                if mp is not None:
                    found[kind] += _words(mp.family, block[mp.nlri_start : mp.nlri_end], add_path)
            if parsed.treat_as_withdraw is None and found["announced"]:
                found |= attributes_in_words(
                    block, None if parsed.mp_reach is None else parsed.mp_reach.next_hop, asn4=asn4
                )
                found.pop("other", None)
        except (NotificationError, ValueError) as error:
            found["malformed"] = str(error)
        return found

    async def dump(self, request: Request) -> Response:
        return StreamingResponse(dump_tables(self.speaker), media_type="application/octet-stream")

    async def diff(self, request: Request) -> Response:
        return JSONResponse(self._reloaded(False, request.query_params.get("config")))

    async def reload(self, request: Request) -> Response:
        return JSONResponse(self._reloaded(True, None))

    def _reloaded(self, apply: bool, path: str | None) -> dict[str, Any]:
        if self._reload is None:
            raise Refused(409, "this daemon was not started from a file")
        found = self._reload(apply, path)
        if "error" in found:
            raise Refused(409, found["error"])
        return found

    async def shutdown(self, request: Request) -> Response:
        self.speaker.shutdown(request.query_params.get("text", ""))
        return JSONResponse({"done": True})

    async def do(self, request: Request) -> Response:
        """`clear`, `clear-in`, `clear-out`, `shutdown`, `enable` a peer."""
        verb, name = request.path_params["verb"], request.path_params["name"]
        if self.snapshot.peer(name) is None:
            raise Refused(404, f"there is no peer {name!r}")
        member = self.speaker.member(name)
        try:
            if verb == "clear":
                self.speaker.reset(name, text=request.query_params.get("text", ""))
            elif verb == "shutdown":
                self.speaker.disable(name, request.query_params.get("text", ""))
            elif verb == "enable":
                self.speaker.enable(name)
            elif verb in ("clear-in", "clear-out"):
                if member is None:
                    raise Refused(409, f"{name} is not established")
                if verb == "clear-out":
                    self.speaker.forwarder.refresh(member)
                elif not member.negotiated.route_refresh:
                    raise Refused(409, f"{name} has no route refresh capability (RFC 2918)")
                else:
                    for family in member.negotiated.families:
                        member.outbound.put(encode_route_refresh(RouteRefreshMessage(family, 0)))
            else:
                raise Refused(404, f"there is no verb {verb!r}")
        except KeyError:
            state = "disabled" if verb == "enable" else "a peer of its own that is running"
            raise Refused(409, f"{name} is not {state}") from None
        return JSONResponse({"done": True})

    async def announce(self, request: Request) -> Response:
        """Announce a route of our own: JSON with prefix, next_hop, as_path, med, local_pref, communities."""
        try:
            wanted = await request.json()
            family, key, attributes, next_hop = _own_route(wanted)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise Refused(400, f"no route: {error!r}") from None
        self.speaker.forwarder.announce(family, key, attributes, next_hop)
        seconds = wanted.get("seconds")
        if seconds:
            self.speaker.later(float(seconds), lambda: self.speaker.forwarder.withdraw(family, key))
        return JSONResponse({"done": True})

    async def withdraw(self, request: Request) -> Response:
        try:
            family, key = parse_prefix((await request.json())["prefix"], None)
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(400, f"no prefix: {error!r}") from None
        if not self.speaker.forwarder.withdraw(family, key):
            raise Refused(404, "it is not announced")
        return JSONResponse({"done": True})


def _selection(family: str | None, prefix: str | None) -> tuple[Family | None, bytes | None]:
    try:
        found = find_family(family) if family else None
        if prefix is None:
            return found, None
        return parse_prefix(prefix, found)
    except ValueError as error:
        raise Refused(400, str(error)) from None


def _words(family: Family, field: bytes, add_path: frozenset[Family]) -> list[str]:
    return (
        [format_nlri(family, nlri) for nlri in split_nlri(family, field, add_path=family in add_path)] if field else []
    )


def _own_route(wanted: dict[str, Any]) -> tuple[Family, bytes, bytes, bytes | None]:
    family, key = parse_prefix(wanted["prefix"], None)
    as_path = [(2, tuple(map(int, wanted["as_path"].split())))] if wanted.get("as_path") else []
    block = encode_attribute(0x40, AttributeType.ORIGIN, b"\0")
    block += encode_attribute(0x40, AttributeType.AS_PATH, encode_as_path(as_path, asn4=True))
    next_hop: bytes | None = None
    if afi_of(family) == 1:
        block += encode_attribute(0x40, AttributeType.NEXT_HOP, IPv4Address(wanted["next_hop"]).packed)
    else:
        next_hop = IPv6Address(wanted["next_hop"]).packed
    if wanted.get("med") is not None:
        block += encode_attribute(0x80, AttributeType.MULTI_EXIT_DISC, int(wanted["med"]).to_bytes(4, "big"))
    if wanted.get("local_pref") is not None:
        block += encode_attribute(0x40, AttributeType.LOCAL_PREF, int(wanted["local_pref"]).to_bytes(4, "big"))
    if wanted.get("communities"):
        numbers = [tuple(map(int, each.split(":"))) for each in wanted["communities"]]
        value = b"".join(high.to_bytes(2, "big") + low.to_bytes(2, "big") for high, low in numbers)
        block += encode_attribute(0xC0, AttributeType.COMMUNITIES, value)
    return family, key, block, next_hop


async def _lines(found: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(found) as each_of:  # type: ignore[type-var]
        async for each in each_of:
            yield json.dumps(each).encode() + b"\n"


def _birdwatcher(snapshot: Snapshot) -> list[Route]:
    """Birdwatcher's endpoints (`trio_bgp.control.birdwatcher`)."""
    bird = Birdwatcher(snapshot)

    def answer(make: Callable[[Request], dict[str, Any]]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            return JSONResponse(make(request))

        return endpoint

    def listing(select: Callable[[Request], dict[str, Any]]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            return JSONResponse(await bird.routes(**select(request)))

        return endpoint

    def nothing(request: Request) -> dict[str, Any]:
        return bird.envelope(routes=[])

    async def net(request: Request) -> Response:
        try:
            return JSONResponse(await bird.net(request.path_params["net"]))
        except ValueError as error:
            raise Refused(400, str(error)) from None

    async def prefix(request: Request) -> Response:
        try:
            return JSONResponse(await bird.net(request.query_params.get("prefix", "")))
        except ValueError as error:
            raise Refused(400, str(error)) from None

    def of_protocol(request: Request) -> dict[str, Any]:
        return {"source": request.path_params["name"]}

    def of_peer(request: Request) -> dict[str, Any]:
        return {"source": bird.peer_of(request.path_params["name"])}

    def export(request: Request) -> dict[str, Any]:
        return {"receiver": request.path_params["name"]}

    return [
        Route("/status", answer(lambda request: bird.status())),
        Route("/protocols", answer(lambda request: bird.protocols())),
        Route("/protocols/bgp", answer(lambda request: bird.protocols())),
        Route("/protocols/short", answer(lambda request: bird.short())),
        Route("/routes/protocol/{name}", listing(of_protocol)),
        Route("/routes/peer/{name}", listing(of_peer)),
        Route("/routes/export/{name}", listing(export)),
        Route("/routes/table/{name}", listing(lambda request: {})),
        Route("/routes/filtered/{name}", answer(nothing)),
        Route("/routes/noexport/{name}", answer(nothing)),
        Route("/routes/prefix", prefix),
        Route("/route/net/{net:path}", net),
    ]
