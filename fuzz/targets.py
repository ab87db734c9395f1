"""What is fuzzed: functions of octets that end in silence, or raise what must never be raised.

Decoders may raise the three errors of `trio_bgp.wire.notification`; whatever else comes out is a bug.
"""

import contextlib
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from itertools import pairwise

from tests.harness import decoder
from trio_bgp.mrt.messages import Message, Session, StateChange, decode_bgp4mp
from trio_bgp.mrt.records import BGP4MP, BGP4MP_ET, TABLE_DUMP_V2, MrtError, Record, RecordSplitter
from trio_bgp.mrt.table import PeerEntry, PeerIndexTable, Rib, decode_table
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.passthrough.repack import Part, repack
from trio_bgp.passthrough.rewrite import RewriteRules
from trio_bgp.recording.adapter import Adapter, Choice, Target
from trio_bgp.rib.export import ALL_PATHS, View
from trio_bgp.rib.path import PathIdentifiers
from trio_bgp.routing.group import Member
from trio_bgp.routing.ingress import Ingress
from trio_bgp.session.negotiation import Negotiated
from trio_bgp.settings import PeerSettings, Role, SpeakerSettings
from trio_bgp.wire.attributes import AttributeContext, parse_attributes
from trio_bgp.wire.capabilities import decode_capabilities
from trio_bgp.wire.header import scan
from trio_bgp.wire.nlri import FRAMING, KEYED, format_nlri, join_key, split_key, split_nlri, split_nlri_add_path
from trio_bgp.wire.notification import (
    NotificationError,
    decode_notification,
    describe,
    read_shutdown_communication,
)
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST, Family
from trio_bgp.wire.open import decode_open
from trio_bgp.wire.route_refresh import decode_route_refresh

__all__ = ["TARGETS"]

SPEAKER = SpeakerSettings(local_as=65000, bgp_identifier=0x0AFF0001)
FAMILIES = frozenset(FRAMING)
PEER = PeerEntry(1, ip_address("192.0.2.1"), 65001)


class _Queue:
    queued: int = 0
    waiting: int = 0
    drained: Callable[[], None] | None = None

    def put(self, item: bytes | PassthroughMessage) -> None:
        """Nothing is sent here."""

    def put_all(self, items: Sequence[PassthroughMessage]) -> None:
        """One by one."""
        for item in items:
            self.put(item)


def member(*, asn4: bool = True, internal: bool = False, add_path: bool = False) -> Member:
    """A peer of all families."""
    settings = PeerSettings(
        name="fuzz",
        address=ip_address("192.0.2.1"),
        peer_as=65000 if internal else 65001,
        role=Role.RR_CLIENT if internal else Role.RS_CLIENT,
        enforce_first_as=False,
        families=tuple(FAMILIES),
    )
    negotiated = Negotiated(
        peer_as=settings.peer_as,
        bgp_identifier=1,
        hold_time=0,
        asn4=asn4,
        families=FAMILIES,
        external=not internal,
        add_path_receive=FAMILIES if add_path else frozenset(),
        extended_message=True,
    )
    return Member(
        name="fuzz",
        address=ip_address("192.0.2.1"),
        settings=settings,
        negotiated=negotiated,
        outbound=_Queue(),
        speaker=SPEAKER,
    )


def framing(octets: bytes) -> None:
    """What `scan` finds are whole messages one after the other, whatever the octets."""
    for maximum in (4096, 65535):
        found = scan(octets, 0, len(octets), maximum)
        for start, end in pairwise([*found.offsets, found.end]):
            assert end - start == int.from_bytes(octets[start + 16 : start + 18], "big")
            assert 19 <= end - start <= maximum
        assert found.end <= len(octets)
        assert found.needed <= maximum


def open_message(octets: bytes) -> None:
    """OPEN, its capabilities, NOTIFICATION, ROUTE-REFRESH."""
    # The shortest message of each kind is seen to by the framing.
    with contextlib.suppress(NotificationError):
        decode_capabilities(octets)
    with contextlib.suppress(NotificationError):
        decode_open(octets.ljust(10, b"\0"))
    if len(octets) >= 2:
        describe(decode_notification(octets))
        read_shutdown_communication(octets)
    if len(octets) >= 3:
        with contextlib.suppress(NotificationError):
            decode_route_refresh(octets)


def attributes(octets: bytes) -> None:
    """An attribute block: a second reading of what was repaired finds nothing more to repair."""
    for asn4 in (True, False):
        for external in (True, False):
            context = AttributeContext(asn4=asn4, external=external)
            try:
                parsed = parse_attributes(octets, context)
            except NotificationError:
                continue
            if parsed.treat_as_withdraw is None and parsed.repaired is not octets:
                again = parse_attributes(parsed.repaired, context)
                assert again.repaired is parsed.repaired, "a repaired block needs repair"


def nlri(octets: bytes) -> None:
    """Routes of every family: framing, keys, words."""
    for family in FAMILIES:
        for read in (split_nlri_add_path, lambda f, o: [(0, n) for n in split_nlri(f, o, add_path=False)]):
            try:
                found = read(family, octets)
            except NotificationError:
                continue
            for _, each in found:
                try:
                    key, extra = split_key(family, each)
                except NotificationError:
                    continue
                format_nlri(family, key)
                if family in KEYED:
                    assert join_key(family, key, extra) == each
                    assert split_key(family, join_key(family, key, None))[0] == key


def update(octets: bytes) -> None:
    """An UPDATE's body: what is accepted is written so that an independent decoder reads the same prefixes."""
    message = b"\xff" * 16 + (19 + len(octets)).to_bytes(2, "big") + b"\x02" + octets
    if not 23 <= len(message) <= 65535:
        return
    for asn4, internal, add_path in (
        (True, False, False),
        (False, False, False),
        (True, True, False),
        (True, False, True),
    ):
        identifiers = PathIdentifiers()
        ingress = Ingress(
            member(asn4=asn4, internal=internal, add_path=add_path), SPEAKER, identifiers, lambda *_: None
        )
        try:
            received = ingress.read(message, 0, len(message))
        except NotificationError:
            continue
        required = ingress.required(received.parts, len(message))
        assert required >= 0
        for rules in (
            RewriteRules(role=Role.RS_CLIENT, asn4=True, local_as=65000, cluster_id=1),
            RewriteRules(role=Role.RS_CLIENT, asn4=False, local_as=65000, cluster_id=1),
            RewriteRules(role=Role.RR_CLIENT, asn4=True, local_as=65000, cluster_id=1),
        ):
            for maximum in (4096, 65535):
                for ids in (False, True):
                    _written(received.parts, rules, maximum, ids=ids)


def _written(parts: Sequence[Part], rules: RewriteRules, maximum: int, *, ids: bool) -> None:
    views = {family: View(~0, add_path=ids, limit=ALL_PATHS if ids else 1) for family in FAMILIES}
    packed = repack(parts, maximum, views, rules)
    plain = (IPV4_UNICAST, IPV6_UNICAST)
    withheld = {id(each.part) for each in packed.withheld}
    wanted = {
        (part.family >> 8, part.family & 0xFF, bytes(nlri_))
        for part in parts
        if part.family in plain and part.path is not None and id(part) not in withheld
        for nlri_ in part.nlris
    }
    told: set[tuple[int, int, bytes]] = set()
    position = 0
    while position < len(packed.octets):
        size = int.from_bytes(packed.octets[position + 16 : position + 18], "big")
        assert 23 <= size <= maximum
        whole = packed.octets[position : position + size]
        position += size
        families = {part.family for part in parts}
        if families <= set(plain):
            found = decoder.Update(whole, add_path=ids)
            told |= {(*family, prefix[4:] if ids else prefix) for family, prefix in found.announced}
    if {part.family for part in parts} <= set(plain):
        assert told >= wanted


def mrt(octets: bytes) -> None:
    """Records of any type: a value or an `MrtError`; what is replayed of them are whole messages that fit."""
    records: list[Record] = []
    with contextlib.suppress(MrtError):
        records = RecordSplitter().feed(octets)
    if len(octets) > 2:
        kind = (TABLE_DUMP_V2, BGP4MP, BGP4MP_ET)[octets[0] % 3]
        records.append(Record(kind, octets[1] % 14, 0, 0, octets[2:]))
    values: list[Message | StateChange | PeerIndexTable | Rib] = [PeerIndexTable(1, "", (PEER,))]
    for record in records:
        with contextlib.suppress(MrtError):
            value = decode_table(record) if record.kind == TABLE_DUMP_V2 else decode_bgp4mp(record)
            if value is not None:
                values.append(value)
    update = decoder.message(decoder.UPDATE, octets[:4000])
    session = Session(65001, 65000, PEER.address, PEER.address)
    values += [Message(session, update, asn4, False, ids) for asn4 in (True, False) for ids in (True, False)]
    for asn4 in (True, False):
        for ids in (frozenset(FAMILIES), frozenset[Family]()):
            negotiated = Negotiated(
                peer_as=65000, bgp_identifier=1, hold_time=0, asn4=asn4, families=FAMILIES, add_path_send=ids
            )
            adapter = Adapter(Target(local_as=65001, negotiated=negotiated), Choice())
            messages = [each for value in values for each in adapter.say(value)] + adapter.end()
            for each in messages:
                assert scan(each, 0, len(each), 4096).offsets == [0]
                assert len(each) == int.from_bytes(each[16:18], "big")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "framing": framing,
    "open": open_message,
    "attributes": attributes,
    "nlri": nlri,
    "update": update,
    "mrt": mrt,
}
