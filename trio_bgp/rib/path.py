"""Interned paths: everything that many prefixes of one source have in common, parsed and ranked once."""

from typing import Final

from trio_bgp.wire.attributes import Attributes
from trio_bgp.wire.numbers import Family

__all__ = ["DEFAULT_LOCAL_PREF", "Path", "PathStore", "Source"]

DEFAULT_LOCAL_PREF: Final = 100
"""Degree of preference of routes from external peers, whose own LOCAL_PREF does not count (RFC 4271, 5.1.5)."""


class Source:
    """One established session as a source of routes.

    Attributes:
        name: the peer's name, for messages.
        peer_as: its AS number.
        bgp_identifier: its BGP Identifier, as a number.
        address: its address as a number, the last tie-breaker.
        external: an EBGP session.
        prefixes: how many prefixes it has in each family's table.
        paths: its interned paths by family.
    """

    __slots__ = ("address", "bgp_identifier", "external", "name", "paths", "peer_as", "prefixes")

    def __init__(self, *, name: str, peer_as: int, bgp_identifier: int, address: int, external: bool = True) -> None:
        self.name = name
        self.peer_as = peer_as
        self.bgp_identifier = bgp_identifier
        self.address = address
        self.external = external
        self.prefixes: dict[Family, int] = {}
        self.paths: dict[Family, PathStore] = {}

    def __repr__(self) -> str:
        return f"Source({self.name})"


class Path:
    """One attribute block of one source, with what the decision process asks of it.

    Attributes:
        source: whose path it is.
        key: what it is interned by in `source.paths`.
        attributes: the path attributes' octets without MP_REACH_NLRI and MP_UNREACH_NLRI.
        next_hop: the next-hop field of MP_REACH_NLRI; None when the route came in the UPDATE's own NLRI field.
        rank: preference as one number, lower is better: RFC 4271 section 9.1 without MED.
        precedence: the part of `rank` that decides before MED does (9.1.2.2 a and b).
        neighbor_as: MED is compared only between paths with the same one.
        med: MULTI_EXIT_DISC, 0 if absent.
        uses: prefixes in the table that have this path; with the last one the path is forgotten.
    """

    __slots__ = (
        "attributes",
        "key",
        "med",
        "neighbor_as",
        "next_hop",
        "precedence",
        "rank",
        "source",
        "uses",
    )

    def __init__(
        self,
        source: Source,
        key: bytes | tuple[bytes, bytes],
        attributes: bytes,
        next_hop: bytes | None,
        parsed: Attributes,
    ) -> None:
        self.source = source
        self.key = key
        self.attributes = attributes
        self.next_hop = next_hop
        self.uses = 0
        self.neighbor_as = parsed.neighbor_as
        self.med = parsed.med or 0
        local_pref = DEFAULT_LOCAL_PREF
        if not source.external and parsed.local_pref is not None:
            local_pref = parsed.local_pref
        # Most significant first; each field is as wide as its values, so that one comparison walks them all:
        # LOCAL_PREF (higher wins), AS_PATH length, ORIGIN | EBGP before IBGP, BGP Identifier, CLUSTER_LIST length
        # (RFC 4456, section 9), peer address.
        identifier = source.bgp_identifier if parsed.originator_id is None else parsed.originator_id
        self.precedence = (0xFFFFFFFF - local_pref) << 32 | parsed.as_path_length << 8 | parsed.origin
        self.rank = (
            self.precedence << 192
            | (0 if source.external else 1) << 176
            | identifier << 144
            | len(parsed.cluster_list) // 4 << 128
            | source.address
        )

    def __repr__(self) -> str:
        return f"Path({self.source.name}, {self.attributes.hex()})"


class PathStore(dict[bytes | tuple[bytes, bytes], Path]):
    """The paths of one source in one family, by what makes them equal.

    The key is the attribute block's octets for routes of the NLRI field; for routes of MP_REACH_NLRI it is (next-hop
    field, attribute block without MP_REACH_NLRI).
    """

    __slots__ = ()
