"""The direct way of a command's messages: held back, sent at once as far as the connection takes them, in order."""

import random
from collections.abc import Sequence

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.runtime.session.test_outbound import Messages
from trio_bgp.runtime.session.outbound import Cork, Outbound
from trio_bgp.runtime.session.transport import Transport, TransportClosed


class Window(Transport):
    """Takes `room` octets at once, and all the rest once `open`; keeps them as one stream."""

    def __init__(self, room: int = 1 << 30) -> None:
        super().__init__("192.0.2.1", "192.0.2.2")
        self.room = room
        self.stream = bytearray()
        self.at_once: list[int] = []
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

    def send_now(self, chunks: Sequence[memoryview | bytes]) -> int:
        """As a socket whose buffer has `room`."""
        octets = b"" if self.broken else b"".join(chunks)[: self.room]
        self.room -= len(octets)
        self.stream += octets
        self.at_once.append(len(octets))
        return len(octets)

    async def send(self, chunks: Sequence[memoryview | bytes]) -> None:
        """What is there when the wait is over."""
        await self.open.wait()
        await trio.lowlevel.checkpoint()
        if self.broken:
            raise TransportClosed("broken")
        for chunk in chunks:
            self.stream += chunk

    def abort(self) -> None:
        """Nothing to close."""


@pytest.fixture
def messages() -> Messages:
    """A pool of its own for each test."""
    return Messages()


async def test_a_command_is_one_write_without_the_task(messages: Messages) -> None:
    """Nothing leaves before the flush; then all of it together, and the references are given back."""
    window, cork = Window(), Cork()
    outbound = Outbound(window, cork)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbound.run)
        await wait_all_tasks_blocked()
        cork.active = True
        outbound.put(messages.make(b"one"))
        outbound.put(messages.make(b"two", 3))
        assert (bytes(window.stream), outbound.queued, messages.held) == (b"", 6, 2)
        assert cork.flush()
        assert (bytes(window.stream), outbound.queued, messages.held) == (b"onetwo", 0, 0)
        assert window.at_once == [6]
        assert outbound.messages_sent == 4
        assert not cork.flush()
        outbound.close()


async def test_without_a_cork_or_outside_of_it_the_task_writes(messages: Messages) -> None:
    """Nobody would flush what is held back then."""
    for cork in (None, Cork()):
        window = Window()
        outbound = Outbound(window, cork)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbound.run)
            await wait_all_tasks_blocked()
            outbound.put(messages.make(b"update"))
            await wait_all_tasks_blocked()
            outbound.close()
        assert (bytes(window.stream), window.at_once) == (b"update", [])


async def test_while_the_task_is_writing_messages_queue_behind(messages: Messages) -> None:
    """Two writers would mix their octets."""
    window, cork = Window(), Cork()
    window.open = trio.Event()
    outbound = Outbound(window, cork)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbound.run)
        await wait_all_tasks_blocked()
        outbound.put(b"keepalive")
        await wait_all_tasks_blocked()
        cork.active = True
        outbound.put(messages.make(b"update"))
        assert not cork.flush()
        assert window.at_once == []
        window.open.set()
        await wait_all_tasks_blocked()
        outbound.close()
    assert bytes(window.stream) == b"keepaliveupdate"


@pytest.mark.parametrize("room", range(12))
async def test_what_does_not_fit_is_the_tasks(messages: Messages, room: int) -> None:
    """Cut anywhere: the task goes on where the connection stopped, and the stream is whole and in order."""
    window, cork = Window(room), Cork()
    sent: list[bytes] = []
    outbound = Outbound(window, cork)
    outbound.sent = sent.append
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbound.run)
        await wait_all_tasks_blocked()
        cork.active = True
        for octets in (b"abcd", b"efg", b"hijkl"):
            outbound.put(messages.make(octets))
        cork.flush()
        assert bytes(window.stream) == b"abcdefghijkl"[:room]
        assert outbound.queued == 12 - (0 if room < 4 else 4 if room < 7 else 7)
        cork.active = True
        outbound.put(messages.make(b"mno"))
        cork.flush()
        await wait_all_tasks_blocked()
        outbound.close()
    assert bytes(window.stream) == b"abcdefghijklmno"
    assert b"".join(sent) == b"abcdefghijklmno"
    assert (messages.held, outbound.queued) == (0, 0)


async def test_a_sessions_message_takes_what_is_held_back_with_it(messages: Messages) -> None:
    """A NOTIFICATION that an UPDATE of the same command asks for comes behind what went before it."""
    window, cork = Window(), Cork()
    outbound = Outbound(window, cork)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbound.run)
        await wait_all_tasks_blocked()
        cork.active = True
        outbound.put(messages.make(b"update"))
        outbound.put(b"notification")
        outbound.put(messages.make(b"late"))
        cork.flush()
        await wait_all_tasks_blocked()
        outbound.close()
    assert bytes(window.stream) == b"updatenotificationlate"
    assert messages.held == 0


async def test_the_last_words_follow_a_message_that_is_half_sent(messages: Messages) -> None:
    """What has begun is finished; what has not is given up when the session ends."""
    window, cork = Window(4), Cork()
    outbound = Outbound(window, cork)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbound.run)
        await wait_all_tasks_blocked()
        cork.active = True
        outbound.put(messages.make(b"update"))
        outbound.put(messages.make(b"another"))
        cork.flush()
        outbound.discard()
        outbound.put(b"notification")
        outbound.close()
    assert bytes(window.stream) == b"updatenotification"
    assert messages.held == 0


async def test_a_broken_connection_is_the_tasks_to_find(messages: Messages) -> None:
    """Nothing is raised where others' messages are handled; no reference is lost."""
    window, cork = Window(), Cork()
    window.broken = True
    outbound = Outbound(window, cork)
    with pytest.RaisesGroup(TransportClosed):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbound.run)
            await wait_all_tasks_blocked()
            cork.active = True
            outbound.put(messages.make(b"update"))
            cork.flush()
    assert messages.held == 0


async def test_what_is_held_back_when_the_session_ends_is_released(messages: Messages) -> None:
    """By `discard`, or by a flush after the task has gone."""
    for discard in (True, False):
        cork = Cork()
        outbound = Outbound(Window(), cork)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outbound.run)
            await wait_all_tasks_blocked()
            cork.active = True
            outbound.put(messages.make(b"update"))
            if discard:
                outbound.discard()
            else:
                outbound.close()
                await wait_all_tasks_blocked()
            cork.flush()
            outbound.close()
        assert (messages.held, outbound.queued, outbound.waiting) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(40))
async def test_any_schedule_keeps_the_order(messages: Messages, seed: int) -> None:
    """Random messages of both kinds, commands, windows and pauses of the connection."""
    rng = random.Random(seed)
    window, cork = Window(0), Cork()
    outbound = Outbound(window, cork)
    expected = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbound.run)
        for _ in range(100):
            window.room = rng.choice([0, 3, 20, 1000])
            if rng.random() < 0.3:
                window.open = trio.Event()
            cork.active = rng.random() < 0.8
            for _ in range(rng.randrange(5)):
                octets = rng.randbytes(rng.randrange(1, 9))
                expected += octets
                outbound.put(octets if rng.random() < 0.2 else messages.make(octets))
            cork.flush()
            if rng.random() < 0.5:
                window.open.set()
                await wait_all_tasks_blocked()
        window.open.set()
        outbound.close()
    assert window.stream == expected
    assert (messages.held, outbound.queued, outbound.waiting, outbound.octets_put) == (0, 0, 0, len(expected))
