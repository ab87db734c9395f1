"""Receivers: the members of the route server, and groups of those that can be served with the same octets."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

import attrs

from trio_bgp.passthrough.mask import CapabilityMask, can_pass_through, mask_of
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.rib.path import Source
from trio_bgp.session.negotiation import Negotiated
from trio_bgp.settings import PeerSettings
from trio_bgp.wire.notification import Notification
from trio_bgp.wire.numbers import Family

__all__ = ["Group", "Member", "OutboundQueue"]


class OutboundQueue(Protocol):
    """What the forwarder needs of a session's sending side (`trio_bgp.runtime.outbound.Outbound`)."""

    queued: int
    """Octets put and not yet sent."""
    drained: Callable[[], None] | None
    """Called after each write."""

    def put(self, item: bytes | PassthroughMessage) -> None:
        """Queue whole messages, taking over the caller's reference. Never blocks."""


def _no_reset(notification: Notification, reason: str) -> None:
    raise AssertionError(f"nobody listens for a session reset: {notification} {reason}")


@attrs.define(eq=False)
class Member:
    """One established session, as receiver and as source of routes."""

    name: str
    address: IPv4Address | IPv6Address
    settings: PeerSettings
    negotiated: Negotiated
    outbound: OutboundQueue
    reset: Callable[[Notification, str], None] = _no_reset
    """Called when what the peer sent asks for the end of the session; must not block."""
    source: Source = attrs.field(init=False)
    mask: CapabilityMask = attrs.field(init=False)
    failed: bool = False
    """A reset was asked for: nothing more is taken from this peer."""
    behind: dict[Family, set[bytes]] | None = None
    """None: live. Otherwise catching up: the prefixes whose present state the peer has yet to be told."""
    detached: int = 0
    """How often the peer fell behind."""
    messages_in: int = 0
    messages_out: int = 0
    octets_out: int = 0
    end_of_rib: set[Family] = attrs.Factory(set)
    """Families whose End-of-RIB the peer has sent."""

    def __attrs_post_init__(self) -> None:
        negotiated = self.negotiated
        self.source = Source(
            name=self.name,
            peer_as=negotiated.peer_as,
            bgp_identifier=negotiated.bgp_identifier,
            address=int(self.address),
            external=negotiated.external,
        )
        self.mask = mask_of(
            families=negotiated.families,
            asn4=negotiated.asn4,
            extended_message=negotiated.extended_message,
            external=negotiated.external,
        )

    def __repr__(self) -> str:
        return f"Member({self.name})"


class Group:
    """Members whose masks, and so all octets they may get, are equal.

    Attributes:
        mask: what each of them negotiated.
        maximum: the longest message they take, in octets with header.
        families: the families they negotiated.
        members: in the order they joined.
        behind: how many of them are catching up.
    """

    __slots__ = ("_verdicts", "behind", "families", "mask", "maximum", "members")

    def __init__(self, member: Member) -> None:
        self.mask = member.mask
        self.maximum = member.negotiated.maximum_length
        self.families = member.negotiated.families
        self.members: list[Member] = []
        self.behind = 0
        self._verdicts: dict[int, bool] = {}

    def passes(self, required: int) -> bool:
        """Whether octets that require this can go to the members unchanged."""
        verdict = self._verdicts.get(required)
        if verdict is None:
            verdict = self._verdicts[required] = can_pass_through(required, self.mask)
        return verdict
