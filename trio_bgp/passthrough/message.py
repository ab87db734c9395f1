"""`PassthroughMessage`: one or more consecutive whole BGP messages, shared by reference.

The octets are the received ones, in the slab they were read into, markers and all: handing them to a socket needs no
work and no copy. What the original design laid over the marker (`ref_count`, `flags`, `required_caps`) are slots here,
because a marker that is overwritten has to be put back for every write, while others still read the count from it.
"""

from typing import Final

from trio_bgp.passthrough.mask import CapabilityMask
from trio_bgp.passthrough.pool import Slab

__all__ = ["FLAG_REPACKED", "PassthroughMessage"]

COMPACT_SHARE: Final = 4
"""A message of less than one part in so many of its slab does not keep the slab from being used for long."""
FLAG_REPACKED = 1 << 0
"""The octets were made here, not received."""


class PassthroughMessage:
    """Consecutive whole messages with one capability requirement and a count of references.

    The count starts at 1: that reference belongs to whoever made the message, who releases it last. `acquire` before
    handing the message on, `release` when done; the last release gives the slab's reference back.

    Attributes:
        octets: a view of the messages, header included; valid while a reference is held.
        start: where the messages begin in the slab, in octets.
        end: where they end.
        count: how many messages these are.
        ref_count: references held.
        flags: `FLAG_REPACKED` or 0.
        required_caps: what a receiver must have negotiated to read these octets unchanged.
        alone: what `compact` made of it, which it holds.
    """

    __slots__ = ("alone", "count", "end", "flags", "octets", "ref_count", "required_caps", "slab", "start")

    def __init__(self, slab: Slab, start: int, end: int, count: int, required_caps: CapabilityMask) -> None:
        """Make a message of `slab[start:end]`, taking one more reference to the slab."""
        slab.acquire()
        self.slab: Slab | None = slab
        self.start = start
        self.end = end
        self.count = count
        self.octets: memoryview | bytes = slab.view[start:end]
        self.ref_count = 1
        self.flags = 0
        self.required_caps = required_caps
        self.alone: PassthroughMessage | None = None

    @classmethod
    def apart(cls, octets: bytes, count: int, required_caps: CapabilityMask) -> "PassthroughMessage":
        """`count` whole messages, received, which lie in no slab (any more)."""
        message = cls.repacked(octets, count, required_caps)
        message.flags = 0
        return message

    @classmethod
    def repacked(cls, octets: bytes, count: int, required_caps: CapabilityMask) -> "PassthroughMessage":
        """A message of octets made here (`count` whole messages), which lie in no slab."""
        message = cls.__new__(cls)
        message.slab = None
        message.start = 0
        message.end = len(octets)
        message.count = count
        message.octets = octets
        message.ref_count = 1
        message.flags = FLAG_REPACKED
        message.required_caps = required_caps
        message.alone = None
        return message

    def compact(self) -> "PassthroughMessage":
        """The same octets for somebody who may hold them long: apart from their slab, unless they fill most of it.

        However many ask, the octets are copied once. What is returned is held by this message; `acquire` it.
        """
        slab = self.slab
        if slab is None or len(self) * COMPACT_SHARE >= len(slab.data):
            return self
        if self.alone is None:
            self.alone = PassthroughMessage.apart(bytes(self.octets), self.count, self.required_caps)
        return self.alone

    def __len__(self) -> int:
        return self.end - self.start

    def acquire(self) -> None:
        """Take one more reference; only somebody who holds one may."""
        if self.ref_count <= 0:
            raise AssertionError("a message was acquired after its last reference was released")
        self.ref_count += 1

    def release(self) -> None:
        """Give one reference back; with the last one the octets must no longer be used."""
        self.ref_count -= 1
        if self.ref_count == 0:
            if self.slab is not None:
                self.octets = b""
                self.slab.release()
                self.slab = None
            if self.alone is not None:
                self.alone.release()
                self.alone = None
        elif self.ref_count < 0:
            raise AssertionError("a message was released more often than acquired")
