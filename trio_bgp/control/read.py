"""Endpoints that only show: state, routes, why."""

from typing import Final

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trio_bgp.control.metrics import CONTENT_TYPE, render
from trio_bgp.control.request import Refused, flag, line_by_line, number, selection
from trio_bgp.control.route_counts import Counting
from trio_bgp.control.snapshot import Snapshot, Wanted
from trio_bgp.wire.numbers import IPV4_MULTICAST, IPV4_UNICAST, IPV6_MULTICAST, IPV6_UNICAST, Family

__all__ = ["Look"]

POLL_SECONDS: Final = 0.05
LONGEST_WAIT: Final = 86400.0
PUBLIC_LIMIT: Final = 1000
"""Paths that an answer has at most where anybody may ask."""
PREFIXES: Final = (IPV4_UNICAST, IPV4_MULTICAST, IPV6_UNICAST, IPV6_MULTICAST)
"""Families in which one route can be inside another."""


class Look:
    """The endpoints.

    Args:
        snapshot: answers.
        counting: counts routes.
        public: anybody may ask: answers are bounded, and nobody waits here.
    """

    def __init__(self, snapshot: Snapshot, counting: Counting, *, public: bool) -> None:
        self._snapshot = snapshot
        self._counting = counting
        self._public = public

    def endpoints(self) -> list[Route]:
        """All of them."""
        found = [
            Route("/metrics", self.metrics),
            Route("/v1/status", self.status),
            Route("/v1/peers", self.peers),
            Route("/v1/peers/{name:path}", self.peer, methods=["GET"]),
            Route("/v1/groups", self.groups),
            Route("/v1/memory", self.memory),
            Route("/v1/routes", self.routes),
            Route("/v1/explain", self.explain),
        ]
        if self._public:
            return found
        return [*found, Route("/v1/bmp", self.bmp), Route("/v1/wait", self.wait)]

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(await render(self._snapshot), media_type=CONTENT_TYPE)

    async def status(self, request: Request) -> Response:
        """The whole in a few figures."""
        return JSONResponse(self._snapshot.status())

    async def peers(self, request: Request) -> Response:
        """Every peer."""
        return JSONResponse(await self._snapshot.peers())

    async def peer(self, request: Request) -> Response:
        """One peer in detail, with how many routes it is sent."""
        name = self._named(request.path_params["name"])
        counts = (await self._counting.routes()).get(name)
        found = self._snapshot.peer(name)
        if found is None:
            raise Refused(404, f"there is no peer {name!r}")
        if counts is not None and "families" in found:
            found |= {"exported_by_family": counts.exported, "best_by_family": counts.preferred}
        return JSONResponse(found)

    async def groups(self, request: Request) -> Response:
        """Who shares octets with whom."""
        return JSONResponse(self._snapshot.groups())

    async def memory(self, request: Request) -> Response:
        """What is kept."""
        return JSONResponse(self._snapshot.memory())

    async def bmp(self, request: Request) -> Response:
        """BMP stations."""
        return JSONResponse(self._snapshot.bmp())

    async def routes(self, request: Request) -> Response:
        """Routes, a line each; or with `count=true` how many there are."""
        query = request.query_params
        family, key = selection(query.get("family"), query.get("prefix"))
        match = query.get("match", "exact")
        if match not in ("exact", "longest", "longer"):
            raise Refused(400, f"match is {match!r}; accepted: exact, longest, longer")
        if match != "exact" and key is None:
            raise Refused(400, f"match={match} needs a prefix")
        if match != "exact" and family not in PREFIXES:
            raise Refused(400, f"match={match} is for prefixes, not for routes of {query['family']}")
        source = query.get("from") or None
        receiver = self._named(query["to"]) if query.get("to") else None
        if receiver is not None and self._snapshot.speaker.member(receiver) is None:
            raise Refused(409, f"{receiver} is not established")
        withheld = flag(request, "withheld")
        if withheld and receiver is None:
            raise Refused(400, "withheld=true needs to=PEER")
        highest = PUBLIC_LIMIT if self._public else float(1 << 40)
        limit = int(number(request, "limit", highest, highest))
        wanted = Wanted(
            family=family,
            key=key,
            match=match,
            source=source if source in (None, "local") else self._named(source),
            receiver=receiver,
            withheld=withheld,
            primary=flag(request, "primary"),
            limit=limit,
        )
        if flag(request, "count"):
            return JSONResponse(await self._snapshot.count(wanted))
        return line_by_line(self._snapshot.routes(wanted))

    async def explain(self, request: Request) -> Response:
        """Why a peer gets what of a prefix; of the longest that covers it if there is no such prefix."""
        query = request.query_params
        family, key = selection(query.get("family"), query.get("prefix"))
        if family is None or key is None:
            raise Refused(400, "explain needs a prefix")
        name = self._named(query.get("to", ""))
        asked = key
        if family in PREFIXES:
            key = self._snapshot.longest(family, key) or key
        found = self._snapshot.explain(family, key, name)
        if found is None:
            raise Refused(409, f"{name} is not established")
        if asked != key:
            found["asked"] = query["prefix"]
        return JSONResponse(found)

    async def wait(self, request: Request) -> Response:
        """Until a peer is established or down, or has said End-of-RIB, or has announced a prefix; or `timeout`."""
        query = request.query_params
        name, what = query.get("peer", ""), query.get("for", "established")
        if what not in ("established", "down", "eor", "prefix"):
            raise Refused(400, f"for is {what!r}; accepted: established, down, eor, prefix")
        seconds = number(request, "timeout", 60.0, LONGEST_WAIT)
        family, key = selection(query.get("family"), query.get("prefix"))
        if what == "prefix" and key is None:
            raise Refused(400, "for=prefix needs a prefix")
        ranges = {each.name for each in self._snapshot.speaker.settings.peers if each.range is not None}
        if name.partition("/")[0] not in ranges:
            name = self._named(name)
        with trio.move_on_after(seconds):
            while not self._is(name, what, family, key):  # noqa: ASYNC110 (nothing tells of all three)
                await trio.sleep(POLL_SECONDS)
            return JSONResponse({"done": True})
        what = f"announcing {query['prefix']}" if what == "prefix" else what
        return JSONResponse({"done": False, "error": f"{name}: not {what} within {seconds:g} s"}, status_code=408)

    def _is(self, name: str, what: str, family: Family | None, key: bytes | None) -> bool:
        member = self._snapshot.speaker.member(name)
        if member is None:
            return what == "down"
        if what == "eor":
            return member.end_of_rib >= member.negotiated.families
        if what == "prefix" and family is not None and key is not None:
            table = self._snapshot.speaker.forwarder.core.tables.get(family)
            return table is not None and bool(table.lanes_of(member.source, [key]))
        return what == "established"

    def _named(self, name: str) -> str:
        found = self._snapshot.resolve(name)
        if found is None:
            raise Refused(404, f"there is no peer {name!r}")
        return found
