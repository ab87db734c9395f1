"""Pools of slabs: balance, recycling, poison, misuse."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_bgp.passthrough.pool import LARGE_SLAB, SMALL_SLAB, BufferPool, Slab

QUICK = settings(derandomize=True, max_examples=100, deadline=None)


def test_a_slab_belongs_to_its_taker_until_released() -> None:
    """The count starts at 1; with the last release the slab is back."""
    pool = BufferPool()
    slab = pool.take(SMALL_SLAB)
    assert slab.refs == 1
    assert len(slab.data) == SMALL_SLAB
    assert (pool.outstanding, pool.outstanding_octets) == (1, SMALL_SLAB)
    slab.acquire()
    slab.release()
    assert pool.outstanding == 1
    slab.release()
    assert (pool.outstanding, pool.outstanding_octets) == (0, 0)
    assert pool.statistics().free == 1
    assert pool.statistics().free_octets == SMALL_SLAB


def test_sizes_hold_what_they_are_for() -> None:
    """Before OPEN two messages of 4096 octets, afterwards at least two extended ones; the larger by default."""
    pool = BufferPool()
    assert SMALL_SLAB >= 2 * 4096
    assert LARGE_SLAB >= 2 * 65535
    assert len(pool.take().data) == LARGE_SLAB


def test_returned_slabs_are_taken_again_by_size() -> None:
    """A slab is recycled for who wants its size, and only then is no new one made."""
    pool = BufferPool()
    small = pool.take(SMALL_SLAB)
    small.release()
    large = pool.take(LARGE_SLAB)
    assert large is not small
    again = pool.take(SMALL_SLAB)
    assert again is small
    assert again.refs == 1
    statistics = pool.statistics()
    assert (statistics.taken, statistics.made, statistics.free, statistics.outstanding) == (3, 2, 0, 2)


def test_only_so_many_free_slabs_are_kept() -> None:
    """Memory of a busy hour goes back to the allocator."""
    pool = BufferPool(keep=2)
    slabs = [pool.take(SMALL_SLAB) for _ in range(5)]
    for slab in slabs:
        slab.release()
    assert pool.statistics().free == 2
    assert pool.outstanding == 0
    for _ in range(3):
        pool.take(SMALL_SLAB)
    assert pool.statistics().made == 6


def test_poison_overwrites_what_is_returned() -> None:
    """A use after free reads as a bad marker: 0xdd and not 0xff."""
    pool = BufferPool()
    slab = pool.take(SMALL_SLAB)
    slab.data[:19] = b"\xff" * 16 + b"\0\x13\4"
    view = slab.view[:19]
    slab.release()
    assert bytes(view) == b"\xdd" * 19
    assert set(slab.data) == {0xDD}
    assert len(slab.data) == SMALL_SLAB


def test_without_poison_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside tests returning a slab costs no walk over it."""
    monkeypatch.setattr(BufferPool, "poison", False)
    slab = BufferPool().take(SMALL_SLAB)
    slab.data[0] = 7
    slab.release()
    assert slab.data[0] == 7


def test_a_view_of_a_slab_sees_what_is_written_later() -> None:
    """No copy is made on the way."""
    slab = BufferPool().take(SMALL_SLAB)
    piece = slab.view[10:12]
    slab.data[10:12] = b"ab"
    assert bytes(piece) == b"ab"
    assert piece.obj is slab.data


@pytest.mark.parametrize("use", [Slab.acquire, Slab.release])
def test_a_slab_that_is_free_must_not_be_used(use: Callable[[Slab], None]) -> None:
    """Acquiring after the last release, and releasing once more, are errors at once."""
    slab = BufferPool().take(SMALL_SLAB)
    slab.release()
    with pytest.raises(AssertionError):
        use(slab)


def test_other_sizes_are_refused() -> None:
    """Slabs come in two sizes."""
    with pytest.raises(KeyError):
        BufferPool().take(4096)


@QUICK
@given(st.integers(0, 1 << 32))
def test_the_balance_holds_whatever_happens(seed: int) -> None:
    """Outstanding is what somebody holds, and nobody is ever given a slab that another holds."""
    rng = random.Random(seed)
    pool = BufferPool(keep=rng.choice([0, 1, 3]))
    held: list[Slab] = []
    for _ in range(60):
        action = rng.random()
        if action < 0.4 or not held:
            slab = pool.take(SMALL_SLAB)
            assert slab not in held
            held.append(slab)
        elif action < 0.6:
            slab = rng.choice(held)
            slab.acquire()
            held.append(slab)
        else:
            held.pop(rng.randrange(len(held))).release()
        assert pool.outstanding == len(set(held))
        assert pool.outstanding_octets == SMALL_SLAB * len(set(held))
        assert all(slab.refs == held.count(slab) for slab in held)
        statistics = pool.statistics()
        assert statistics.free <= pool.keep
    for slab in held:
        slab.release()
    assert pool.outstanding == pool.outstanding_octets == 0
