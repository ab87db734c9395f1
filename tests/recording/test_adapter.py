"""What is said of what was recorded, for sessions of different capabilities."""

from ipaddress import ip_address
from typing import Any

import pytest

from trio_bgp.mrt.messages import Message, Session, StateChange
from trio_bgp.mrt.table import PeerEntry, PeerIndexTable, Rib, RibEntry, join_next_hop
from trio_bgp.recording.adapter import Adapter, Choice, Target
from trio_bgp.session.negotiation import Negotiated
from trio_bgp.wire.attribute_block import encode_attribute
from trio_bgp.wire.header import KEEPALIVE
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST, VPNV4
from trio_bgp.wire.update import encode_update, end_of_rib, pack_mp_announcement, pack_mp_withdrawal

ORIGIN = bytes.fromhex("40010100")
HOP = bytes.fromhex("400304c0000201")
HOP6 = ip_address("2001:db8::1").packed
TEN = b"\x08\x0a"
ELEVEN = b"\x08\x0b"


def path(*numbers: int, asn4: bool = True) -> bytes:
    """An AS_PATH of one sequence."""
    width = 4 if asn4 else 2
    value = bytes((2, len(numbers))) + b"".join(number.to_bytes(width, "big") for number in numbers)
    return encode_attribute(0x40, 2, value)


def of_peer(octets: bytes, number: int = 1, **changes: Any) -> Message:
    """A message of a recorded peer."""
    session = Session(65000 + number, 65000, ip_address(f"192.0.2.{number}"), ip_address("192.0.2.99"))
    return Message(session, octets, **changes)


def adapter(
    *words: str,
    local_as: int = 65001,
    unchanged: bool = False,
    hops: Any = None,
    withdraw_lost: bool = False,
    **changes: Any,
) -> Adapter:
    """For a session of AS `local_as` with AS 65000, both families and four octets, but for `changes`."""
    given = {
        "peer_as": 65000,
        "bgp_identifier": 1,
        "hold_time": 90,
        "asn4": True,
        "families": frozenset({IPV4_UNICAST, IPV6_UNICAST}),
        **changes,
    }
    negotiated = Negotiated(**given)
    target = Target(
        local_as=local_as,
        negotiated=negotiated,
        unchanged=unchanged,
        next_hops=hops or {},
        withdraw_lost=withdraw_lost,
    )
    return Adapter(target, Choice(words))


def test_what_can_stay_stays() -> None:
    """Our AS is in front, the capabilities are the same: the recorded octets."""
    announcement = encode_update(ELEVEN, ORIGIN + path(65001, 7) + HOP, TEN)
    six = pack_mp_announcement(ORIGIN + path(65001), IPV6_UNICAST, HOP6, [b"\0"], 4096)[0]
    gone = pack_mp_withdrawal(IPV6_UNICAST, [b"\0"], 4096)[0]
    target = adapter()
    for octets in (announcement, six, gone):
        assert target.say(of_peer(octets)) == [octets]
    assert (target.announced, target.withdrawn) == (2, 2)


def test_our_as_is_put_in_front() -> None:
    """Unless it is there, or the session is internal, or nothing is to be changed."""
    recorded = of_peer(encode_update(b"", ORIGIN + path(9, 7) + HOP, TEN))
    prepended = encode_update(b"", ORIGIN + path(65001, 9, 7) + HOP, TEN)
    assert adapter().say(recorded) == [prepended]
    assert adapter(unchanged=True).say(recorded) == [recorded.octets]
    empty = of_peer(encode_update(b"", ORIGIN + encode_attribute(0x40, 2, b"") + HOP, TEN))
    assert adapter().say(empty) == [encode_update(b"", ORIGIN + path(65001) + HOP, TEN)]


def test_what_does_not_leave_an_as() -> None:
    """LOCAL_PREF and what reflectors add goes towards another AS; within one LOCAL_PREF is required."""
    internal = encode_attribute(0x40, 5, b"\0\0\0\x07") + encode_attribute(0x80, 9, b"\1\2\3\4")
    internal += encode_attribute(0x80, 10, b"\1\2\3\4")
    recorded = of_peer(encode_update(b"", ORIGIN + path(65001) + HOP + internal, TEN))
    plain = encode_update(b"", ORIGIN + path(65001) + HOP, TEN)
    assert adapter().say(recorded) == [plain]
    assert adapter(external=False).say(recorded) == [recorded.octets]
    preferred = encode_update(b"", ORIGIN + path(65001) + HOP + encode_attribute(0x40, 5, b"\0\0\0\x64"), TEN)
    assert adapter(external=False).say(of_peer(plain)) == [preferred]


def test_as_numbers_of_either_width() -> None:
    """RFC 6793: recorded with two octets and said with four, and the other way."""
    old = of_peer(encode_update(b"", ORIGIN + path(65001, 23456, asn4=False) + HOP + _as4_path(), TEN), asn4=False)
    new = of_peer(encode_update(b"", ORIGIN + path(65001, 196609) + HOP, TEN))
    assert adapter().say(old) == [new.octets]
    assert adapter(asn4=False).say(new) == [old.octets]
    assert adapter(asn4=False).say(old) == [old.octets]


def _as4_path() -> bytes:
    return encode_attribute(0xC0, 17, path(65001, 196609)[3:])


def test_next_hops_of_our_own() -> None:
    """By IP version."""
    hops = {4: b"\x0a\0\0\1", 6: bytes(15) + b"\1"}
    four = of_peer(encode_update(b"", ORIGIN + path(65001) + HOP, TEN))
    six = of_peer(pack_mp_announcement(ORIGIN + path(65001), IPV6_UNICAST, HOP6 * 2, [b"\0"], 4096)[0])
    assert adapter(hops=hops).say(four) == [
        encode_update(b"", ORIGIN + path(65001) + encode_attribute(0x40, 3, hops[4]), TEN)
    ]
    assert adapter(hops=hops).say(six) == pack_mp_announcement(
        ORIGIN + path(65001), IPV6_UNICAST, hops[6], [b"\0"], 4096
    )


def test_path_identifiers_come_and_go() -> None:
    """RFC 7911: ours where the session has them, one for each recorded peer and path; none where it has none."""
    ids = frozenset({IPV4_UNICAST})
    block = ORIGIN + path(65001) + HOP
    with_id = encode_update(b"", block, b"\0\0\0\5" + TEN)
    target = adapter(add_path_send=ids)
    assert target.say(of_peer(with_id, add_path=True)) == [with_id]
    assert target.say(of_peer(with_id, 2, add_path=True)) == [encode_update(b"", block, b"\0\0\0\6" + TEN)]
    assert target.say(of_peer(encode_update(TEN, b"", b""), 3)) == [encode_update(b"\0\0\0\1" + TEN, b"", b"")]
    assert target.say(of_peer(with_id, add_path=True)) == [with_id]
    assert adapter().say(of_peer(with_id, add_path=True)) == [encode_update(b"", block, TEN)]


def test_what_the_other_side_does_not_take_is_counted() -> None:
    """Families, next hops of the other version, attributes that fit no message, what is malformed."""
    target = adapter(families=frozenset({IPV4_UNICAST}))
    six = pack_mp_announcement(ORIGIN + path(65001), IPV6_UNICAST, HOP6, [b"\0"], 4096)[0]
    assert target.say(of_peer(six)) == []
    assert target.say(of_peer(encode_update(TEN, six[23:], b""))) == [encode_update(TEN, b"", b"")]
    extended = pack_mp_announcement(ORIGIN + path(65001), IPV4_UNICAST, HOP6, [TEN], 4096)[0]
    assert target.say(of_peer(extended)) == []
    long = ORIGIN + path(65001) + HOP + encode_attribute(0xC0, 8, bytes(4080))
    assert target.say(of_peer(encode_update(b"", long, TEN))) == []
    assert target.say(of_peer(encode_update(b"", ORIGIN + b"\x40\x02\x09", TEN))) == []
    assert target.say(of_peer(encode_update(b"", ORIGIN + encode_attribute(0x40, 2, b"\x09\1aaaa"), TEN))) == [
        encode_update(b"", ORIGIN + encode_attribute(0x40, 2, b"\2\1\0\0\xfd\xe9\x09\1aaaa"), TEN)
    ]
    assert dict(target.skipped) == {
        "ipv6-unicast, which the other side does not take": 2,
        "an IPv6 next hop of IPv4, which the other side does not take": 1,
        "attributes too long for a message": 1,
        "malformed, the first one: a path attribute that exceeds its field": 1,
    }
    assert adapter(extended_next_hop=frozenset({(IPV4_UNICAST, 2)})).say(of_peer(extended)) == [extended]


def test_a_session_that_was_lost_is_withdrawn() -> None:
    """On demand: what that recorded peer had announced and not withdrawn, in its families; what others did stays."""
    block = ORIGIN + path(65001) + HOP
    target = adapter(withdraw_lost=True)
    target.say(of_peer(encode_update(b"", block, TEN + ELEVEN)))
    target.say(of_peer(encode_update(ELEVEN, b"", b"")))
    target.say(of_peer(pack_mp_announcement(ORIGIN + path(65001), IPV6_UNICAST, HOP6, [b"\0"], 4096)[0]))
    target.say(of_peer(encode_update(b"", block, b"\x08\x0c"), 2))
    session = of_peer(b"").session
    assert target.say(StateChange(session, 1, 2)) == []
    assert target.say(StateChange(session, 6, 1)) == [
        encode_update(TEN, b"", b""),
        *pack_mp_withdrawal(IPV6_UNICAST, [b"\0"], 4096),
    ]
    assert target.say(StateChange(session, 6, 1)) == []
    assert target.withdrawn == 3
    plain = adapter()
    plain.say(of_peer(encode_update(b"", block, TEN)))
    assert plain.say(StateChange(session, 6, 1)) == []


def test_other_messages_are_not_said() -> None:
    """KEEPALIVEs, End-of-RIB, and what the recording daemon said itself."""
    announcement = encode_update(b"", ORIGIN + path(65001) + HOP, TEN)
    target = adapter()
    assert target.say(of_peer(KEEPALIVE)) == []
    assert target.say(of_peer(end_of_rib(IPV6_UNICAST))) == []
    assert target.say(of_peer(announcement, local=True)) == []
    assert target.end() == [end_of_rib(IPV4_UNICAST), end_of_rib(IPV6_UNICAST)]


TABLE = PeerIndexTable(
    1, "", (PeerEntry(1, ip_address("192.0.2.1"), 65001), PeerEntry(2, ip_address("2001:db8::2"), 65002))
)


def rib(nlri: bytes, *entries: tuple[int, bytes], family: Any = IPV4_UNICAST, path_id: int | None = None) -> Rib:
    """Paths of peers with these attributes."""
    return Rib(0, family, nlri, tuple(RibEntry(peer, 0, attributes, path_id) for peer, attributes in entries))


def test_a_table_is_packed_by_attributes() -> None:
    """One path to each prefix, those with equal attributes in one message."""
    one, two = ORIGIN + path(65001, 1) + HOP, ORIGIN + path(65002, 2) + HOP
    target = adapter()
    for value in (TABLE, rib(TEN, (0, one), (1, two)), rib(ELEVEN, (0, one)), rib(b"\x08\x0c", (1, two))):
        assert target.say(value) == []
    assert target.end()[:-2] == [
        encode_update(b"", one, TEN + ELEVEN),
        encode_update(b"", ORIGIN + path(65001, 65002, 2) + HOP, b"\x08\x0c"),
    ]
    assert target.announced == 3


@pytest.mark.parametrize("word", ["1", "AS65002", "as65002", "2001:db8::2"])
def test_of_one_recorded_peer(word: str) -> None:
    """By its index, AS number or address, in tables and streams."""
    one, two = ORIGIN + path(65001, 1) + HOP, ORIGIN + path(65001, 2) + HOP
    target = adapter(word)
    assert target.say(TABLE) == []
    assert target.say(rib(TEN, (0, one), (1, two))) == []
    assert target.flush() == [encode_update(b"", two, TEN)]
    stream = adapter(word)
    update = encode_update(b"", one, TEN)
    session = Session(65002, 65000, ip_address("2001:db8::2"), ip_address("::"))
    assert stream.say(of_peer(update)) == []
    assert stream.say(Message(session, update)) == [update]


def test_all_paths_of_a_table() -> None:
    """With ADD-PATH; path identifiers of the table, or the next free ones."""
    one, two = ORIGIN + path(65001, 1) + HOP, ORIGIN + path(65001, 2) + HOP
    target = adapter(add_path_send=frozenset({IPV4_UNICAST}))
    target.say(TABLE)
    target.say(rib(TEN, (0, one), (1, two)))
    target.say(rib(ELEVEN, (0, one), path_id=9))
    assert target.flush() == [
        encode_update(b"", one, b"\0\0\0\1" + TEN + b"\0\0\0\x09" + ELEVEN),
        encode_update(b"", two, b"\0\0\0\2" + TEN),
    ]


def test_next_hops_of_a_table() -> None:
    """From the short MP_REACH_NLRI of RIB entries."""
    block = ORIGIN + path(65001)
    target = adapter()
    target.say(TABLE)
    target.say(rib(b"\0", (0, join_next_hop(block, IPV6_UNICAST, HOP6)), family=IPV6_UNICAST))
    target.say(rib(b"\x60" + bytes(12), (0, block), family=VPNV4))
    assert target.flush() == pack_mp_announcement(block, IPV6_UNICAST, HOP6, [b"\0"], 4096)
    assert target.skipped == {"vpnv4-unicast, which the other side does not take": 1}


def test_bad_tables_are_counted() -> None:
    """A path of a peer that the table has not; a path before the peers are told."""
    target = adapter()
    assert target.say(rib(TEN, (0, HOP))) == []
    target.say(TABLE)
    target.say(rib(TEN, (7, HOP)))
    assert sorted(target.skipped) == [
        "malformed, the first one: a RIB record without a PEER_INDEX_TABLE before it",
        "malformed: a path of no peer",
    ]


def test_a_long_table_is_said_bit_by_bit() -> None:
    """Only some thousand routes are held back."""
    target = adapter()
    target.say(TABLE)
    block = ORIGIN + path(65001) + HOP
    messages = []
    for number in range(5000):
        messages += target.say(rib(b"\x18\x0a" + number.to_bytes(2, "big"), (0, block)))
    assert 4000 * 4 <= sum(len(each) - 23 - len(block) for each in messages) < 5000 * 4


def test_choices_are_checked() -> None:
    """A sentence for the operator."""
    with pytest.raises(ValueError, match="found 'AS'; accepted: an index, AS and a number, or an address"):
        Choice(["AS"])
