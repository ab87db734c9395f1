"""Parts and how they become octets: the wanted prefixes of an UPDATE, written anew for who cannot have it whole.

A `Part` is what an UPDATE says in one of its fields: these prefixes of this family now have this path, or none. What a
receiver reads differently (attributes, path identifiers, message size) is decided by its group's export context; parts
of one receiver never share a message (RFC 7606, section 5.1).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import attrs

from trio_bgp.passthrough.rewrite import RewriteRules, rewritten
from trio_bgp.rib.export import View
from trio_bgp.rib.path import Lane, Path
from trio_bgp.wire import update
from trio_bgp.wire.nlri import KEYED, join_key
from trio_bgp.wire.numbers import IPV4_UNICAST, Family

__all__ = ["Part", "Repacked", "Withheld", "announcement", "repack", "withdrawal"]


class Part(NamedTuple):
    """Prefixes of one family with one path in common; `path` None is a withdrawal."""

    family: Family
    path: Path | None
    nlris: Sequence[bytes]
    """The prefixes' keys in the table (`trio_bgp.wire.nlri.split_key`)."""
    lane: Lane | None = None
    """Whose paths are withdrawn or announced; None in what only receivers of one path are told."""


@attrs.frozen
class Withheld:
    """An announcement that a receiver cannot be sent, so that it was withdrawn instead."""

    part: Part
    reason: str
    """`too-long`: its attributes alone exceed the receiver's maximum (RFC 8654, section 4); `next-hop`: the next hop
    should be our address, and we have none of its family."""


@attrs.frozen
class Repacked:
    """Whole messages made of parts."""

    octets: bytes
    """All messages, in order, headers included."""
    count: int
    """How many messages these are."""
    withheld: tuple[Withheld, ...]


def repack(parts: Iterable[Part], maximum: int, views: Mapping[Family, View], rules: RewriteRules) -> Repacked:
    """Write parts, in their order, as messages of at most `maximum` octets each.

    Args:
        parts: in families of `views` only.
        maximum: octets of the longest message, header included.
        views: says of each family whether its NLRI carry path identifiers.
        rules: how attributes are rewritten.
    """
    pieces: list[bytes] = []
    count = 0
    withheld: list[Withheld] = []
    for part in parts:
        family, path, nlris, lane = part
        view = views[family]
        identifier = b"" if not view.add_path or lane is None else lane.path_id.to_bytes(4, "big")
        if path is not None:
            attributes = rewritten(path, family, rules)
            if attributes is None:
                withheld.append(Withheld(part, "next-hop"))
            else:
                octets, next_hop = attributes
                if next_hop is None and nlris:
                    # IPv4 unicast in one message: nearly all there is.
                    nlri = identifier + identifier.join(nlris)
                    if update.EMPTY_LENGTH + len(octets) + len(nlri) <= maximum:
                        pieces += (update.announcement_start(len(octets), len(nlri)), octets, nlri)
                        count += 1
                        continue
                messages, nlris = announcement(family, path, attributes, nlris, identifier, maximum)
                pieces += messages
                count += len(messages)
                if not nlris:
                    continue
                withheld.append(Withheld(part._replace(nlris=nlris), "too-long"))
            # What the receiver may still hold of these prefixes is no longer true.
        messages = withdrawal(family, nlris, identifier, maximum)
        pieces += messages
        count += len(messages)
    return Repacked(b"".join(pieces), count, tuple(withheld))


def announcement(
    family: Family,
    path: Path,
    attributes: tuple[bytes, bytes | None],
    keys: Sequence[bytes],
    identifier: bytes,
    maximum: int,
) -> tuple[list[bytes], Sequence[bytes]]:
    """UPDATEs that announce prefixes.

    Args:
        family: of the prefixes.
        path: what their NLRI carry besides.
        attributes: path attributes without MP_REACH_NLRI, and its next-hop field or None.
        keys: the prefixes' keys in the table.
        identifier: the path identifier's four octets; empty without ADD-PATH.
        maximum: octets of the longest message, header included.

    Returns:
        the messages, and the keys of what fits none.
    """
    octets, next_hop = attributes
    nlris = keys
    if family in KEYED:
        nlris = [join_key(family, key, path.extra) for key in nlris]
    if identifier:
        nlris = [identifier + nlri for nlri in nlris]

    try:
        if next_hop is None:
            return update.pack_ipv4_announcement(octets, nlris, maximum), ()
        return update.pack_mp_announcement(octets, family, next_hop, nlris, maximum), ()
    except ValueError:
        pass

    def pack(nlris: Sequence[bytes]) -> list[bytes]:
        if next_hop is None:
            return update.pack_ipv4_announcement(octets, nlris, maximum)
        return update.pack_mp_announcement(octets, family, next_hop, nlris, maximum)

    # What does not fit is decided by its length alone: the shorter ones must not go with it.
    longest = 0
    for size in sorted({len(nlri) for nlri in nlris}):
        try:
            pack([bytes(size)])
        except ValueError:
            break
        longest = size
    left_out = [key for key, nlri in zip(keys, nlris, strict=True) if len(nlri) > longest]
    return pack([nlri for nlri in nlris if len(nlri) <= longest]), left_out


def withdrawal(family: Family, nlris: Sequence[bytes], identifier: bytes, maximum: int) -> list[bytes]:
    """UPDATEs that withdraw prefixes. Arguments as for `announcement`."""
    if family in KEYED:
        nlris = [join_key(family, key, None) for key in nlris]
    if identifier:
        nlris = [identifier + nlri for nlri in nlris]
    if family == IPV4_UNICAST:
        return update.pack_ipv4_withdrawal(nlris, maximum)
    # What is longer than any message was never announced.
    room = maximum - update.EMPTY_LENGTH - update.UNREACH_LENGTH
    return update.pack_mp_withdrawal(family, [nlri for nlri in nlris if len(nlri) <= room], maximum)
