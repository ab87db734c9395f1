"""Interned paths: everything that many prefixes of one source have in common, parsed and ranked once."""

from collections.abc import Sequence
from typing import Final

from trio_bgp.wire.attributes import Attributes
from trio_bgp.wire.numbers import Family

__all__ = ["DEFAULT_LOCAL_PREF", "Lane", "Path", "PathIdentifiers", "PathKey", "PathStore", "Source", "Stale"]

KEPT_NUMBERS: Final = 1024
"""Of each kind, numbers that a lane's paths share."""
DEFAULT_LOCAL_PREF: Final = 100
"""Degree of preference of routes from external peers, whose own LOCAL_PREF does not count (RFC 4271, 5.1.5)."""
_USUAL_PREFERENCE: Final = (0xFFFFFFFF - DEFAULT_LOCAL_PREF) << 32
"""What it is of a rank."""


class Source:
    """One established session as a source of routes.

    Attributes:
        name: the peer's name, for messages.
        peer_as: its AS number.
        bgp_identifier: its BGP Identifier, as a number.
        address: its address as a number, the last tie-breaker.
        external: an EBGP session.
        local: no session: routes that the operator injects.
        prefixes: how many paths it has in each family's table; without ADD-PATH that many prefixes.
        paths: its interned paths by family.
        lanes: its lanes, by received path identifier; None is for NLRI that have none.
        stale: routes kept from before a restart, or not yet announced again in a refresh, that it has said nothing of
            since (`trio_bgp.routing.retention`).
    """

    __slots__ = (
        "address",
        "bgp_identifier",
        "external",
        "lanes",
        "local",
        "name",
        "paths",
        "peer_as",
        "prefixes",
        "stale",
    )

    def __init__(self, *, name: str, peer_as: int, bgp_identifier: int, address: int, external: bool = True) -> None:
        self.name = name
        self.peer_as = peer_as
        self.bgp_identifier = bgp_identifier
        self.address = address
        self.external = external
        self.local = False
        self.prefixes: dict[Family, int] = {}
        self.paths: dict[Family, PathStore] = {}
        self.lanes: dict[int | None, Lane] = {}
        self.stale: dict[Family, Stale] = {}

    def __repr__(self) -> str:
        return f"Source({self.name})"


class Lane:
    """What a path replaces: the source's path with the same received path identifier (RFC 7911, section 2).

    A source without ADD-PATH has one lane; one with has a lane for each identifier it uses.

    Attributes:
        source: whose it is.
        received: the identifier in the NLRI received; None without ADD-PATH.
        path_id: ours, the same towards every receiver; no other lane has it.
        paths: interned paths in this lane.
        rank: what all of them have in common of `Path.rank`.
        ranks: by `Path.precedence`, ranks that paths share: few different ones, each an object of 80 octets.
        seen: values of `Path.seen` that paths share, each by itself.
    """

    __slots__ = ("path_id", "paths", "rank", "ranks", "received", "seen", "source")

    def __init__(self, source: Source, received: int | None, path_id: int) -> None:
        self.source = source
        self.received = received
        self.path_id = path_id
        self.paths = 0
        self.rank = source.bgp_identifier << 176 | source.address << 32 | (received or 0)
        if not source.external:
            self.rank |= 1 << 208
        self.ranks: dict[int, int] = {}
        self.seen: dict[int, int] = {}

    def keep(self, precedence: int, seen: int) -> None:
        """Have these in `ranks` and `seen`."""
        if len(self.ranks) >= KEPT_NUMBERS or len(self.seen) >= KEPT_NUMBERS:
            self.ranks.clear()
            self.seen.clear()
        self.ranks[precedence] = precedence << 224 | self.rank
        self.seen[seen] = seen

    def __repr__(self) -> str:
        return f"Lane({self.source.name}, {self.received}, {self.path_id})"


class Stale:
    """Prefixes of one source and family, by lane, of which the source has yet to say something.

    Marking goes on in steps while the source speaks, so what it says meanwhile is remembered until all is marked.

    Attributes:
        lanes: the prefixes marked so far and not renewed.
        marking: not all is marked.
    """

    __slots__ = ("_renewed", "lanes", "marking")

    def __init__(self) -> None:
        self.lanes: dict[Lane, set[bytes]] = {}
        self.marking = True
        self._renewed: dict[Lane, set[bytes]] = {}

    def mark(self, lane: Lane, nlris: Sequence[bytes]) -> None:
        """These are stale, unless something was said of them since the marking began."""
        self.lanes.setdefault(lane, set()).update(nlris)
        renewed = self._renewed.get(lane)
        if renewed:
            self.lanes[lane] -= renewed

    def marked(self) -> None:
        """All is marked."""
        self.marking = False
        self._renewed = {}

    def renew(self, lane: Lane, nlris: Sequence[bytes]) -> None:
        """Something was said of these."""
        found = self.lanes.get(lane)
        if found:
            found.difference_update(nlris)
        if self.marking:
            self._renewed.setdefault(lane, set()).update(nlris)


class PathIdentifiers:
    """Gives each lane its path identifier: the received one if no other lane has it, so that octets can stay."""

    def __init__(self) -> None:
        self._lanes: dict[int, Lane] = {}
        self._next = 1

    def lane(self, source: Source, received: int | None) -> Lane:
        """The source's lane for a received path identifier, made on first use."""
        lane = source.lanes.get(received)
        if lane is None:
            path_id = received if received and received not in self._lanes else self._free()
            lane = source.lanes[received] = self._lanes[path_id] = Lane(source, received, path_id)
        return lane

    def find(self, path_id: int) -> Lane | None:
        """The lane that has this identifier now."""
        return self._lanes.get(path_id)

    def release(self, source: Source) -> None:
        """Free the identifiers of a source whose routes are gone."""
        for lane in source.lanes.values():
            self._lanes.pop(lane.path_id, None)
        source.lanes.clear()

    def release_unused(self, source: Source) -> None:
        """Free those whose lane has no path: a peer may use ever new identifiers."""
        for received in [
            received for received, lane in source.lanes.items() if not lane.paths and received is not None
        ]:
            del self._lanes[source.lanes.pop(received).path_id]

    def _free(self) -> int:
        while self._next in self._lanes:
            self._next = self._next % 0xFFFFFFFF + 1
        return self._next


class Path:
    """One attribute block of one lane, with what the decision process asks of it.

    Attributes:
        source: whose path it is.
        lane: which of the source's paths to a prefix it is.
        key: what it is interned by in `source.paths`.
        attributes: the path attributes' octets without MP_REACH_NLRI and MP_UNREACH_NLRI, AS numbers in four octets.
        next_hop: the next-hop field of MP_REACH_NLRI; None when the route came in the UPDATE's own NLRI field.
        extra: what the NLRI carry besides their key: MPLS labels and the like (`trio_bgp.wire.nlri.KEYED`).
        audience: a bit for each class of receivers that may have it (`trio_bgp.policy.audience`).
        seen: a bit for each attribute type that may be among the attributes; one without a bit is not.
        rank: preference as one number, lower is better: RFC 4271 section 9.1 without MED.
        neighbor_as: MED is compared only between paths with the same one.
        med: MULTI_EXIT_DISC, 0 if absent.
        uses: prefixes in the table that have this path; with the last one the path is forgotten.
        variants: rewritten attributes, by whom they are for (`trio_bgp.passthrough.rewrite`).
    """

    __slots__ = (
        "attributes",
        "audience",
        "extra",
        "key",
        "lane",
        "med",
        "neighbor_as",
        "next_hop",
        "rank",
        "seen",
        "source",
        "uses",
        "variants",
    )

    def __init__(
        self,
        lane: Lane,
        key: "PathKey",
        attributes: bytes,
        next_hop: bytes | None,
        parsed: Attributes,
        audience: int = ~0,
        extra: bytes = b"",
        stale: bool = False,
    ) -> None:
        source = lane.source
        self.source = source
        self.lane = lane
        lane.paths += 1
        self.key = key
        self.attributes = attributes
        self.next_hop = next_hop
        self.extra = extra
        self.audience = audience
        self.variants: tuple[object, ...] = ()
        self.uses = 0
        neighbor_as = parsed.neighbor_as
        self.neighbor_as = source.peer_as if neighbor_as == source.peer_as else neighbor_as  # the same object
        self.med = parsed.med or 0
        preference = _USUAL_PREFERENCE
        if not source.external and parsed.local_pref is not None:
            preference = (0xFFFFFFFF - parsed.local_pref) << 32
        # Most significant first; each field is as wide as its values, so that one comparison walks them all:
        # not long-lived stale (RFC 9494, section 4.3), LOCAL_PREF (higher wins), AS_PATH length, ORIGIN | EBGP before
        # IBGP, BGP Identifier, CLUSTER_LIST length (RFC 4456, section 9), peer address, path identifier.
        precedence = preference | parsed.as_path_length << 8 | parsed.origin
        if stale:
            precedence |= 1 << 64
        seen = parsed.seen
        if precedence not in lane.ranks or seen not in lane.seen:
            lane.keep(precedence, seen)
        self.rank = lane.ranks[precedence]
        self.seen = lane.seen[seen]
        if not source.external:
            self.rank += len(parsed.cluster_list) // 4 << 160
            if parsed.originator_id is not None:
                self.rank += parsed.originator_id - source.bgp_identifier << 176

    @property
    def precedence(self) -> int:
        """The part of `rank` that decides before MED does (9.1.2.2 a and b)."""
        return self.rank >> 224

    def __repr__(self) -> str:
        return f"Path({self.source.name}, {self.attributes.hex()})"


PathKey = bytes | tuple[object, ...]


PathStore = dict[PathKey, Path]
"""The paths of one source in one family, by what makes them equal.

The key is the received attribute block's octets for routes of the NLRI field without path identifiers; for others a
tuple of all that counts.
"""
