"""From what was recorded to what is said: the messages that a session with certain capabilities may carry."""

from collections import Counter
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import attrs

from trio_bgp.mrt.messages import ESTABLISHED, Message, Session, StateChange
from trio_bgp.mrt.records import MrtError
from trio_bgp.mrt.table import PeerEntry, PeerIndexTable, Rib, attribute_bounds, split_next_hop
from trio_bgp.mrt.updates import take_apart
from trio_bgp.session.negotiation import Negotiated
from trio_bgp.wire.as_path import prepend
from trio_bgp.wire.attribute_block import encode_attribute, narrow, walk, widen
from trio_bgp.wire.nlri import split_nlri, split_nlri_add_path
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import (
    FLAG_TRANSITIVE,
    IPV4_UNICAST,
    Afi,
    AttributeType,
    Family,
    MessageType,
    SegmentType,
    afi_of,
    family_name,
)
from trio_bgp.wire.update import (
    end_of_rib,
    is_end_of_rib,
    pack_ipv4_announcement,
    pack_ipv4_withdrawal,
    pack_mp_announcement,
    pack_mp_withdrawal,
)

__all__ = ["Adapter", "Choice", "Target"]

GATHER_ROUTES: Final = 2000
"""Routes of a table among which those with equal attributes share a message."""
CACHED_BLOCKS: Final = 20_000
_INTERNAL: Final = (AttributeType.LOCAL_PREF, AttributeType.ORIGINATOR_ID, AttributeType.CLUSTER_LIST)
"""Attributes that do not leave an AS."""
DEFAULT_LOCAL_PREF: Final = 100

_Peer = tuple[int, IPv4Address | IPv6Address]
"""AS number and address of a recorded peer."""


class Choice:
    """Which recorded peers count.

    Args:
        words: each an index (`0`), an AS number (`AS65001`) or an address; without any all peers count.

    Raises:
        ValueError: a word is none of these.
    """

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.all = not words
        self._indices: set[int] = set()
        self._asns: set[int] = set()
        self._addresses: set[IPv4Address | IPv6Address] = set()
        for word in words:
            if word.isdecimal():
                self._indices.add(int(word))
            elif word[:2].upper() == "AS" and word[2:].isdecimal():
                self._asns.add(int(word[2:]))
            else:
                try:
                    self._addresses.add(ip_address(word))
                except ValueError:
                    raise ValueError(f"found {word!r}; accepted: an index, AS and a number, or an address") from None

    def has(self, index: int, peer: PeerEntry | Session) -> bool:
        """Whether a peer counts."""
        if self.all:
            return True
        address, asn = (peer.address, peer.asn) if isinstance(peer, PeerEntry) else (peer.peer_address, peer.peer_as)
        return index in self._indices or asn in self._asns or address in self._addresses


@attrs.frozen(kw_only=True)
class Target:
    """What is said to whom.

    Attributes:
        local_as: who says it.
        negotiated: what both sides agreed on.
        unchanged: attributes are those recorded, in the AS number width of the session.
        next_hops: by IP version, the next hop of all routes.
        withdraw_lost: when a recorded session ends, what was said of it is withdrawn.
    """

    local_as: int
    negotiated: Negotiated
    unchanged: bool = False
    next_hops: Mapping[int, bytes] = attrs.Factory(dict)
    withdraw_lost: bool = False


class Adapter:
    """Makes messages of what was recorded.

    Attributes are rewritten as an ordinary speaker would: towards another AS ours is put in front of an AS_PATH that
    does not begin with it, and LOCAL_PREF and what route reflectors add goes; within an AS LOCAL_PREF is added.

    Args:
        target: for whom.
        choice: of the recorded peers.

    Attributes:
        announced: prefixes announced so far.
        withdrawn: prefixes withdrawn so far.
        skipped: what was not said, by why.
    """

    def __init__(self, target: Target, choice: Choice) -> None:
        self.announced = 0
        self.withdrawn = 0
        self.skipped: Counter[str] = Counter()
        self._target = target
        self._choice = choice
        self._table: PeerIndexTable | None = None
        self._chosen: frozenset[int] = frozenset()
        self._sessions: dict[_Peer, int] = {}
        self._path_ids: dict[tuple[object, int | None], int] = {}
        self._used_ids: set[int] = set()
        self._held: dict[_Peer, dict[Family, set[bytes]]] = {}
        self._gathered: dict[tuple[Family, bytes, bytes | None], list[bytes]] = {}
        self._count = 0
        self._malformed = ""
        self._blocks: dict[tuple[bytes, bool], bytes] = {}

    def say(self, value: Message | StateChange | PeerIndexTable | Rib) -> list[bytes]:
        """The messages for the next recorded value; routes of tables are held back a little, see `flush`."""
        before = [] if isinstance(value, Rib) and self._count < GATHER_ROUTES else self.flush()
        try:
            if isinstance(value, Rib):
                self._rib(value)
            elif isinstance(value, Message):
                return before + self._message(value)
            elif isinstance(value, PeerIndexTable):
                self._table = value
                self._chosen = frozenset(
                    index for index, peer in enumerate(value.peers) if self._choice.has(index, peer)
                )
            elif value.old == ESTABLISHED:
                return before + (self._lost(value.session) if self._target.withdraw_lost else [])
        except (MrtError, NotificationError) as error:
            reason = error.reason if isinstance(error, NotificationError) else str(error)
            self._malformed = self._malformed or f"malformed, the first one: {reason}"
            self.skipped[self._malformed] += 1
        return before

    def flush(self) -> list[bytes]:
        """What was held back."""
        gathered, self._gathered = self._gathered, {}
        self._count = 0
        messages: list[bytes] = []
        for (family, attributes, next_hop), nlris in gathered.items():
            messages += self._announce(family, attributes, next_hop, nlris)
        return messages

    def end(self) -> list[bytes]:
        """What is left, and End-of-RIB for all families."""
        return self.flush() + [end_of_rib(family) for family in sorted(self._target.negotiated.families)]

    def _rib(self, rib: Rib) -> None:
        negotiated, table = self._target.negotiated, self._table
        if rib.family not in negotiated.families:
            self.skipped[f"{family_name(rib.family)}, which the other side does not take"] += len(rib.entries)
            return
        if table is None:
            raise MrtError("a RIB record without a PEER_INDEX_TABLE before it")
        add_path = rib.family in negotiated.add_path_send
        for entry in rib.entries:
            if entry.peer not in self._chosen:
                if entry.peer >= len(table.peers):
                    self.skipped["malformed: a path of no peer"] += 1
                continue
            block, next_hop = split_next_hop(entry.attributes)
            nlri = rib.nlri
            if add_path:
                nlri = self._path_id(entry.peer, entry.path_id).to_bytes(4, "big") + nlri
            key = (rib.family, self._attributes(block, asn4=True), self._next_hop(next_hop))
            self._gathered.setdefault(key, []).append(nlri)
            self._count += 1
            if not add_path:
                return

    def _message(self, message: Message) -> list[bytes]:
        octets, negotiated = message.octets, self._target.negotiated
        if octets[18] != MessageType.UPDATE or message.local:
            return []
        peer = (message.session.peer_as, message.session.peer_address)
        index = self._sessions.setdefault(peer, len(self._sessions))
        if not self._choice.has(index, message.session) or is_end_of_rib(octets) is not None:
            return []
        parts = take_apart(octets)
        whole = len(octets) <= negotiated.maximum_length
        withdrawn: list[tuple[Family, list[bytes]]] = []
        announced: list[tuple[Family, bytes, bytes | None, list[bytes]]] = []
        for family, field in parts.withdrawn.items():
            nlris = self._nlris(message, family, field)
            whole = whole and nlris is not None and b"".join(nlris) == field
            if nlris is not None:
                withdrawn.append((family, nlris))
        for reach in parts.announced:
            nlris = self._nlris(message, reach.family, reach.nlri)
            block, next_hop = self._attributes(parts.attributes, asn4=message.asn4), self._next_hop(reach.next_hop)
            same = block == parts.attributes and next_hop == reach.next_hop and self._takes(reach.family, next_hop)
            whole = whole and same and nlris is not None and b"".join(nlris) == reach.nlri
            if nlris is not None:
                announced.append((reach.family, block, next_hop, nlris))
        self.withdrawn += sum(len(nlris) for _, nlris in withdrawn)
        if self._target.withdraw_lost:
            held = self._held.setdefault(peer, {})
            for family, nlris in withdrawn:
                held.setdefault(family, set()).difference_update(nlris)
            for family, _, _, nlris in announced:
                held.setdefault(family, set()).update(nlris)
        if whole:
            self.announced += sum(len(nlris) for _, _, _, nlris in announced)
            return [octets]
        messages: list[bytes] = []
        for family, nlris in withdrawn:
            messages += self._withdraw(family, nlris)
        for family, block, next_hop, nlris in announced:
            messages += self._announce(family, block, next_hop, nlris)
        return messages

    def _lost(self, session: Session) -> list[bytes]:
        """A recorded session ended: what was said of it no longer holds."""
        messages: list[bytes] = []
        for family, nlris in self._held.pop((session.peer_as, session.peer_address), {}).items():
            self.withdrawn += len(nlris)
            messages += self._withdraw(family, sorted(nlris))
        return messages

    def _withdraw(self, family: Family, nlris: list[bytes]) -> list[bytes]:
        maximum = self._target.negotiated.maximum_length
        if family == IPV4_UNICAST:
            return pack_ipv4_withdrawal(nlris, maximum)
        return pack_mp_withdrawal(family, nlris, maximum)

    def _nlris(self, message: Message, family: Family, octets: bytes) -> list[bytes] | None:
        """The NLRI of a message as the other side reads them; None if it does not take the family."""
        negotiated = self._target.negotiated
        if family not in negotiated.families:
            self.skipped[f"{family_name(family)}, which the other side does not take"] += 1
            return None
        add_path = family in negotiated.add_path_send
        if not message.add_path and not add_path:
            return split_nlri(family, octets, add_path=False)
        pairs: list[tuple[int | None, bytes]] = (
            list(split_nlri_add_path(family, octets))
            if message.add_path
            else [(None, nlri) for nlri in split_nlri(family, octets, add_path=False)]
        )
        if not add_path:
            return [nlri for _, nlri in pairs]
        peer = (message.session.peer_as, message.session.peer_address)
        return [self._path_id(peer, path_id).to_bytes(4, "big") + nlri for path_id, nlri in pairs]

    def _path_id(self, peer: object, received: int | None) -> int:
        """A path identifier of ours for a peer's: the same one unless another peer's path has it."""
        found = self._path_ids.get((peer, received))
        if found is None:
            found = received or 1
            while found in self._used_ids:
                found = found % 0xFFFFFFFF + 1
            self._used_ids.add(found)
            self._path_ids[peer, received] = found
        return found

    def _announce(self, family: Family, attributes: bytes, next_hop: bytes | None, nlris: list[bytes]) -> list[bytes]:
        if not self._takes(family, next_hop):
            self.skipped["an IPv6 next hop of IPv4, which the other side does not take"] += len(nlris)
            return []
        maximum = self._target.negotiated.maximum_length
        try:
            if next_hop is None:
                messages = pack_ipv4_announcement(attributes, nlris, maximum)
            else:
                messages = pack_mp_announcement(attributes, family, next_hop, nlris, maximum)
        except ValueError:
            self.skipped["attributes too long for a message"] += len(nlris)
            return []
        self.announced += len(nlris)
        return messages

    def _takes(self, family: Family, next_hop: bytes | None) -> bool:
        """Whether the other side takes such a next hop (RFC 8950)."""
        if next_hop is None or afi_of(family) != Afi.IPV4 or len(next_hop) not in (16, 32):
            return True
        return any(each == family for each, _ in self._target.negotiated.extended_next_hop)

    def _next_hop(self, octets: bytes | None) -> bytes | None:
        if octets is None:
            return None
        return self._target.next_hops.get({4: 4, 16: 6, 32: 6}.get(len(octets), 0), octets)

    def _attributes(self, block: bytes, *, asn4: bool) -> bytes:
        found = self._blocks.get((block, asn4))
        if found is None:
            attribute_bounds(block)
            try:
                found = self._rewrite(block if asn4 else widen(block))
                if not self._target.negotiated.asn4:
                    found = narrow(found)
            except ValueError as error:
                raise MrtError(f"an AS_PATH: {error}") from None
            if len(self._blocks) >= CACHED_BLOCKS:
                self._blocks.clear()
            self._blocks[block, asn4] = found
        return found

    def _rewrite(self, block: bytes) -> bytes:
        target = self._target
        if target.unchanged:
            return block
        external = target.negotiated.external
        pieces: list[bytes] = []
        position = 0
        preferred = external
        for flags, kind, start, end in walk(block):
            octets, value = block[position:end], block[start:end]
            position = end
            if kind == AttributeType.AS_PATH and external and _first_as(value) != target.local_as:
                octets = encode_attribute(flags, kind, prepend(value, target.local_as))
            elif kind == AttributeType.NEXT_HOP and 4 in target.next_hops:
                octets = encode_attribute(flags, kind, target.next_hops[4])
            elif kind in _INTERNAL and external:
                continue
            preferred = preferred or kind == AttributeType.LOCAL_PREF
            pieces.append(octets)
        if not preferred:
            value = DEFAULT_LOCAL_PREF.to_bytes(4, "big")
            pieces.append(encode_attribute(FLAG_TRANSITIVE, AttributeType.LOCAL_PREF, value))
        return b"".join(pieces)


def _first_as(value: bytes) -> int:
    """The leftmost AS number of an AS_PATH with 4-octet AS numbers; 0 if it begins with none."""
    if len(value) >= 6 and value[0] == SegmentType.AS_SEQUENCE:
        return int.from_bytes(value[2:6], "big")
    return 0
