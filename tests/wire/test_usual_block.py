"""The usual beginning of an attribute block, taken in one step, means what the walk makes of the same attributes."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from trio_bgp.wire.attributes import AttributeContext, Attributes, parse_attributes
from trio_bgp.wire.notification import NotificationError

FLAGS = st.just(0x40) | st.integers(0, 255).map(lambda flags: flags & 0xEF)
ASNS = st.sampled_from([0, 1, 256, 65000, 0x01000000, 4200000000, 0xFFFFFFFF])
SEGMENT = st.builds(
    lambda kind, asns, more: bytes((kind, len(asns) + more)) + b"".join(asn.to_bytes(4, "big") for asn in asns),
    st.sampled_from([2, 2, 2, 1, 3, 0]),
    st.lists(ASNS, max_size=5),
    st.sampled_from([0, 0, 0, 1]),
)
PATHS = SEGMENT | st.lists(SEGMENT, max_size=3).map(b"".join) | st.binary(max_size=12)
HOPS = st.binary(min_size=4, max_size=4) | st.binary(max_size=6)
MED = b"\x80\x04\x04\0\0\0\x07"


def attribute(flags: int, kind: int, value: bytes) -> bytes:
    """One attribute with a length of one octet, sound or not."""
    return bytes((flags, kind, len(value))) + value


def found(octets: bytes, *, asn4: bool) -> Attributes | tuple[int, int]:
    """What parsing gives: a value, or the codes of an error."""
    try:
        return parse_attributes(octets, AttributeContext(asn4=asn4))
    except NotificationError as error:
        return error.notification.code, error.notification.subcode


@settings(derandomize=True, max_examples=500, deadline=None)
@given(FLAGS, st.binary(min_size=0, max_size=2), FLAGS, PATHS, FLAGS, HOPS, st.sampled_from([b"", MED]), st.booleans())
@example(0x40, b"\0", 0x40, b"\2\2\0\0\xfd\xe9\0\0\xfd\xea", 0x40, b"\xc0\0\2\1", MED, True)
@example(0x40, b"\3", 0x40, b"\2\1\0\0\xfd\xe9", 0x40, b"\xc0\0\2\1", b"", True)
@example(0x40, b"\0", 0x40, b"\2\2\0\0\1\0\0\0\0\1", 0x40, b"\xc0\0\2\1", b"", True)
@example(0x40, b"\0", 0x40, b"\2\1\0\0\0\0", 0x40, b"\xc0\0\2\1", b"", True)
@example(0x40, b"\0", 0x40, b"\2\0" + bytes(4), 0x40, b"\xc0\0\2\1", b"", True)
def test_the_order_of_attributes_does_not_matter(
    origin_flags: int,
    origin: bytes,
    path_flags: int,
    path: bytes,
    hop_flags: int,
    hop: bytes,
    rest: bytes,
    asn4: bool,
) -> None:
    """RFC 4271, section 5: any order is valid. Another order than the usual one goes through the walk alone."""
    first = attribute(origin_flags, 1, origin) + attribute(path_flags, 2, path)
    last = attribute(hop_flags, 3, hop)
    usual, walked = found(first + last + rest, asn4=asn4), found(last + first + rest, asn4=asn4)
    if isinstance(usual, tuple) or isinstance(walked, tuple):
        assert usual == walked
        return
    for name in ("origin", "as_path", "as_path_length", "first_as", "neighbor_as", "next_hop", "med", "seen"):
        assert getattr(usual, name) == getattr(walked, name), name
    assert (usual.treat_as_withdraw is None) == (walked.treat_as_withdraw is None)
    assert (usual.repaired is usual.octets) == (walked.repaired is walked.octets)


def test_a_block_cut_anywhere_is_never_read_beyond_its_end() -> None:
    """The step needs all of its octets to be there."""
    whole = attribute(0x40, 1, b"\0") + attribute(0x40, 2, b"\2\2\0\0\xfd\xe9\0\0\xfd\xea")
    whole += attribute(0x40, 3, b"\xc0\0\2\1")
    for end in range(len(whole)):
        parsed = parse_attributes(whole[:end], AttributeContext())
        assert parsed.treat_as_withdraw is not None or parsed.next_hop is None
