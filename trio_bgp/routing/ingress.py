"""From the octets of a received UPDATE to the parts it is made of, each with its interned path.

What is wrong with an UPDATE is settled here (RFC 4271 section 6.3, RFC 7606): a `NotificationError` leaves the room,
treat-as-withdraw turns announced prefixes into withdrawn ones, a discarded attribute makes the message unfit for being
passed on unchanged.
"""

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from trio_bgp.passthrough.mask import (
    AS_NUMBERS,
    ASN4,
    EBGP,
    EXTENDED_MESSAGE,
    REWRITE,
    TRANSPARENT,
    CapabilityMask,
    add_path_bit,
    family_bit,
)
from trio_bgp.passthrough.repack import Part
from trio_bgp.policy.audience import LLGR_STALE, NO_LLGR, audience_of_path, long_lived_audience, well_known
from trio_bgp.rib.path import Lane, Path, PathIdentifiers, PathKey, PathStore
from trio_bgp.routing.group import Member, refusal
from trio_bgp.settings import BgpRole, NextHopCheck, SpeakerSettings
from trio_bgp.wire.attribute_block import add_community, encode_attribute, walk, widen, without
from trio_bgp.wire.attributes import AttributeContext, Attributes, MpReach, is_host, missing_attribute, parse_attributes
from trio_bgp.wire.nlri import KEYED, format_nlri, is_martian, split_key, split_nlri, split_nlri_add_path
from trio_bgp.wire.notification import NotificationError, TreatAsWithdraw
from trio_bgp.wire.numbers import (
    EXTENDED_NEXT_HOP_FAMILIES,
    FLAG_OPTIONAL,
    FLAG_TRANSITIVE,
    IPV4_UNICAST,
    MAXIMUM_MESSAGE_LENGTH,
    AttributeType,
    ErrorCode,
    Family,
    Safi,
    UpdateMessageErrorSubcode,
    safi_of,
)
from trio_bgp.wire.update import sections

__all__ = ["Ingress", "Received", "long_lived_stale"]

Report = Callable[[Member, str, bytes], None]
"""Told of each repair and refusal: the peer, the cause, the octets concerned."""

_CLASSIC_WANTED: Final = 1 << AttributeType.ORIGIN | 1 << AttributeType.AS_PATH | 1 << AttributeType.NEXT_HOP
_CLASSIC: Final = _CLASSIC_WANTED | 1 << AttributeType.MP_REACH_NLRI | 1 << AttributeType.MP_UNREACH_NLRI
"""What the attribute block of a plain announcement must have, and what else it must not."""
_ONLY_TO_CUSTOMER: Final = 1 << AttributeType.ONLY_TO_CUSTOMER
_NOT_FOR_ALL: Final = 1 << AttributeType.COMMUNITIES | _ONLY_TO_CUSTOMER
"""What may keep a path from some receivers."""
_LEAKS: Final = (BgpRole.PROVIDER, BgpRole.RS)
_MARKS: Final = (BgpRole.CUSTOMER, BgpRole.PEER, BgpRole.RS_CLIENT)


class Received:
    """What one UPDATE says.

    Attributes:
        parts: withdrawals first, because a prefix both withdrawn and announced counts as announced (RFC 4271, 4.3).
        clean: nothing was repaired, refused or left out, so the octets may go on unchanged.
        end_of_rib: the family whose End-of-RIB this is (RFC 4724), else None.
    """

    __slots__ = ("clean", "end_of_rib", "parts")

    def __init__(self, parts: Sequence[Part], *, clean: bool, end_of_rib: Family | None = None) -> None:
        self.parts = parts
        self.clean = clean
        self.end_of_rib = end_of_rib


class Ingress:
    """Reads the UPDATEs of one member.

    Args:
        member: the session they come from.
        speaker: who we are, for loop detection, and the framing of families this program does not know.
        identifiers: where lanes come from.
        report: see `Report`.

    Attributes:
        ipv4: the interned paths of plain IPv4 announcements, by attribute block.
        plain_ipv4: IPv4 prefixes come without path identifiers, so that `classic_path` may be asked.
        announcement: what reading a plain IPv4 announcement requires, but for its length.
    """

    def __init__(self, member: Member, speaker: SpeakerSettings, identifiers: PathIdentifiers, report: Report) -> None:
        negotiated = member.negotiated
        self._member = member
        self._speaker = speaker
        self._cluster_id = speaker.bgp_identifier if speaker.cluster_id is None else speaker.cluster_id
        self._report = report
        self._families = negotiated.families
        self._add_path = negotiated.add_path_receive
        self._identifiers = identifiers
        self._context = AttributeContext(
            asn4=negotiated.asn4,
            external=negotiated.external,
            add_path=negotiated.add_path_receive,
            peer_as=negotiated.peer_as,
            extended_next_hop=frozenset(family for family, _ in negotiated.extended_next_hop),
            reject_as_set=member.settings.reject_as_set,
        )
        settings = member.settings
        self._asn4 = negotiated.asn4
        self._peer_as = negotiated.peer_as
        self._enforce_first_as = settings.enforce_first_as and negotiated.external
        self._local_as_octets = speaker.local_as.to_bytes(4, "big")
        # Nothing but AS_PATH and NEXT_HOP decides whether a sound route is taken.
        self._permissive = (
            negotiated.external and settings.bgp_role is None and settings.next_hop_check is NextHopCheck.OFF
        )
        self._own_address = b"" if member.local_address is None else member.local_address.packed
        self._lane: Lane | None = None
        self._wide = attrs.evolve(self._context, asn4=True)
        for family in self._families:
            member.source.paths.setdefault(family, PathStore())
        self.ipv4: PathStore = member.source.paths.get(IPV4_UNICAST, PathStore())
        self._marks = member.settings.bgp_role in _MARKS
        self.plain_ipv4 = (
            IPV4_UNICAST in self._families
            and IPV4_UNICAST not in self._add_path
            and member.settings.imports
            and not self._marks
            and not member.settings.reject_martians
        )
        self._usual_audience = audience_of_path(member.settings.role, Attributes(), frozenset(), ipv6_next_hop=False)
        attributes = AS_NUMBERS | (ASN4 if negotiated.asn4 else 0) | (EBGP if negotiated.external else 0)
        # What an internal peer says nobody may have as it is: it has to be reflected, or to lose what is internal.
        self._attribute_bits = attributes | (TRANSPARENT if negotiated.external else REWRITE)
        self.announcement = CapabilityMask(self._attribute_bits | family_bit(IPV4_UNICAST))

    def classic_path(self, octets: bytes) -> Path | None:
        """Intern the attribute block of a plain UPDATE that announces only by its NLRI field.

        None if the block is not that simple, or not sound: `read` has to look at the whole message then.

        Raises:
            NotificationError: the session cannot go on.
        """
        parsed = parse_attributes(octets, self._context)
        if (
            parsed.seen & _CLASSIC != _CLASSIC_WANTED
            or parsed.repaired is not octets
            or parsed.treat_as_withdraw is not None
        ):
            return None
        if not self._asn4:
            parsed = self._normal(parsed)
            if parsed.treat_as_withdraw is not None:
                return None
        next_hop = parsed.next_hop
        if (
            not self._permissive
            or parsed.as_path.find(self._local_as_octets) >= 0
            or (self._enforce_first_as and parsed.first_as != self._peer_as)
            or next_hop == self._own_address
            or not is_host(next_hop)
        ) and self._refused(parsed, announces_ipv4=True, announces_mp=False) is not None:
            return None
        lane = self._lane
        if lane is None:
            lane = self._lane = self._identifiers.lane(self._member.source, None)
        if parsed.seen & _NOT_FOR_ALL and (
            parsed.communities.find(b"\xff\xff") >= 0 or parsed.seen & _ONLY_TO_CUSTOMER
        ):
            path = self._path(lane, IPV4_UNICAST, octets, parsed.octets, None, parsed, b"")
        else:
            path = Path(lane, octets, parsed.octets, None, parsed, self._usual_audience)
        self.ipv4[octets] = path
        return path

    def read(self, data: bytes, start: int, end: int) -> Received:
        """Take apart the UPDATE in `data[start:end]`, header included.

        Raises:
            NotificationError: the session cannot go on.
        """
        withdrawn_end, attributes_end = sections(data, start, end)
        withdrawn = data[start + 21 : withdrawn_end]
        octets = data[withdrawn_end + 2 : attributes_end]
        nlri = data[attributes_end:end]
        if not (withdrawn or octets or nlri):
            return Received((), clean=False, end_of_rib=IPV4_UNICAST)
        parts: list[Part] = []
        clean = True
        if withdrawn:
            clean = self._withdraw(parts, IPV4_UNICAST, withdrawn)
        if not octets and not nlri:
            return Received(parts, clean=clean)
        parsed = parse_attributes(octets, self._context)
        reach, unreach = parsed.mp_reach, parsed.mp_unreach
        if bool(withdrawn) + bool(nlri) + (reach is not None) + (unreach is not None) > 1:
            clean = False  # RFC 7606, section 5.1: a sender must not mix them
        if unreach is not None:
            routes = octets[unreach.nlri_start : unreach.nlri_end]
            if not routes and reach is None and not nlri and not withdrawn:
                return Received((), clean=False, end_of_rib=unreach.family)
            clean &= bool(routes) and self._withdraw(parts, unreach.family, routes)
        if reach is None and not nlri:
            if parsed.treat_as_withdraw is not None:
                # RFC 7606, section 5.2: which routes were meant cannot be known.
                raise NotificationError(
                    ErrorCode.UPDATE_MESSAGE_ERROR,
                    UpdateMessageErrorSubcode.MALFORMED_ATTRIBUTE_LIST,
                    reason=f"{parsed.treat_as_withdraw} in an UPDATE that announces nothing",
                )
            # Attributes beside a withdrawal mean nothing, but who reads AS numbers of another width stumbles over them.
            alone = unreach is not None and octets == octets[unreach.attribute_start : unreach.attribute_end]
            bare = not octets or alone
            return Received(parts, clean=clean and bare and parsed.repaired is octets)
        for discard in parsed.discarded:
            self._report(self._member, f"attribute discard: {discard}", data[start:end])
        clean &= parsed.repaired is octets
        normal = parsed
        if parsed.treat_as_withdraw is None:
            normal = self._normal(parsed)
            clean &= not self._marks or parsed.has(AttributeType.ONLY_TO_CUSTOMER)
        refused = self._refused(normal, announces_ipv4=bool(nlri), announces_mp=reach is not None)
        if refused is not None:
            self._report(self._member, refused, data[start:end])
            clean = False
            if reach is not None:
                self._note_refused(refused, reach.family, octets[reach.nlri_start : reach.nlri_end])
            if nlri:
                self._note_refused(refused, IPV4_UNICAST, nlri)
        rest = None if refused is not None else _without_mp(normal)
        if reach is not None:
            routes = octets[reach.nlri_start : reach.nlri_end]
            # NEXT_HOP is for the NLRI field, and goes with that when they part (RFC 4760, section 3).
            own = without(rest, AttributeType.NEXT_HOP) if nlri and rest is not None else rest
            clean &= bool(routes) and self._announce(parts, reach.family, routes, own, reach.next_hop, normal)
        if nlri:
            clean &= self._announce(parts, IPV4_UNICAST, nlri, rest, None, normal)
        return Received(parts, clean=clean)

    def required(self, parts: Sequence[Part], length: int) -> CapabilityMask:
        """What a receiver must have negotiated to read a message of these parts, of `length` octets, unchanged."""
        bits = EXTENDED_MESSAGE if length > MAXIMUM_MESSAGE_LENGTH else 0
        for part in parts:
            bits |= family_bit(part.family)
            if part.path is not None:
                bits |= self._attribute_bits
            if part.family in self._add_path:
                bits |= add_path_bit(part.family)
                if part.lane is None or part.lane.received != part.lane.path_id:
                    bits |= REWRITE | TRANSPARENT
        return CapabilityMask(bits)

    def _normal(self, parsed: Attributes) -> Attributes:
        """The attributes as they are kept: repaired, with 4-octet AS numbers and ONLY_TO_CUSTOMER where it belongs.

        An error on the way is noted in `treat_as_withdraw`.
        """
        octets = parsed.repaired
        if not self._context.asn4:
            try:
                octets = widen(octets)
            except ValueError as error:
                parsed.treat_as_withdraw = TreatAsWithdraw(str(error), AttributeType.AS_PATH)
                return parsed
        if self._marks and not parsed.has(AttributeType.ONLY_TO_CUSTOMER):
            # RFC 9234, section 5: what comes from a provider, peer or route server goes on to customers only.
            value = self._member.negotiated.peer_as.to_bytes(4, "big")
            octets += encode_attribute(FLAG_OPTIONAL | FLAG_TRANSITIVE, AttributeType.ONLY_TO_CUSTOMER, value)
        return parsed if octets is parsed.octets else parse_attributes(octets, self._wide)

    def _withdraw(self, parts: list[Part], family: Family, routes: bytes) -> bool:
        """Add the withdrawal of `routes`; False if some of it means nothing here."""
        if family not in self._families or not self._member.settings.imports:
            return False
        known = True
        lanes = self._member.source.lanes
        for received, nlris in self._lanes(family, routes).items():
            lane = lanes.get(received)
            if lane is None:
                known = False
            else:
                parts.append(Part(family, None, [key for keys in nlris.values() for key in keys], lane))
        return known

    def _announce(
        self,
        parts: list[Part],
        family: Family,
        routes: bytes,
        rest: bytes | None,
        next_hop: bytes | None,
        parsed: Attributes,
    ) -> bool:
        """Add the announcement of `routes`, or with `rest` None their withdrawal; False if it means nothing here."""
        if rest is None or family not in self._families or not self._member.settings.imports:
            self._withdraw(parts, family, routes)
            return False
        plain = family not in self._add_path and family not in KEYED
        clean = True
        refuse = self._member.settings.reject_martians and safi_of(family) in (Safi.UNICAST, Safi.MULTICAST)
        for received, by_extra in self._lanes(family, routes).items():
            lane = self._identifiers.lane(self._member.source, received)
            for extra, announced in by_extra.items():
                nlris = announced
                if refuse and (martians := [nlri for nlri in announced if is_martian(family, nlri)]):
                    self._report(self._member, f"martian: {format_nlri(family, martians[0])}", rest)
                    self._count_refused("policy", len(martians))
                    clean = False
                    parts.append(Part(family, None, martians, lane))
                    nlris = [nlri for nlri in announced if nlri not in martians]
                    if not nlris:
                        continue
                key: PathKey = (received, next_hop, rest, extra)
                if plain and next_hop is None:
                    key = rest
                path = self._member.source.paths[family].get(key)
                if path is None:
                    path = self._path(lane, family, key, rest, next_hop, parsed, extra)
                    self._member.source.paths[family][key] = path
                parts.append(Part(family, path, nlris, lane))
        return clean

    def _note_refused(self, cause: str, family: Family, routes: bytes) -> None:
        """Count the prefixes of a refused announcement."""
        if family in self._families:
            lanes = self._lanes(family, routes).values()
            self._count_refused(refusal(cause), sum(len(keys) for by_extra in lanes for keys in by_extra.values()))

    def _count_refused(self, kind: str, prefixes: int) -> None:
        counts = self._member.prefixes_refused
        counts[kind] = counts.get(kind, 0) + prefixes

    def _lanes(self, family: Family, routes: bytes) -> dict[int | None, dict[bytes, list[bytes]]]:
        """Keys of NLRI by received path identifier, then by what the NLRI carry besides the key."""
        framing = self._speaker.framing.get(family)
        if family in self._add_path:
            found: dict[int | None, dict[bytes, list[bytes]]] = {}
            for received, nlri in split_nlri_add_path(family, routes, framing):
                key, extra = split_key(family, nlri)
                found.setdefault(received, {}).setdefault(extra, []).append(key)
            return found
        nlris = split_nlri(family, routes, add_path=False, framing=framing)
        if family not in KEYED:
            return {None: {b"": nlris}}
        by_extra: dict[bytes, list[bytes]] = {}
        for nlri in nlris:
            key, extra = split_key(family, nlri)
            by_extra.setdefault(extra, []).append(key)
        return {None: by_extra}

    def _path(
        self,
        lane: Lane,
        family: Family,
        key: PathKey,
        attributes: bytes,
        next_hop: bytes | None,
        parsed: Attributes,
        extra: bytes,
    ) -> Path:
        ipv6_next_hop = next_hop is not None and family in EXTENDED_NEXT_HOP_FAMILIES and len(next_hop) > 12
        if b"\xff\xff" in parsed.communities or ipv6_next_hop or parsed.has(AttributeType.ONLY_TO_CUSTOMER):
            communities = well_known(parsed.communities)
            role = self._member.settings.role
            audience = audience_of_path(role, parsed, communities, ipv6_next_hop=ipv6_next_hop)
            stale = LLGR_STALE in communities
        else:
            audience = self._usual_audience
            stale = False
        return Path(lane, key, attributes, next_hop, parsed, audience, extra, stale)

    def _refused(self, parsed: Attributes, *, announces_ipv4: bool, announces_mp: bool) -> str | None:
        """Why routes with these attributes are not taken (they count as withdrawn then); None if they are."""
        error = parsed.treat_as_withdraw or missing_attribute(parsed, announces_ipv4, announces_mp)
        if error is not None:
            return f"treat-as-withdraw: {error}"
        settings = self._member.settings
        negotiated = self._member.negotiated
        if not settings.imports:
            return None
        if parsed.contains_as(self._speaker.local_as):
            return f"AS loop: AS_PATH contains our AS {self._speaker.local_as}"
        if self._own_address and (
            (announces_ipv4 and parsed.next_hop == self._own_address)
            or (parsed.mp_reach is not None and _address(parsed.mp_reach).startswith(self._own_address))
        ):
            return f"the next hop {self._own_address.hex()} is our own address"  # RFC 4271, section 6.3
        if not negotiated.external:
            return self._reflected_to_us(parsed)
        if settings.enforce_first_as and parsed.first_as != negotiated.peer_as:
            return f"AS_PATH begins with {parsed.first_as}, not with the peer's AS {negotiated.peer_as}"
        if settings.bgp_role is not None and parsed.has(AttributeType.ONLY_TO_CUSTOMER):
            asn = next(
                int.from_bytes(parsed.octets[start:end], "big")
                for _, kind, start, end in walk(parsed.octets)
                if kind == AttributeType.ONLY_TO_CUSTOMER
            )
            if settings.bgp_role in _LEAKS or (settings.bgp_role is BgpRole.PEER and asn != negotiated.peer_as):
                return f"route leak: ONLY_TO_CUSTOMER of AS {asn} from a {settings.bgp_role.other.name}"
        if settings.next_hop_check is NextHopCheck.STRICT:
            own = self._member.address.packed
            if announces_ipv4 and parsed.next_hop != own:
                return f"NEXT_HOP {parsed.next_hop.hex() if parsed.next_hop else 'missing'} is not the peer's address"
            # FlowSpec has no next hop.
            if (
                parsed.mp_reach is not None
                and parsed.mp_reach.next_hop
                and not _address(parsed.mp_reach).startswith(own)
            ):
                return f"MP_REACH_NLRI next hop {parsed.mp_reach.next_hop.hex()} is not the peer's address"
        return None

    def _reflected_to_us(self, parsed: Attributes) -> str | None:
        """RFC 4456, section 8: a route that came back."""
        if parsed.originator_id == self._speaker.bgp_identifier:
            return "reflection loop: ORIGINATOR_ID is ours"
        own = self._cluster_id.to_bytes(4, "big")
        clusters = parsed.cluster_list
        if own in (clusters[at : at + 4] for at in range(0, len(clusters), 4)):
            return "reflection loop: CLUSTER_LIST contains our cluster"
        return None


def long_lived_stale(path: Path, family: Family) -> Path | None:
    """A path as it is kept in long-lived graceful restart (RFC 9494, section 4.2): with LLGR_STALE, least preferred.

    None if it must not be kept: it has NO_LLGR.
    """
    known = frozenset[bytes]()
    for _, kind, start, end in walk(path.attributes):
        if kind == AttributeType.COMMUNITIES:
            known = well_known(path.attributes[start:end])
    if NO_LLGR in known:
        return None
    if LLGR_STALE in known:
        return path
    key: PathKey = ("long-lived stale", path.key)
    store = path.source.paths.get(family)
    found = None if store is None else store.get(key)
    if found is None:
        octets = add_community(path.attributes, LLGR_STALE)
        parsed = parse_attributes(octets, AttributeContext(external=path.source.external))
        audience = path.audience & long_lived_audience()
        found = Path(path.lane, key, octets, path.next_hop, parsed, audience, path.extra, stale=True)
        if store is not None:
            store[key] = found
    return found


def _address(reach: MpReach) -> bytes:
    """A next hop without the route distinguisher that VPN families put in front (RFC 4364, section 4.3.2)."""
    return reach.next_hop[8:] if safi_of(reach.family) in (Safi.MPLS_VPN, Safi.MULTICAST_VPN) else reach.next_hop


def _without_mp(parsed: Attributes) -> bytes:
    """The attribute block without MP_REACH_NLRI and MP_UNREACH_NLRI, all else as it came."""
    octets = parsed.octets
    cuts = [(mp.attribute_start, mp.attribute_end) for mp in (parsed.mp_reach, parsed.mp_unreach) if mp is not None]
    for start, end in sorted(cuts, reverse=True):
        octets = octets[:start] + octets[end:]
    return octets
