"""What happens as it happens: UPDATEs as they come, and a second's flow from sources to receivers."""

import json
import time
from collections import deque
from collections.abc import AsyncIterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trio_bgp.control.request import Refused, Streamed, line_by_line, selection
from trio_bgp.control.routes import attributes_in_words
from trio_bgp.control.snapshot import Snapshot
from trio_bgp.runtime.commands import Observer
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.wire.attributes import AttributeContext, parse_attributes
from trio_bgp.wire.nlri import format_nlri, split_nlri
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import IPV4_UNICAST, Family, family_name
from trio_bgp.wire.update import sections

__all__ = ["Flow", "Tail"]

TAIL_OCTETS: Final = 8 << 20
"""Octets of UPDATEs that wait for a reader of `tail`; what is more is left out, and counted."""
TAIL_BATCH: Final = 40
TAIL_PAUSE: Final = 0.004
"""Between two batches, so that telling a flood never takes more than a part of the daemon's time."""
FLOW_SECONDS: Final = 1.0
FLOW_VIEWERS: Final = 64
FLOW_PEERS: Final = 100
"""Peers that the flow names, those with most UPDATEs."""
FLOW_UPDATES: Final = 8
"""UPDATEs of a second that the flow shows; nothing is looked at beyond them."""


@attrs.frozen
class Filter:
    """Which UPDATEs."""

    names: frozenset[str]
    """Of these peers; empty: of all."""
    family: str | None
    network: IPv4Network | IPv6Network | None
    longer: bool
    """Prefixes inside `network` count, too."""
    kind: str | None
    """`announced` or `withdrawn` only."""

    def wants(self, words: dict[str, Any]) -> bool:
        """Whether an UPDATE in words is one of them."""
        kinds = ("announced", "withdrawn") if self.kind is None else (self.kind,)
        if self.kind is not None and not words[self.kind]:
            return False
        if self.family is not None and self.family not in words["families"]:
            return False
        return self.network is None or any(self._is_inside(text) for kind in kinds for text in words[kind])

    def _is_inside(self, text: str) -> bool:
        try:
            network = ip_network(text)
        except ValueError:
            return False  # of a family that has no prefixes
        if not self.longer:
            return network == self.network
        return network.version == getattr(self.network, "version", 0) and network.subnet_of(self.network)  # type: ignore[arg-type]


class Tail:
    """`/v1/tail`: received UPDATEs as they come.

    Args:
        snapshot: finds peers.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._speaker: Speaker = snapshot.speaker

    def endpoints(self) -> list[Route]:
        """All of them."""
        return [Route("/v1/tail", self.tail)]

    async def tail(self, request: Request) -> Response:
        """UPDATEs as they come: time, peer, what they say, and their octets."""
        return line_by_line(self._messages(self._filter(request)))

    def _filter(self, request: Request) -> Filter:
        query = request.query_params
        names = set()
        for name in query.getlist("from"):
            resolved = self._snapshot.resolve(name)
            if resolved is None:
                raise Refused(404, f"there is no peer {name!r}")
            names.add(resolved)
        family, key = selection(query.get("family"), query.get("prefix"))
        match, kind = query.get("match", "exact"), query.get("kind")
        if match not in ("exact", "longer"):
            raise Refused(400, f"match is {match!r}; accepted: exact, longer")
        if kind not in (None, "announced", "withdrawn"):
            raise Refused(400, f"kind is {kind!r}; accepted: announced, withdrawn")
        return Filter(
            names=frozenset(names),
            family=None if not query.get("family") or family is None else family_name(family),
            network=None if key is None else ip_network(query["prefix"], strict=False),
            longer=match == "longer",
            kind=kind,
        )

    async def _messages(self, wanted: Filter) -> AsyncIterator[list[dict[str, Any]]]:
        waiting: deque[tuple[float, str, bytes]] = deque()
        octets_waiting = lost = 0
        arrived = trio.Event()

        def observe(name: str, octets: bytes) -> None:
            nonlocal lost, octets_waiting
            if wanted.names and name not in wanted.names:
                return
            if octets_waiting > TAIL_OCTETS:
                lost += 1
                return
            octets_waiting += len(octets)
            waiting.append((time.time(), name, octets))
            arrived.set()

        self._speaker.forwarder.observers.append(observe)
        try:
            while True:
                await arrived.wait()
                batch: list[dict[str, Any]] = []
                for _ in range(min(TAIL_BATCH, len(waiting))):
                    at, name, octets = waiting.popleft()
                    octets_waiting -= len(octets)
                    words = in_words(self._speaker, name, octets)
                    if wanted.wants(words):
                        batch.append({"time": round(at, 6), **words})
                if not waiting:
                    arrived = trio.Event()
                if lost:
                    batch.append({"lost": lost})
                    lost = 0
                if batch:
                    yield batch
                await trio.sleep(TAIL_PAUSE)
        finally:
            self._speaker.forwarder.observers.remove(observe)


def in_words(speaker: Speaker, name: str, octets: bytes) -> dict[str, Any]:
    """An UPDATE from a peer as JSON takes it."""
    member = speaker.member(name)
    found: dict[str, Any] = {"from": name, "families": [], "announced": [], "withdrawn": [], "octets": octets.hex()}
    asn4 = member is None or member.negotiated.asn4
    add_path = frozenset[Family]() if member is None else member.negotiated.add_path_receive

    def add(kind: str, family: Family, field: bytes) -> None:
        routes = split_nlri(family, field, add_path=family in add_path) if field else []
        found[kind] += [format_nlri(family, route) for route in routes]
        if family_name(family) not in found["families"]:
            found["families"].append(family_name(family))

    try:
        withdrawn_end, attributes_end = sections(octets, 0, len(octets))
        block = octets[withdrawn_end + 2 : attributes_end]
        parsed = parse_attributes(block, AttributeContext(asn4=asn4, external=False))
        for kind, field in (("withdrawn", octets[21:withdrawn_end]), ("announced", octets[attributes_end:])):
            if field or not block:
                add(kind, IPV4_UNICAST, field)
        for kind, mp in (("withdrawn", parsed.mp_unreach), ("announced", parsed.mp_reach)):
            if mp is not None:
                add(kind, mp.family, block[mp.nlri_start : mp.nlri_end])
        if parsed.treat_as_withdraw is not None:
            found["malformed"] = str(parsed.treat_as_withdraw)
        elif found["announced"]:
            next_hop = None if parsed.mp_reach is None else parsed.mp_reach.next_hop
            found |= attributes_in_words(block, next_hop, asn4=asn4)
            found.pop("other", None)
    except (NotificationError, ValueError) as error:
        found["malformed"] = str(error)
    return found


class Flow:
    """`/v1/flow`: once a second what came from whom and went to whom, as server-sent events.

    All viewers are sent the same octets. Nothing is collected while nobody looks.

    Args:
        snapshot: answers.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._speaker: Speaker = snapshot.speaker
        self._viewers = 0
        self._sampling = trio.Lock()
        self._at = float("-inf")
        self._event = b""
        self._before: dict[str, tuple[int, int]] = {}
        self._updates: list[dict[str, Any]] = []
        self._observer: Observer | None = None

    def endpoints(self) -> list[Route]:
        """All of them."""
        return [Route("/v1/flow", self.flow)]

    async def flow(self, request: Request) -> Response:
        """The stream."""
        if self._viewers >= FLOW_VIEWERS:
            raise Refused(503, f"{FLOW_VIEWERS} are looking already", {"Retry-After": "60"})
        return Streamed(self._events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def _events(self) -> AsyncIterator[bytes]:
        self._viewers += 1
        try:
            while True:
                async with self._sampling:
                    now = trio.current_time()
                    if now - self._at >= FLOW_SECONDS * 0.9:
                        self._sample(now)
                yield self._event
                await trio.sleep(FLOW_SECONDS)
        finally:
            self._viewers -= 1
            if not self._viewers:
                self._look_away()
                self._before.clear()
                self._updates = []
                self._at = float("-inf")

    def _sample(self, now: float) -> None:
        passed = now - self._at
        status = self._snapshot.status()
        groups = self._speaker.forwarder.core.egress.group_of
        before, self._before = self._before, {}
        peers = []
        for member in self._speaker.forwarder.members:
            counts = (member.messages_in, member.messages_out)
            self._before[member.name] = counts
            old = before.get(member.name, counts)
            group = groups.get(member)
            share = None if group is None else _share(group.counters.unchanged, sum(group.counters.repacked.values()))
            peers.append(
                {
                    "name": member.name,
                    "paths": sum(member.source.prefixes.values()),
                    "in": round(max(0, counts[0] - old[0]) / passed, 1),
                    "out": round(max(0, counts[1] - old[1]) / passed, 1),
                    "share_unchanged": share,
                    "catching_up": member.behind is not None,
                }
            )
        peers.sort(key=lambda each: (-each["in"] - each["out"], -each["paths"]))  # type: ignore[operator]
        found = {"status": status, "peers": peers[:FLOW_PEERS], "updates": self._updates}
        self._event = b"data: " + json.dumps(found).encode() + b"\n\n"
        self._at = now
        self._watch()

    def _watch(self) -> None:
        """Look at the first UPDATEs of the next second, and at no more."""
        self._look_away()
        updates = self._updates = []

        def observe(name: str, octets: bytes) -> None:
            words = in_words(self._speaker, name, octets)
            del words["octets"]
            for kind in ("announced", "withdrawn"):
                words[kind] = [*words[kind][:4], *(["..."] if len(words[kind]) > 4 else [])]
            updates.append(words)
            if len(updates) >= FLOW_UPDATES:
                self._look_away()

        self._observer = observe
        self._speaker.forwarder.observers.append(observe)

    def _look_away(self) -> None:
        if self._observer is not None:
            self._speaker.forwarder.observers.remove(self._observer)
            self._observer = None


def _share(unchanged: int, repacked: int) -> float | None:
    return round(unchanged / (unchanged + repacked), 4) if unchanged + repacked else None
