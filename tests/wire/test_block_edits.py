from tests.wire.octets import attribute
from trio_bgp.wire.attribute_block import add_community, without

ORIGIN = attribute(0x40, 1, "00")
NEXT_HOP = attribute(0x40, 3, "c0000201")
COMMUNITIES = attribute(0xE0, 8, "fde90001")
GRACEFUL_SHUTDOWN = bytes.fromhex("ffff0000")


def test_a_community_is_added_behind_the_others() -> None:
    """RFC 1997: into the attribute that is there, whose flags and place stay."""
    added = add_community(ORIGIN + COMMUNITIES + NEXT_HOP, GRACEFUL_SHUTDOWN)
    assert added == ORIGIN + attribute(0xE0, 8, "fde90001 ffff0000") + NEXT_HOP


def test_a_community_is_added_as_an_attribute_of_its_own() -> None:
    """RFC 1997: optional transitive, if there is none yet."""
    assert add_community(ORIGIN + NEXT_HOP, GRACEFUL_SHUTDOWN) == ORIGIN + NEXT_HOP + attribute(0xC0, 8, "ffff0000")


def test_a_community_that_is_there_is_not_added_again() -> None:
    """First, last or in the middle: the block is the same object."""
    for value in ("ffff0000 fde90001", "fde90001 ffff0000", "fde90001 ffff0000 fde90002"):
        block = ORIGIN + attribute(0xC0, 8, value) + NEXT_HOP
        assert add_community(block, GRACEFUL_SHUTDOWN) is block


def test_octets_across_two_communities_are_none() -> None:
    """0001ffff 00000001 does not contain ffff0000."""
    block = attribute(0xC0, 8, "0001ffff 00000001")
    assert add_community(block, GRACEFUL_SHUTDOWN) == attribute(0xC0, 8, "0001ffff 00000001 ffff0000")


def test_a_community_more_may_need_an_extended_length() -> None:
    """63 communities have 252 octets, 64 have 256."""
    block = attribute(0xC0, 8, "fde90001" * 63) + NEXT_HOP
    assert add_community(block, GRACEFUL_SHUTDOWN) == attribute(0xD0, 8, "fde90001" * 63 + "ffff0000") + NEXT_HOP


def test_one_attribute_is_taken_out_of_a_block() -> None:
    """First, last, in the middle, of either width of length; the others stay as they are."""
    wide = attribute(0xD0, 8, bytes(300))
    assert without(ORIGIN + COMMUNITIES + NEXT_HOP, 8) == ORIGIN + NEXT_HOP
    assert without(COMMUNITIES + NEXT_HOP, 8) == NEXT_HOP
    assert without(ORIGIN + wide, 8) == ORIGIN
    assert without(COMMUNITIES, 8) == b""


def test_a_block_without_the_attribute_stays_the_same_object() -> None:
    """Nothing to take out, nothing copied."""
    block = ORIGIN + NEXT_HOP
    assert without(block, 8) is block
