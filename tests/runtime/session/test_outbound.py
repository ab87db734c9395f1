from collections.abc import Sequence

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_bgp.passthrough.mask import NO_REQUIREMENT
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.passthrough.pool import BufferPool
from trio_bgp.runtime.session.outbound import WRITE_CHUNKS, WRITE_OCTETS, Outbound
from trio_bgp.runtime.session.transport import StreamTransport, Transport, TransportClosed


class Sink(Transport):
    """Keeps copies of what it is given, one list a write; waits for `open`, and fails once `broken`."""

    def __init__(self) -> None:
        super().__init__("192.0.2.1", "192.0.2.2")
        self.writes: list[list[bytes]] = []
        self.open = trio.Event()
        self.open.set()
        self.broken = False

    def receive_now(self, view: memoryview) -> int | None:
        """Nothing comes from here."""
        return None

    async def wait_readable(self) -> None:
        """Never."""
        await trio.sleep_forever()

    def unread(self) -> bool:
        """Nothing."""
        return False

    async def send(self, chunks: Sequence[memoryview | bytes]) -> None:
        """The octets are looked at when the wait is over, as a kernel would."""
        await self.open.wait()
        if self.broken:
            raise TransportClosed("broken")
        self.writes.append([bytes(chunk) for chunk in chunks])

    def abort(self) -> None:
        """Nothing to close."""


class Messages:
    """Makes messages in slabs, and sees whether all were given back."""

    def __init__(self) -> None:
        self.pool = BufferPool()

    def make(self, octets: bytes, count: int = 1) -> PassthroughMessage:
        """A message of these octets in a slab that it alone holds."""
        slab = self.pool.take()
        slab.data[: len(octets)] = octets
        message = PassthroughMessage(slab, 0, len(octets), count, NO_REQUIREMENT)
        slab.release()
        return message

    @property
    def held(self) -> int:
        """Messages that somebody still holds."""
        return self.pool.outstanding


@pytest.fixture
def messages() -> Messages:
    """A pool of its own for each test."""
    return Messages()


async def test_everything_arrives_in_order(messages: Messages) -> None:
    """Octets and messages in slabs mixed, through a real stream."""
    ours, far = memory_stream_pair()
    outbound = Outbound(StreamTransport(ours, peer_address="192.0.2.1"))
    pieces = [bytes((number % 256,)) * (1 + number % 50) for number in range(600)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbound.run)
        for number, piece in enumerate(pieces):
            outbound.put(piece if number % 3 == 0 else messages.make(piece, 2))
            if number % 100 == 7:
                await wait_all_tasks_blocked()
        outbound.close()
    await ours.aclose()
    assert b"".join([part async for part in far]) == b"".join(pieces)
    assert messages.held == 0
    assert outbound.messages_sent == 200 + 400 * 2


async def test_references_are_released_when_the_octets_are_sent(messages: Messages) -> None:
    """Not before: as long as the write is under way the slab is held and whole."""
    sink = Sink()
    sink.open = trio.Event()
    outbound = Outbound(sink)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbound.run)
        outbound.put(messages.make(b"first"))
        await wait_all_tasks_blocked()
        outbound.put(messages.make(b"second"))
        assert messages.held == 2
        assert outbound.queued == 11
        assert outbound.messages_sent == 0
        sink.open.set()
        await wait_all_tasks_blocked()
        assert messages.held == 0
        assert outbound.queued == 0
        assert outbound.messages_sent == 2
        assert sink.writes == [[b"first"], [b"second"]]
        outbound.close()


async def test_a_shared_message_loses_one_reference_a_peer(messages: Messages) -> None:
    """Each sending side releases its own only."""
    outbounds = [Outbound(Sink()) for _ in range(3)]
    message = messages.make(b"shared")
    async with trio.open_nursery() as nursery:
        for outbound in outbounds:
            message.acquire()
            outbound.put(message)
            nursery.start_soon(outbound.run)
        await wait_all_tasks_blocked()
        assert message.ref_count == 1
        assert bytes(message.octets) == b"shared"
        for outbound in outbounds:
            outbound.close()
    message.release()
    assert messages.held == 0


async def test_what_is_queued_together_goes_out_in_one_write(messages: Messages) -> None:
    """One gather write, in pieces as they were put."""
    sink = Sink()
    outbound = Outbound(sink)
    outbound.put(b"open")
    outbound.put(messages.make(b"update"))
    outbound.put(b"alive")
    outbound.close()
    await outbound.run()
    assert sink.writes == [[b"open", b"update", b"alive"]]


async def test_a_write_has_a_bounded_number_of_pieces() -> None:
    """A queue that is filled while it is drained must not make one endless write."""
    sink = Sink()
    outbound = Outbound(sink)
    pieces = [bytes((number % 256,)) for number in range(2 * WRITE_CHUNKS + 3)]
    for piece in pieces:
        outbound.put(piece)
    outbound.close()
    await outbound.run()
    assert [len(write) for write in sink.writes] == [WRITE_CHUNKS, WRITE_CHUNKS, 3]
    assert [piece for write in sink.writes for piece in write] == pieces


async def test_a_write_has_a_bounded_number_of_octets() -> None:
    """Once it has about so many, what comes next waits for the next write."""
    sink = Sink()
    outbound = Outbound(sink)
    pieces = [bytes((number,)) * (WRITE_OCTETS // 2) for number in range(5)]
    for piece in pieces:
        outbound.put(piece)
    outbound.close()
    await outbound.run()
    assert sink.writes == [pieces[0:2], pieces[2:4], pieces[4:]]


async def test_whoever_waits_for_room_hears_of_each_write() -> None:
    """`drained` is called when `queued` has gone down."""
    outbound = Outbound(Sink())
    heard: list[int] = []
    outbound.drained = lambda: heard.append(outbound.queued)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbound.run)
        for _ in range(2):
            outbound.put(b"update")
            await wait_all_tasks_blocked()
        outbound.close()
    assert heard == [0, 0]


async def test_close_sends_what_is_queued_and_ends(messages: Messages) -> None:
    """What is put afterwards is released unsent."""
    sink = Sink()
    outbound = Outbound(sink)
    outbound.put(messages.make(b"before"))
    outbound.close()
    outbound.close()
    outbound.put(messages.make(b"after"))
    outbound.put(b"after")
    assert outbound.queued == 6
    assert not outbound.finished.is_set()
    await outbound.run()
    assert outbound.finished.is_set()
    assert sink.writes == [[b"before"]]
    assert messages.held == 0


async def test_discard_releases_what_is_queued_and_not_what_is_being_sent(messages: Messages) -> None:
    """A write under way cannot be taken back; the rest is gone, and later messages are sent."""
    sink = Sink()
    sink.open = trio.Event()
    outbound = Outbound(sink)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbound.run)
        outbound.put(messages.make(b"first"))
        await wait_all_tasks_blocked()
        outbound.put(messages.make(b"second"))
        outbound.put(b"third")
        outbound.discard()
        assert messages.held == 1
        assert outbound.queued == 5
        outbound.put(messages.make(b"notification"))
        outbound.close()
        sink.open.set()
    assert sink.writes == [[b"first"], [b"notification"]]
    assert messages.held == 0
    assert outbound.queued == 0


async def test_discard_needs_no_write_task(messages: Messages) -> None:
    """Before it ran, on an empty queue, when closed, and after its end."""
    outbound = Outbound(Sink())
    outbound.discard()
    outbound.put(messages.make(b"never"))
    outbound.discard()
    assert (messages.held, outbound.queued) == (0, 0)
    outbound.close()
    outbound.discard()
    await outbound.run()
    outbound.discard()


async def test_a_broken_connection_releases_everything(messages: Messages) -> None:
    """What was being sent, what was queued, and what is put afterwards."""
    sink = Sink()
    sink.open = trio.Event()
    sink.broken = True
    outbound = Outbound(sink)

    async def run() -> None:
        with pytest.raises(TransportClosed, match="broken"):
            await outbound.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        outbound.put(messages.make(b"taken"))
        outbound.put(b"taken too")
        await wait_all_tasks_blocked()
        outbound.put(messages.make(b"queued"))
        outbound.put(b"queued too")
        assert messages.held == 2
        sink.open.set()
        await outbound.finished.wait()
        assert messages.held == 0
        outbound.put(messages.make(b"late"))
        outbound.put(b"late too")
    assert messages.held == 0
    assert sink.writes == []
    assert outbound.messages_sent == 0
    outbound.close()


@pytest.mark.parametrize("busy", [True, False])
async def test_a_cancelled_write_task_releases_everything(messages: Messages, busy: bool) -> None:
    """Amid a write or waiting for something to send."""
    sink = Sink()
    sink.open = trio.Event()
    outbound = Outbound(sink)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbound.run)
        await wait_all_tasks_blocked()
        if busy:
            outbound.put(messages.make(b"taken"))
            await wait_all_tasks_blocked()
        outbound.put(messages.make(b"queued"))
        nursery.cancel_scope.cancel()
    assert outbound.finished.is_set()
    assert messages.held == 0
    assert sink.writes == []
    outbound.put(messages.make(b"late"))
    assert messages.held == 0
