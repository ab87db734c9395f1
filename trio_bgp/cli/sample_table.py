"""A realistic table made from a seed: no recorded data, but shaped like it.

What is taken from public tables are numbers that describe them, counted once and named at each constant: how many
prefixes share an attribute block, how long AS paths are, how many communities a route carries. The prefixes, AS numbers
and communities themselves are random. The same generator gives the same octets.
"""

import math
import random
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import attrs

from trio_bgp.wire.numbers import (
    AS_TRANS,
    IPV4_UNICAST,
    IPV6_UNICAST,
    MAXIMUM_MESSAGE_LENGTH,
    AttributeType,
    Family,
    SegmentType,
)
from trio_bgp.wire.update import pack_ipv4_announcement, pack_mp_announcement

__all__ = ["FULL_TABLE_2010", "MODERN", "Profile", "SampleRoute", "make_prefixes", "make_routes", "messages"]

Quantiles = Sequence[tuple[float, int]]
"""A distribution as (share of all that is at most this large, this large), ascending; the last share is 1."""
Weights = Sequence[tuple[int, float]]
"""A distribution as (value, relative frequency)."""

WELL_KNOWN: Final = 0x40
OPTIONAL: Final = 0x80
OPTIONAL_TRANSITIVE: Final = 0xC0
EXTENDED_LENGTH: Final = 0x10

LARGE_SET: Final = 20
"""Blocks of more prefixes than this have shorter AS paths: large networks are near."""
PREPENDING: Final = (0.02, 0.02, 0.02, 0.02, 0.07, 0.09, 0.25, 0.7)
"""Share of paths that repeat an AS, by length (7: and more); 12 % of all in rrc06."""
FIRST_TRANSITS: Final = (188, 5.0)
"""Distinct AS numbers right behind the peer's and their skew: the most frequent is on 31 % of all paths (rrc06)."""
FURTHER_TRANSITS: Final = (3675, 3.3)
"""The same of the next position: 8.6 % (rrc06)."""


@attrs.frozen(kw_only=True)
class Profile:
    """What a table is like. Shares are of attribute blocks, from 0 to 1."""

    prefixes_per_set: Quantiles
    """IPv4 prefixes that share an attribute block."""
    ipv6_prefixes_per_set: Quantiles
    path_length: Weights
    """AS_PATH lengths of blocks with up to `LARGE_SET` prefixes."""
    path_length_of_large_sets: Weights
    origin: Weights
    share_atomic_aggregate: float
    share_aggregator: float
    share_med: float
    communities: Quantiles
    """Communities (RFC 1997) in a block."""
    large_communities: Weights
    share_four_octet: float
    """Originating AS numbers above 65535."""


FULL_TABLE_2010: Final = Profile(
    # RIPE RIS rrc06, 2010-07-01: a whole IPv4 table from two peers, 641,957 prefixes in 117,408 blocks.
    prefixes_per_set=(
        *((0.5227, 1), (0.6796, 2), (0.7558, 3), (0.8045, 4), (0.8365, 5), (0.8597, 6), (0.8769, 7), (0.8922, 8)),
        *((0.9035, 9), (0.925, 12), (0.95, 17), (0.97, 27), (0.98, 38), (0.99, 66), (0.995, 111), (0.998, 206)),
        *((0.999, 297), (0.9995, 448), (0.9999, 1066), (1.0, 3880)),
    ),
    ipv6_prefixes_per_set=((1.0, 1),),
    path_length=(
        *((1, 0.0001), (2, 0.0041), (3, 0.175), (4, 0.3965), (5, 0.2662), (6, 0.0869), (7, 0.0296), (8, 0.0169)),
        *((9, 0.0108), (10, 0.0057), (11, 0.0031), (12, 0.002), (13, 0.0013), (14, 0.0009), (15, 0.0005), (16, 0.0002)),
    ),
    path_length_of_large_sets=(
        *((2, 0.0616), (3, 0.2973), (4, 0.3744), (5, 0.1747), (6, 0.0533), (7, 0.0265), (8, 0.0089), (9, 0.0046)),
        *((10, 0.0031), (11, 0.0014), (12, 0.0016)),
    ),
    origin=((0, 0.9452), (1, 0.0016), (2, 0.0532)),
    share_atomic_aggregate=0.0567,
    share_aggregator=0.0754,
    share_med=0.0,
    communities=((1.0, 0),),
    large_communities=((0, 1.0),),
    share_four_octet=0.0045,
)
"""An IPv4 table as it was, for comparison: almost no communities."""

MODERN: Final = attrs.evolve(
    FULL_TABLE_2010,
    # RIPE RIS, updates of 2019-01-01: IPv6 and large communities. RouteViews, part of the table of 2014-05-23:
    # communities and MULTI_EXIT_DISC. RouteViews, updates of 2016-11-01: 4-octet AS numbers.
    ipv6_prefixes_per_set=((0.8882, 1), (0.9476, 2), (0.9745, 3), (0.997, 4), (0.9974, 5), (0.9997, 6), (1.0, 40)),
    share_med=0.3836,
    communities=(
        *((0.511, 0), (0.625, 1), (0.7, 2), (0.727, 3), (0.772, 4), (0.872, 5), (0.914, 6), (0.939, 7), (0.949, 8)),
        *((0.96, 9), (0.9775, 10), (0.984, 11), (0.9876, 12), (0.9916, 13), (0.995, 15), (0.998, 19), (1.0, 39)),
    ),
    large_communities=((0, 0.9228), (1, 0.0263), (2, 0.0397), (3, 0.0014), (4, 0.0085), (5, 0.0011), (6, 0.0002)),
    share_four_octet=0.1474,
)
"""The shape of a whole table with what routes carry today."""

PREFIX_LENGTH_V4: Final[Weights] = (
    *((8, 40), (9, 20), (10, 50), (11, 136), (12, 392), (13, 807), (14, 1411), (15, 2563), (16, 22297), (17, 10651)),
    *((18, 18201), (19, 36685), (20, 45476), (21, 45608), (22, 59674), (23, 59012), (24, 335701), (25, 1028)),
    *((26, 1319), (27, 708), (28, 118), (29, 47), (30, 6), (32, 7)),
)
"""Prefixes of each length in rrc06's table of 2010-07-01."""
PREFIX_LENGTH_V6: Final[Weights] = (
    *((20, 2), (24, 2), (29, 13), (30, 10), (31, 268), (32, 3074), (33, 65), (34, 21), (35, 21), (36, 288), (39, 598)),
    *((40, 94), (42, 216), (44, 4), (47, 1), (48, 4882)),
)
"""The same in RIPE RIS, updates of 2019-01-01."""


@attrs.frozen
class SampleRoute:
    """Prefixes that share their attributes."""

    family: Family
    attributes: bytes
    """Path attributes as they are sent, without MP_REACH_NLRI; NEXT_HOP is among them for IPv4."""
    next_hop: bytes
    """The address; for IPv6 it is the next-hop field of MP_REACH_NLRI."""
    nlris: tuple[bytes, ...]
    as_path: tuple[int, ...]
    origin: int

    @property
    def path_length(self) -> int:
        """AS numbers in AS_PATH."""
        return len(self.as_path)


def make_prefixes(rng: random.Random, family: Family, count: int) -> list[bytes]:
    """`count` different prefixes of unicast space, as NLRI octets.

    Args:
        rng: decides all.
        family: IPv4 or IPv6 unicast.
        count: how many.
    """
    lengths, weights = zip(*(PREFIX_LENGTH_V4 if family == IPV4_UNICAST else PREFIX_LENGTH_V6), strict=True)
    found: dict[bytes, None] = {}
    while len(found) < count:
        # A prefix that is taken is drawn again, length and all.
        bits = rng.choices(lengths, weights)[0]
        if family == IPV4_UNICAST:
            value = rng.randrange(0x01000000, 0xDF000000) >> (32 - bits) << (32 - bits)
            address = IPv4Address(value).packed
        else:
            value = (0x2001 << 112 | rng.getrandbits(112)) if bits > 32 else (0x2 << 124 | rng.getrandbits(124))
            address = IPv6Address(value >> (128 - bits) << (128 - bits)).packed
        found[bytes((bits,)) + address[: (bits + 7) // 8]] = None
    return list(found)


def make_routes(
    rng: random.Random,
    family: Family,
    prefixes: Sequence[bytes],
    *,
    asn: int,
    next_hop: bytes,
    profile: Profile = MODERN,
) -> Iterator[SampleRoute]:
    """Spread prefixes over attribute blocks.

    Args:
        rng: decides all.
        family: of the prefixes.
        prefixes: NLRI octets.
        asn: the announcing AS, first in every path.
        next_hop: the next-hop address.
        profile: what the table is to be like.
    """
    position = 0
    ipv4 = family == IPV4_UNICAST
    for size in _sizes(rng, len(prefixes), profile.prefixes_per_set if ipv4 else profile.ipv6_prefixes_per_set):
        nlris = tuple(prefixes[position : position + size])
        position += size
        path = _as_path(rng, asn, size, profile)
        origin = _draw(rng, profile.origin)
        attributes = _attributes(rng, path, origin, next_hop if ipv4 else None, profile)
        yield SampleRoute(family, attributes, next_hop, nlris, path, origin)


def messages(route: SampleRoute, maximum: int = MAXIMUM_MESSAGE_LENGTH) -> list[bytes]:
    """The UPDATEs of at most `maximum` octets that announce a route."""
    if route.family == IPV4_UNICAST:
        return pack_ipv4_announcement(route.attributes, route.nlris, maximum)
    return pack_mp_announcement(route.attributes, IPV6_UNICAST, route.next_hop, route.nlris, maximum)


def _quantile(points: Quantiles, share: float) -> int:
    """The value that `share` of all do not exceed; geometric between points that lie apart."""
    index = bisect_left(points, (share, 0))
    high, at_high = points[index]
    low, at_low = points[index - 1] if index else (0.0, at_high)
    at_low += 1
    if at_high <= at_low:
        return at_high
    return round(at_low * math.exp(math.log(at_high / at_low) * (share - low) / (high - low)))


def _draw(rng: random.Random, weights: Weights) -> int:
    return rng.choices([value for value, _ in weights], [frequency for _, frequency in weights])[0]


def _sizes(rng: random.Random, total: int, points: Quantiles) -> list[int]:
    """Sizes of blocks that make `total` together, in random order.

    The quantiles are taken evenly, not at random: few very large blocks hold much of a table, and one more or less of
    them would make another table.
    """
    mean = sum(_quantile(points, (index + 0.5) / 5000) for index in range(5000)) / 5000
    count = max(1, round(total / mean))
    sizes = [_quantile(points, (index + 0.5) / count) for index in range(count)]
    rng.shuffle(sizes)
    while sum(sizes) < total:
        sizes.append(_quantile(points, rng.random()))
    excess = sum(sizes) - total
    while excess:
        cut = min(excess, sizes[-1])
        sizes[-1] -= cut
        excess -= cut
        if not sizes[-1]:
            sizes.pop()
    return sizes


def _as_path(rng: random.Random, asn: int, size: int, profile: Profile) -> tuple[int, ...]:
    """A path from the announcing AS to an origin. Long ones are long because of prepending."""
    length = _draw(rng, profile.path_length if size <= LARGE_SET else profile.path_length_of_large_sets)
    if length == 1:
        return (asn,)
    path = [asn]
    prepended = 0
    if length > 2 and rng.random() < PREPENDING[min(length, 7)]:
        prepended = max(min(length - 2, rng.choice((1, 1, 2, 3))), length - 7)
    while len(path) < length - 1 - prepended:
        count, skew = FIRST_TRANSITS if len(path) == 1 else FURTHER_TRANSITS
        # Between 1000 and 64000: none is one of the private numbers that the peers have.
        transit = 1000 + int(count * rng.random() ** skew) * 17
        if transit not in path and transit != AS_TRANS:
            path.append(transit)
    if rng.random() < profile.share_four_octet:
        origin_as = rng.randrange(131072, 402333)
    else:
        # An origin that is also a transit of this path would make the path a loop.
        origin_as = rng.randrange(1000, 64496)
        while origin_as in path or origin_as == AS_TRANS:
            origin_as = rng.randrange(1000, 64496)
    return (*path, *[origin_as] * (prepended + 1))


def _attributes(
    rng: random.Random, path: tuple[int, ...], origin: int, next_hop: bytes | None, profile: Profile
) -> bytes:
    """An attribute block in the order of the attributes' types (RFC 4271, appendix F.4)."""
    octets = _attribute(WELL_KNOWN, AttributeType.ORIGIN, bytes((origin,)))
    octets += _attribute(
        WELL_KNOWN, AttributeType.AS_PATH, bytes((SegmentType.AS_SEQUENCE, len(path))) + _numbers(path)
    )
    if next_hop is not None:
        octets += _attribute(WELL_KNOWN, AttributeType.NEXT_HOP, next_hop)
    if rng.random() < profile.share_med:
        octets += _attribute(OPTIONAL, AttributeType.MULTI_EXIT_DISC, _numbers((rng.choice((0, 0, 10, 100)),)))
    if rng.random() < profile.share_atomic_aggregate:
        octets += _attribute(WELL_KNOWN, AttributeType.ATOMIC_AGGREGATE, b"")
    if rng.random() < profile.share_aggregator:
        octets += _attribute(
            OPTIONAL_TRANSITIVE, AttributeType.AGGREGATOR, _numbers((path[-1], rng.randrange(1 << 24, 0xDF000000)))
        )
    count = _quantile(profile.communities, rng.random())
    if count:
        values = sorted(rng.choice(path) % 65536 << 16 | rng.getrandbits(16) for _ in range(count))
        octets += _attribute(OPTIONAL_TRANSITIVE, AttributeType.COMMUNITIES, _numbers(values))
    count = _draw(rng, profile.large_communities)
    if count:
        numbers = [number for each in range(count) for number in (path[0], each, rng.randrange(1000))]
        octets += _attribute(OPTIONAL_TRANSITIVE, AttributeType.LARGE_COMMUNITY, _numbers(numbers))
    return octets


def _attribute(flags: int, kind: int, value: bytes) -> bytes:
    if len(value) > 255:
        return bytes((flags | EXTENDED_LENGTH, kind)) + len(value).to_bytes(2, "big") + value
    return bytes((flags, kind, len(value))) + value


def _numbers(values: Iterable[int]) -> bytes:
    return b"".join(value.to_bytes(4, "big") for value in values)
