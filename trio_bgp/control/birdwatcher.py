"""The looking-glass interface of birdwatcher, so that Alice-LG and the like read this daemon unmodified.

https://github.com/alice-lg/birdwatcher: each answer has an `api` envelope; a peer is a protocol. In Alice this daemon
is a source of the type `single_table`.
"""

import contextlib
import json
import math
import re
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trio_bgp import __version__
from trio_bgp.control.request import Endpoint, Refused, Streamed
from trio_bgp.control.route_counts import Counting, RouteCounts
from trio_bgp.control.routes import parse_prefix
from trio_bgp.control.snapshot import Snapshot, Wanted
from trio_bgp.session.fsm import State
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST, Family

__all__ = ["Birdwatcher"]

TIME: Final = "%Y-%m-%d %H:%M:%S"
SERVES_SECONDS: Final = 1
TABLES: Final[dict[str, Family | None]] = {"master": None, "master4": IPV4_UNICAST, "master6": IPV6_UNICAST}
ORIGINS: Final = {"IGP": "IGP", "EGP": "EGP", "INCOMPLETE": "Incomplete"}
"""As BIRD writes them."""


class Birdwatcher:
    """Answers in birdwatcher's words.

    Args:
        snapshot: what to ask.
        counting: counts routes.
        now: the time of day, which answers tell.
    """

    def __init__(
        self, snapshot: Snapshot, counting: Counting, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._snapshot = snapshot
        self._counting = counting
        self._now = now

    def endpoints(self) -> list[Route]:
        """All of them."""
        return [
            Route("/status", self.status),
            Route("/protocols", self.protocols),
            Route("/protocols/bgp", self.protocols),
            Route("/protocols/short", self.short),
            Route("/routes/protocol/{name:path}", self._listing(self._of_protocol)),
            Route("/routes/peer/{address}", self._listing(self._of_peer)),
            Route("/routes/export/{name:path}", self._listing(self._exported)),
            Route("/routes/noexport/{name:path}", self._listing(self._withheld)),
            Route("/routes/filtered/{name:path}", self._listing(self._filtered)),
            Route("/routes/table/{table}", self._listing(self._of_table)),
            Route("/routes/table/{table}/filtered", self._listing(self._filtered_of_table)),
            Route("/routes/table/{table}/peer/{address}", self._listing(self._of_table_and_peer)),
            Route("/routes/count/protocol/{name:path}", self._count(self._of_protocol)),
            Route("/routes/count/primary/{name:path}", self._count(self._primary)),
            Route("/routes/count/table/{table}", self._count(self._of_table)),
            Route("/routes/prefix", self._listing(self._inside)),
            Route("/route/net/{net:path}", self._listing(self._covering)),
        ]

    def envelope(self, **answer: Any) -> dict[str, Any]:
        """An answer with what birdwatcher puts around it."""
        now = self._now()
        return {
            "api": {
                "Version": f"trio-bgp {__version__}",
                "result_from_cache": False,
                "cache_status": {"cached_at": {"date": now.isoformat(), "timezone_type": "UTC", "timezone": "UTC"}},
            },
            "cached_at": now.isoformat(),
            "ttl": (now + timedelta(seconds=SERVES_SECONDS)).isoformat(),
            **answer,
        }

    async def status(self, request: Request) -> Response:
        """`/status`."""
        status = self._snapshot.status()
        now = self._now()
        started = now - timedelta(seconds=status["uptime"])
        found = {
            "router_id": status["bgp_identifier"],
            "version": f"trio-bgp {status['version']}",
            "hostname": self._snapshot.speaker.settings.speaker.hostname or "",
            "current_server": now.strftime(TIME),
            "server_time": now.strftime(TIME),
            "last_reboot": started.strftime(TIME),
            "last_reconfig": started.strftime(TIME),
            "message": "Daemon is up and running",
        }
        return JSONResponse(self.envelope(status=found))

    async def protocols(self, request: Request) -> Response:
        """`/protocols` and `/protocols/bgp`."""
        counts = await self._counting.routes()
        peers = await self._snapshot.peers()
        found = {_id(peer["name"]): self._protocol(peer, counts.get(peer["name"])) for peer in peers}
        return JSONResponse(self.envelope(protocols=found))

    async def short(self, request: Request) -> Response:
        """`/protocols/short`."""
        found = {
            _id(peer["name"]): {
                "proto": "BGP",
                "table": "master",
                "state": _state(peer),
                "since": self._changed(peer),
                "info": peer["state"],
            }
            for peer in await self._snapshot.peers()
        }
        return JSONResponse(self.envelope(protocols=found))

    def _listing(self, select: Callable[[Request], Wanted | None]) -> Endpoint:
        """An endpoint that tells the routes that `select` wants; None: there are none."""

        async def endpoint(request: Request) -> Response:
            return Streamed(self._routes(select(request)), media_type="application/json")

        return endpoint

    def _count(self, select: Callable[[Request], Wanted]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            count = await self._snapshot.count(select(request))
            return JSONResponse(self.envelope(routes=count["paths"]))

        return endpoint

    async def _routes(self, wanted: Wanted | None) -> AsyncGenerator[bytes]:
        """One JSON document, written as it is found."""
        addresses = {peer.name: str(peer.address) for peer in self._snapshot.speaker.peers.values()}
        since = {peer.name: peer.established_at for peer in self._snapshot.speaker.peers.values()}
        now = trio.current_time()
        yield json.dumps(self.envelope()).encode()[:-1] + b', "routes": ['
        comma = b""
        if wanted is not None:
            async with contextlib.aclosing(self._snapshot.routes(wanted)) as batches:
                async for batch in batches:
                    pieces = []
                    for route in batch:
                        age = now - since.get(route["from"], now)
                        words = self._route(route, addresses.get(route["from"], ""), age)
                        pieces.append(comma + json.dumps(words).encode())
                        comma = b", "
                    yield b"".join(pieces)
        yield b"]}"

    def _name(self, name: str) -> str:
        """The name of the peer whose protocol has this identifier, or which has this name or address."""
        found = self._snapshot.resolve(name)
        if found is None:
            found = next((each.name for each in self._snapshot.speaker.peers.values() if _id(each.name) == name), None)
        if found is None:
            raise Refused(404, f"there is no protocol {name!r}")
        return found

    def _of_protocol(self, request: Request) -> Wanted:
        return Wanted(source=self._name(request.path_params["name"]))

    def _primary(self, request: Request) -> Wanted:
        return Wanted(source=self._name(request.path_params["name"]), primary=True)

    def _of_peer(self, request: Request) -> Wanted:
        return Wanted(source=self._name(request.path_params["address"]))

    def _exported(self, request: Request) -> Wanted:
        return Wanted(receiver=self._name(request.path_params["name"]))

    def _withheld(self, request: Request) -> Wanted:
        return Wanted(receiver=self._name(request.path_params["name"]), withheld=True)

    def _filtered(self, request: Request) -> None:
        """Routes that are refused are not kept."""
        self._name(request.path_params["name"])

    def _of_table(self, request: Request) -> Wanted:
        name = request.path_params["table"]
        if name not in TABLES:
            raise Refused(404, f"there is no table {name!r}; there are {', '.join(TABLES)}")
        return Wanted(family=TABLES[name])

    def _filtered_of_table(self, request: Request) -> None:
        self._of_table(request)

    def _of_table_and_peer(self, request: Request) -> Wanted:
        return Wanted(family=self._of_table(request).family, source=self._name(request.path_params["address"]))

    def _inside(self, request: Request) -> Wanted:
        """`/routes/prefix?prefix=`: a prefix and all inside."""
        return self._net(request.query_params.get("prefix", ""), "longer")

    def _covering(self, request: Request) -> Wanted:
        """`/route/net/PREFIX`, `/route/net/ADDRESS/mask/BITS`, each with or without `/table/NAME`."""
        net = re.sub(r"/table/\w+$", "", request.path_params["net"])
        return self._net(net.replace("/mask/", "/"), "longest")

    def _net(self, text: str, match: str) -> Wanted:
        try:
            family, key = parse_prefix(text, None)
        except ValueError as error:
            raise Refused(400, str(error)) from None
        return Wanted(family=family, key=key, match=match)

    def _changed(self, peer: dict[str, Any]) -> str:
        """When a session came up; of one that is down it is not known."""
        return (self._now() - timedelta(seconds=peer.get("uptime", 0.0))).strftime(TIME)

    def _protocol(self, peer: dict[str, Any], counts: RouteCounts | None) -> dict[str, Any]:
        return {
            "protocol": _id(peer["name"]),
            "bird_protocol": "BGP",
            "state": _state(peer),
            "connection": peer["state"],
            "bgp_state": peer["state"],
            "state_changed": self._changed(peer),
            "description": peer["name"],
            "neighbor_address": peer["address"],
            "neighbor_as": peer["as"],
            "table": "master",
            "preference": 100,
            "last_error": peer.get("last_end", "") or peer.get("disabled", ""),
            "routes": {
                "imported": peer.get("prefixes", 0),
                "filtered": 0,
                "exported": 0 if counts is None else sum(counts.exported.values()),
                "preferred": 0 if counts is None else sum(counts.preferred.values()),
            },
            "route_changes": {},
        }

    def _route(self, route: dict[str, Any], address: str, age: float) -> dict[str, Any]:
        """A route; its age is not kept, so it is its session's."""
        learnt = self._now() - timedelta(seconds=age if math.isfinite(age) else 0.0)
        bgp = {
            "origin": ORIGINS.get(route.get("origin", ""), ""),
            "as_path": re.findall(r"\d+", route.get("as_path", "")),
            "next_hop": route.get("next_hop", ""),
            "local_pref": str(route.get("local_pref", 100)),
            "med": str(route.get("med", 0)),
            "communities": [list(map(int, each.split(":"))) for each in route.get("communities", ())],
            "large_communities": [list(map(int, each.split(":"))) for each in route.get("large_communities", ())],
            "ext_communities": [each.split(":") for each in route.get("extended_communities", ())],
            "atomic_aggr": str(route.get("atomic_aggregate", False)).lower(),
        }
        if "only_to_customer" in route:
            bgp["otc"] = str(route["only_to_customer"])
        return {
            "network": route["prefix"],
            "gateway": route.get("next_hop", ""),
            "interface": "",
            "from_protocol": _id(route["from"]),
            "learnt_from": address,
            "metric": 100,
            "primary": route["best"],
            "age": learnt.strftime(TIME),
            "type": ["BGP", "univ"],
            "bgp": bgp,
        }


def _id(name: str) -> str:
    """A peer's name as the name of a protocol: no slash, so that it is one part of a path."""
    return name.replace("/", "_")


def _state(peer: dict[str, Any]) -> str:
    if peer["state"] == State.ESTABLISHED.value:
        return "up"
    return "down" if peer["state"] == State.IDLE.value else "start"
