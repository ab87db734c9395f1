"""MRT values to octets and back, and octets of anybody to a value or one error."""

import contextlib
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_bgp.mrt.messages import Message, Session, StateChange, decode_bgp4mp, encode_bgp4mp
from trio_bgp.mrt.records import BGP4MP, BGP4MP_ET, TABLE_DUMP_V2, MrtError, Record, RecordSplitter, encode_record
from trio_bgp.mrt.table import (
    PeerEntry,
    PeerIndexTable,
    Rib,
    RibEntry,
    decode_table,
    encode_peer_index_table,
    encode_rib,
    join_next_hop,
    split_next_hop,
)
from trio_bgp.mrt.updates import take_apart
from trio_bgp.wire.attribute_block import encode_attribute
from trio_bgp.wire.header import encode_message
from trio_bgp.wire.nlri import Framing
from trio_bgp.wire.numbers import (
    EVPN,
    IPV4_MULTICAST,
    IPV4_UNICAST,
    IPV6_UNICAST,
    VPNV4,
    AttributeType,
    Family,
    MessageType,
)
from trio_bgp.wire.update import encode_update, pack_mp_announcement, pack_mp_withdrawal

ORIGIN = encode_attribute(0x40, 1, b"\0")
V4, V6 = IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")
UNKNOWN = Family(99 << 8 | 77)

numbers16, numbers32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
messages = st.builds(encode_message, st.sampled_from(MessageType), st.binary(max_size=80))


@st.composite
def sessions(draw: st.DrawFn, asn4: bool) -> Session:
    """A session whose AS numbers fit."""
    asns = numbers32 if asn4 else numbers16
    addresses = draw(st.sampled_from((st.ip_addresses(v=4), st.ip_addresses(v=6))))
    peer, local = draw(addresses), draw(addresses)
    return Session(draw(asns), draw(asns), peer, local, draw(numbers16))


@st.composite
def bgp4mp(draw: st.DrawFn) -> Message | StateChange:
    """Any message or state change."""
    asn4 = draw(st.booleans())
    session = draw(sessions(asn4))
    if draw(st.booleans()):
        return StateChange(session, draw(numbers16), draw(numbers16), asn4)
    return Message(session, draw(messages), asn4, draw(st.booleans()), draw(st.booleans()))


@given(bgp4mp(), numbers32, st.integers(0, 999_999), st.sampled_from((BGP4MP, BGP4MP_ET)))
def test_messages_and_state_changes_come_back(
    value: Message | StateChange, seconds: int, microseconds: int, kind: int
) -> None:
    """Whatever is written is read again, with its time."""
    octets = encode_record(encode_bgp4mp(value, seconds, microseconds, kind))
    (record,) = RecordSplitter().feed(octets)
    assert (record.kind, record.seconds) == (kind, seconds)
    assert record.microseconds == (microseconds if kind == BGP4MP_ET else 0)
    assert decode_bgp4mp(record) == value


FAMILIES: list[tuple[Family, bytes]] = [
    (IPV4_UNICAST, b"\x14\x0a\x01\x20"),
    (IPV4_UNICAST, b"\0"),
    (IPV4_MULTICAST, b"\x08\x0a"),
    (IPV6_UNICAST, b"\x20\x20\x01\x0d\xb8"),
    (VPNV4, bytes((8 * 12,)) + b"\0\0\x11" + bytes(8) + b"\x0a"),
    (EVPN, b"\x03\x04\1\2\3\4"),
]


@st.composite
def ribs(draw: st.DrawFn) -> Rib:
    """The paths to a prefix of some family."""
    family, nlri = draw(st.sampled_from(FAMILIES))
    path_ids = numbers32 if draw(st.booleans()) else st.none()
    entry = st.builds(RibEntry, numbers16, numbers32, st.binary(max_size=40), path_ids)
    return Rib(draw(numbers32), family, nlri, tuple(draw(st.lists(entry, min_size=1, max_size=4))))


peers = st.booleans().flatmap(
    lambda asn4: st.builds(PeerEntry, numbers32, st.ip_addresses(), numbers32 if asn4 else numbers16, st.just(asn4))
)


@given(ribs(), numbers32)
def test_paths_come_back(rib: Rib, seconds: int) -> None:
    """A RIB record of each kind of family, with and without path identifiers."""
    (record,) = RecordSplitter().feed(encode_record(encode_rib(rib, seconds)))
    assert record.seconds == seconds
    assert decode_table(record) == rib


@given(st.builds(PeerIndexTable, numbers32, st.text(max_size=20), st.lists(peers, max_size=5).map(tuple)))
def test_peers_come_back(table: PeerIndexTable) -> None:
    """IPv4 and IPv6 peers, AS numbers of two and four octets."""
    assert decode_table(encode_peer_index_table(table, 7)) == table


@given(st.data())
def test_any_octets_are_a_value_or_one_error(data: st.DataObject) -> None:
    """Octets of anybody, and records cut or with an octet changed: no other exception."""
    value: Record = data.draw(
        st.one_of(
            st.builds(
                Record,
                st.sampled_from((TABLE_DUMP_V2, BGP4MP, BGP4MP_ET)),
                st.integers(0, 13),
                numbers32,
                numbers32,
                st.binary(max_size=80),
            ),
            st.builds(encode_bgp4mp, bgp4mp(), numbers32, st.just(0)),
            st.builds(encode_rib, ribs(), numbers32),
        )
    )
    octets = bytearray(encode_record(value))
    if data.draw(st.booleans()):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    splitter = RecordSplitter()
    with contextlib.suppress(MrtError):
        records = splitter.feed(bytes(octets))
        splitter.finish()
        for record in records:
            (decode_table if record.kind == TABLE_DUMP_V2 else decode_bgp4mp)(record)


@given(st.binary(max_size=120), st.booleans())
def test_any_update_is_taken_apart_or_one_error(body: bytes, honest: bool) -> None:
    """Bodies of anybody, and bodies whose attribute length fits."""
    if honest:
        body = b"\0\0" + len(body).to_bytes(2, "big") + body
    with contextlib.suppress(MrtError):
        take_apart(encode_message(MessageType.UPDATE, body))


@given(st.binary(max_size=60))
def test_any_attributes_are_split_or_one_error(attributes: bytes) -> None:
    """Of a RIB entry."""
    with contextlib.suppress(MrtError):
        split_next_hop(attributes)


@given(st.lists(st.builds(encode_bgp4mp, bgp4mp(), numbers32, st.just(5)), max_size=6), st.integers(1, 40))
def test_a_stream_may_come_in_any_pieces(records: list[Record], size: int) -> None:
    """Cut anywhere, the same records come out."""
    octets = b"".join(map(encode_record, records))
    splitter = RecordSplitter()
    found = [record for at in range(0, len(octets), size) for record in splitter.feed(octets[at : at + size])]
    splitter.finish()
    assert found == records


def test_a_stream_that_ends_early_is_noticed() -> None:
    """RFC 6396: the length says how much is missing."""
    splitter = RecordSplitter()
    assert splitter.feed(encode_record(Record(BGP4MP, 4, 1, 0, b"12345678"))[:-1]) == []
    with pytest.raises(MrtError, match="ends within a record"):
        splitter.finish()
    with pytest.raises(MrtError, match="this is no MRT"):
        RecordSplitter().feed(b"what is this? it is some text")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Record(BGP4MP, 4, 0, 0, bytes(7)), "of 7 octets, at least 8"),
        (Record(BGP4MP, 4, 0, 0, bytes(10) + b"\0\3"), "AFI 3"),
        (Record(BGP4MP, 1, 0, 0, bytes(6) + b"\0\1" + bytes(8) + b"x" * 19), "without a BGP message"),
        (
            Record(BGP4MP, 1, 0, 0, bytes(6) + b"\0\1" + bytes(8) + b"\xff" * 16 + b"\0\x14\4"),
            "a BGP message of 20 octets in 19",
        ),
        (Record(BGP4MP, 0, 0, 0, bytes(6) + b"\0\1" + bytes(13)), "1 octets too many"),
        (Record(TABLE_DUMP_V2, 2, 0, 0, bytes(4) + b"\x21\1\2\3\4\5"), "bad NLRI"),
        (Record(TABLE_DUMP_V2, 2, 0, 0, bytes(4)), "bad NLRI: no NLRI"),
        (Record(TABLE_DUMP_V2, 6, 0, 0, bytes(4) + b"\0\x63\x4d\1\1"), "no framing rule"),
        (Record(TABLE_DUMP_V2, 2, 0, 0, bytes(5) + b"\0\1" + bytes(6) + b"\0\2x"), "at least 17 are needed"),
    ],
)
def test_what_is_wrong_is_told(record: Record, message: str) -> None:
    """A sentence for the operator."""
    with pytest.raises(MrtError, match=message):
        (decode_table if record.kind == TABLE_DUMP_V2 else decode_bgp4mp)(record)


def test_what_others_define_is_left_alone() -> None:
    """Subtypes of neither RFC: nothing, rather than an error."""
    assert decode_bgp4mp(Record(BGP4MP, 2, 0, 0, b"")) is None
    assert decode_table(Record(TABLE_DUMP_V2, 7, 0, 0, b"")) is None


def test_a_declared_family_is_read() -> None:
    """By its framing rule."""
    rib = Rib(1, UNKNOWN, b"\0\2ab", (RibEntry(0, 5, ORIGIN),))
    assert decode_table(encode_rib(rib, 5), {UNKNOWN: Framing.U16}) == rib


def test_an_as_number_that_does_not_fit_is_as_trans() -> None:
    """RFC 6793: in records with two octets."""
    session = Session(196609, 65000, V4, V4)
    found = decode_bgp4mp(encode_bgp4mp(StateChange(session, 6, 1, asn4=False), 0, 0))
    assert found is not None
    assert found.session.peer_as == 23456


@pytest.mark.parametrize(
    ("family", "hop", "expected"),
    [
        (IPV4_UNICAST, None, b""),
        (IPV4_UNICAST, V4.packed, bytes.fromhex("400304") + V4.packed),
        (IPV4_UNICAST, V6.packed, bytes.fromhex("800e1110") + V6.packed),
        (IPV6_UNICAST, V6.packed, bytes.fromhex("800e1110") + V6.packed),
        (VPNV4, bytes(8) + V4.packed, bytes.fromhex("800e0d0c") + bytes(8) + V4.packed),
    ],
)
def test_next_hops_of_a_table(family: Family, hop: bytes | None, expected: bytes) -> None:
    """RFC 6396, section 4.3.4: MP_REACH_NLRI is its next hop alone; IPv4's is NEXT_HOP."""
    block = join_next_hop(ORIGIN, family, hop)
    assert block == ORIGIN + expected
    if expected[:1] == b"\x80":
        assert split_next_hop(block) == (ORIGIN, hop)
    else:
        assert split_next_hop(block) == (block, None)


def test_a_next_hop_beside_another() -> None:
    """A route with both NEXT_HOP and MP_REACH_NLRI keeps both apart."""
    block = ORIGIN + encode_attribute(0x40, AttributeType.NEXT_HOP, V4.packed)
    assert split_next_hop(join_next_hop(block, IPV4_UNICAST, bytes((192, 0, 2, 9)))) == (block, bytes((192, 0, 2, 9)))


@pytest.mark.parametrize("afi", ["0002", "4004"])
def test_an_mp_reach_that_others_wrote_whole(afi: str) -> None:
    """Some collectors write all of MP_REACH_NLRI: the next hop is found there too."""
    whole = bytes.fromhex(afi + "0110") + V6.packed + b"\0"
    assert split_next_hop(ORIGIN + encode_attribute(0x80, 14, whole)) == (ORIGIN, V6.packed)
    with pytest.raises(MrtError, match="without its next hop"):
        split_next_hop(encode_attribute(0x80, 14, whole[:9]))


def test_an_update_is_taken_apart() -> None:
    """Withdrawn and announced of both kinds; the other attributes as they are."""
    mixed = pack_mp_announcement(ORIGIN, IPV6_UNICAST, V6.packed, [b"\x20\x20\x01\x0d\xb8"], 4096)[0]
    found = take_apart(mixed)
    assert (found.attributes, found.families) == (ORIGIN, {IPV6_UNICAST})
    assert (found.announced[0].next_hop, found.announced[0].nlri) == (V6.packed, b"\x20\x20\x01\x0d\xb8")
    plain = take_apart(encode_update(b"\x08\x0b", ORIGIN, b"\x08\x0a"))
    assert plain.withdrawn == {IPV4_UNICAST: b"\x08\x0b"}
    assert plain.announced[0].nlri == b"\x08\x0a"
    gone = take_apart(pack_mp_withdrawal(IPV6_UNICAST, [b"\0"], 4096)[0])
    assert gone.withdrawn == {IPV6_UNICAST: b"\0"}
