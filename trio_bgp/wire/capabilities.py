"""Capabilities (RFC 5492): one value class each; what is unknown or malformed is kept as octets."""

import struct
from collections.abc import Callable
from typing import Final

import attrs

from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import CapabilityCode, ErrorCode, Family, OpenMessageErrorSubcode, afi_of, safi_of
from trio_bgp.wire.numbers import family as make_family

__all__ = [
    "AddPath",
    "BgpRole",
    "Capability",
    "EnhancedRouteRefresh",
    "ExtendedMessage",
    "ExtendedNextHop",
    "FourOctetAs",
    "Fqdn",
    "GracefulRestart",
    "LongLivedGracefulRestart",
    "Multiprotocol",
    "RouteRefresh",
    "SoftwareVersion",
    "UnknownCapability",
    "decode_capabilities",
    "encode_capability",
]


@attrs.frozen
class Multiprotocol:
    """RFC 4760, section 8."""

    family: Family


@attrs.frozen
class RouteRefresh:
    """RFC 2918."""


@attrs.frozen
class ExtendedNextHop:
    """RFC 8950, section 4: families whose next hop may be of another address family."""

    entries: tuple[tuple[Family, int], ...]
    """(family, AFI of the next hop)."""


@attrs.frozen
class ExtendedMessage:
    """RFC 8654."""


@attrs.frozen
class BgpRole:
    """RFC 9234, section 4.1: 0 provider, 1 route server, 2 route-server client, 3 customer, 4 peer."""

    role: int


@attrs.frozen
class GracefulRestart:
    """RFC 4724, section 3; the N bit: RFC 8538."""

    restarting: bool
    notification: bool
    restart_time: int
    """Seconds, at most 4095."""
    families: tuple[tuple[Family, bool], ...]
    """(family, forwarding state preserved)."""


@attrs.frozen
class FourOctetAs:
    """RFC 6793."""

    asn: int


@attrs.frozen
class AddPath:
    """RFC 7911, section 4."""

    entries: tuple[tuple[Family, int], ...]
    """(family, 1 receive, 2 send, 3 both); entries with other values are left out, as the RFC asks."""


@attrs.frozen
class EnhancedRouteRefresh:
    """RFC 7313."""


@attrs.frozen
class LongLivedGracefulRestart:
    """RFC 9494, section 3.1."""

    families: tuple[tuple[Family, bool, int], ...]
    """(family, forwarding state preserved, stale time in seconds)."""


@attrs.frozen
class Fqdn:
    """draft-walton-bgp-hostname-capability."""

    hostname: str
    domain: str = ""


@attrs.frozen
class SoftwareVersion:
    """draft-ietf-idr-bgp-software-version."""

    text: str


@attrs.frozen
class UnknownCapability:
    """A capability we do not know, or a known one whose value is malformed (RFC 5492, section 3: ignored)."""

    code: int
    value: bytes


Capability = (
    Multiprotocol
    | RouteRefresh
    | ExtendedNextHop
    | ExtendedMessage
    | BgpRole
    | GracefulRestart
    | FourOctetAs
    | AddPath
    | EnhancedRouteRefresh
    | LongLivedGracefulRestart
    | Fqdn
    | SoftwareVersion
    | UnknownCapability
)


class _MalformedError(ValueError):
    """The value of a known capability does not have its form."""


def _malformed_open(reason: str) -> NotificationError:
    return NotificationError(ErrorCode.OPEN_MESSAGE_ERROR, OpenMessageErrorSubcode.UNSPECIFIC, reason=reason)


def _multiprotocol(value: bytes) -> Multiprotocol:
    if len(value) != 4:
        raise _malformed_open(f"a multiprotocol capability of {len(value)} octets")
    afi, _, safi = struct.unpack(">HBB", value)
    return Multiprotocol(make_family(afi, safi))


def _four_octet_as(value: bytes) -> FourOctetAs:
    if len(value) != 4:
        raise _malformed_open(f"a 4-octet AS number capability of {len(value)} octets")
    return FourOctetAs(int.from_bytes(value, "big"))


def _empty(
    kind: type[RouteRefresh] | type[ExtendedMessage] | type[EnhancedRouteRefresh],
) -> Callable[[bytes], Capability]:
    def decode(value: bytes) -> Capability:
        if value:
            raise _MalformedError
        return kind()

    return decode


def _items(value: bytes, form: str) -> list[tuple[int, ...]]:
    if len(value) % struct.calcsize(form):
        raise _MalformedError
    return list(struct.iter_unpack(form, value))


def _extended_next_hop(value: bytes) -> ExtendedNextHop:
    return ExtendedNextHop(
        tuple((make_family(afi, safi), next_hop) for afi, safi, next_hop in _items(value, ">HHH") if safi < 256)
    )


def _role(value: bytes) -> BgpRole:
    if len(value) != 1:
        raise _MalformedError
    return BgpRole(value[0])


def _graceful_restart(value: bytes) -> GracefulRestart:
    if len(value) < 2:
        raise _MalformedError
    first = int.from_bytes(value[:2], "big")
    families = tuple((make_family(afi, safi), bool(flags & 0x80)) for afi, safi, flags in _items(value[2:], ">HBB"))
    return GracefulRestart(bool(first & 0x8000), bool(first & 0x4000), first & 0x0FFF, families)


def _add_path(value: bytes) -> AddPath:
    return AddPath(
        tuple((make_family(afi, safi), mode) for afi, safi, mode in _items(value, ">HBB") if mode in (1, 2, 3))
    )


def _long_lived(value: bytes) -> LongLivedGracefulRestart:
    items = _items(value, ">HBBBH")
    return LongLivedGracefulRestart(
        tuple((make_family(afi, safi), bool(flags & 0x80), high << 16 | low) for afi, safi, flags, high, low in items)
    )


def _counted_texts(value: bytes, count: int) -> list[str]:
    """`count` strings, each behind an octet with its length, and nothing more."""
    texts = []
    for _ in range(count):
        if not value or len(value) < 1 + value[0]:
            raise _MalformedError
        texts.append(value[1 : 1 + value[0]].decode(errors="replace"))
        value = value[1 + value[0] :]
    if value:
        raise _MalformedError
    return texts


def _fqdn(value: bytes) -> Fqdn:
    return Fqdn(*_counted_texts(value, 2))


def _software_version(value: bytes) -> SoftwareVersion:
    return SoftwareVersion(*_counted_texts(value, 1))


DECODERS: Final[dict[int, Callable[[bytes], Capability]]] = {
    CapabilityCode.MULTIPROTOCOL: _multiprotocol,
    CapabilityCode.ROUTE_REFRESH: _empty(RouteRefresh),
    CapabilityCode.EXTENDED_NEXT_HOP: _extended_next_hop,
    CapabilityCode.EXTENDED_MESSAGE: _empty(ExtendedMessage),
    CapabilityCode.BGP_ROLE: _role,
    CapabilityCode.GRACEFUL_RESTART: _graceful_restart,
    CapabilityCode.FOUR_OCTET_AS: _four_octet_as,
    CapabilityCode.ADD_PATH: _add_path,
    CapabilityCode.ENHANCED_ROUTE_REFRESH: _empty(EnhancedRouteRefresh),
    CapabilityCode.LONG_LIVED_GRACEFUL_RESTART: _long_lived,
    CapabilityCode.FQDN: _fqdn,
    CapabilityCode.SOFTWARE_VERSION: _software_version,
}


def decode_capabilities(octets: bytes) -> tuple[Capability, ...]:
    """The capabilities of one Capabilities optional parameter, in order.

    Raises:
        NotificationError: 2/0, a length exceeds the parameter, or a multiprotocol or 4-octet AS number capability has
            a wrong one: a session set up without them would be another than the peer meant.
    """
    found: list[Capability] = []
    position = 0
    while position < len(octets):
        if position + 2 > len(octets) or position + 2 + octets[position + 1] > len(octets):
            raise _malformed_open("a capability exceeds its optional parameter")
        code = octets[position]
        following = position + 2 + octets[position + 1]
        value = octets[position + 2 : following]
        decode = DECODERS.get(code)
        try:
            found.append(UnknownCapability(code, value) if decode is None else decode(value))
        except _MalformedError:
            found.append(UnknownCapability(code, value))
        position = following
    return tuple(found)


def encode_capability(capability: Capability) -> bytes:
    """One capability: code, length, value."""
    code, value = _encode(capability)
    return bytes((code, len(value))) + value


def _encode(capability: Capability) -> tuple[int, bytes]:
    match capability:
        case Multiprotocol(family):
            return CapabilityCode.MULTIPROTOCOL, struct.pack(">HBB", afi_of(family), 0, safi_of(family))
        case RouteRefresh():
            return CapabilityCode.ROUTE_REFRESH, b""
        case ExtendedNextHop(entries):
            packed = (struct.pack(">HHH", afi_of(family), safi_of(family), next_hop) for family, next_hop in entries)
            return CapabilityCode.EXTENDED_NEXT_HOP, b"".join(packed)
        case ExtendedMessage():
            return CapabilityCode.EXTENDED_MESSAGE, b""
        case BgpRole(role):
            return CapabilityCode.BGP_ROLE, bytes((role,))
        case GracefulRestart(restarting, notification, restart_time, families):
            first = restarting << 15 | notification << 14 | restart_time
            packed = (struct.pack(">HBB", afi_of(family), safi_of(family), kept << 7) for family, kept in families)
            return CapabilityCode.GRACEFUL_RESTART, struct.pack(">H", first) + b"".join(packed)
        case FourOctetAs(asn):
            return CapabilityCode.FOUR_OCTET_AS, struct.pack(">I", asn)
        case AddPath(entries):
            packed = (struct.pack(">HBB", afi_of(family), safi_of(family), mode) for family, mode in entries)
            return CapabilityCode.ADD_PATH, b"".join(packed)
        case EnhancedRouteRefresh():
            return CapabilityCode.ENHANCED_ROUTE_REFRESH, b""
        case LongLivedGracefulRestart(stale):
            packed = (
                struct.pack(">HBBBH", afi_of(family), safi_of(family), kept << 7, time >> 16, time & 0xFFFF)
                for family, kept, time in stale
            )
            return CapabilityCode.LONG_LIVED_GRACEFUL_RESTART, b"".join(packed)
        case Fqdn(hostname, domain):
            return CapabilityCode.FQDN, _counted(hostname, 64) + _counted(domain, 64)
        case SoftwareVersion(text):
            return CapabilityCode.SOFTWARE_VERSION, _counted(text, 64)
        case UnknownCapability(code, value):
            return code, value


def _counted(text: str, longest: int) -> bytes:
    octets = text.encode()[:longest].decode(errors="ignore").encode()
    return bytes((len(octets),)) + octets
