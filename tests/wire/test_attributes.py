import pytest

from tests.wire.octets import attribute
from trio_bgp.wire.attributes import (
    RECOGNIZED,
    AttributeContext,
    Attributes,
    MpReach,
    MpUnreach,
    missing_attribute,
    parse_attributes,
)
from trio_bgp.wire.notification import Notification, NotificationError
from trio_bgp.wire.numbers import EVPN, IPV4_UNICAST, IPV6_UNICAST, VPNV4, VPNV6, Family

EXTERNAL = AttributeContext()
INTERNAL = AttributeContext(external=False)
OLD = AttributeContext(asn4=False)

ORIGIN = attribute(0x40, 1, "00")
AS_PATH = attribute(0x40, 2, "02 02 0000fde9 0000fdea")
NEXT_HOP = attribute(0x40, 3, "c0000201")
BLOCK = ORIGIN + AS_PATH + NEXT_HOP
GLOBAL_6 = "20010db8000000000000000000000001"
LOCAL_6 = "fe800000000000000000000000000001"


def withdrawn(octets: bytes, kind: int, context: AttributeContext = EXTERNAL) -> Attributes:
    """What is found in a block that has an attribute `kind` for which its routes count as withdrawn."""
    found = parse_attributes(octets, context)
    assert found.treat_as_withdraw is not None
    assert found.treat_as_withdraw.reason
    assert found.treat_as_withdraw.attribute_type == kind
    return found


def discarded(octets: bytes, context: AttributeContext = EXTERNAL) -> Attributes:
    """What is found in `BLOCK` with `octets` in the middle, which are discarded and leave no trace."""
    found = parse_attributes(ORIGIN + AS_PATH + octets + NEXT_HOP, context)
    assert found.treat_as_withdraw is None
    assert [error.attribute_type for error in found.discarded] == [octets[1]]
    assert found.repaired == BLOCK
    return found


def sound(octets: bytes, context: AttributeContext = EXTERNAL) -> Attributes:
    """What is found in a block without error, which may go on as it is."""
    found = parse_attributes(octets, context)
    assert found.treat_as_withdraw is None
    assert found.discarded == ()
    assert found.repaired is found.octets is octets
    return found


def reset(octets: bytes, context: AttributeContext = EXTERNAL) -> Notification:
    """The NOTIFICATION such a block is answered with."""
    with pytest.raises(NotificationError) as caught:
        parse_attributes(octets, context)
    assert caught.value.reason
    return caught.value.notification


def test_what_the_decision_process_asks_for_is_found() -> None:
    """Each value is the attribute's (RFC 4271, section 4.3; RFC 1997; RFC 4456)."""
    found = sound(
        attribute(0x40, 1, "02")
        + AS_PATH
        + NEXT_HOP
        + attribute(0x80, 4, "00000064")
        + attribute(0x40, 5, "000000c8")
        + attribute(0xC0, 8, "fde90001 ffffff01")
        + attribute(0x80, 9, "c0000263")
        + attribute(0x80, 10, "c0000261 c0000262"),
        INTERNAL,
    )
    assert found.origin == 2
    assert found.as_path.hex() == "02020000fde90000fdea"
    assert (found.as_path_length, found.first_as, found.neighbor_as) == (2, 65001, 65001)
    assert found.next_hop == b"\xc0\x00\x02\x01"
    assert (found.med, found.local_pref) == (100, 200)
    assert found.communities.hex() == "fde90001ffffff01"
    assert found.originator_id == 0xC0000263
    assert found.cluster_list.hex() == "c0000261c0000262"
    assert [kind for kind in range(256) if found.has(kind)] == [1, 2, 3, 4, 5, 8, 9, 10]


def test_an_empty_block_has_nothing() -> None:
    """What is not there has the values that say so."""
    found = sound(b"")
    assert (found.next_hop, found.med, found.local_pref, found.originator_id) == (None, None, None, None)
    assert (found.mp_reach, found.mp_unreach, found.as_path, found.seen) == (None, None, b"", 0)


def test_unknown_optional_attributes_are_kept() -> None:
    """RFC 4271, section 9: transitive or not, Partial or not, they go on as they came."""
    found = sound(BLOCK + attribute(0xC0, 200, "01") + attribute(0xE0, 201) + attribute(0x80, 202, bytes(9)))
    assert found.has(200)
    assert found.has(201)
    assert found.has(202)
    assert not RECOGNIZED >> 200 & 1
    assert RECOGNIZED >> 32 & 1


def test_an_extended_length_may_be_used_for_any_attribute() -> None:
    """RFC 4271, section 4.3: also where one octet would do."""
    found = sound(attribute(0x50, 1, "01") + attribute(0x50, 2, "02 01 0000fde9") + attribute(0xD0, 8, bytes(300)))
    assert (found.origin, found.first_as, len(found.communities)) == (1, 65001, 300)


@pytest.mark.parametrize(
    "octets",
    [
        attribute(0x40, 1, "03"),
        attribute(0x40, 1, "ff"),
        attribute(0x40, 1, ""),
        attribute(0x40, 1, "0000"),
        attribute(0x40, 3, ""),
        attribute(0x40, 3, "c00002"),
        attribute(0x40, 3, "c000020100"),
        attribute(0x80, 4, ""),
        attribute(0x80, 4, "000064"),
        attribute(0x80, 4, "0000000064"),
        attribute(0xC0, 8, ""),
        attribute(0xC0, 8, "fde900"),
        attribute(0xC0, 8, "fde9000100"),
        attribute(0xC0, 16, ""),
        attribute(0xC0, 16, bytes(7)),
        attribute(0xC0, 16, bytes(12)),
        attribute(0xC0, 25, ""),
        attribute(0xC0, 25, bytes(8)),
        attribute(0xC0, 25, bytes(39)),
        attribute(0xC0, 32, ""),
        attribute(0xC0, 32, bytes(4)),
        attribute(0xC0, 32, bytes(23)),
        attribute(0xC0, 35, bytes(3)),
        attribute(0xC0, 35, bytes(5)),
        attribute(0xC0, 22, bytes(4)),
    ],
    ids=lambda octets: octets.hex(),
)
def test_a_malformed_value_withdraws_the_routes(octets: bytes) -> None:
    """RFC 7606, sections 7.1, 7.3, 7.4, 7.8, 7.14 and 7.15; RFC 8092, 9234 and 6514, section 5 each."""
    withdrawn(octets, octets[1])


@pytest.mark.parametrize(
    "octets",
    [
        attribute(0x40, 1, "00"),
        attribute(0x40, 1, "02"),
        attribute(0x40, 6),
        attribute(0xC0, 16, bytes(8)),
        attribute(0xC0, 16, bytes(24)),
        attribute(0xC0, 25, bytes(40)),
        attribute(0xC0, 32, bytes(23) + b"\1"),
        attribute(0xC0, 35, bytes(4)),
        attribute(0xC0, 22, bytes(5)),
        attribute(0xC0, 7, "0000fde9 c0000201"),
    ],
    ids=lambda octets: octets.hex(),
)
def test_a_well_formed_value_is_accepted(octets: bytes) -> None:
    """The other side of each rule."""
    assert sound(octets).has(octets[1])


@pytest.mark.parametrize("length", [0, 3, 5])
@pytest.mark.parametrize("kind", [5, 9, 10])
def test_internal_attributes_of_a_wrong_length_withdraw_the_routes(kind: int, length: int) -> None:
    """RFC 7606, sections 7.5, 7.9, 7.10: LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST from an internal peer."""
    withdrawn(attribute(0x40 if kind == 5 else 0x80, kind, bytes(length)), kind, INTERNAL)


@pytest.mark.parametrize("length", [0, 3, 4, 5, 8])
@pytest.mark.parametrize("kind", [5, 9, 10])
def test_internal_attributes_from_an_external_peer_are_discarded(kind: int, length: int) -> None:
    """RFC 7606, sections 7.5, 7.9, 7.10: whatever they say."""
    found = discarded(attribute(0x40 if kind == 5 else 0x80, kind, bytes(length)))
    assert not found.has(kind)
    assert (found.local_pref, found.originator_id, found.cluster_list) == (None, None, b"")


def test_an_atomic_aggregate_that_says_something_is_discarded() -> None:
    """RFC 7606, section 7.6."""
    assert not discarded(attribute(0x40, 6, "00")).has(6)


@pytest.mark.parametrize(("asn4", "right"), [(True, 8), (False, 6)])
def test_an_aggregator_has_the_length_of_the_session(asn4: bool, right: int) -> None:
    """RFC 7606, section 7.7; RFC 6793, section 3: 8 octets with 4-octet AS numbers, 6 without, else discarded."""
    path = attribute(0x40, 2, "02 01 0000fde9" if asn4 else "02 01 fde9")
    for length in (0, 5, 6, 7, 8, 9):
        found = parse_attributes(path + attribute(0xC0, 7, b"\x01" * length), AttributeContext(asn4=asn4))
        assert found.treat_as_withdraw is None
        assert found.has(7) == (length == right)
        assert [error.attribute_type for error in found.discarded] == ([] if length == right else [7])
        assert (found.repaired == path) == (length != right)


def test_an_aggregator_with_as_0_is_discarded() -> None:
    """RFC 7607, section 2: in both widths."""
    assert not discarded(attribute(0xC0, 7, "00000000 c0000201")).has(7)
    found = parse_attributes(attribute(0xC0, 7, "0000 c0000201"), OLD)
    assert [error.attribute_type for error in found.discarded] == [7]


@pytest.mark.parametrize(
    ("kind", "right"),
    [(1, 0x40), (2, 0x40), (3, 0x40), (4, 0x80), (5, 0x40), (6, 0x40), (7, 0xC0), (8, 0xC0), (9, 0x80), (10, 0x80),
     (16, 0xC0), (17, 0xC0), (18, 0xC0), (22, 0xC0), (25, 0xC0), (32, 0xC0), (35, 0xC0)],
)  # fmt: skip
def test_wrong_flags_withdraw_the_routes(kind: int, right: int) -> None:
    """RFC 7606, section 3 c: Optional or Transitive other than the attribute's definition has them."""
    for flags in {0x00, 0x40, 0x80, 0xC0} - {right}:
        found = withdrawn(attribute(flags, kind, bytes(8)), kind, INTERNAL)
        assert found.treat_as_withdraw is not None
        assert "flags" in found.treat_as_withdraw.reason


def test_flags_that_mean_nothing_are_cleared_without_error() -> None:
    """RFC 4271, section 4.3: the low four bits are ignored, and Partial is for optional transitive attributes alone."""
    found = parse_attributes(
        attribute(0x6F, 1, "00") + attribute(0xEF, 8, "fde90001") + attribute(0xA1, 4, bytes(4))
        + attribute(0x48, 6) + attribute(0xB2, 200, "07"),
        EXTERNAL,
    )  # fmt: skip
    assert found.treat_as_withdraw is None
    assert found.discarded == ()
    assert found.repaired == (
        attribute(0x40, 1, "00") + attribute(0xE0, 8, "fde90001") + attribute(0x80, 4, bytes(4))
        + attribute(0x40, 6) + attribute(0x90, 200, "07")
    )  # fmt: skip


def test_partial_on_an_optional_transitive_attribute_stays() -> None:
    """RFC 4271, section 5: once set it is never cleared."""
    sound(attribute(0xE0, 8, "fde90001") + attribute(0xF0, 200, "01"))


@pytest.mark.parametrize("kind", [0, 11, 21, 33, 255])
def test_an_unknown_well_known_attribute_is_3_2(kind: int) -> None:
    """RFC 4271, section 6.3: the data is the attribute."""
    octets = attribute(0x40, kind, "0102")
    assert reset(ORIGIN + octets + NEXT_HOP) == Notification(3, 2, octets)
    assert reset(attribute(0x10, kind, "0102")) == Notification(3, 2, attribute(0x10, kind, "0102"))


def test_of_a_repeated_attribute_the_first_counts() -> None:
    """RFC 7606, section 3 g: the others are discarded, known or not."""
    found = parse_attributes(
        attribute(0x80, 4, "00000001") + attribute(0xC0, 200, "01") + attribute(0x80, 4, "00000002")
        + attribute(0xC0, 200, "02") + attribute(0x80, 4, "03") + ORIGIN,
        EXTERNAL,
    )  # fmt: skip
    assert found.med == 1
    assert found.treat_as_withdraw is None
    assert [error.attribute_type for error in found.discarded] == [4, 200, 4]
    assert found.repaired == attribute(0x80, 4, "00000001") + attribute(0xC0, 200, "01") + ORIGIN


def test_a_repeated_malformed_attribute_withdraws_by_its_first() -> None:
    """RFC 7606, section 3 g and h: the second one is none."""
    assert withdrawn(attribute(0x40, 1, "07") + ORIGIN, 1).origin == 7


def test_what_repeats_a_discarded_attribute_is_discarded_too() -> None:
    """RFC 7606, section 3 g: all occurrences but the first are discarded, also if the first is malformed."""
    found = parse_attributes(attribute(0x40, 6, "00") + attribute(0x40, 6) + ORIGIN, EXTERNAL)
    assert not found.has(6)
    assert found.repaired == ORIGIN


def test_a_repeated_mp_attribute_is_3_1() -> None:
    """RFC 7606, section 3 g: session reset."""
    reach = attribute(0x80, 14, "0002 01 10" + GLOBAL_6 + "00")
    unreach = attribute(0x80, 15, "0002 01")
    assert reset(reach + ORIGIN + reach) == Notification(3, 1)
    assert reset(unreach + unreach) == Notification(3, 1)
    assert parse_attributes(reach + unreach, EXTERNAL).treat_as_withdraw is None


@pytest.mark.parametrize("rest", ["40", "4001", "40 02 01", "50 02 00", "50 02 0001", "d0 08 0004 fde900"])
def test_attributes_beyond_their_block_withdraw_the_routes(rest: str) -> None:
    """RFC 7606, section 4: what was found before stays found, so that the routes are known."""
    reach = attribute(0x80, 14, "0002 01 10" + GLOBAL_6 + "00 20 20010db8")
    found = parse_attributes(reach + ORIGIN + bytes.fromhex(rest), EXTERNAL)
    assert found.treat_as_withdraw is not None
    assert found.mp_reach is not None
    assert found.has(1)


def test_the_first_error_is_the_one_reported() -> None:
    """RFC 7606, section 3 h asks for the strongest; of equals the first."""
    withdrawn(attribute(0x40, 3, "00") + attribute(0x40, 1, "09"), 3)


@pytest.mark.parametrize(
    ("octets", "length", "first", "neighbor"),
    [
        ("", 0, 0, 0),
        ("02 01 0000fde9", 1, 65001, 65001),
        ("02 02 01000000 00000001", 2, 1 << 24, 1 << 24),
        ("02 03 00011170 00000100 01000000", 3, 70000, 70000),
        ("02 01 00000001 02 02 00000002 00000003", 3, 1, 1),
        ("02 02 0000fde9 0000fdea 01 03 00000001 00000002 00000003", 3, 65001, 65001),
        ("01 02 00000001 00000002 02 01 00000003", 2, 0, 3),
        ("01 02 00000001 00000002", 1, 0, 0),
    ],
)
def test_a_path_is_measured(octets: str, length: int, first: int, neighbor: int) -> None:
    """RFC 4271, section 9.1.2.2: an AS_SET counts 1; the first AS is known only of a path that begins in sequence."""
    found = sound(attribute(0x40, 2, octets))
    assert (found.as_path_length, found.first_as, found.neighbor_as) == (length, first, neighbor)


def test_a_path_with_2_octet_as_numbers_is_measured() -> None:
    """RFC 6793, section 4.2: as wide as the session says."""
    found = sound(attribute(0x40, 2, "02 03 fde9 0000fdea".replace("0000", "0007")), OLD)
    assert (found.as_path_length, found.first_as) == (3, 65001)
    assert found.contains_as(7)
    assert not found.contains_as(0xE900)
    withdrawn(attribute(0x40, 2, "02 01 fde9"), 2)


def test_confederation_segments_count_nothing() -> None:
    """RFC 5065, section 5.3: nor are they the neighbour's."""
    found = sound(attribute(0x40, 2, "03 02 0000fe01 0000fe02 04 01 0000fe03 02 01 0000fde9"), INTERNAL)
    assert (found.as_path_length, found.first_as, found.neighbor_as) == (1, 0, 65001)


@pytest.mark.parametrize("segment", ["03 01 0000fe01", "04 01 0000fe01"])
def test_confederation_segments_from_an_external_peer_withdraw_the_routes(segment: str) -> None:
    """RFC 5065, section 5: first in the path or not."""
    withdrawn(attribute(0x40, 2, segment + "02 01 0000fde9"), 2)
    withdrawn(attribute(0x40, 2, "02 01 0000fde9" + segment), 2)


@pytest.mark.parametrize(
    "octets", ["02 00", "02 01 0000", "02 02 0000fde9", "05 01 0000fde9", "02", "02 01 0000fde9 01"]
)
@pytest.mark.parametrize("context", [EXTERNAL, INTERNAL])
def test_a_malformed_path_withdraws_the_routes(octets: str, context: AttributeContext) -> None:
    """RFC 7606, section 7.2; no path is kept that could not be read again."""
    found = withdrawn(attribute(0x40, 2, octets), 2, context)
    assert (found.as_path, found.as_path_length) == (b"", 0)
    assert not found.contains_as(65001)


@pytest.mark.parametrize(
    "octets",
    ["02 01 00000000", "02 02 0000fde9 00000000", "02 01 0000fde9 01 02 00000001 00000000"],
)
def test_as_0_in_a_path_withdraws_the_routes(octets: str) -> None:
    """RFC 7607, section 2: in any segment."""
    withdrawn(attribute(0x40, 2, octets), 2)


def test_sets_are_refused_only_if_asked() -> None:
    """RFC 9774: AS_SET and AS_CONFED_SET."""
    strict = AttributeContext(reject_as_set=True, external=False)
    for octets in ("02 01 0000fde9 01 01 00000001", "04 01 0000fe01 02 01 0000fde9"):
        withdrawn(attribute(0x40, 2, octets), 2, strict)
        sound(attribute(0x40, 2, octets), INTERNAL)
    sound(attribute(0x40, 2, "03 01 0000fe01 02 01 0000fde9"), strict)
    sound(AS_PATH, strict)


def test_contains_as_looks_at_whole_as_numbers() -> None:
    """The octets of one AS number across the border of two others are none."""
    found = sound(attribute(0x40, 2, "02 02 00010002 00030004 01 01 0000fde9"))
    assert found.contains_as(0x00010002)
    assert found.contains_as(65001)
    assert not found.contains_as(0x00020003)
    assert not found.contains_as(7)


def test_as4_attributes_from_a_new_speaker_are_discarded() -> None:
    """RFC 6793, section 4.1: between peers with 4-octet AS numbers they have no business."""
    discarded(attribute(0xC0, 17, "02 01 00011170"))
    discarded(attribute(0xC0, 18, "00011170 c0000201"))


def test_as4_attributes_from_an_old_speaker_are_kept() -> None:
    """RFC 6793, section 4.2.3: they say what AS_TRANS stands for."""
    path = attribute(0x40, 2, "02 01 5ba0")
    found = sound(path + attribute(0xC0, 17, "02 01 00011170") + attribute(0xC0, 18, "00011170 c0000201"), OLD)
    assert found.has(17)
    assert found.has(18)


@pytest.mark.parametrize(
    "octets",
    [
        attribute(0xC0, 17, "02 00"),
        attribute(0xC0, 17, "02 01 fde9"),
        attribute(0xC0, 17, "02 01 00011170 00"),
        attribute(0xC0, 17, "06 01 00011170"),
        attribute(0xC0, 17, "02 02 00011170 00000000"),
        attribute(0xC0, 18, "0001 c0000201"),
        attribute(0xC0, 18, "00011170 c0000201 00"),
        attribute(0xC0, 18, "00000000 c0000201"),
        attribute(0xC0, 18, ""),
        pytest.param(
            attribute(0xC0, 17, ""),
        ),
    ],
    ids=lambda octets: octets.hex(),
)
def test_malformed_as4_attributes_are_discarded(octets: bytes) -> None:
    """RFC 6793, section 6 (an AS4_PATH has 6 octets at least); RFC 7607, section 2 for AS 0."""
    path = attribute(0x40, 2, "02 01 5ba0")
    found = parse_attributes(path + octets, OLD)
    assert found.treat_as_withdraw is None
    assert [error.attribute_type for error in found.discarded] == [octets[1]]
    assert found.repaired == path


REACH: list[tuple[str, Family, str, str]] = [
    ("0002 01 10" + GLOBAL_6 + "00 20 20010db8", IPV6_UNICAST, GLOBAL_6, "2020010db8"),
    ("0002 01 20" + GLOBAL_6 + LOCAL_6 + "00 00", IPV6_UNICAST, GLOBAL_6 + LOCAL_6, "00"),
    ("0002 01 10" + GLOBAL_6 + "00", IPV6_UNICAST, GLOBAL_6, ""),
    ("0001 01 04 c0000201 00 08 0a", IPV4_UNICAST, "c0000201", "080a"),
    ("0001 80 0c 0000000000000000 c0000201 00", VPNV4, "0000000000000000c0000201", ""),
    ("0002 80 18 0000000000000000" + GLOBAL_6 + "00", VPNV6, "00" * 8 + GLOBAL_6, ""),
    ("0019 46 00 00", EVPN, "", ""),
    ("0019 46 04 c0000201 ff 05 00", EVPN, "c0000201", "0500"),
]


@pytest.mark.parametrize(("value", "family", "next_hop", "nlri"), REACH)
@pytest.mark.parametrize("flags", [0x80, 0x90])
def test_mp_reach_is_taken_apart(flags: int, value: str, family: Family, next_hop: str, nlri: str) -> None:
    """RFC 4760, section 3: AFI, SAFI, next hop with its length, a reserved octet that is ignored, routes."""
    reach = attribute(flags, 14, value)
    found = sound(ORIGIN + reach + AS_PATH)
    end = 4 + len(reach)
    start = end - len(bytes.fromhex(nlri))
    assert found.mp_reach == MpReach(family, bytes.fromhex(next_hop), start, end, 4, end)


@pytest.mark.parametrize("flags", [0x80, 0x90])
def test_mp_unreach_is_taken_apart(flags: int) -> None:
    """RFC 4760, section 4: AFI, SAFI, routes."""
    unreach = attribute(flags, 15, "0002 01 20 20010db8")
    found = sound(ORIGIN + unreach)
    end = 4 + len(unreach)
    assert found.mp_unreach == MpUnreach(IPV6_UNICAST, end - 5, end, 4, end)
    assert found.mp_reach is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0002",
        "0002 01",
        "0002 01 00",
        "0002 01 10" + GLOBAL_6,
        "0002 01 ff" + GLOBAL_6 + "00",
        "0002 01 00 00",
        "0002 01 04 c0000201 00",
        "0002 01 11" + GLOBAL_6 + "0000",
        "0001 01 10" + GLOBAL_6 + "00",
        "0001 80 04 c0000201 00",
        "0002 80 10" + GLOBAL_6 + "00",
        "0019 46 04 c00002",
    ],
)
def test_a_malformed_mp_reach_is_3_9(value: str) -> None:
    """RFC 7606, section 7.11: session reset, with the attribute as data."""
    octets = attribute(0x80, 14, value)
    assert reset(ORIGIN + octets + AS_PATH) == Notification(3, 9, octets)


@pytest.mark.parametrize("value", ["", "00", "0002"])
def test_a_malformed_mp_unreach_is_3_9(value: str) -> None:
    """RFC 7606, section 7.12 and RFC 4760, section 7."""
    octets = attribute(0x80, 15, value)
    assert reset(ORIGIN + octets) == Notification(3, 9, octets)


def test_an_ipv6_next_hop_for_ipv4_needs_its_capability() -> None:
    """RFC 8950, section 3: 16 or 32 octets, for the families that were negotiated and no others."""
    extended = AttributeContext(extended_next_hop=frozenset({IPV4_UNICAST}))
    for next_hop in (GLOBAL_6, GLOBAL_6 + LOCAL_6, "c0000201"):
        size = len(bytes.fromhex(next_hop))
        found = sound(attribute(0x80, 14, f"0001 01 {size:02x}" + next_hop + "00 08 0a"), extended)
        assert found.mp_reach is not None
        assert found.mp_reach.next_hop == bytes.fromhex(next_hop)
    assert reset(attribute(0x80, 14, "0001 02 10" + GLOBAL_6 + "00"), extended).subcode == 9
    assert reset(attribute(0x80, 14, "0001 01 05 c000020100 00"), extended).subcode == 9


@pytest.mark.parametrize("flags", [0x00, 0x40, 0xC0])
def test_an_mp_attribute_with_wrong_flags_withdraws_the_routes_it_names(flags: int) -> None:
    """RFC 7606, section 3 c: they can still be read, so the session stays."""
    found = withdrawn(attribute(flags, 14, "0002 01 10" + GLOBAL_6 + "00 20 20010db8"), 14)
    assert found.mp_reach is not None
    assert found.mp_reach.family == IPV6_UNICAST
    assert withdrawn(attribute(flags, 15, "0002 01 00"), 15).mp_unreach is not None
    assert reset(attribute(flags, 14, "0002 01")).subcode == 9


REACH_6 = attribute(0x80, 14, "0002 01 10" + GLOBAL_6 + "00 20 20010db8")


@pytest.mark.parametrize(
    ("octets", "ipv4", "mp", "missing"),
    [
        (BLOCK, True, False, None),
        (AS_PATH + NEXT_HOP, True, False, 1),
        (ORIGIN + NEXT_HOP, True, False, 2),
        (ORIGIN + AS_PATH, True, False, 3),
        (b"", True, False, 1),
        (b"", False, False, None),
        (REACH_6 + ORIGIN + AS_PATH, False, True, None),
        (REACH_6 + AS_PATH, False, True, 1),
        (REACH_6 + ORIGIN, False, True, 2),
        (REACH_6 + ORIGIN + AS_PATH, True, True, 3),
    ],
)
def test_missing_mandatory_attributes_withdraw_the_routes(octets: bytes, ipv4: bool, mp: bool, missing: int) -> None:
    """RFC 7606, section 3 d: ORIGIN and AS_PATH for all routes, NEXT_HOP for those of the NLRI field."""
    error = missing_attribute(sound(octets), ipv4, mp)
    assert (None if error is None else error.attribute_type) == missing


def test_an_empty_path_is_not_a_missing_one() -> None:
    """RFC 4271, section 5.1.2: an internal peer's own routes have it."""
    assert missing_attribute(sound(ORIGIN + attribute(0x40, 2) + NEXT_HOP), True, False) is None


@pytest.mark.parametrize(
    ("address", "good"),
    [("00000000", False), ("00000001", False), ("01000000", True), ("dfffffff", True), ("e0000001", False),
     ("ffffffff", False)],
)  # fmt: skip
def test_a_next_hop_that_is_no_host_withdraws_the_routes(address: str, good: bool) -> None:
    """RFC 4271, section 6.3: 0.0.0.0/8 and all from 224.0.0.0 on; beside MP_REACH_NLRI alone it is ignored."""
    found = sound(ORIGIN + AS_PATH + attribute(0x40, 3, address))
    error = missing_attribute(found, True, False)
    assert (error is None) == good
    assert error is None or error.attribute_type == 3
    assert missing_attribute(found, False, True) is None


def test_an_empty_next_hop_is_no_host() -> None:
    """Whoever asks before looking at `treat_as_withdraw` gets an answer and no IndexError."""
    error = missing_attribute(parse_attributes(ORIGIN + AS_PATH + attribute(0x40, 3), EXTERNAL), True, False)
    assert error is not None
    assert error.attribute_type == 3


def test_discards_and_flags_are_repaired_together() -> None:
    """What is passed on has no discarded attributes and no bits that mean nothing, and reads without error."""
    found = parse_attributes(
        attribute(0x41, 6, "07") + attribute(0x4F, 1, "00") + AS_PATH + attribute(0x50, 5, "00000064") + NEXT_HOP
        + attribute(0x60, 1, "01") + attribute(0xC2, 8, "fde90001"),
        EXTERNAL,
    )  # fmt: skip
    assert found.treat_as_withdraw is None
    assert [error.attribute_type for error in found.discarded] == [6, 5, 1]
    assert found.repaired == BLOCK + attribute(0xC0, 8, "fde90001")
    sound(found.repaired)


def test_large_communities_that_repeat_are_removed_on_receipt() -> None:
    """RFC 8092, section 5: silently, all but the first; the order stays."""
    one, two = bytes(11) + b"\1", bytes(11) + b"\2"
    found = parse_attributes(attribute(0xC0, 32, one + two + one + two) + ORIGIN, EXTERNAL)
    assert found.treat_as_withdraw is None
    assert found.discarded == ()
    assert found.repaired == attribute(0xC0, 32, one + two) + ORIGIN
