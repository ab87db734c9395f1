import pytest

from tests.wire.octets import message
from trio_bgp.wire.header import KEEPALIVE, encode_message, scan
from trio_bgp.wire.notification import Notification

ALIVE = bytes.fromhex("ffffffffffffffffffffffffffffffff 0013 04")
EMPTY_UPDATE = bytes.fromhex("ffffffffffffffffffffffffffffffff 0017 02 0000 0000")


def header(length: int, kind: int) -> bytes:
    """A header on its own that announces `length` octets."""
    return b"\xff" * 16 + bytes((length // 256, length % 256, kind))


def refused(octets: bytes, maximum: int = 4096) -> Notification:
    """The NOTIFICATION that the first message in `octets` is answered with."""
    found = scan(octets, 0, len(octets), maximum)
    assert found.offsets == []
    assert found.error is not None
    assert str(found.error)
    return found.error.notification


def accepted(octets: bytes, maximum: int = 4096) -> bool:
    """Whether `octets` are one whole message, or the beginning of one that is awaited."""
    found = scan(octets, 0, len(octets), maximum)
    return found.error is None and (found.offsets == [0] or found.needed > len(octets))


def test_keepalive_is_a_header_alone() -> None:
    """RFC 4271, section 4.4: 19 octets, type 4."""
    assert KEEPALIVE == ALIVE


def test_encode_message_writes_marker_length_and_type() -> None:
    """RFC 4271, section 4.1: the length counts the header and has its high octet first."""
    assert encode_message(2, b"\0\0\0\0") == EMPTY_UPDATE
    assert encode_message(3, bytes(300))[16:19] == b"\x01\x3f\x03"


def test_many_messages_in_one_buffer_are_found_in_order() -> None:
    """Each starts where the one before ends; those that are not UPDATEs are listed by index."""
    octets = ALIVE + EMPTY_UPDATE + EMPTY_UPDATE + message(3, "0602") + EMPTY_UPDATE
    found = scan(octets, 0, len(octets), 4096)
    assert found.offsets == [0, 19, 42, 65, 86]
    assert found.others == [0, 3]
    assert found.end == len(octets) == 109
    assert found.error is None
    assert found.needed == 0


def test_a_scan_looks_at_its_part_of_the_buffer_only() -> None:
    """What is before `start` and behind `end` counts for nothing, in a bytearray too."""
    buffer = bytearray(b"\xdd" * 7 + EMPTY_UPDATE + ALIVE + b"\xdd" * 40)
    found = scan(buffer, 7, 49, 4096)
    assert found.offsets == [7, 30]
    assert found.end == 49
    assert found.error is None


def test_no_octets_are_no_messages() -> None:
    """An empty part ends where it starts, without error."""
    found = scan(b"\xdd" * 8, 5, 5, 4096)
    assert (found.offsets, found.others, found.end, found.needed, found.error) == ([], [], 5, 0, None)


@pytest.mark.parametrize("cut", range(1, 19))
def test_a_header_cut_short_is_awaited_unjudged(cut: int) -> None:
    """Fewer than 19 octets say nothing, even if they cannot become a message."""
    octets = EMPTY_UPDATE + bytes(cut)
    found = scan(octets, 0, len(octets), 4096)
    assert found.offsets == [0]
    assert (found.end, found.needed, found.error) == (23, 0, None)


@pytest.mark.parametrize(("kind", "length"), [(2, 100), (1, 45), (3, 4096)])
def test_the_length_of_a_message_cut_short_is_known(kind: int, length: int) -> None:
    """With its header there, `needed` says how long the message at `end` will be, down to its last octet."""
    for have in (19, length - 1):
        octets = ALIVE + (header(length, kind) + bytes(length))[:have]
        found = scan(octets, 0, len(octets), 4096)
        assert (found.offsets, found.end, found.needed, found.error) == ([0], 19, length, None)
    octets = ALIVE + header(length, kind) + bytes(length - 19)
    found = scan(octets, 0, len(octets), 4096)
    assert (found.offsets, found.end, found.needed) == ([0, 19], 19 + length, 0)


@pytest.mark.parametrize("octet", range(16))
@pytest.mark.parametrize("whole", [ALIVE, EMPTY_UPDATE])
def test_a_marker_that_is_not_all_ones_is_1_1(whole: bytes, octet: int) -> None:
    """RFC 4271, section 6.1: connection not synchronized, whichever octet it is; no data."""
    damaged = bytearray(whole)
    damaged[octet] = 0xFE
    assert refused(bytes(damaged)) == Notification(1, 1)


@pytest.mark.parametrize(
    ("kind", "length"),
    [
        (2, 0),
        (2, 18),
        (2, 19),
        (2, 22),
        (2, 4097),
        (2, 65535),
        (1, 28),
        (1, 4097),
        (3, 20),
        (3, 4097),
        (4, 18),
        (4, 20),
        (5, 21),
        (5, 4097),
        (9, 18),
        (9, 4097),
    ],
)
def test_a_length_beyond_its_type_s_bounds_is_1_2(kind: int, length: int) -> None:
    """RFC 4271, section 6.1: the data is the erroneous length; an unknown type has the bounds of all."""
    assert refused(header(length, kind)) == Notification(1, 2, bytes((length // 256, length % 256)))


@pytest.mark.parametrize(("kind", "length"), [(1, 29), (2, 23), (3, 21), (4, 19), (5, 23)])
def test_the_shortest_message_of_each_type_is_whole(kind: int, length: int) -> None:
    """RFC 4271, sections 4.2 to 4.5, and RFC 2918."""
    assert accepted(header(length, kind) + bytes(length - 19))


@pytest.mark.parametrize("kind", [1, 2, 3, 5])
def test_a_message_of_4096_octets_is_the_longest(kind: int) -> None:
    """RFC 4271, section 4: 4096 octets are accepted."""
    assert accepted(header(4096, kind))


@pytest.mark.parametrize("kind", [0, 6, 128, 255])
def test_an_unknown_type_is_1_3(kind: int) -> None:
    """RFC 4271, section 6.1: bad message type, with the type as data."""
    assert refused(header(19, kind)) == Notification(1, 3, bytes((kind,)))


@pytest.mark.parametrize("kind", [2, 3, 5])
def test_extended_messages_reach_65535_octets(kind: int) -> None:
    """RFC 8654, section 4: UPDATE, NOTIFICATION and ROUTE-REFRESH may be as long as the length field can say."""
    assert accepted(header(4097, kind), 65535)
    assert accepted(header(65535, kind), 65535)


@pytest.mark.parametrize(("kind", "length"), [(1, 4097), (1, 65535), (4, 20), (4, 4096)])
def test_open_and_keepalive_are_never_extended(kind: int, length: int) -> None:
    """RFC 8654, section 4: their limits stay what they were."""
    assert refused(header(length, kind), 65535) == Notification(1, 2, bytes((length // 256, length % 256)))
    assert accepted(header(4096, 1), 65535)


def test_messages_before_an_error_are_kept() -> None:
    """The error is said of `end`, and what came before it is still given."""
    octets = EMPTY_UPDATE + ALIVE + header(18, 2) + EMPTY_UPDATE
    found = scan(octets, 0, len(octets), 4096)
    assert found.offsets == [0, 23]
    assert found.others == [1]
    assert found.end == 42
    assert found.error is not None
    assert found.error.notification == Notification(1, 2, b"\x00\x12")


def test_a_marker_is_judged_before_length_and_type() -> None:
    """A stream out of step says nothing true about length or type."""
    assert refused(bytes(19)) == Notification(1, 1)
    assert refused(header(4097, 2)[1:] + b"\x02") == Notification(1, 1)
