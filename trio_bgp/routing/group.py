"""Receivers: the members of the speaker, and groups of those that can be served with the same octets."""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Protocol

import attrs

from trio_bgp.passthrough.mask import TRANSPARENT, CapabilityMask, mask_of, obstacle
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.passthrough.rewrite import RewriteRules
from trio_bgp.policy.audience import class_of
from trio_bgp.rib.export import View
from trio_bgp.rib.path import Source
from trio_bgp.session.negotiation import Negotiated
from trio_bgp.settings import NextHop, PeerSettings, Role, SpeakerSettings
from trio_bgp.wire.notification import Notification
from trio_bgp.wire.numbers import Family, Safi, safi_of

__all__ = ["ExportContext", "Group", "GroupCounters", "Member", "OutboundQueue", "refusal"]

REFUSALS: Final = (
    "treat-as-withdraw",
    "attribute discard",
    "AS loop",
    "reflection loop: ORIGINATOR_ID",
    "reflection loop: CLUSTER_LIST",
)
"""What is told apart of refused UPDATEs, by how the cause begins."""


class OutboundQueue(Protocol):
    """What the forwarder needs of a session's sending side (`trio_bgp.runtime.session.outbound.Outbound`)."""

    queued: int
    """Octets put and not yet sent."""
    waiting: int
    """And in how many pieces."""
    drained: Callable[[], None] | None
    """Called after each write."""

    def put(self, item: bytes | PassthroughMessage) -> None:
        """Queue whole messages, taking over the caller's reference. Never blocks."""

    def put_all(self, items: Sequence[PassthroughMessage]) -> None:
        """`put` each, in order."""


def refusal(cause: str) -> str:
    """What kind of fault a cause is, for counting: one of `REFUSALS`, or `policy`: a check refused it."""
    return next((kind for kind in REFUSALS if cause.startswith(kind)), "policy")


def _no_reset(notification: Notification, reason: str) -> None:
    raise AssertionError(f"nobody listens for a session reset: {notification} {reason}")


@attrs.frozen(kw_only=True)
class ExportContext:
    """All that decides which octets a receiver gets."""

    mask: CapabilityMask
    maximum: int
    """The longest message it takes, in octets with header."""
    views: frozenset[tuple[Family, View]]
    """For each family it negotiated, which paths it gets."""
    rules: RewriteRules


def _context(
    speaker: SpeakerSettings,
    settings: PeerSettings,
    negotiated: Negotiated,
    local_address: IPv4Address | IPv6Address | None,
) -> ExportContext:
    ipv4, ipv6 = settings.next_hop_ipv4, settings.next_hop_ipv6
    if isinstance(local_address, IPv4Address):
        ipv4 = ipv4 or local_address
    elif local_address is not None and not local_address.is_link_local:
        ipv6 = ipv6 or local_address
    next_hop = settings.next_hop
    if next_hop is None:
        next_hop = NextHop.SELF if settings.role is Role.EBGP else NextHop.UNCHANGED
    own = settings.role is not Role.RS_CLIENT and next_hop is not NextHop.UNCHANGED
    subnet = settings.next_hop_subnet if next_hop is NextHop.THIRD_PARTY else None
    # Who always gets ours, and ours is IPv4, does not mind an IPv6 one before it. Reflected ones stay as they are.
    replaced = own and settings.role is Role.EBGP and ipv4 is not None and (subnet is None or subnet.version == 4)
    extended = frozenset(family for family, _ in negotiated.extended_next_hop)
    views = []
    for family in negotiated.families:
        audience = class_of(
            settings,
            extended_next_hop=family in extended or (replaced and safi_of(family) in (Safi.UNICAST, Safi.MULTICAST)),
            llgr=negotiated.long_lived_graceful_restart,
        )
        if family in negotiated.add_path_send:
            views.append((family, View(audience, add_path=True, limit=settings.add_path.send)))
        else:
            views.append((family, View(audience)))
    return ExportContext(
        mask=mask_of(
            families=negotiated.families,
            asn4=negotiated.asn4,
            extended_message=negotiated.extended_message,
            external=negotiated.external,
            transparent=settings.role is Role.RS_CLIENT and settings.bgp_role is None,
            add_path=negotiated.add_path_send,
        ),
        maximum=negotiated.maximum_length,
        views=frozenset(views),
        rules=RewriteRules(
            role=settings.role,
            asn4=negotiated.asn4,
            local_as=speaker.local_as,
            cluster_id=speaker.bgp_identifier if speaker.cluster_id is None else speaker.cluster_id,
            next_hop=next_hop,
            next_hop_subnet=settings.next_hop_subnet if own else None,
            ipv4=ipv4 if own else None,
            ipv6=ipv6 if own else None,
            extended_next_hop=extended if own else frozenset(),
            bgp_role=settings.bgp_role,
        ),
    )


@attrs.define(eq=False)
class Member:
    """One established session, as receiver and as source of routes."""

    name: str
    address: IPv4Address | IPv6Address
    settings: PeerSettings
    negotiated: Negotiated
    outbound: OutboundQueue
    speaker: SpeakerSettings
    local_address: IPv4Address | IPv6Address | None = None
    """Our end of the session, the next hop where it is to be ours."""
    reset: Callable[[Notification, str], None] = _no_reset
    """Called when what the peer sent asks for the end of the session; must not block."""
    source: Source = attrs.field(init=False)
    context: ExportContext = attrs.field(init=False)
    failed: bool = False
    """A reset was asked for: nothing more is taken from this peer."""
    behind: dict[Family, set[bytes]] | None = None
    """None: live. Otherwise catching up: the prefixes whose present state the peer has yet to be told; where it gets
    path identifiers each with the identifier in front."""
    detached: int = 0
    """How often the peer fell behind."""
    pending: list[PassthroughMessage] = attrs.Factory(list)
    """What it is to be sent of the read that is being handled; each with a reference."""
    over_limit: set[Family] = attrs.Factory(set)
    """Families in which it was told to have more prefixes than it may."""
    lane_limit: int = 4096
    """With more path identifiers than this, unused ones are looked for and freed."""
    messages_in: int = 0
    messages_out: int = 0
    octets_out: int = 0
    refused: dict[str, int] = attrs.Factory(dict)
    """Its UPDATEs that were repaired or refused, by what was wrong (`refusal`)."""
    prefixes_refused: dict[str, int] = attrs.Factory(dict)
    """Prefixes it announced that were not taken, likewise."""
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
        self.context = _context(self.speaker, self.settings, negotiated, self.local_address)

    def mark_graceful_shutdown(self) -> None:
        """From here on its octets are others: routes get GRACEFUL_SHUTDOWN (RFC 8326). It must be in no group."""
        rules = attrs.evolve(self.context.rules, graceful_shutdown=True)
        mask = CapabilityMask(self.context.mask & ~TRANSPARENT)
        self.context = attrs.evolve(self.context, rules=rules, mask=mask)

    @property
    def mask(self) -> CapabilityMask:
        """What the peer negotiated for the direction towards it."""
        return self.context.mask

    def __repr__(self) -> str:
        return f"Member({self.name})"


@attrs.define
class GroupCounters:
    """What went to a group's members because a message was received, counted in messages times receivers."""

    unchanged: int = 0
    """Received octets, as they were."""
    repacked: dict[str, int] = attrs.Factory(dict)
    """Written here because of a received message, by why: `part` (some prefixes of it, or a replacement), or what
    `trio_bgp.passthrough.mask.obstacle` says."""
    split: int = 0
    """Messages more than were received, because one did not fit or was mixed."""
    withheld: dict[str, int] = attrs.Factory(dict)
    """Announcements not sent, by why: `role` (role, community or next hop keeps them), `too-long`, `next-hop`."""


class Group:
    """Members whose export contexts, and so all octets they may get, are equal.

    Attributes:
        context: that context.
        mask: what each of them negotiated.
        maximum: the longest message they take, in octets with header.
        views: for each family they negotiated, which paths they get.
        rules: how attributes are rewritten for them.
        members: in the order they joined.
        behind: how many of them are catching up.
        silent: they are sent no routes at all (RFC 8212).
        counters: what they got.
    """

    __slots__ = ("_verdicts", "behind", "context", "counters", "mask", "maximum", "members", "rules", "silent", "views")

    def __init__(self, context: ExportContext, counters: GroupCounters) -> None:
        self.context = context
        self.mask = context.mask
        self.maximum = context.maximum
        self.views = dict(context.views)
        self.rules = context.rules
        self.silent = not any(view.audience for view in self.views.values())
        self.members: list[Member] = []
        self.behind = 0
        self.counters = counters
        self._verdicts: dict[int, str] = {}

    def obstacle(self, required: int) -> str:
        """Why octets that require this cannot go to the members unchanged; "" if they can."""
        verdict = self._verdicts.get(required)
        if verdict is None:
            verdict = self._verdicts[required] = obstacle(required, self.mask)
        return verdict
