"""Pooled buffers: slabs of octets that many messages share, counted by reference.

A slab is a `bytearray` that a reader fills with what one or more reads of a connection brought. Every
`PassthroughMessage` that lies in it holds one reference, the reader another while it goes on filling. With the last
reference the slab goes back to its pool. A slab is never resized, and its octets are only written past what messages
already cover, so a view of a message stays true for as long as its reference is held.
"""

from typing import ClassVar, Final

import attrs

__all__ = ["LARGE_SLAB", "SMALL_SLAB", "BufferPool", "PoolStatistics", "Slab"]

SMALL_SLAB: Final = 8 * 1024
"""Octets of a slab for a connection whose OPEN has not been accepted: two messages of 4096 octets."""
LARGE_SLAB: Final = 256 * 1024
"""Octets of a slab for an established session. Reads this large make forwarding cheap: a run ends with its read."""


class Slab:
    """A pooled `bytearray` with a count of references, made by `BufferPool.take`."""

    __slots__ = ("data", "pool", "refs", "view")

    def __init__(self, pool: "BufferPool", size: int) -> None:
        self.pool = pool
        self.data = bytearray(size)
        self.view = memoryview(self.data)
        self.refs = 0

    def acquire(self) -> None:
        """Take one more reference; only somebody who holds one may."""
        if self.refs <= 0:
            raise AssertionError("a slab was acquired after its last reference was released")
        self.refs += 1

    def release(self) -> None:
        """Give one reference back; the last one returns the slab to its pool."""
        self.refs -= 1
        if self.refs == 0:
            self.pool.give(self)
        elif self.refs < 0:
            raise AssertionError("a slab was released more often than acquired")


@attrs.frozen
class PoolStatistics:
    """A snapshot of a pool."""

    outstanding: int
    """Slabs that somebody holds."""
    outstanding_octets: int
    free: int
    """Slabs kept for the next taker."""
    free_octets: int
    taken: int
    """How often a slab was taken, ever."""
    made: int
    """How often that needed new memory."""


class BufferPool:
    """Slabs of two sizes, recycled.

    Args:
        keep: how many free slabs of each size are kept rather than handed back to the allocator.
    """

    poison: ClassVar[bool] = False
    """Overwrite returned slabs with 0xdd, so that a use after free reads as a bad marker. For tests."""

    def __init__(self, keep: int = 64) -> None:
        self.keep = keep
        self.outstanding = 0
        self.outstanding_octets = 0
        self._free: dict[int, list[Slab]] = {SMALL_SLAB: [], LARGE_SLAB: []}
        self._taken = 0
        self._made = 0

    def take(self, size: int = LARGE_SLAB) -> Slab:
        """A slab of `size` octets (`SMALL_SLAB` or `LARGE_SLAB`) whose one reference belongs to the caller."""
        free = self._free[size]
        if free:
            slab = free.pop()
        else:
            slab = Slab(self, size)
            self._made += 1
        slab.refs = 1
        self._taken += 1
        self.outstanding += 1
        self.outstanding_octets += size
        return slab

    def give(self, slab: Slab) -> None:
        """Take a slab back whose last reference was released; called by `Slab.release` alone."""
        size = len(slab.data)
        self.outstanding -= 1
        self.outstanding_octets -= size
        if self.poison:
            slab.data[:] = b"\xdd" * size
        free = self._free[size]
        if len(free) < self.keep:
            free.append(slab)

    def statistics(self) -> PoolStatistics:
        """How many slabs are out, kept, and were ever made."""
        return PoolStatistics(
            outstanding=self.outstanding,
            outstanding_octets=self.outstanding_octets,
            free=sum(len(slabs) for slabs in self._free.values()),
            free_octets=sum(size * len(slabs) for size, slabs in self._free.items()),
            taken=self._taken,
            made=self._made,
        )
