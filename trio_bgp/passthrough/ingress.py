"""From the octets of a received UPDATE to the parts it is made of, each with its interned path.

What is wrong with an UPDATE is settled here (RFC 4271 section 6.3, RFC 7606): a `NotificationError` leaves the room,
treat-as-withdraw turns announced prefixes into withdrawn ones, a discarded attribute makes the message unfit for being
passed on unchanged.
"""

from collections.abc import Callable, Sequence

from trio_bgp.passthrough.group import Member
from trio_bgp.passthrough.repack import Part
from trio_bgp.rib.path import Path, PathStore
from trio_bgp.settings import NextHopCheck
from trio_bgp.wire.attributes import AttributeContext, Attributes, missing_attribute, parse_attributes
from trio_bgp.wire.nlri import split_nlri, split_prefixes
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import IPV4_UNICAST, ErrorCode, Family, UpdateMessageErrorSubcode
from trio_bgp.wire.update import sections

__all__ = ["Ingress", "Received"]

Report = Callable[[Member, str, bytes], None]
"""Told of each repair and refusal: the peer, the cause, the octets concerned."""


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
        local_as: our AS number, for loop detection.
        report: see `Report`.
    """

    def __init__(self, member: Member, local_as: int, report: Report) -> None:
        self._member = member
        self._local_as = local_as
        self._report = report
        self._families = member.negotiated.families
        self._context = AttributeContext(
            asn4=member.negotiated.asn4,
            external=member.negotiated.external,
            add_path=member.negotiated.add_path_receive,
            peer_as=member.negotiated.peer_as,
        )
        for family in self._families:
            member.source.paths[family] = PathStore()
        self.ipv4: PathStore = member.source.paths.get(IPV4_UNICAST, PathStore())
        self.ipv4_negotiated = IPV4_UNICAST in self._families

    def classic_path(self, octets: bytes) -> Path | None:
        """Intern the attribute block of an UPDATE that announces only by its NLRI field.

        None if the block is not that simple, or not sound: `read` has to look at the whole message then.

        Raises:
            NotificationError: the session cannot go on.
        """
        parsed = parse_attributes(octets, self._context)
        if parsed.mp_reach is not None or parsed.mp_unreach is not None or parsed.discarded:
            return None
        if self._refused(parsed, announces_ipv4=True, announces_mp=False) is not None:
            return None
        path = Path(self._member.source, octets, octets, None, parsed)
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
            clean &= self._add(parts, IPV4_UNICAST, None, split_prefixes(withdrawn, 32))
        if not octets and not nlri:
            return Received(parts, clean=clean)
        parsed = parse_attributes(octets, self._context)
        reach, unreach = parsed.mp_reach, parsed.mp_unreach
        if unreach is not None:
            routes = octets[unreach.nlri_start : unreach.nlri_end]
            if not routes and reach is None and not nlri and not withdrawn:
                return Received((), clean=False, end_of_rib=unreach.family)
            if routes and unreach.family in self._families:
                parts.append(Part(unreach.family, None, split_nlri(unreach.family, routes, add_path=False)))
            else:
                clean = False
        if reach is None and not nlri:
            if parsed.treat_as_withdraw is not None:
                # RFC 7606, section 5.2: which routes were meant cannot be known.
                raise NotificationError(
                    ErrorCode.UPDATE_MESSAGE_ERROR,
                    UpdateMessageErrorSubcode.MALFORMED_ATTRIBUTE_LIST,
                    reason=f"{parsed.treat_as_withdraw} in an UPDATE that announces nothing",
                )
            return Received(parts, clean=clean and not parsed.discarded)
        refused = self._refused(parsed, announces_ipv4=bool(nlri), announces_mp=reach is not None)
        if refused is not None:
            self._report(self._member, refused, data[start:end])
            clean = False
        for discard in parsed.discarded:
            self._report(self._member, f"attribute discard: {discard}", data[start:end])
            clean = False
        rest = _without_mp(parse_attributes(parsed.repaired, self._context) if parsed.discarded else parsed)
        if reach is not None:
            routes = octets[reach.nlri_start : reach.nlri_end]
            if reach.family in self._families and routes:
                path = None
                if refused is None:
                    path = self._intern(reach.family, (reach.next_hop, rest), rest, reach.next_hop, parsed)
                parts.append(Part(reach.family, path, split_nlri(reach.family, routes, add_path=False)))
            else:
                clean = False
        if nlri:
            path = None
            if refused is None and self.ipv4_negotiated:
                path = self._intern(IPV4_UNICAST, rest, rest, None, parsed)
            clean &= self._add(parts, IPV4_UNICAST, path, split_prefixes(nlri, 32))
        return Received(parts, clean=clean)

    def _add(self, parts: list[Part], family: Family, path: Path | None, nlris: list[bytes]) -> bool:
        """Add a part unless its family was not negotiated; False in that case."""
        if family not in self._families:
            return False
        parts.append(Part(family, path, nlris))
        return True

    def _intern(
        self, family: Family, key: bytes | tuple[bytes, bytes], rest: bytes, next_hop: bytes | None, parsed: Attributes
    ) -> Path:
        store = self._member.source.paths[family]
        path = store.get(key)
        if path is None:
            path = store[key] = Path(self._member.source, key, rest, next_hop, parsed)
        return path

    def _refused(self, parsed: Attributes, *, announces_ipv4: bool, announces_mp: bool) -> str | None:
        """Why routes with these attributes are not taken (they count as withdrawn then); None if they are."""
        error = parsed.treat_as_withdraw or missing_attribute(parsed, announces_ipv4, announces_mp)
        if error is not None:
            return f"treat-as-withdraw: {error}"
        settings = self._member.settings
        if settings.enforce_first_as and parsed.first_as != self._member.negotiated.peer_as:
            return f"AS_PATH begins with {parsed.first_as}, not with the peer's AS {self._member.negotiated.peer_as}"
        if parsed.contains_as(self._local_as):
            return f"AS loop: AS_PATH contains our AS {self._local_as}"
        if settings.next_hop_check is NextHopCheck.STRICT:
            own = self._member.address.packed
            if announces_ipv4 and parsed.next_hop != own:
                return f"NEXT_HOP {parsed.next_hop.hex() if parsed.next_hop else 'missing'} is not the peer's address"
            if parsed.mp_reach is not None and parsed.mp_reach.next_hop[: len(own)] != own:
                return f"MP_REACH_NLRI next hop {parsed.mp_reach.next_hop.hex()} is not the peer's address"
        return None


def _without_mp(parsed: Attributes) -> bytes:
    """The attribute block without MP_REACH_NLRI and MP_UNREACH_NLRI, all else as it came."""
    octets = parsed.octets
    cuts = [(mp.attribute_start, mp.attribute_end) for mp in (parsed.mp_reach, parsed.mp_unreach) if mp is not None]
    for start, end in sorted(cuts, reverse=True):
        octets = octets[:start] + octets[end:]
    return octets
