"""Parts written as messages: as few as possible, none too long, one field each."""

from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness import decoder
from tests.harness.decoder import V4, V6, Update
from trio_bgp.passthrough.repack import Part, Repacked, repack
from trio_bgp.passthrough.rewrite import RewriteRules
from trio_bgp.rib.export import ALL_PATHS, View
from trio_bgp.rib.path import Lane, Path, Source
from trio_bgp.settings import NextHop, Role
from trio_bgp.wire.attributes import AttributeContext, parse_attributes
from trio_bgp.wire.nlri import split_key
from trio_bgp.wire.numbers import EVPN, IPV4_UNICAST, IPV6_UNICAST, VPNV4, Family

QUICK = settings(derandomize=True, max_examples=100, deadline=None)
HOP, HOP6 = bytes((192, 0, 2, 1)), bytes(15) + b"\x01"
BLOCK = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001)
CLASSIC = BLOCK + decoder.attribute(0x40, 3, HOP)
RULES = RewriteRules(role=Role.RS_CLIENT, asn4=True, local_as=65000, cluster_id=1)
PLAIN = {family: View(1) for family in (IPV4_UNICAST, IPV6_UNICAST, VPNV4, EVPN)}
NUMBERED = {family: View(1, add_path=True, limit=ALL_PATHS) for family in PLAIN}
SOURCE = Source(name="s", peer_as=65001, bgp_identifier=1, address=1)
LANE = Lane(SOURCE, 7, 0x01020304)
RD = bytes.fromhex("0000fde800000001")


def path(octets: bytes = CLASSIC, next_hop: bytes | None = None, extra: bytes = b"") -> Path:
    """A path of the lane with our identifier 1.2.3.4."""
    return Path(LANE, octets, octets, next_hop, parse_attributes(octets, AttributeContext()), extra=extra)


def prefixes(count: int) -> list[bytes]:
    """Prefixes of four octets each."""
    return [bytes((24, 11, n >> 8, n & 255)) for n in range(count)]


def messages(packed: Repacked) -> list[bytes]:
    """The messages one by one; as many as said."""
    found = []
    octets = packed.octets
    while octets:
        assert octets[:16] == decoder.MARKER
        size = int.from_bytes(octets[16:18], "big")
        found.append(octets[:size])
        octets = octets[size:]
    assert len(found) == packed.count
    return found


def written(*parts: Part, maximum: int = 4096, views: dict[Family, View] = PLAIN, **changes: Any) -> list[bytes]:
    """The messages of parts all of which can be sent."""
    packed = repack(
        parts,
        maximum,
        views,
        RewriteRules(**{"role": Role.RS_CLIENT, "asn4": True, "local_as": 65000, "cluster_id": 1, **changes}),
    )
    assert packed.withheld == ()
    return messages(packed)


def test_an_ipv4_announcement_uses_the_nlri_field() -> None:
    """RFC 4271, section 4.3: attributes once, all prefixes behind them."""
    assert written(Part(IPV4_UNICAST, path(), prefixes(3), LANE)) == [
        decoder.update(b"", CLASSIC, b"".join(prefixes(3)))
    ]


def test_an_ipv4_withdrawal_uses_the_withdrawn_routes_field() -> None:
    """RFC 4271, section 4.3."""
    assert written(Part(IPV4_UNICAST, None, prefixes(3), LANE)) == [decoder.update(b"".join(prefixes(3)))]


def test_other_families_use_multiprotocol_attributes_put_first() -> None:
    """RFC 4760, sections 3 and 4, RFC 7606, section 5.1."""
    route = (V6, b"\x10\x20\x01")
    assert written(Part(IPV6_UNICAST, path(BLOCK, HOP6), [route[1]], LANE)) == [decoder.announce([route], BLOCK, HOP6)]
    assert written(Part(IPV6_UNICAST, None, [route[1]], LANE)) == [decoder.withdraw([route])]


def test_ipv4_that_came_with_a_multiprotocol_next_hop_keeps_it() -> None:
    """RFC 8950, section 4: a next hop that is IPv6 has no other place."""
    (whole,) = written(Part(IPV4_UNICAST, path(BLOCK, HOP6), [b"\x08\x0a"], LANE))
    assert Update(whole).announced[V4, b"\x08\x0a"][0] == (0, 0, HOP6)
    assert written(Part(IPV4_UNICAST, None, [b"\x08\x0a"], LANE)) == [decoder.update(b"\x08\x0a")]


def test_parts_never_share_a_message() -> None:
    """RFC 7606, section 5.1: in the order given."""
    parts = [
        Part(IPV4_UNICAST, None, [b"\x08\x0a"], LANE),
        Part(IPV4_UNICAST, path(), [b"\x08\x0b"], LANE),
        Part(IPV6_UNICAST, None, [b"\x08\x20"], LANE),
        Part(IPV6_UNICAST, path(BLOCK, HOP6), [b"\x08\x24"], LANE),
    ]
    found = [Update(each) for each in written(*parts)]
    assert [each.withdrawn for each in found] == [[(V4, b"\x08\x0a")], [], [(V6, b"\x08\x20")], []]
    assert [list(each.announced) for each in found] == [[], [(V4, b"\x08\x0b")], [], [(V6, b"\x08\x24")]]


def test_nothing_makes_no_message() -> None:
    """Neither no parts nor a part of no prefixes: an empty UPDATE would be an End-of-RIB."""
    assert written() == []
    assert written(Part(IPV4_UNICAST, None, [], LANE), Part(IPV4_UNICAST, path(), [], LANE)) == []
    assert written(Part(IPV6_UNICAST, None, [], LANE), Part(IPV6_UNICAST, path(BLOCK, HOP6), [], LANE)) == []


def test_path_identifiers_are_ours() -> None:
    """RFC 7911, sections 2 and 3: before each NLRI, announced or withdrawn, and only where that is negotiated."""
    mine = b"\1\2\3\4"
    pair = mine + b"\x08\x0a" + mine + b"\x08\x0b"
    nlris = [b"\x08\x0a", b"\x08\x0b"]
    assert written(Part(IPV4_UNICAST, path(), nlris, LANE), views=NUMBERED) == [decoder.update(b"", CLASSIC, pair)]
    assert written(Part(IPV4_UNICAST, None, nlris, LANE), views=NUMBERED) == [decoder.update(pair)]
    (six,) = written(Part(IPV6_UNICAST, None, nlris, LANE), views=NUMBERED)
    assert Update(six, add_path=True).withdrawn == [(V6, mine + b"\x08\x0a"), (V6, mine + b"\x08\x0b")]
    only_six = {**PLAIN, IPV6_UNICAST: NUMBERED[IPV6_UNICAST]}
    assert written(Part(IPV4_UNICAST, None, nlris, LANE), views=only_six) == [decoder.update(b"".join(nlris))]


def test_labels_are_put_back() -> None:
    """RFC 8277, section 2.4: those of the path in announcements, 0x800000 in withdrawals, behind the identifier."""
    nlri = bytes((96,)) + b"\x00\x10\x01" + RD + b"\x0a"
    key, extra = split_key(VPNV4, nlri)
    vpn = path(BLOCK, bytes(8) + HOP, extra)
    (whole,) = written(Part(VPNV4, vpn, [key], LANE))
    assert nlri in whole
    assert decoder.prefixes(nlri, decoder.VPN4)[0] in [
        (prefix, found[1][2]) for (_, prefix), found in Update(whole).announced.items()
    ]
    (gone,) = written(Part(VPNV4, None, [key], LANE))
    assert gone.endswith(bytes((96,)) + b"\x80\0\0" + RD + b"\x0a")
    (numbered,) = written(Part(VPNV4, vpn, [key], LANE), views=NUMBERED)
    assert b"\1\2\3\4" + nlri in numbered


@pytest.mark.parametrize("maximum", [4096, 65535])
def test_messages_are_filled_to_the_octet(maximum: int) -> None:
    """RFC 4271, section 4, RFC 8654, section 4: a message of exactly the maximum is one, an octet more makes two."""
    room = maximum - 19 - 4
    for octets, announced in ((0, None), (len(CLASSIC), path())):
        count = (room - octets) // 4
        spare = (room - octets) % 4
        filler = [bytes((8 * (spare - 1), *bytes(spare - 1)))] if spare else []
        full = prefixes(min(count, 65536)) + filler
        (whole,) = written(Part(IPV4_UNICAST, announced, full, LANE), maximum=maximum)
        assert len(whole) == maximum
        assert len(written(Part(IPV4_UNICAST, announced, [*full, b"\0"], LANE), maximum=maximum)) == 2


def test_what_cannot_be_written_is_withdrawn_and_reported() -> None:
    """RFC 8654, section 4: attributes that leave no room for a prefix; what was announced before is not true now."""
    long = path(CLASSIC + decoder.attribute(0xC0, 200, bytes(4080)))
    part = Part(IPV4_UNICAST, long, prefixes(2), LANE)
    packed = repack([part], 4096, PLAIN, RULES)
    assert messages(packed) == [decoder.update(b"".join(prefixes(2)))]
    assert [(each.part, each.reason) for each in packed.withheld] == [(part, "too-long")]
    assert len(written(part, maximum=65535)) == 1
    six = Part(IPV6_UNICAST, path(BLOCK + decoder.attribute(0xC0, 200, bytes(4080)), HOP6), [b"\x08\x20"], LANE)
    packed = repack([six], 4096, NUMBERED, RULES)
    (gone,) = messages(packed)
    assert Update(gone, add_path=True).withdrawn == [(V6, b"\1\2\3\4\x08\x20")]


def test_a_next_hop_that_should_be_ours_and_cannot_is_withdrawn_and_reported() -> None:
    """RFC 4271, section 5.1.3."""
    rules = RewriteRules(
        role=Role.EBGP, asn4=True, local_as=65000, cluster_id=1, next_hop=NextHop.SELF, ipv4=IPv4Address("192.0.2.254")
    )
    six = Part(IPV6_UNICAST, path(BLOCK, HOP6), [b"\x08\x20"], LANE)
    four = Part(IPV4_UNICAST, path(), [b"\x08\x0a"], LANE)
    packed = repack([six, four], 4096, PLAIN, rules)
    gone, told = messages(packed)
    assert gone == decoder.withdraw([(V6, b"\x08\x20")])
    assert Update(told).announced[V4, b"\x08\x0a"][2] == (0x40, 3, bytes((192, 0, 2, 254)))
    assert [(each.part, each.reason) for each in packed.withheld] == [(six, "next-hop")]


@QUICK
@given(
    st.lists(st.tuples(st.integers(0, 32), st.binary(min_size=4, max_size=4)), max_size=1500),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3900),
)
def test_nothing_is_lost_doubled_or_too_long(
    drawn: list[tuple[int, bytes]], announced: bool, numbered: bool, classic: bool, padding: int
) -> None:
    """Every prefix once, in order, in as few messages as their size allows but one."""
    nlris = [
        bytes((bits,)) + (int.from_bytes(octets, "big") & -1 << 32 - bits).to_bytes(4, "big")[: (bits + 7) // 8]
        for bits, octets in drawn
    ]
    more = decoder.attribute(0xC0, 200, bytes(padding))
    family, next_hop = (IPV4_UNICAST, None) if classic else (IPV6_UNICAST, HOP6)
    made = path((CLASSIC if classic else BLOCK) + more, next_hop) if announced else None
    found = written(Part(family, made, nlris, LANE), views=NUMBERED if numbered else PLAIN)
    said: list[bytes] = []
    for whole in found:
        assert len(whole) <= 4096
        update = Update(whole, add_path=numbered)
        assert update.end_of_rib is None
        size = int.from_bytes(whole[19:21], "big")
        if classic:
            field = (
                whole[23 + int.from_bytes(whole[21 + size : 23 + size], "big") :]
                if announced
                else whole[21 : 21 + size]
            )
        else:
            attributes = decoder.attributes_of(whole[23:])
            assert attributes[0][1] == (14 if announced else 15)
            field = attributes[0][2][5 + 16 if announced else 3 :]
        said += [prefix for prefix, _ in decoder.prefixes(field, add_path=numbered)]
    front = b"\1\2\3\4" if numbered else b""
    assert said == [front + nlri for nlri in nlris]
    for whole in found[:-1]:
        assert len(whole) + 4 + 5 > 4096, "a prefix of the next message had room"
