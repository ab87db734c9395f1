"""Parts and how they become octets: the wanted prefixes of an UPDATE, written anew for who cannot have it whole.

A `Part` is what an UPDATE says in one of its fields: these prefixes of this family now have this path, or none. Path
attributes go out as the octets they came in; only MP_REACH_NLRI is written again, because the prefixes are inside it.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import attrs

from trio_bgp.rib.path import Path
from trio_bgp.wire import update
from trio_bgp.wire.numbers import IPV4_UNICAST, Family

__all__ = ["Part", "Repacked", "repack"]


class Part(NamedTuple):
    """Prefixes of one family with one path in common; `path` None is a withdrawal."""

    family: Family
    path: Path | None
    nlris: Sequence[bytes]


@attrs.frozen
class Repacked:
    """Whole messages made of parts."""

    octets: bytes
    """All messages, in order, headers included."""
    count: int
    """How many messages these are."""
    too_long: tuple[Part, ...]
    """Announcements whose attributes alone exceed the receiver's maximum: withdrawn instead (RFC 8654, section 4)."""


def repack(parts: Iterable[Part], maximum: int) -> Repacked:
    """Write parts, in their order, as messages of at most `maximum` octets each."""
    messages: list[bytes] = []
    too_long: list[Part] = []
    for part in parts:
        if part.path is None:
            messages += _withdrawal(part, maximum)
            continue
        try:
            messages += _announcement(part, part.path, maximum)
        except ValueError:
            # What the receiver may still hold of these prefixes is no longer true.
            too_long.append(part)
            messages += _withdrawal(part, maximum)
    return Repacked(b"".join(messages), len(messages), tuple(too_long))


def _announcement(part: Part, path: Path, maximum: int) -> list[bytes]:
    if path.next_hop is None:
        return update.pack_ipv4_announcement(path.attributes, part.nlris, maximum)
    return update.pack_mp_announcement(path.attributes, part.family, path.next_hop, part.nlris, maximum)


def _withdrawal(part: Part, maximum: int) -> list[bytes]:
    if part.family == IPV4_UNICAST:
        return update.pack_ipv4_withdrawal(part.nlris, maximum)
    return update.pack_mp_withdrawal(part.family, part.nlris, maximum)
