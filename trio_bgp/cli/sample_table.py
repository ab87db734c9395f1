"""A realistic table made from a seed: no recorded data, but shaped like it.

The shapes are those of public tables: how many prefixes share an attribute block and how long AS paths are, as in
RIPE RIS rrc06 of 2010-07-01 (bview of two full-table peers); how many routes have communities, MULTI_EXIT_DISC and the
like, as in RouteViews route-views4 of 2014. IPv6 prefixes are mostly /32 and /48, as in RIPE RIS of 2019.
"""

import math
import random
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from typing import Final

import attrs

from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST, Family
from trio_bgp.wire.update import pack_ipv4_announcement, pack_mp_announcement

__all__ = ["SampleRoute", "make_prefixes", "make_routes", "messages"]

Quantiles = Sequence[tuple[float, float]]

PREFIXES_PER_SET: Final[Quantiles] = ((0.0, 1), (0.5227, 1), (0.9, 9), (0.99, 66), (0.9995, 500), (1.0, 1000))
PATH_LENGTH: Final[Quantiles] = ((0.0, 1), (0.02, 2), (0.25, 3), (0.5, 4), (0.9, 6), (0.99, 9), (1.0, 15))
COMMUNITIES: Final[Quantiles] = ((0.0, 0), (0.5111, 0), (0.512, 1), (0.9, 6), (0.99, 13), (1.0, 39))
SHARE_MED: Final = 0.3836
SHARE_ATOMIC_AGGREGATE: Final = 0.0302
SHARE_AGGREGATOR: Final = 0.0569
SHARE_LARGE_COMMUNITIES: Final = 0.0772
PREFIX_LENGTH_V4: Final = ((24, 52), (23, 9), (22, 10), (21, 6), (20, 7), (19, 6), (18, 3), (17, 2), (16, 4), (14, 1))
PREFIX_LENGTH_V6: Final = ((48, 45), (32, 40), (44, 5), (40, 4), (36, 3), (29, 3))
"""Prefix lengths and how many per hundred have them."""


@attrs.frozen
class SampleRoute:
    """Prefixes that share their attributes."""

    family: Family
    attributes: bytes
    """Path attributes without next hop."""
    next_hop: bytes
    nlris: tuple[bytes, ...]
    path_length: int
    origin: int


def quantile(points: Quantiles, share: float) -> float:
    """The value at a share of a distribution known at some points; geometric in between."""
    for (low, at_low), (high, at_high) in pairwise(points):
        if share <= high:
            part = (share - low) / (high - low) if high > low else 0.0
            if at_low > 0:
                return math.exp(math.log(at_low) + part * (math.log(at_high) - math.log(at_low)))
            return at_low + part * (at_high - at_low)
    return points[-1][1]


def make_prefixes(rng: random.Random, family: Family, count: int) -> list[bytes]:
    """`count` different prefixes, as NLRI octets."""
    table = PREFIX_LENGTH_V4 if family == IPV4_UNICAST else PREFIX_LENGTH_V6
    lengths, weights = zip(*table, strict=True)
    found: dict[bytes, None] = {}
    while len(found) < count:
        bits = rng.choices(lengths, weights)[0]
        if family == IPV4_UNICAST:
            value = rng.randrange(0x01000000, 0xDF000000) >> (32 - bits) << (32 - bits)
            address = IPv4Address(value).packed
        else:
            value = (0x2001 << 112 | rng.getrandbits(109)) >> (128 - bits) << (128 - bits)
            address = IPv6Address(value).packed
        found[bytes((bits,)) + address[: (bits + 7) // 8]] = None
    return list(found)


def make_routes(
    rng: random.Random, family: Family, prefixes: Sequence[bytes], *, asn: int, next_hop: bytes
) -> Iterator[SampleRoute]:
    """Spread prefixes over attribute blocks.

    Args:
        rng: decides all.
        family: of the prefixes.
        prefixes: NLRI octets.
        asn: the announcing AS, first in every path.
        next_hop: the next-hop field.
    """
    position = 0
    while position < len(prefixes):
        size = round(quantile(PREFIXES_PER_SET, rng.random()))
        nlris = tuple(prefixes[position : position + size])
        position += size
        length = max(1, round(quantile(PATH_LENGTH, rng.random())))
        origin = rng.choices((0, 2), (85, 15))[0]
        path = [asn] + [
            rng.randrange(1, 64000) if rng.random() < 0.85 else rng.randrange(196608, 400000) for _ in range(length - 1)
        ]
        yield SampleRoute(family, _attributes(rng, path, origin), next_hop, nlris, length, origin)


def messages(route: SampleRoute, maximum: int = 4096) -> list[bytes]:
    """The UPDATEs that announce a route."""
    if route.family == IPV4_UNICAST:
        attributes = route.attributes + _attribute(0x40, 3, route.next_hop)
        return pack_ipv4_announcement(attributes, route.nlris, maximum)
    return pack_mp_announcement(route.attributes, IPV6_UNICAST, route.next_hop, route.nlris, maximum)


def _attributes(rng: random.Random, path: list[int], origin: int) -> bytes:
    octets = _attribute(0x40, 1, bytes((origin,)))
    octets += _attribute(0x40, 2, bytes((2, len(path))) + b"".join(number.to_bytes(4, "big") for number in path))
    if rng.random() < SHARE_MED:
        octets += _attribute(0x80, 4, rng.choice((0, 0, 10, 100)).to_bytes(4, "big"))
    if rng.random() < SHARE_ATOMIC_AGGREGATE:
        octets += _attribute(0x40, 6, b"")
    if rng.random() < SHARE_AGGREGATOR:
        octets += _attribute(0xC0, 7, path[-1].to_bytes(4, "big") + rng.getrandbits(32).to_bytes(4, "big"))
    communities = round(quantile(COMMUNITIES, rng.random()))
    if communities:
        values = sorted(rng.getrandbits(32) for _ in range(communities))
        octets += _attribute(0xC0, 8, b"".join(value.to_bytes(4, "big") for value in values))
    if rng.random() < SHARE_LARGE_COMMUNITIES:
        octets += _attribute(0xC0, 32, path[0].to_bytes(4, "big") + rng.randbytes(8))
    return octets


def _attribute(flags: int, kind: int, value: bytes) -> bytes:
    if len(value) > 255:
        return bytes((flags | 0x10, kind)) + len(value).to_bytes(2, "big") + value
    return bytes((flags, kind, len(value))) + value
