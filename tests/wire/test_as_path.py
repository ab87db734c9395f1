import pytest

from trio_bgp.wire.as_path import (
    Segment,
    decode_as_path,
    encode_as_path,
    format_as_path,
    merge_as4_path,
    prepend,
    two_octet_paths,
)

SET, SEQUENCE, CONFED_SEQUENCE, CONFED_SET = 1, 2, 3, 4

WIDE: list[tuple[str, list[Segment]]] = [
    ("", []),
    ("02 01 0000fde9", [(2, (65001,))]),
    ("02 02 00011170 0000fde9", [(2, (70000, 65001))]),
    ("02 01 0000fde9 01 02 00000001 00000002", [(2, (65001,)), (1, (1, 2))]),
    ("03 01 0000ffff 04 01 0000fffe 02 01 ffffffff", [(3, (65535,)), (4, (65534,)), (2, (4294967295,))]),
    ("02 ff" + "00000007" * 255 + "02 01 00000008", [(2, (7,) * 255), (2, (8,))]),
]


@pytest.mark.parametrize(("octets", "segments"), WIDE, ids=range(len(WIDE)))
def test_segments_with_4_octet_as_numbers(octets: str, segments: list[Segment]) -> None:
    """RFC 6793, section 3: type, count of AS numbers, 4 octets each; read and written."""
    assert decode_as_path(bytes.fromhex(octets), asn4=True) == segments
    assert encode_as_path(segments, asn4=True) == bytes.fromhex(octets)


def test_segments_with_2_octet_as_numbers() -> None:
    """RFC 4271, section 4.3: 2 octets each; read and written."""
    octets = bytes.fromhex("02 02 fde9 5ba0 01 01 0007")
    segments = [(2, (65001, 23456)), (1, (7,))]
    assert decode_as_path(octets, asn4=False) == segments
    assert encode_as_path(segments, asn4=False) == octets


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        ("00 01 0000fde9", "segment type 0 is unknown"),
        ("05 01 0000fde9", "segment type 5 is unknown"),
        ("02 00", "a segment has no AS number"),
        ("02 01 0000fde9 01 00", "a segment has no AS number"),
        ("02", "an octet is left over"),
        ("02 01 0000fde9 02", "an octet is left over"),
        ("02 01 0000fd", "a segment exceeds the attribute"),
        ("02 02 0000fde9", "a segment exceeds the attribute"),
        ("02 01", "a segment exceeds the attribute"),
    ],
)
def test_malformed_segments_raise(octets: str, reason: str) -> None:
    """RFC 7606, section 7.2: unknown type, no AS number, overrun, underrun."""
    with pytest.raises(ValueError, match=f"^{reason}$"):
        decode_as_path(bytes.fromhex(octets), asn4=True)


def test_the_width_of_as_numbers_decides_what_is_whole() -> None:
    """The same octets are a path with 2-octet numbers and an overrun with 4-octet ones."""
    octets = bytes.fromhex("02 02 fde9 fdea")
    assert decode_as_path(octets, asn4=False) == [(2, (65001, 65002))]
    with pytest.raises(ValueError, match="exceeds"):
        decode_as_path(octets, asn4=True)


def test_a_path_in_words() -> None:
    """Sequences plain, sets in braces, confederation segments in round and square brackets."""
    path: list[Segment] = [(3, (65100, 65101)), (4, (65102, 65103)), (2, (65001, 65002)), (1, (65003, 65004))]
    assert format_as_path(path) == "(65100 65101) [65102,65103] 65001 65002 {65003,65004}"
    assert format_as_path([]) == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "02 01 00011170"),
        ("02 01 0000fde9", "02 02 00011170 0000fde9"),
        ("01 01 0000fde9", "02 01 00011170 01 01 0000fde9"),
        ("03 01 0000fde9", "02 01 00011170 03 01 0000fde9"),
        ("02 fe" + "00000007" * 254, "02 ff 00011170" + "00000007" * 254),
        ("02 ff" + "00000007" * 255, "02 01 00011170 02 ff" + "00000007" * 255),
    ],
    ids=["empty", "sequence", "set", "confederation", "254", "255"],
)
def test_an_as_is_prepended_to_the_first_sequence(before: str, after: str) -> None:
    """RFC 4271, section 5.1.2 b: into a leading AS_SEQUENCE that has room, else as a new one."""
    assert prepend(bytes.fromhex(before), 70000) == bytes.fromhex(after)


@pytest.mark.parametrize(
    ("wide", "old", "new"),
    [
        ("", "", None),
        ("02 02 0000fde9 0000ffff", "02 02 fde9 ffff", None),
        ("02 02 00011170 0000fde9", "02 02 5ba0 fde9", "02 02 00011170 0000fde9"),
        ("02 03 00010000 0000ffff 0000fde9", "02 03 5ba0 ffff fde9", "02 03 00010000 0000ffff 0000fde9"),
        ("02 01 0000fde9 01 01 0000ffff", "02 01 fde9 01 01 ffff", None),
        ("02 01 00010000", "02 01 5ba0", "02 01 00010000"),
        (
            "02 01 0000fde9 01 02 00000001 00011170",
            "02 01 fde9 01 02 0001 5ba0",
            "02 01 0000fde9 01 02 00000001 00011170",
        ),
        (
            "03 01 0000fe01 04 01 0000fe02 02 01 00011170",
            "03 01 fe01 04 01 fe02 02 01 5ba0",
            "02 01 00011170",
        ),
        ("03 01 00011170 02 01 0000fde9", "03 01 5ba0 02 01 fde9", None),
    ],
)
def test_what_an_old_speaker_is_told_of_a_path(wide: str, old: str, new: str | None) -> None:
    """RFC 6793, section 4.2.2: AS_TRANS for what does not fit, and AS4_PATH, without confederations, only then."""
    expected = None if new is None else bytes.fromhex(new)
    assert two_octet_paths(bytes.fromhex(wide)) == (bytes.fromhex(old), expected)


@pytest.mark.parametrize(
    "octets",
    [
        "02 00",
        "02 01 0000fd",
        "07 01 00000001",
        "01",
        "02",
    ],
)
def test_an_old_speaker_is_told_nothing_of_a_malformed_path(octets: str) -> None:
    """The path is not guessed at."""
    with pytest.raises(ValueError, match=r"."):
        two_octet_paths(bytes.fromhex(octets))


T = 23456

MERGED: list[tuple[list[Segment], list[Segment], list[Segment]]] = [
    # The same length: all of AS4_PATH.
    ([(2, (T, 65001))], [(2, (70000, 65001))], [(2, (70000, 65001))]),
    # Old speakers came after the last new one: theirs stay in front.
    ([(2, (100, 200, T, T))], [(2, (70000, 70001))], [(2, (100, 200, 70000, 70001))]),
    # AS4_PATH is longer: it is ignored.
    ([(2, (100,))], [(2, (70000, 70001))], [(2, (100,))]),
    # AS4_PATH says nothing.
    ([(2, (100, 200))], [], [(2, (100, 200))]),
    ([], [(2, (70000,))], []),
    ([], [], []),
    # A set counts as one AS, however many it has.
    ([(2, (100, T)), (1, (1, 2, T))], [(2, (70000,)), (1, (1, 2, 70001))], [(2, (100, 70000)), (1, (1, 2, 70001))]),
    ([(1, (1, 2)), (2, (T,))], [(2, (70000,))], [(1, (1, 2)), (2, (70000,))]),
    ([(1, (1, 2)), (2, (100, T))], [(2, (70000,))], [(1, (1, 2)), (2, (100, 70000))]),
    ([(2, (100,)), (1, (T, 5))], [(1, (70000, 5))], [(2, (100,)), (1, (70000, 5))]),
    # Confederation segments lead the path, count nothing and stay; those of an AS4_PATH are dropped.
    ([(3, (65100,)), (2, (T,))], [(2, (70000,))], [(3, (65100,)), (2, (70000,))]),
    ([(3, (65100,)), (2, (100, T))], [(2, (70000,))], [(3, (65100,)), (2, (100, 70000))]),
    ([(2, (T,))], [(3, (65100,)), (2, (70000,))], [(2, (70000,))]),
    ([(2, (100, T))], [(4, (65100, 65101)), (3, (65102,))], [(2, (100, T))]),
    # A sequence has at most 255 AS numbers.
    ([(2, (1,) * 255), (2, (T,))], [(2, (70000,))], [(2, (1,) * 255), (2, (70000,))]),
    ([(2, (1,) * 254), (2, (T,))], [(2, (70000,))], [(2, (1,) * 254 + (70000,))]),
]  # fmt: skip


@pytest.mark.parametrize(("as_path", "as4_path", "merged"), MERGED, ids=range(len(MERGED)))
def test_as_path_and_as4_path_are_merged(
    as_path: list[Segment], as4_path: list[Segment], merged: list[Segment]
) -> None:
    """RFC 6793, section 4.2.3: the leading part of AS_PATH in front of AS4_PATH, as long as AS_PATH was."""
    assert merge_as4_path(as_path, as4_path) == merged


def test_confederation_segments_next_to_what_stays_stay() -> None:
    """RFC 6793, section 4.2.3: a confederation segment that leads or is next to one that is prepended is prepended."""
    as_path: list[Segment] = [(3, (65100,)), (4, (65101, 65102)), (2, (T,))]
    assert merge_as4_path(as_path, [(2, (70000,))]) == [(3, (65100,)), (4, (65101, 65102)), (2, (70000,))]
    amid: list[Segment] = [(2, (100,)), (3, (65100,)), (2, (T,))]
    assert merge_as4_path(amid, [(2, (70000,))]) == [(2, (100,)), (3, (65100,)), (2, (70000,))]
    behind: list[Segment] = [(2, (100, T)), (3, (65100,)), (2, (T,))]
    assert merge_as4_path(behind, [(2, (70000, 70001))]) == [(2, (100, 70000, 70001))]


def test_merging_changes_neither_path() -> None:
    """What is passed in belongs to the caller."""
    as_path: list[Segment] = [(2, (100, T))]
    as4_path: list[Segment] = [(2, (70000,))]
    merge_as4_path(as_path, as4_path)
    assert (as_path, as4_path) == ([(2, (100, T))], [(2, (70000,))])
