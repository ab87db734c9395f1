"""Connections that misbehave, on purpose and reproducibly."""

import contextlib
import random
from collections.abc import Iterator

import attrs
import trio

__all__ = ["Faults", "FaultyStream", "deterministic"]


@attrs.define
class Faults:
    """What goes wrong on a connection; may be changed while it is open. All of it is seen from this side."""

    cut_after_sent: int | None = None
    """The connection breaks when so many octets have been sent, in the middle of a message if it comes to that."""
    cut_after_received: int | None = None
    """Likewise when so many octets have been received."""
    delay: float = 0.0
    """Seconds that each write takes to leave."""
    fragment: int | None = None
    """Octets are sent in random pieces of at most so many."""


class FaultyStream(trio.abc.Stream):
    """A stream with faults around another one.

    Args:
        stream: belongs to this one from here on.
        faults: what goes wrong.
        rng: for the pieces.

    Attributes:
        sent: octets sent so far.
        received: octets received so far.
    """

    def __init__(self, stream: trio.abc.Stream, faults: Faults | None = None, rng: random.Random | None = None) -> None:
        self.faults = faults or Faults()
        self.sent = 0
        self.received = 0
        self._stream = stream
        self._rng = rng or random.Random(0)
        self._thawed = trio.Event()
        self._thawed.set()

    def freeze(self) -> None:
        """Receive nothing more until `thaw`: what the other side sends stays where it is."""
        if self._thawed.is_set():
            self._thawed = trio.Event()

    def thaw(self) -> None:
        """Receive again."""
        self._thawed.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """See `trio.abc.SendStream.send_all`; BrokenResourceError when the connection is cut."""
        octets = bytes(data)
        while octets:
            size = len(octets)
            if self.faults.fragment is not None:
                size = min(size, self._rng.randint(1, self.faults.fragment))
            left = None if self.faults.cut_after_sent is None else self.faults.cut_after_sent - self.sent
            if self.faults.delay:
                await trio.sleep(self.faults.delay)
            if left is not None and size >= left:
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._stream.send_all(octets[: max(0, left)])
                self.sent += max(0, left)
                await self._cut()
            await self._stream.send_all(octets[:size])
            self.sent += size
            octets = octets[size:]

    async def wait_send_all_might_not_block(self) -> None:
        """See `trio.abc.SendStream`."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See `trio.abc.ReceiveStream.receive_some`; BrokenResourceError when the connection is cut."""
        await self._thawed.wait()
        limit = self.faults.cut_after_received
        if limit is not None:
            if self.received >= limit:
                await self._cut()
            max_bytes = min(max_bytes or limit, limit - self.received)
        octets = await self._stream.receive_some(max_bytes)
        self.received += len(octets)
        return octets

    async def aclose(self) -> None:
        """Close both directions."""
        await self._stream.aclose()

    async def _cut(self) -> None:
        await trio.aclose_forcefully(self._stream)
        raise trio.BrokenResourceError("cut")


@contextlib.contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Make Trio's choice among runnable tasks, which is random on purpose, depend on the seed alone.

    Enter it before `trio.run` or at the beginning of a test; another seed is another order of tasks. Uses what Trio
    keeps for its own tests and those of Hypothesis; where a version of Trio has it not, nothing happens.
    """
    from trio._core import _run

    chooser = getattr(_run, "_r", None)
    before = getattr(_run, "_ALLOW_DETERMINISTIC_SCHEDULING", None)
    if not isinstance(chooser, random.Random) or before is None:
        yield
        return
    state = chooser.getstate()
    chooser.seed(seed)
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc] # noqa: SLF001
    try:
        yield
    finally:
        chooser.setstate(state)
        _run._ALLOW_DETERMINISTIC_SCHEDULING = before  # type: ignore[misc] # noqa: SLF001
