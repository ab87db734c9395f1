"""An UPDATE taken apart into what it says, family by family, so that it can be written anew."""

import attrs

from trio_bgp.mrt.records import MrtError
from trio_bgp.mrt.table import attribute_bounds
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import IPV4_UNICAST, AttributeType, Family
from trio_bgp.wire.numbers import family as make_family
from trio_bgp.wire.update import sections

__all__ = ["Reach", "UpdateParts", "take_apart"]


@attrs.frozen
class Reach:
    """Announced NLRI of one family."""

    family: Family
    next_hop: bytes | None
    """The next-hop field of MP_REACH_NLRI; None if they are in the UPDATE's own NLRI field."""
    nlri: bytes


@attrs.frozen
class UpdateParts:
    """What an UPDATE says.

    Attributes:
        withdrawn: octets of the withdrawn NLRI by family.
        attributes: the path attributes but for MP_REACH_NLRI and MP_UNREACH_NLRI.
        announced: the announced NLRI.
    """

    withdrawn: dict[Family, bytes]
    attributes: bytes
    announced: tuple[Reach, ...]

    @property
    def families(self) -> set[Family]:
        """All that it names."""
        return self.withdrawn.keys() | {reach.family for reach in self.announced}


def take_apart(message: bytes) -> UpdateParts:
    """What a whole UPDATE says.

    Raises:
        MrtError: its lengths do not fit.
    """
    if len(message) < 23:
        raise MrtError(f"an UPDATE of {len(message)} octets")
    try:
        withdrawn_end, attributes_end = sections(message, 0, len(message))
    except NotificationError as error:
        raise MrtError(error.reason) from None
    except IndexError:
        raise MrtError("the lengths of withdrawn routes and path attributes exceed the UPDATE") from None
    block = message[withdrawn_end + 2 : attributes_end]
    withdrawn: dict[Family, bytes] = {}
    announced: list[Reach] = []
    if withdrawn_end > 21:
        withdrawn[IPV4_UNICAST] = message[21:withdrawn_end]
    if attributes_end < len(message):
        announced.append(Reach(IPV4_UNICAST, None, message[attributes_end:]))
    kept: list[bytes] = []
    for start, kind, value, end in attribute_bounds(block):
        octets = block[value:end]
        if kind == AttributeType.MP_UNREACH_NLRI:
            if len(octets) < 3:
                raise MrtError("an MP_UNREACH_NLRI without its family")
            family = make_family(int.from_bytes(octets[:2], "big"), octets[2])
            if len(octets) > 3:
                withdrawn[family] = withdrawn.get(family, b"") + octets[3:]
        elif kind == AttributeType.MP_REACH_NLRI:
            if len(octets) < 5 or len(octets) < 5 + octets[3]:
                raise MrtError("an MP_REACH_NLRI without its next hop")
            family = make_family(int.from_bytes(octets[:2], "big"), octets[2])
            end_of_hop = 4 + octets[3]
            announced.append(Reach(family, octets[4:end_of_hop], octets[end_of_hop + 1 :]))
        else:
            kept.append(block[start:end])
    return UpdateParts(withdrawn, b"".join(kept), tuple(announced))
