"""From two OPEN messages to what both sides may do (RFC 4271 section 6.2, RFC 5492)."""

from collections.abc import Mapping
from ipaddress import IPv4Address

import attrs

from trio_bgp.settings import BgpRole as Role
from trio_bgp.settings import PeerSettings, SpeakerSettings
from trio_bgp.wire.capabilities import (
    AddPath,
    BgpRole,
    Capability,
    EnhancedRouteRefresh,
    ExtendedMessage,
    ExtendedNextHop,
    FourOctetAs,
    Fqdn,
    GracefulRestart,
    LongLivedGracefulRestart,
    Multiprotocol,
    RouteRefresh,
    encode_capability,
)
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import (
    AS_TRANS,
    EXTENDED_MESSAGE_LENGTH,
    EXTENDED_NEXT_HOP_FAMILIES,
    IPV4_UNICAST,
    MAXIMUM_MESSAGE_LENGTH,
    Afi,
    ErrorCode,
    Family,
    OpenMessageErrorSubcode,
    family_name,
)
from trio_bgp.wire.open import Open

__all__ = ["Negotiated", "make_open", "negotiate"]


@attrs.frozen(kw_only=True)
class Negotiated:
    """What a session's two OPEN messages agree on."""

    peer_as: int
    bgp_identifier: int
    """The peer's, as a 32-bit number."""
    hold_time: int
    """The smaller of both, in seconds; 0: no KEEPALIVEs and no hold timer."""
    asn4: bool
    families: frozenset[Family]
    add_path_receive: frozenset[Family] = frozenset()
    add_path_send: frozenset[Family] = frozenset()
    extended_message: bool = False
    route_refresh: bool = False
    enhanced_route_refresh: bool = False
    graceful_restart: GracefulRestart | None = None
    """The peer's capability."""
    role: int | None = None
    """The peer's BGP Role (RFC 9234)."""
    extended_next_hop: frozenset[tuple[Family, int]] = frozenset()
    """Families whose next hop may be of another address family, and that one's AFI; offered by both (RFC 8950)."""
    long_lived_graceful_restart: bool = False
    """The peer announced it (RFC 9494)."""
    long_lived_families: Mapping[Family, int] = attrs.field(factory=dict)
    """For which families, and for how many seconds its stale routes may be kept; empty unless we announced it too."""
    long_lived_forwarding: frozenset[Family] = frozenset()
    """Of these, those whose forwarding state it has preserved."""
    notification_restart: bool = False
    """Both announced that a NOTIFICATION other than Hard Reset does not end a graceful restart (RFC 8538)."""
    external: bool = True
    capabilities: tuple[Capability, ...] = ()
    """All of the peer's."""

    @property
    def maximum_length(self) -> int:
        """Octets of the longest message either side may send, header included (RFC 8654)."""
        return EXTENDED_MESSAGE_LENGTH if self.extended_message else MAXIMUM_MESSAGE_LENGTH

    @property
    def keepalive_time(self) -> float:
        """Seconds between KEEPALIVEs: a third of the hold time (RFC 4271, section 4.4)."""
        return self.hold_time / 3


def make_open(speaker: SpeakerSettings, peer: PeerSettings) -> Open:
    """The OPEN we send to a peer."""
    capabilities: list[Capability] = [Multiprotocol(family) for family in peer.families]
    capabilities += [RouteRefresh(), EnhancedRouteRefresh(), FourOctetAs(speaker.local_as)]
    if peer.extended_message:
        capabilities.append(ExtendedMessage())
    mode = (1 if peer.add_path.receive else 0) | (2 if peer.add_path.send else 0)
    if mode:
        capabilities.append(AddPath(tuple((family, mode) for family in peer.families)))
    entries = tuple((family, int(Afi.IPV6)) for family in peer.families if family in EXTENDED_NEXT_HOP_FAMILIES)
    if peer.extended_next_hop and entries:
        capabilities.append(ExtendedNextHop(entries))
    if peer.bgp_role is not None:
        capabilities.append(BgpRole(peer.bgp_role.value))
    # Without family and time it says that we send End-of-RIB and keep others' routes (RFC 4724, section 3).
    preserved = tuple((family, True) for family in peer.families) if speaker.restart_time else ()
    capabilities.append(
        GracefulRestart(
            restarting=speaker.restarting and bool(preserved),
            notification=peer.graceful_restart,
            restart_time=speaker.restart_time,
            families=preserved,
        )
    )
    if peer.long_lived_stale_time:
        stale = tuple((family, True, peer.long_lived_stale_time) for family in peer.families)
        capabilities.append(LongLivedGracefulRestart(stale))
    if speaker.hostname:
        capabilities.append(Fqdn(speaker.hostname))
    return Open(
        my_as=speaker.local_as if speaker.local_as <= 0xFFFF else AS_TRANS,
        hold_time=peer.hold_time,
        bgp_identifier=speaker.bgp_identifier,
        capabilities=tuple(capabilities),
    )


def negotiate(speaker: SpeakerSettings, peer: PeerSettings, local: Open, remote: Open) -> Negotiated:
    """Compare the OPEN we sent with the one we got.

    Raises:
        NotificationError: 2/2 the peer's AS is not the configured one; 2/3 an internal peer has our identifier
            (RFC 6286); 2/7 there is no address family in common; 2/11 the peer's BGP Role does not fit ours (RFC 9234).
    """
    error = ErrorCode.OPEN_MESSAGE_ERROR
    if peer.peer_as and remote.peer_as != peer.peer_as:
        raise NotificationError(
            error,
            OpenMessageErrorSubcode.BAD_PEER_AS,
            reason=f"the peer says AS {remote.peer_as}, AS {peer.peer_as} is configured",
        )
    external = remote.peer_as != speaker.local_as
    if not external and remote.bgp_identifier == speaker.bgp_identifier:
        raise NotificationError(
            error,
            OpenMessageErrorSubcode.BAD_BGP_IDENTIFIER,
            reason=f"the peer has our BGP Identifier {IPv4Address(remote.bgp_identifier)}",
        )
    if peer.bgp_role is not None:
        _check_role(peer.bgp_role, remote, strict=peer.bgp_role_strict)
    offered = {capability.family for capability in remote.capabilities if isinstance(capability, Multiprotocol)}
    if not offered:
        offered = {IPV4_UNICAST}  # RFC 4760, section 8: without the capability a peer speaks IPv4 unicast
    families = frozenset(offered.intersection(peer.families))
    if not families:
        raise NotificationError(
            error,
            OpenMessageErrorSubcode.UNSUPPORTED_CAPABILITY,
            b"".join(encode_capability(Multiprotocol(family)) for family in peer.families),
            f"no address family in common: the peer offers {', '.join(map(family_name, sorted(offered)))}",
        )

    def both(kind: type[Capability]) -> bool:
        return any(isinstance(capability, kind) for capability in local.capabilities) and any(
            isinstance(capability, kind) for capability in remote.capabilities
        )

    graceful = next((each for each in remote.capabilities if isinstance(each, GracefulRestart)), None)
    long_lived = [
        entry
        for capability in remote.capabilities
        if isinstance(capability, LongLivedGracefulRestart)
        for entry in capability.families
    ]
    return Negotiated(
        peer_as=remote.peer_as,
        bgp_identifier=remote.bgp_identifier,
        hold_time=min(local.hold_time, remote.hold_time),
        asn4=both(FourOctetAs),
        families=families,
        add_path_receive=_add_path(local, remote, families),
        add_path_send=_add_path(remote, local, families),
        extended_message=both(ExtendedMessage),
        route_refresh=both(RouteRefresh),
        enhanced_route_refresh=both(EnhancedRouteRefresh),
        graceful_restart=graceful,
        role=next((each.role for each in remote.capabilities if isinstance(each, BgpRole)), None),
        long_lived_graceful_restart=bool(long_lived),
        long_lived_families={family: seconds for family, _, seconds in long_lived if family in families}
        if peer.long_lived_stale_time
        else {},
        long_lived_forwarding=frozenset(family for family, forwarding, _ in long_lived if forwarding),
        notification_restart=peer.graceful_restart and graceful is not None and graceful.notification,
        extended_next_hop=frozenset(_extended_next_hops(local) & _extended_next_hops(remote)),
        external=external,
        capabilities=remote.capabilities,
    )


def _add_path(receiver: Open, sender: Open, families: frozenset[Family]) -> frozenset[Family]:
    """The families in which one side may send path identifiers to the other (RFC 7911, section 4)."""
    return families & _modes(receiver, 1) & _modes(sender, 2)


def _modes(message: Open, mode: int) -> frozenset[Family]:
    """The families that an OPEN offers for ADD-PATH with a mode that includes this one: 1 receive, 2 send."""
    return frozenset(
        family
        for capability in message.capabilities
        if isinstance(capability, AddPath)
        for family, offered in capability.entries
        if offered & mode
    )


def _extended_next_hops(message: Open) -> set[tuple[Family, int]]:
    return {
        entry
        for capability in message.capabilities
        if isinstance(capability, ExtendedNextHop)
        for entry in capability.entries
    }


def _check_role(ours: Role, remote: Open, *, strict: bool) -> None:
    """RFC 9234, section 4.2."""
    said = {each.role for each in remote.capabilities if isinstance(each, BgpRole)}
    if (said or strict) and said != {ours.other.value}:
        raise NotificationError(
            ErrorCode.OPEN_MESSAGE_ERROR,
            OpenMessageErrorSubcode.ROLE_MISMATCH,
            reason=f"the peer's BGP Role is {sorted(said) or 'not said'}, ours is {ours.name} ({ours.value})",
        )
