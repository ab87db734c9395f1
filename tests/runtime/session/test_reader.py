from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_bgp.passthrough.pool import LARGE_SLAB, SMALL_SLAB, BufferPool
from trio_bgp.runtime.session.reader import Batch, MessageReader
from trio_bgp.runtime.session.transport import StreamTransport, TransportClosed
from trio_bgp.wire.notification import Notification

ALIVE = b"\xff" * 16 + b"\x00\x13\x04"


def update(length: int, fill: int = 0) -> bytes:
    """An UPDATE of so many octets, told from others by its content."""
    return b"\xff" * 16 + length.to_bytes(2, "big") + b"\x02" + bytes((fill % 251,)) * (length - 19)


class Line:
    """A reader and the far end of its connection."""

    def __init__(self) -> None:
        ours, self.far = memory_stream_pair()
        self.pool = BufferPool()
        self.transport = StreamTransport(ours, peer_address="192.0.2.1")
        self.reader = MessageReader(self.transport, self.pool)

    async def feed(self, pieces: Sequence[bytes]) -> None:
        """Send each piece when all before it have been read, then end the stream."""
        for piece in pieces:
            await self.far.send_all(piece)
            await wait_all_tasks_blocked()
        await self.far.send_eof()

    async def batches(self, *pieces: bytes) -> AsyncIterator[Batch]:
        """What the reader makes of these pieces."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.feed, pieces)
            while (batch := await self.reader.receive_batch()) is not None:
                yield batch

    async def next(self, octets: bytes) -> Batch:
        """The batch that these octets make."""
        await self.far.send_all(octets)
        with trio.fail_after(5):
            batch = await self.reader.receive_batch()
        assert batch is not None
        return batch


@asynccontextmanager
async def waiting(line: Line) -> AsyncIterator[None]:
    """While the reader waits for more."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.reader.receive_batch)
        await wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()


def whole(batch: Batch) -> list[bytes]:
    """The messages of a batch."""
    return [batch.octets(index) for index in range(len(batch.offsets))]


MESSAGES = [ALIVE, update(23, 1), update(60, 2), ALIVE]


@pytest.mark.parametrize("cut", range(1, sum(map(len, MESSAGES))))
async def test_messages_cut_anywhere_come_out_whole(cut: int) -> None:
    """Two reads, wherever the first one ends."""
    line = Line()
    stream = b"".join(MESSAGES)
    found = []
    async for batch in line.batches(stream[:cut], stream[cut:]):
        assert batch.error is None
        assert bytes(batch.message.octets) == b"".join(whole(batch))
        assert batch.message.count == len(batch.offsets) > 0
        found += whole(batch)
        batch.release()
    assert found == MESSAGES
    assert line.reader.octets_received == len(stream)
    assert line.pool.outstanding == 0


async def test_octets_that_come_one_by_one_make_messages() -> None:
    """Each message is given when its last octet is there."""
    line = Line()
    found = []
    async for batch in line.batches(*(bytes((octet,)) for octet in b"".join(MESSAGES))):
        assert len(batch.offsets) == 1
        found += whole(batch)
        batch.release()
    assert found == MESSAGES


async def test_what_one_read_brings_is_one_batch() -> None:
    """All whole messages of it, with those that are no UPDATE listed; the beginning of the next one waits."""
    line = Line()
    batch = await line.next(b"".join(MESSAGES) + ALIVE[:7])
    assert whole(batch) == MESSAGES
    assert batch.others == [0, 3]
    assert batch.message.count == 4
    batch.release()
    batch = await line.next(ALIVE[7:])
    assert whole(batch) == [ALIVE]
    batch.release()
    line.reader.close()


async def test_a_slab_held_by_a_message_survives() -> None:
    """What is read later goes elsewhere; freed slabs are poisoned, so any reuse would show."""
    line = Line()
    held = []
    for number in range(40):
        batch = await line.next(update(2000 + number, number))
        held.append(batch)
        (await line.next(update(1500, 255))).release()
    line.reader.close()
    for number, batch in enumerate(held):
        assert bytes(batch.message.octets) == update(2000 + number, number)
        batch.release()
    assert line.pool.outstanding == 0


@pytest.mark.parametrize("length", [4096, 40000, 65535])
async def test_messages_larger_than_the_rest_of_a_slab_come_out_whole(length: int) -> None:
    """Their beginning moves to the next slab with them, while what came before is still held."""
    line = Line()
    line.reader.maximum = 65535
    messages = [update(length - number % 3, number) for number in range(1 + 3 * LARGE_SLAB // length)]
    stream = b"".join(messages)
    held = [batch async for batch in line.batches(*(stream[at : at + 50000] for at in range(0, len(stream), 50000)))]
    assert [one for batch in held for one in whole(batch)] == messages
    assert line.pool.outstanding >= 3
    for batch in held:
        batch.release()
    assert line.pool.outstanding == 0


async def test_a_slab_is_used_again_when_nobody_holds_it() -> None:
    """However much is read, one slab does; the unfinished message moves to its beginning."""
    line = Line()
    line.reader.maximum = 65535
    messages = [update(3001, number) for number in range(400)]
    stream = b"".join(messages)
    found = []
    async for batch in line.batches(*(stream[at : at + 40000] for at in range(0, len(stream), 40000))):
        found += whole(batch)
        batch.release()
    assert found == messages
    assert line.pool.statistics().made == 1


async def test_an_idle_reader_holds_no_slab() -> None:
    """Before the first octet, and again when all that came has been handed out."""
    line = Line()
    async with waiting(line):
        assert line.pool.outstanding == 0
    batch = await line.next(ALIVE)
    assert line.pool.outstanding == 1
    batch.release()
    async with waiting(line):
        assert line.pool.outstanding == 0


async def test_an_idle_reader_leaves_a_held_message_its_slab() -> None:
    """Only the reader's own reference is given back."""
    line = Line()
    batch = await line.next(ALIVE)
    async with waiting(line):
        assert line.pool.outstanding == 1
        assert whole(batch) == [ALIVE]
        batch.release()
        assert line.pool.outstanding == 0


async def test_a_reader_amid_a_message_keeps_its_beginning() -> None:
    """Waiting for the rest costs one slab, and being cancelled there loses nothing."""
    line = Line()
    await line.far.send_all(update(100, 7)[:50])
    async with waiting(line):
        assert line.pool.outstanding == 1
    batch = await line.next(update(100, 7)[50:])
    assert whole(batch) == [update(100, 7)]
    batch.release()
    line.reader.close()
    assert line.pool.outstanding == 0


async def test_slabs_are_small_until_a_maximum_is_set() -> None:
    """A connection that has not said OPEN costs 8 KiB; what it began to say goes along into the large slab."""
    line = Line()
    batch = await line.next(ALIVE + update(4096, 9)[:1000])
    assert line.pool.outstanding_octets == SMALL_SLAB
    batch.release()
    line.reader.maximum = 4096
    batch = await line.next(update(4096, 9)[1000:])
    assert whole(batch) == [update(4096, 9)]
    assert line.pool.outstanding_octets == LARGE_SLAB
    batch.release()
    line.reader.close()


async def test_the_maximum_decides_which_messages_are_too_long() -> None:
    """RFC 8654: 4096 octets until negotiated otherwise."""
    for maximum, error in ((4096, True), (65535, False)):
        line = Line()
        assert line.reader.maximum == 4096
        line.reader.maximum = maximum
        batch = await line.next(update(5000))
        assert (batch.error is not None) == error
        assert len(batch.offsets) == (0 if error else 1)
        batch.release()
        line.reader.close()


@pytest.mark.parametrize("before", [[], [ALIVE], [ALIVE, update(23, 3)]])
async def test_messages_before_an_error_are_given_with_it(before: list[bytes]) -> None:
    """What was sound is not lost; with nothing before it the batch is empty."""
    line = Line()
    batch = await line.next(b"".join(before) + bytes(19) + ALIVE)
    assert whole(batch) == before
    assert batch.message.count == len(before)
    assert batch.error is not None
    assert batch.error.notification == Notification(1, 1)
    batch.release()
    line.reader.close()
    assert line.pool.outstanding == 0


@pytest.mark.parametrize("rest", [b"", b"\xff", update(100)[:99]])
async def test_the_end_of_the_stream_is_none(rest: bytes) -> None:
    """Also amid a message, which is forgotten with its slab, and however often one asks."""
    line = Line()
    batch = await line.next(ALIVE + rest)
    batch.release()
    await line.far.send_eof()
    assert await line.reader.receive_batch() is None
    assert line.pool.outstanding == 0
    assert await line.reader.receive_batch() is None
    assert line.pool.outstanding == 0


async def test_a_broken_connection_is_said_to_be_closed() -> None:
    """Trio's own exceptions do not get through; the slab goes back by `close`."""
    line = Line()
    await line.far.send_all(ALIVE[:5])

    async def cut() -> None:
        await wait_all_tasks_blocked()
        line.transport.abort()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cut)
        with pytest.raises(TransportClosed):
            await line.reader.receive_batch()
    line.reader.close()
    line.reader.close()
    assert line.pool.outstanding == 0
    with pytest.raises(TransportClosed):
        await line.reader.receive_batch()
    assert line.pool.outstanding == 0


async def test_a_part_of_a_batch_has_a_reference_of_its_own() -> None:
    """It outlives the batch, and holds just its messages."""
    line = Line()
    messages = [update(30 + number, number) for number in range(5)]
    batch = await line.next(b"".join(messages))
    middle, last = batch.split(1, 3), batch.split(4, 5)
    batch.release()
    line.reader.close()
    assert whole(middle) == messages[1:3]
    assert middle.message.count == 2
    assert bytes(middle.message.octets) == messages[1] + messages[2]
    assert whole(last) == messages[4:]
    assert line.pool.outstanding == 1
    middle.release()
    last.release()
    assert line.pool.outstanding == 0


async def test_a_released_batch_can_no_longer_be_read() -> None:
    """A use after release is an error at once."""
    line = Line()
    batch = await line.next(ALIVE)
    batch.release()
    line.reader.close()
    with pytest.raises(AssertionError, match="released"):
        batch.octets(0)
    with pytest.raises(AssertionError, match="released"):
        batch.split(0, 1)
    with pytest.raises(AssertionError, match="more often"):
        batch.release()
