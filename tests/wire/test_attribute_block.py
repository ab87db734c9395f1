"""Attribute blocks in the other width of AS numbers (RFC 6793), and writing single attributes."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness import decoder
from trio_bgp.wire.attribute_block import encode_attribute, narrow, walk, widen

QUICK = settings(derandomize=True, max_examples=150, deadline=None)
ORIGIN = decoder.attribute(0x40, 1, b"\0")
NEXT_HOP = decoder.attribute(0x40, 3, b"\xc0\0\2\1")
ADDRESS = b"\x0a\0\0\1"
SEQUENCE, SET, CONFED_SEQUENCE, CONFED_SET = 2, 1, 3, 4


def path(*segments: tuple[int, tuple[int, ...]], width: str = "I") -> bytes:
    """The value of an AS_PATH."""
    return b"".join(
        struct.pack(f">BB{len(numbers)}{width}", kind, len(numbers), *numbers) for kind, numbers in segments
    )


def sequence(*numbers: int, width: str = "I") -> bytes:
    """The value of an AS_PATH of one sequence."""
    return path((SEQUENCE, numbers), width=width)


def as_path(value: bytes) -> bytes:
    """AS_PATH."""
    return decoder.attribute(0x40, 2, value)


def aggregator(asn: int, width: str) -> bytes:
    """AGGREGATOR."""
    return decoder.attribute(0xC0, 7, struct.pack(f">{width}", asn) + ADDRESS)


def as4_path(value: bytes) -> bytes:
    """AS4_PATH."""
    return decoder.attribute(0xC0, 17, value)


def as4_aggregator(asn: int) -> bytes:
    """AS4_AGGREGATOR."""
    return decoder.attribute(0xC0, 18, struct.pack(">I", asn) + ADDRESS)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535])
def test_the_extended_length_is_used_where_it_is_needed(size: int) -> None:
    """RFC 4271, section 4.3: two octets of length above 255, one otherwise, whatever the flags said before."""
    value = bytes(size)
    for flags in (0xC0, 0xD0):
        octets = encode_attribute(flags, 8, value)
        assert octets == (
            b"\xd0\x08" + size.to_bytes(2, "big") + value if size > 255 else b"\xc0\x08" + bytes((size,)) + value
        )


def test_flags_other_than_the_extended_length_are_kept() -> None:
    """Optional, Transitive and Partial are the caller's."""
    assert encode_attribute(0xE0, 200, b"x") == b"\xe0\xc8\x01x"
    assert encode_attribute(0x80, 200, b"x") == b"\x80\xc8\x01x"


def test_walk_finds_each_attribute() -> None:
    """Flags, type, start and end of the value, with either form of the length."""
    octets = (
        b"\x40\x01\x01\x00" + b"\x50\x03\x00\x04\xc0\x00\x02\x01" + b"\xd0\xc8\x01\x00" + bytes(256) + b"\x40\x06\x00"
    )
    assert list(walk(octets)) == [(0x40, 1, 3, 4), (0x50, 3, 8, 12), (0xD0, 200, 16, 272), (0x40, 6, 275, 275)]
    assert list(walk(b"")) == []


def test_small_numbers_need_no_as4_path() -> None:
    """RFC 6793, section 4.2.2: AS4_PATH is not sent if all AS numbers fit two octets."""
    wide = ORIGIN + as_path(sequence(65001, 1)) + NEXT_HOP + aggregator(65535, "I")
    assert narrow(wide) == ORIGIN + as_path(sequence(65001, 1, width="H")) + NEXT_HOP + aggregator(65535, "H")


@QUICK
@given(
    st.integers(0, 2),
    st.lists(st.integers(1, 70000) | st.integers(1, 2**32 - 1), min_size=1, max_size=63),
    st.sampled_from([b"", NEXT_HOP, NEXT_HOP + decoder.attribute(0xC0, 8, b"\0\1\0\2")]),
)
def test_who_knows_what_is_in_a_block_gets_the_same_octets(origin: int, numbers: list[int], rest: bytes) -> None:
    """The attribute types that are known to be there spare a walk, and change nothing."""
    wide = decoder.attribute(0x40, 1, bytes((origin,))) + as_path(sequence(*numbers)) + rest
    walked = narrow(wide)
    seen = sum(1 << kind for _, kind, _, _ in walk(wide))
    assert narrow(wide, seen) == walked
    assert (17 in {kind for _, kind, _, _ in walk(walked)}) == (max(numbers) > 0xFFFF)
    with_aggregator = wide + aggregator(70000, "I")
    assert narrow(with_aggregator, seen | 1 << 7) == narrow(with_aggregator) != with_aggregator


def test_large_numbers_are_as_trans_with_as4_path_behind() -> None:
    """RFC 6793, section 4.2.2: 23456 in place of what does not fit; AS4_PATH has the whole path."""
    wide = ORIGIN + as_path(sequence(65001, 65536, 4200000000)) + NEXT_HOP
    assert narrow(wide) == (
        ORIGIN
        + as_path(sequence(65001, 23456, 23456, width="H"))
        + NEXT_HOP
        + as4_path(sequence(65001, 65536, 4200000000))
    )


def test_a_large_aggregator_has_as4_aggregator_behind() -> None:
    """RFC 6793, section 4.2.2: for itself, whether or not the path has large numbers."""
    wide = ORIGIN + as_path(sequence(1)) + NEXT_HOP + aggregator(70000, "I")
    assert narrow(wide) == (
        ORIGIN + as_path(sequence(1, width="H")) + NEXT_HOP + aggregator(23456, "H") + as4_aggregator(70000)
    )


def test_sets_are_narrowed_as_well() -> None:
    """RFC 6793, section 4.2.2: every segment."""
    wide = as_path(path((SEQUENCE, (1,)), (SET, (2, 70000))))
    assert narrow(wide) == (
        as_path(path((SEQUENCE, (1,)), (SET, (2, 23456)), width="H"))
        + as4_path(path((SEQUENCE, (1,)), (SET, (2, 70000))))
    )


def test_confederation_segments_are_not_in_as4_path() -> None:
    """RFC 6793, section 4.2.2: they are left out, and do not by themselves ask for it."""
    confederation = (CONFED_SEQUENCE, (70000,))
    assert narrow(as_path(path(confederation, (SEQUENCE, (1, 70001))))) == (
        as_path(path((CONFED_SEQUENCE, (23456,)), (SEQUENCE, (1, 23456)), width="H")) + as4_path(sequence(1, 70001))
    )
    only = narrow(as_path(path(confederation, (SEQUENCE, (1,)))))
    assert only == as_path(path((CONFED_SEQUENCE, (23456,)), (SEQUENCE, (1,)), width="H"))


def test_an_empty_path_stays_empty() -> None:
    """From an internal peer."""
    assert narrow(as_path(b"")) == as_path(b"")
    assert widen(as_path(b"")) == as_path(b"")


def test_other_attributes_keep_their_octets() -> None:
    """Even an extended length that was not needed."""
    odd = b"\x50\x01\x00\x01\x00" + b"\xd0\xc8\x00\x02ab"
    assert narrow(odd) == odd
    assert widen(odd) == odd


def test_a_path_from_an_old_speaker_is_widened() -> None:
    """RFC 6793, section 4.1: without AS4_PATH the numbers are what they are, AS_TRANS included."""
    old = ORIGIN + as_path(sequence(65001, 23456, width="H")) + NEXT_HOP + aggregator(64999, "H")
    assert widen(old) == ORIGIN + as_path(sequence(65001, 23456)) + NEXT_HOP + aggregator(64999, "I")


def test_as4_path_replaces_the_end_of_as_path() -> None:
    """RFC 6793, section 4.2.3: what old speakers put in front since stays, AS4_PATH is gone."""
    old = (
        ORIGIN + as_path(sequence(65001, 64999, 23456, 23456, width="H")) + as4_path(sequence(70000, 70001)) + NEXT_HOP
    )
    assert widen(old) == ORIGIN + as_path(sequence(65001, 64999, 70000, 70001)) + NEXT_HOP


def test_as4_path_before_as_path_counts_as_well() -> None:
    """Attributes may come in any order (RFC 4271, section 5)."""
    old = as4_path(sequence(70000)) + ORIGIN + as_path(sequence(65001, 23456, width="H"))
    assert widen(old) == ORIGIN + as_path(sequence(65001, 70000))


def test_a_longer_as4_path_is_ignored() -> None:
    """RFC 6793, section 4.2.3: AS_PATH shorter than AS4_PATH is taken as it is."""
    old = as_path(sequence(65001, width="H")) + as4_path(sequence(70000, 70001))
    assert widen(old) == as_path(sequence(65001))


def test_a_set_counts_one_when_lengths_are_compared() -> None:
    """RFC 6793, section 4.2.3: by the method of RFC 4271, section 9.1.2.2."""
    old = as_path(path((SEQUENCE, (65001, 23456)), (SET, (23456, 7, 8)), width="H"))
    new = as4_path(path((SEQUENCE, (70000,)), (SET, (70001, 7, 8))))
    assert widen(old + new) == as_path(path((SEQUENCE, (65001, 70000)), (SET, (70001, 7, 8))))


def test_aggregators_are_merged() -> None:
    """RFC 6793, section 4.2.3: AS_TRANS in AGGREGATOR: AS4_AGGREGATOR has the true one."""
    old = as_path(sequence(65001, 23456, width="H")) + aggregator(23456, "H")
    assert widen(old + as4_aggregator(70001) + as4_path(sequence(70000))) == (
        as_path(sequence(65001, 70000)) + aggregator(70001, "I")
    )


def test_an_aggregator_of_an_old_speaker_voids_the_as4_attributes() -> None:
    """RFC 6793, section 4.2.3: AGGREGATOR other than AS_TRANS: AS4_AGGREGATOR and AS4_PATH are ignored."""
    old = as_path(sequence(65001, 23456, width="H")) + aggregator(64999, "H")
    assert widen(old + as4_aggregator(70001) + as4_path(sequence(70000))) == (
        as_path(sequence(65001, 23456)) + aggregator(64999, "I")
    )


def test_as4_aggregator_alone_is_gone() -> None:
    """RFC 6793, section 4.1: nothing of it goes to a new speaker."""
    assert widen(as_path(sequence(1, width="H")) + as4_aggregator(70001)) == as_path(sequence(1))


NUMBERS = st.one_of(st.integers(1, 65535), st.integers(65536, 0xFFFFFFFF))


@QUICK
@given(
    st.lists(NUMBERS, max_size=12),
    st.lists(NUMBERS, max_size=3),
    st.one_of(st.none(), NUMBERS),
    st.binary(max_size=300),
)
def test_widening_what_was_narrowed_gives_it_back(
    numbers: list[int], members: list[int], aggregated: int | None, other: bytes
) -> None:
    """RFC 6793, section 4.2: an old speaker in the middle that adds nothing loses nothing."""
    segments = [(kind, tuple(values)) for kind, values in ((SEQUENCE, numbers), (SET, members)) if values]
    wide = ORIGIN + as_path(path(*segments)) + NEXT_HOP + decoder.attribute(0xC0, 200, other)
    if aggregated is not None:
        wide += aggregator(aggregated, "I")
    narrowed = narrow(wide)
    for _, kind, value in decoder.attributes_of(narrowed):
        if kind == 2:
            assert len(value) == sum(2 + 2 * len(values) for _, values in segments)
    assert widen(narrowed) == wide


@QUICK
@given(st.lists(NUMBERS, min_size=1, max_size=12), st.lists(st.integers(1, 65535), max_size=5))
def test_what_an_old_speaker_puts_in_front_stays_in_front(numbers: list[int], added: list[int]) -> None:
    """RFC 6793, section 4.2.3: prepending to a narrowed path prepends to the wide one."""
    found = {kind: value for _, kind, value in decoder.attributes_of(narrow(as_path(sequence(*numbers))))}
    prepended = sequence(*added, *struct.unpack(f">{len(numbers)}H", found[2][2:]), width="H")
    octets = as_path(prepended) + (as4_path(found[17]) if 17 in found else b"")
    assert widen(octets) == as_path(sequence(*added, *numbers))
