"""The numbers IANA assigned to BGP, under the RFCs' names."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NewType

__all__ = [
    "AS_TRANS",
    "EXTENDED_MESSAGE_LENGTH",
    "EXTENDED_NEXT_HOP_FAMILIES",
    "FAMILIES",
    "FLAG_EXTENDED_LENGTH",
    "FLAG_OPTIONAL",
    "FLAG_PARTIAL",
    "FLAG_TRANSITIVE",
    "MAXIMUM_MESSAGE_LENGTH",
    "Afi",
    "AttributeType",
    "CapabilityCode",
    "CeaseSubcode",
    "ErrorCode",
    "Family",
    "FsmErrorSubcode",
    "MessageHeaderErrorSubcode",
    "MessageType",
    "OpenMessageErrorSubcode",
    "Origin",
    "RouteRefreshErrorSubcode",
    "Safi",
    "SegmentType",
    "UpdateMessageErrorSubcode",
    "afi_of",
    "family",
    "family_name",
    "safi_of",
]

MAXIMUM_MESSAGE_LENGTH: Final = 4096
"""Octets of the longest message, header included (RFC 4271, section 4)."""
EXTENDED_MESSAGE_LENGTH: Final = 65535
"""The same between peers that both announced extended messages (RFC 8654)."""
AS_TRANS: Final = 23456
"""Stands for an AS number that does not fit two octets (RFC 6793)."""

FLAG_OPTIONAL: Final = 0x80
FLAG_TRANSITIVE: Final = 0x40
FLAG_PARTIAL: Final = 0x20
FLAG_EXTENDED_LENGTH: Final = 0x10


class MessageType(IntEnum):
    """RFC 4271, section 4.1; ROUTE-REFRESH: RFC 2918."""

    OPEN = 1
    UPDATE = 2
    NOTIFICATION = 3
    KEEPALIVE = 4
    ROUTE_REFRESH = 5


class Afi(IntEnum):
    """Address Family Identifiers."""

    IPV4 = 1
    IPV6 = 2
    L2VPN = 25
    BGP_LS = 16388


class Safi(IntEnum):
    """Subsequent Address Family Identifiers."""

    UNICAST = 1
    MULTICAST = 2
    LABELLED_UNICAST = 4
    MCAST_VPN = 5
    VPLS = 65
    EVPN = 70
    BGP_LS = 71
    BGP_LS_VPN = 72
    SR_POLICY = 73
    MUP = 85
    MPLS_VPN = 128
    MULTICAST_VPN = 129
    RT_CONSTRAIN = 132
    FLOWSPEC = 133
    FLOWSPEC_VPN = 134


class AttributeType(IntEnum):
    """Path attribute type codes."""

    ORIGIN = 1
    AS_PATH = 2
    NEXT_HOP = 3
    MULTI_EXIT_DISC = 4
    LOCAL_PREF = 5
    ATOMIC_AGGREGATE = 6
    AGGREGATOR = 7
    COMMUNITIES = 8
    ORIGINATOR_ID = 9
    CLUSTER_LIST = 10
    MP_REACH_NLRI = 14
    MP_UNREACH_NLRI = 15
    EXTENDED_COMMUNITIES = 16
    AS4_PATH = 17
    AS4_AGGREGATOR = 18
    PMSI_TUNNEL = 22
    TUNNEL_ENCAPSULATION = 23
    TRAFFIC_ENGINEERING = 24
    IPV6_EXTENDED_COMMUNITIES = 25
    AIGP = 26
    PE_DISTINGUISHER_LABELS = 27
    BGP_LS = 29
    LARGE_COMMUNITY = 32
    BGPSEC_PATH = 33
    ONLY_TO_CUSTOMER = 35
    PREFIX_SID = 40
    ATTR_SET = 128


class Origin(IntEnum):
    """Values of ORIGIN (RFC 4271, section 4.3)."""

    IGP = 0
    EGP = 1
    INCOMPLETE = 2


class SegmentType(IntEnum):
    """AS_PATH segment types (RFC 4271, section 4.3; RFC 5065)."""

    AS_SET = 1
    AS_SEQUENCE = 2
    AS_CONFED_SEQUENCE = 3
    AS_CONFED_SET = 4


class CapabilityCode(IntEnum):
    """Capability codes (RFC 5492)."""

    MULTIPROTOCOL = 1
    ROUTE_REFRESH = 2
    OUTBOUND_ROUTE_FILTERING = 3
    EXTENDED_NEXT_HOP = 5
    EXTENDED_MESSAGE = 6
    BGPSEC = 7
    MULTIPLE_LABELS = 8
    BGP_ROLE = 9
    GRACEFUL_RESTART = 64
    FOUR_OCTET_AS = 65
    DYNAMIC_CAPABILITY = 67
    ADD_PATH = 69
    ENHANCED_ROUTE_REFRESH = 70
    LONG_LIVED_GRACEFUL_RESTART = 71
    FQDN = 73
    SOFTWARE_VERSION = 75
    PATHS_LIMIT = 76


class ErrorCode(IntEnum):
    """NOTIFICATION error codes."""

    MESSAGE_HEADER_ERROR = 1
    OPEN_MESSAGE_ERROR = 2
    UPDATE_MESSAGE_ERROR = 3
    HOLD_TIMER_EXPIRED = 4
    FSM_ERROR = 5
    CEASE = 6
    ROUTE_REFRESH_MESSAGE_ERROR = 7
    SEND_HOLD_TIMER_EXPIRED = 8


class MessageHeaderErrorSubcode(IntEnum):
    """RFC 4271, section 6.1."""

    UNSPECIFIC = 0
    CONNECTION_NOT_SYNCHRONIZED = 1
    BAD_MESSAGE_LENGTH = 2
    BAD_MESSAGE_TYPE = 3


class OpenMessageErrorSubcode(IntEnum):
    """RFC 4271, section 6.2; RFC 5492; RFC 9234."""

    UNSPECIFIC = 0
    UNSUPPORTED_VERSION_NUMBER = 1
    BAD_PEER_AS = 2
    BAD_BGP_IDENTIFIER = 3
    UNSUPPORTED_OPTIONAL_PARAMETER = 4
    UNACCEPTABLE_HOLD_TIME = 6
    UNSUPPORTED_CAPABILITY = 7
    ROLE_MISMATCH = 11


class UpdateMessageErrorSubcode(IntEnum):
    """RFC 4271, section 6.3."""

    UNSPECIFIC = 0
    MALFORMED_ATTRIBUTE_LIST = 1
    UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE = 2
    MISSING_WELL_KNOWN_ATTRIBUTE = 3
    ATTRIBUTE_FLAGS_ERROR = 4
    ATTRIBUTE_LENGTH_ERROR = 5
    INVALID_ORIGIN_ATTRIBUTE = 6
    INVALID_NEXT_HOP_ATTRIBUTE = 8
    OPTIONAL_ATTRIBUTE_ERROR = 9
    INVALID_NETWORK_FIELD = 10
    MALFORMED_AS_PATH = 11


class FsmErrorSubcode(IntEnum):
    """RFC 6608."""

    UNSPECIFIC = 0
    UNEXPECTED_MESSAGE_IN_OPEN_SENT = 1
    UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM = 2
    UNEXPECTED_MESSAGE_IN_ESTABLISHED = 3


class CeaseSubcode(IntEnum):
    """RFC 4486; RFC 8538 (Hard Reset); RFC 9384 (BFD Down)."""

    UNSPECIFIC = 0
    MAXIMUM_NUMBER_OF_PREFIXES_REACHED = 1
    ADMINISTRATIVE_SHUTDOWN = 2
    PEER_DE_CONFIGURED = 3
    ADMINISTRATIVE_RESET = 4
    CONNECTION_REJECTED = 5
    OTHER_CONFIGURATION_CHANGE = 6
    CONNECTION_COLLISION_RESOLUTION = 7
    OUT_OF_RESOURCES = 8
    HARD_RESET = 9
    BFD_DOWN = 10


class RouteRefreshErrorSubcode(IntEnum):
    """RFC 7313, section 5."""

    INVALID_MESSAGE_LENGTH = 1


Family = NewType("Family", int)
"""An address family: `afi << 8 | safi`."""


def family(afi: int, safi: int) -> Family:
    """The family of an AFI and a SAFI."""
    return Family(afi << 8 | safi)


def afi_of(value: Family) -> int:
    """The AFI of a family."""
    return value >> 8


def safi_of(value: Family) -> int:
    """The SAFI of a family."""
    return value & 0xFF


IPV4_UNICAST: Final = family(Afi.IPV4, Safi.UNICAST)
IPV4_MULTICAST: Final = family(Afi.IPV4, Safi.MULTICAST)
IPV4_LABELLED: Final = family(Afi.IPV4, Safi.LABELLED_UNICAST)
IPV4_MVPN: Final = family(Afi.IPV4, Safi.MCAST_VPN)
IPV4_SR_POLICY: Final = family(Afi.IPV4, Safi.SR_POLICY)
IPV4_MUP: Final = family(Afi.IPV4, Safi.MUP)
VPNV4: Final = family(Afi.IPV4, Safi.MPLS_VPN)
VPNV4_MULTICAST: Final = family(Afi.IPV4, Safi.MULTICAST_VPN)
RT_CONSTRAIN: Final = family(Afi.IPV4, Safi.RT_CONSTRAIN)
IPV4_FLOWSPEC: Final = family(Afi.IPV4, Safi.FLOWSPEC)
VPNV4_FLOWSPEC: Final = family(Afi.IPV4, Safi.FLOWSPEC_VPN)
IPV6_UNICAST: Final = family(Afi.IPV6, Safi.UNICAST)
IPV6_MULTICAST: Final = family(Afi.IPV6, Safi.MULTICAST)
IPV6_LABELLED: Final = family(Afi.IPV6, Safi.LABELLED_UNICAST)
IPV6_MVPN: Final = family(Afi.IPV6, Safi.MCAST_VPN)
IPV6_SR_POLICY: Final = family(Afi.IPV6, Safi.SR_POLICY)
IPV6_MUP: Final = family(Afi.IPV6, Safi.MUP)
VPNV6: Final = family(Afi.IPV6, Safi.MPLS_VPN)
VPNV6_MULTICAST: Final = family(Afi.IPV6, Safi.MULTICAST_VPN)
IPV6_FLOWSPEC: Final = family(Afi.IPV6, Safi.FLOWSPEC)
VPNV6_FLOWSPEC: Final = family(Afi.IPV6, Safi.FLOWSPEC_VPN)
VPLS: Final = family(Afi.L2VPN, Safi.VPLS)
EVPN: Final = family(Afi.L2VPN, Safi.EVPN)
BGP_LS: Final = family(Afi.BGP_LS, Safi.BGP_LS)
BGP_LS_VPN: Final = family(Afi.BGP_LS, Safi.BGP_LS_VPN)

EXTENDED_NEXT_HOP_FAMILIES: Final = frozenset({IPV4_UNICAST, IPV4_MULTICAST, IPV4_LABELLED, VPNV4, VPNV4_MULTICAST})
"""Families that have an IPv6 next hop only where that was negotiated (RFC 8950, sections 3 and 4)."""

FAMILIES: Final[Mapping[str, Family]] = {
    "ipv4-unicast": IPV4_UNICAST,
    "ipv6-unicast": IPV6_UNICAST,
    "ipv4-multicast": IPV4_MULTICAST,
    "ipv6-multicast": IPV6_MULTICAST,
    "ipv4-labelled-unicast": IPV4_LABELLED,
    "ipv6-labelled-unicast": IPV6_LABELLED,
    "vpnv4-unicast": VPNV4,
    "vpnv6-unicast": VPNV6,
    "vpnv4-multicast": VPNV4_MULTICAST,
    "vpnv6-multicast": VPNV6_MULTICAST,
    "ipv4-flowspec": IPV4_FLOWSPEC,
    "ipv6-flowspec": IPV6_FLOWSPEC,
    "vpnv4-flowspec": VPNV4_FLOWSPEC,
    "vpnv6-flowspec": VPNV6_FLOWSPEC,
    "ipv4-mvpn": IPV4_MVPN,
    "ipv6-mvpn": IPV6_MVPN,
    "ipv4-sr-policy": IPV4_SR_POLICY,
    "ipv6-sr-policy": IPV6_SR_POLICY,
    "ipv4-mup": IPV4_MUP,
    "ipv6-mup": IPV6_MUP,
    "rt-constrain": RT_CONSTRAIN,
    "l2vpn-vpls": VPLS,
    "l2vpn-evpn": EVPN,
    "bgp-ls": BGP_LS,
    "bgp-ls-vpn": BGP_LS_VPN,
}
"""The names of address families in the configuration and in logs."""

_NAMES: Final = {value: name for name, value in FAMILIES.items()}


def family_name(value: Family) -> str:
    """The name in `FAMILIES`, or `afi-16388-safi-99` for a family without one."""
    return _NAMES.get(value) or f"afi-{afi_of(value)}-safi-{safi_of(value)}"
