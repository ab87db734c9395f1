"""`PassthroughMessage`: a counted view of whole messages in a slab."""

import pytest

from tests.harness import decoder
from trio_bgp.passthrough.mask import NO_REQUIREMENT, CapabilityMask
from trio_bgp.passthrough.message import FLAG_REPACKED, PassthroughMessage
from trio_bgp.passthrough.pool import SMALL_SLAB, BufferPool, Slab

OCTETS = decoder.update(b"\x08\x0a") + decoder.update(b"\x08\x0b")


def filled() -> tuple[BufferPool, Slab]:
    """A slab with two messages behind 100 other octets."""
    pool = BufferPool()
    slab = pool.take(SMALL_SLAB)
    slab.data[100 : 100 + len(OCTETS)] = OCTETS
    return pool, slab


def make(slab: Slab) -> PassthroughMessage:
    """Those two messages."""
    return PassthroughMessage(slab, 100, 100 + len(OCTETS), 2, CapabilityMask(1 << 24))


def test_a_message_is_a_view_of_whole_messages() -> None:
    """Header and marker included, not copied, with what reading it requires."""
    _, slab = filled()
    message = make(slab)
    assert bytes(message.octets) == OCTETS
    assert isinstance(message.octets, memoryview)
    assert message.octets.obj is slab.data
    assert (message.start, message.end, len(message)) == (100, 100 + len(OCTETS), len(OCTETS))
    assert (message.count, message.flags, message.required_caps) == (2, 0, 1 << 24)
    message.release()
    slab.release()


def test_the_marker_stays_valid_while_many_hold_it() -> None:
    """C.3, 1: the count is beside the octets, not laid over them."""
    _, slab = filled()
    message = make(slab)
    for _ in range(3):
        message.acquire()
    assert bytes(message.octets[:16]) == b"\xff" * 16
    assert bytes(message.octets) == OCTETS
    for _ in range(4):
        message.release()
    slab.release()


def test_its_maker_holds_the_first_reference() -> None:
    """C.3, 4: with no receiver at all the maker's release gives the slab back."""
    pool, slab = filled()
    message = make(slab)
    assert message.ref_count == 1
    assert slab.refs == 2
    slab.release()
    assert pool.outstanding == 1
    message.release()
    assert pool.outstanding == 0


def test_the_last_of_many_references_gives_the_slab_back() -> None:
    """Whoever it is; the slab's own reference is one, however many hold the message."""
    pool, slab = filled()
    message = make(slab)
    slab.release()
    message.acquire()
    message.acquire()
    assert (message.ref_count, slab.refs) == (3, 1)
    message.release()
    message.release()
    assert pool.outstanding == 1
    assert bytes(message.octets) == OCTETS
    message.release()
    assert pool.outstanding == 0


def test_messages_share_a_slab() -> None:
    """It is back when the last of them and its reader have let go."""
    pool, slab = filled()
    messages = [make(slab) for _ in range(3)]
    assert slab.refs == 4
    for message in messages:
        message.release()
    assert pool.outstanding == 1
    slab.release()
    assert pool.outstanding == 0


def test_a_released_message_has_no_octets() -> None:
    """It cannot show another's octets when the slab is filled again."""
    pool, slab = filled()
    message = make(slab)
    message.release()
    slab.release()
    again = pool.take(SMALL_SLAB)
    again.data[100 : 100 + len(OCTETS)] = bytes(len(OCTETS))
    assert bytes(message.octets) == b""
    again.release()


def test_repacked_octets_lie_in_no_slab() -> None:
    """Made here, counted alike, flagged, and a matter for the allocator."""
    message = PassthroughMessage.repacked(OCTETS, 2, NO_REQUIREMENT)
    assert message.octets == OCTETS
    assert (message.ref_count, message.count, len(message)) == (1, 2, len(OCTETS))
    assert message.flags == FLAG_REPACKED
    assert message.slab is None
    message.acquire()
    message.release()
    assert message.ref_count == 1
    message.release()


def released(repacked: bool) -> PassthroughMessage:
    """A message whose last reference is gone."""
    if repacked:
        message = PassthroughMessage.repacked(OCTETS, 2, NO_REQUIREMENT)
    else:
        _, slab = filled()
        message = make(slab)
        slab.release()
    message.release()
    return message


@pytest.mark.parametrize("repacked", [False, True])
def test_it_must_not_be_acquired_after_the_last_release(repacked: bool) -> None:
    """Only somebody who holds a reference may take another."""
    message = released(repacked)
    with pytest.raises(AssertionError):
        message.acquire()


@pytest.mark.parametrize("repacked", [False, True])
def test_it_must_not_be_released_too_often(repacked: bool) -> None:
    """One release more than acquired is an error at once, not a slab given back twice."""
    message = released(repacked)
    with pytest.raises(AssertionError):
        message.release()


def test_none_can_be_made_in_a_slab_that_was_given_back() -> None:
    """Making one takes a reference, which only somebody who holds one may."""
    pool, slab = filled()
    slab.release()
    with pytest.raises(AssertionError):
        make(slab)
    assert pool.outstanding == 0
