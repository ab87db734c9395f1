"""What `make fuzz` looks for with atheris, here with Hypothesis: on mutated messages, the same each time."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.targets import TARGETS
from tests.harness import decoder
from tests.harness.decoder import V4, V6

QUICK = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
BLOCK = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001, 7)
MORE = [
    decoder.attribute(0x80, 4, bytes(4)),
    decoder.attribute(0xC0, 7, bytes(8)),
    decoder.attribute(0xC0, 8, b"\xff\xff\xff\1" * 3),
    decoder.attribute(0xC0, 16, bytes(8)),
    decoder.attribute(0xC0, 17, b"\2\1\0\1\0\0"),
    decoder.attribute(0xC0, 32, bytes(24)),
    decoder.attribute(0xC0, 35, bytes(4)),
    decoder.attribute(0xE0, 200, bytes(300)),
    decoder.attribute(0x80, 9, bytes(4)),
    decoder.attribute(0x80, 10, bytes(8)),
]
UPDATES = [
    decoder.announce([(V4, b"\x18\x0a\0\1"), (V4, b"\x08\x0b")], BLOCK, b"\xc0\0\2\1"),
    decoder.announce([(V6, b"\x20\x20\x01\x0d\xb8")], BLOCK + b"".join(MORE), bytes(15) + b"\1"),
    decoder.withdraw([(V4, b"\x18\x0a\0\1")]),
    decoder.withdraw([(V6, b"\x20\x20\x01\x0d\xb8")]),
    decoder.update(b"\x08\x0c", BLOCK + decoder.attribute(0x40, 3, b"\xc0\0\2\1") + b"".join(MORE), b"\x08\x0d"),
    decoder.open_message(4200000001, 7, families=(V4, V6), extended=True, add_path=3),
    decoder.message(decoder.REFRESH, b"\0\1\0\1"),
    decoder.message(decoder.NOTIFICATION, b"\6\2\3bye"),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good message, or some, with octets flipped, put in, taken out, repeated, and lengths made wrong."""
    octets = bytearray(b"".join(draw(st.lists(st.sampled_from(UPDATES), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(octets)))
        kind = draw(st.sampled_from(["flip", "insert", "delete", "repeat", "length"]))
        size = draw(st.integers(1, 8))
        if kind == "flip" and at < len(octets):
            octets[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "insert":
            octets[at:at] = draw(st.binary(min_size=size, max_size=size))
        elif kind == "delete":
            del octets[at : at + size]
        elif kind == "repeat":
            octets[at:at] = octets[at : at + 4 * size]
        elif at + 1 < len(octets):
            octets[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    return bytes(octets)


@QUICK
@given(mutated())
def test_framing_finds_whole_messages_only(octets: bytes) -> None:
    """Whatever arrives."""
    TARGETS["framing"](octets)


@QUICK
@given(mutated())
def test_open_and_the_small_messages(octets: bytes) -> None:
    """A value, or a NotificationError."""
    for start in (0, 19):
        TARGETS["open"](octets[start:])


@QUICK
@given(mutated(), st.integers(0, 60))
def test_attribute_blocks_are_repaired_once(octets: bytes, start: int) -> None:
    """A value or a NotificationError; what was repaired needs no repair."""
    TARGETS["attributes"](octets[start:])


@QUICK
@given(st.one_of(st.binary(max_size=60), mutated()))
def test_routes_of_every_family(octets: bytes) -> None:
    """Framing, keys and words."""
    TARGETS["nlri"](octets[:200])


@QUICK
@given(mutated())
def test_what_is_accepted_is_written_as_it_was_meant(octets: bytes) -> None:
    """Read, then repack for any receiver: an independent decoder finds the same prefixes."""
    TARGETS["update"](octets[19:])


@QUICK
@given(st.one_of(st.binary(max_size=100), mutated()), st.integers(0, 60))
def test_recordings_are_replayed_as_whole_messages(octets: bytes, start: int) -> None:
    """MRT records and UPDATEs in them, whatever they are."""
    TARGETS["mrt"](octets[start:])
