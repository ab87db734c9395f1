import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from itertools import pairwise

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_bgp.passthrough.pool import BufferPool
from trio_bgp.runtime.commands import Command, PeerDown, PeerUp, Refresh, Updates
from trio_bgp.runtime.forwarder import Forwarder
from trio_bgp.runtime.session.connection import Connection
from trio_bgp.runtime.session.peer import Peer
from trio_bgp.runtime.session.reader import Batch
from trio_bgp.runtime.session.transport import StreamTransport, Transport
from trio_bgp.session.fsm import State
from trio_bgp.settings import PeerSettings, Settings, SpeakerSettings
from trio_bgp.wire.capabilities import ExtendedMessage, FourOctetAs, Multiprotocol
from trio_bgp.wire.header import KEEPALIVE, MARKER, encode_message
from trio_bgp.wire.notification import Notification, decode_notification, shutdown_communication
from trio_bgp.wire.numbers import IPV4_UNICAST
from trio_bgp.wire.open import Open, decode_open, encode_open
from trio_bgp.wire.route_refresh import RouteRefreshMessage, encode_route_refresh
from trio_bgp.wire.update import encode_update

SPEAKER = SpeakerSettings(local_as=65000, bgp_identifier=100)
SETTINGS = PeerSettings(name="as65001", address=ip_address("192.0.2.1"), peer_as=65001)
PASSIVE = attrs.evolve(SETTINGS, passive=True)
UPDATE = encode_update(b"\x08\x0a", b"", b"")

pytestmark = pytest.mark.usefixtures("poisoned")


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Returned slabs are overwritten: a use after free reads as a bad marker."""
    monkeypatch.setattr(BufferPool, "poison", True)


class Remote:
    """The other side of a connection, played by octets."""

    def __init__(self, *, asn: int = 65001, identifier: int = 9, lockstep: bool = False) -> None:
        pair = trio.testing.lockstep_stream_pair() if lockstep else trio.testing.memory_stream_pair()
        self.stream: trio.abc.Stream = pair[0]
        self.transport = StreamTransport(pair[1], peer_address="192.0.2.1")
        self.asn = asn
        self.identifier = identifier
        self._received = b""

    def open(self, hold_time: int = 90) -> bytes:
        """Our OPEN."""
        capabilities = (FourOctetAs(self.asn), Multiprotocol(IPV4_UNICAST), ExtendedMessage())
        return encode_open(
            Open(my_as=self.asn, hold_time=hold_time, bgp_identifier=self.identifier, capabilities=capabilities)
        )

    async def send(self, *messages: bytes) -> None:
        """Send in one piece."""
        await self.stream.send_all(b"".join(messages))

    async def receive(self) -> bytes | None:
        """The next whole message, None at the end of the stream."""
        while len(self._received) < 19 or len(self._received) < int.from_bytes(self._received[16:18], "big"):
            try:
                more = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                more = b""
            if not more:
                assert not self._received, "the stream ends inside a message"
                return None
            self._received += bytes(more)
        length = int.from_bytes(self._received[16:18], "big")
        message, self._received = self._received[:length], self._received[length:]
        return message

    async def establish(self, hold_time: int = 90) -> None:
        """Bring the session up and wait until the other side has confirmed it."""
        await self.send(self.open(hold_time), KEEPALIVE)
        first = await self.receive()
        assert first is not None
        decode_open(first[19:])
        assert await self.receive() == KEEPALIVE
        await trio.testing.wait_all_tasks_blocked()

    async def ending(self) -> Notification | None:
        """Read to the end of the stream; the NOTIFICATION, which is the last message, if there is one."""
        found: Notification | None = None
        while (message := await self.receive()) is not None:
            assert found is None, "something follows the NOTIFICATION"
            if message[18] == 3:
                found = decode_notification(message[19:])
        return found


async def nobody(settings: PeerSettings) -> Transport:
    """A `connect` for peers that are not to be dialled."""
    raise AssertionError("a passive peer was dialled")


@attrs.define
class House:
    """A running peer, and its forwarder's commands, which the test takes itself."""

    peer: Peer
    forwarder: Forwarder
    nursery: trio.Nursery
    over: trio.Event

    async def command(self) -> Command:
        """The next command the forwarder would get."""
        command = await self.forwarder._commands.receive()
        if isinstance(command, Updates):
            command.handled()
        return command

    async def accept(self, **more: bool) -> Remote:
        """A connection that the peer opened."""
        remote = Remote(**more)
        assert self.peer.accept(remote.transport)
        return remote

    async def up(self, hold_time: int = 90) -> Remote:
        """A session that the peer opened and that is established."""
        remote = await self.accept()
        await remote.establish(hold_time)
        assert isinstance(await self.command(), PeerUp)
        assert self.peer.state is State.ESTABLISHED
        return remote


@asynccontextmanager
async def house(
    settings: PeerSettings = PASSIVE, connect: Callable[[PeerSettings], Awaitable[Transport]] = nobody
) -> AsyncIterator[House]:
    """A running peer; afterwards every slab must be back in its pool."""
    forwarder = Forwarder(Settings(speaker=SPEAKER, peers=(settings,)))
    peer = Peer(
        SPEAKER,
        settings,
        name=settings.name,
        address=ip_address("192.0.2.1"),
        board=forwarder.board,
        connect=connect,
        rng=random.Random(1),
    )
    over = trio.Event()

    async def run() -> None:
        await peer.run()
        over.set()

    # Two virtual days: what would wait for ever fails instead.
    with trio.fail_after(200_000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            yield House(peer, forwarder, nursery, over)
            nursery.cancel_scope.cancel()
    while forwarder._commands.statistics().current_buffer_used:
        command = forwarder._commands.receive_nowait()
        if isinstance(command, Updates):
            command.batch.release()
            command.handled()
    assert forwarder.board.pool.outstanding == 0
    assert peer.connections == []


async def test_a_session_comes_up_and_says_so(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """Accepted, established, announced to the forwarder once, and logged with all that matters."""
    caplog.set_level(logging.INFO)
    async with house() as the:
        await the.up(hold_time=30)
        assert the.peer.sessions_established == 1
    (line,) = [text for text in caplog.messages if text.startswith("peer.established")]
    assert "name=as65001 address=192.0.2.1 as=65001 hold_time=30 role=rs-client families=ipv4-unicast" in line


async def test_octets_may_come_one_at_a_time(autojump_clock: MockClock) -> None:
    """HDR-7: the same session, in segments of one octet."""
    async with house() as the:
        remote = await the.accept()
        for octet in remote.open() + KEEPALIVE + UPDATE:
            await remote.send(bytes((octet,)))
            await trio.testing.wait_all_tasks_blocked()
        up, updates = await the.command(), await the.command()
        assert isinstance(up, PeerUp)
        assert isinstance(updates, Updates)
        updates.batch.release()


async def test_order_is_kept_between_updates_and_other_messages(autojump_clock: MockClock) -> None:
    """A read with UPDATEs around a ROUTE-REFRESH becomes three commands; the octets are the received ones."""
    second = encode_update(b"\x08\x0b", b"", b"")
    async with house() as the:
        remote = await the.up()
        refresh = RouteRefreshMessage(IPV4_UNICAST)
        await remote.send(UPDATE, second, encode_route_refresh(refresh), KEEPALIVE, UPDATE)
        one, two, three = await the.command(), await the.command(), await the.command()
        assert isinstance(one, Updates)
        assert [one.batch.octets(0), one.batch.octets(1)] == [UPDATE, second]
        assert isinstance(two, Refresh)
        assert two.message == refresh
        assert isinstance(three, Updates)
        assert bytes(three.batch.message.octets) == UPDATE
        one.batch.release()
        three.batch.release()


async def test_500_messages_in_one_segment(autojump_clock: MockClock) -> None:
    """HDR-7: all reach the forwarder, in one command a read."""
    async with house() as the:
        remote = await the.up()
        await remote.send(UPDATE * 500)
        command = await the.command()
        assert isinstance(command, Updates)
        assert len(command.batch.offsets) == 500
        command.batch.release()


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"\xfe" + KEEPALIVE[1:], Notification(1, 1)),
        (MARKER + b"\x00\x12\x04", Notification(1, 2, b"\x00\x12")),
        (MARKER + b"\x00\x14\x04\x00", Notification(1, 2, b"\x00\x14")),
        (encode_message(6, b""), Notification(1, 3, b"\x06")),
        (encode_message(2, b"\x00\x00"), Notification(1, 2, b"\x00\x15")),
    ],
)
async def test_a_broken_header_is_answered_after_what_came_before_it(
    autojump_clock: MockClock, octets: bytes, expected: Notification
) -> None:
    """HDR-1 to HDR-6: the UPDATE in front still counts, then the NOTIFICATION and the end."""
    async with house() as the:
        remote = await the.up()
        await remote.send(UPDATE, octets)
        updates = await the.command()
        assert isinstance(updates, Updates)
        updates.batch.release()
        assert await remote.ending() == expected
        assert isinstance(await the.command(), PeerDown)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([KEEPALIVE], Notification(5, 1)),
        ([Remote().open(), UPDATE], Notification(5, 2)),
        ([Remote().open(), KEEPALIVE, Remote().open()], Notification(5, 3)),
        ([Remote(asn=65009).open()], Notification(2, 2)),
        ([Remote().open(hold_time=2)], Notification(2, 6)),
    ],
)
async def test_messages_out_of_place(autojump_clock: MockClock, messages: list[bytes], expected: Notification) -> None:
    """FSM-1 to FSM-3, OPN-2, OPN-6 on the wire."""
    async with house() as the:
        remote = await the.accept()
        await remote.send(*messages)
        assert await remote.ending() == expected


async def test_bad_input_is_logged_with_its_octets(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """The line names the peer, the cause and the octets, no more than 64 of them."""
    async with house() as the:
        remote = await the.accept()
        message = remote.open(hold_time=1)
        await remote.send(message)
        await remote.ending()
    (line,) = [text for text in caplog.messages if text.startswith("message.malformed")]
    assert "name=as65001" in line
    assert "hold time of 1 s" in line
    assert line.endswith(message[:64].hex() + ("..." if len(message) > 64 else ""))


async def test_silence_ends_the_session(autojump_clock: MockClock) -> None:
    """FSM-5 and OPN-8: KEEPALIVEs about every third of 9 s, then 4/0 after 9 s, and PeerDown for the forwarder."""
    async with house() as the:
        remote = await the.up(hold_time=9)
        started = trio.current_time()
        times = []
        while (message := await remote.receive()) == KEEPALIVE:
            times.append(trio.current_time() - started)
        assert message is not None
        assert decode_notification(message[19:]) == Notification(4, 0)
        assert trio.current_time() - started == pytest.approx(9.0)
        gaps = [later - earlier for earlier, later in pairwise([0.0, *times])]
        assert len(times) in (3, 4)
        assert all(2.25 <= gap <= 3.0 for gap in gaps)
        assert isinstance(await the.command(), PeerDown)


async def test_keepalives_keep_it_up(autojump_clock: MockClock) -> None:
    """Nothing but KEEPALIVEs for an hour: the session stays."""
    async with house() as the:
        remote = await the.up(hold_time=9)
        for _ in range(1200):
            await trio.sleep(3)
            await remote.send(KEEPALIVE)
        assert the.peer.state is State.ESTABLISHED


async def test_a_connection_that_says_nothing_is_given_240_seconds(autojump_clock: MockClock) -> None:
    """FSM-4: the large hold timer."""
    async with house() as the:
        remote = await the.accept()
        assert await remote.ending() == Notification(4, 0)
        assert trio.current_time() == pytest.approx(240.0)


async def test_a_message_that_never_ends_is_silence(autojump_clock: MockClock) -> None:
    """HDR-8: a header that promises 4096 octets is waited for until the hold timer expires."""
    async with house() as the:
        remote = await the.up(hold_time=9)
        started = trio.current_time()
        await remote.send(MARKER + b"\x10\x00\x02")
        assert await remote.ending() == Notification(4, 0)
        assert trio.current_time() - started == pytest.approx(9.0)


async def test_a_peer_that_takes_nothing_is_closed(autojump_clock: MockClock) -> None:
    """FSM-16 (RFC 9687): it sends KEEPALIVEs but never reads; the send hold timer ends it."""
    async with house() as the:
        remote = await the.accept(lockstep=True)
        await remote.send(remote.open())
        for _ in range(2):
            await remote.receive()
        await remote.send(KEEPALIVE)
        assert isinstance(await the.command(), PeerUp)
        started = trio.current_time()

        async def chatter() -> None:
            while True:
                await trio.sleep(20)
                await remote.send(KEEPALIVE)

        with pytest.raises(trio.BrokenResourceError):
            await chatter()
        assert 450 <= trio.current_time() - started <= 520
        assert the.peer.last_end == "send hold timer expired"
        assert isinstance(await the.command(), PeerDown)


async def test_the_peers_notification_is_logged_and_not_answered(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its words are in the log, the connection closes without ours."""
    caplog.set_level(logging.INFO)
    async with house() as the:
        remote = await the.up()
        await remote.send(encode_message(3, b"\x06\x02" + shutdown_communication("maintenance")))
        assert await remote.ending() is None
    (line,) = [text for text in caplog.messages if text.startswith("peer.down")]
    assert "maintenance" in line
    assert "notification=6/2 received" in line


@pytest.mark.parametrize("established", [True, False])
async def test_a_closed_connection_leaves_nothing_and_the_next_one_works(
    autojump_clock: MockClock, established: bool
) -> None:
    """FSM-8: the peer's end of stream in OpenSent and in Established."""
    async with house() as the:
        remote = await (the.up() if established else the.accept())
        await remote.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert the.peer.connections == []
        if established:
            assert isinstance(await the.command(), PeerDown)
        await the.up()


async def test_a_second_connection_is_refused_while_established(autojump_clock: MockClock) -> None:
    """FSM-10: the caller keeps it to close it with Cease/7; the session stays."""
    async with house() as the:
        remote = await the.up()
        second = Remote()
        assert not the.peer.accept(second.transport)
        await remote.send(KEEPALIVE)
        await trio.testing.wait_all_tasks_blocked()
        assert the.peer.state is State.ESTABLISHED
        second.transport.abort()


async def test_a_peer_that_connects_again_has_forgotten_its_first_connection(autojump_clock: MockClock) -> None:
    """Two connections opened by the peer, neither established: the later one stays."""
    async with house() as the:
        first = await the.accept()
        await first.send(first.open())
        await trio.testing.wait_all_tasks_blocked()
        await the.up()
        assert await first.ending() == Notification(6, 7)


@pytest.mark.parametrize(("identifier", "incoming_survives"), [(99, False), (101, True)])
@pytest.mark.parametrize("incoming_first", [True, False])
async def test_collision(
    autojump_clock: MockClock, identifier: int, incoming_survives: bool, incoming_first: bool
) -> None:
    """FSM-9: of two connections in OpenConfirm the one opened by the higher identifier (ours is 100) survives."""
    outgoing = Remote(identifier=identifier)

    async def connect(settings: PeerSettings) -> Transport:
        return outgoing.transport

    async with house(SETTINGS, connect) as the:
        incoming = Remote(identifier=identifier)
        assert the.peer.accept(incoming.transport)
        order = [incoming, outgoing] if incoming_first else [outgoing, incoming]
        for remote in order:
            await remote.send(remote.open())
            await trio.testing.wait_all_tasks_blocked()
        loser, winner = (outgoing, incoming) if incoming_survives else (incoming, outgoing)
        assert await loser.ending() == Notification(6, 7)
        await winner.send(KEEPALIVE)
        assert isinstance(await the.command(), PeerUp)
        assert the.peer.state is State.ESTABLISHED
        assert len(the.peer.connections) == 1


async def test_the_next_session_waits_for_the_forwarder_to_hear_of_the_last_ones_end(autojump_clock: MockClock) -> None:
    """While PeerDown waits in front of a full channel, the peer's new connection gets no OPEN."""
    async with house() as the:
        remote = await the.up()
        refresh = encode_route_refresh(RouteRefreshMessage(IPV4_UNICAST))
        await remote.send(refresh * 32)
        await trio.testing.wait_all_tasks_blocked()
        await remote.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert the.peer.state is not State.ESTABLISHED
        second = await the.accept()
        with trio.move_on_after(5) as waited:
            await second.receive()
        assert waited.cancelled_caught
        for _ in range(32):
            assert isinstance(await the.command(), Refresh)
        assert isinstance(await the.command(), PeerDown)
        await second.establish()
        assert isinstance(await the.command(), PeerUp)


async def test_stop_during_that_wait_closes_the_new_connection(autojump_clock: MockClock) -> None:
    """A connection that has not begun when the peer is stopped never does, and `run` returns."""
    async with house() as the:
        remote = await the.up()
        await remote.send(encode_route_refresh(RouteRefreshMessage(IPV4_UNICAST)) * 32)
        await trio.testing.wait_all_tasks_blocked()
        await remote.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        second = await the.accept()
        the.peer.stop(Notification(6, 2))
        for _ in range(33):
            await the.command()
        assert await second.receive() is None
        await the.over.wait()


async def test_stop_tells_the_peer_and_ends(autojump_clock: MockClock) -> None:
    """Cease/2 with RFC 9003 text is the last message; afterwards no connection is taken."""
    goodbye = Notification(6, 2, shutdown_communication("bye"))
    async with house() as the:
        remote = await the.up()
        the.peer.stop(goodbye)
        assert await remote.ending() == goodbye
        await the.over.wait()
        assert the.peer.state is State.IDLE
        late = Remote()
        assert not the.peer.accept(late.transport)
        late.transport.abort()
        assert isinstance(await the.command(), PeerDown)


async def test_the_notification_does_not_wait_behind_a_peer_that_takes_nothing(autojump_clock: MockClock) -> None:
    """The goodbye is given up after a second: the connection is aborted."""
    async with house() as the:
        remote = await the.accept(lockstep=True)
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        the.peer.stop(Notification(6, 2))
        await the.over.wait()
        assert trio.current_time() - started == pytest.approx(1.0)
        await remote.stream.aclose()


async def test_dialling_backs_off(autojump_clock: MockClock) -> None:
    """Refused each time: the waits double from 1/16 to all of connect_retry_time, with 75 to 100 % jitter."""
    times = []

    async def connect(settings: PeerSettings) -> Transport:
        times.append(trio.current_time())
        raise ConnectionRefusedError("refused")

    async with house(SETTINGS, connect):
        await trio.sleep(300)
    waits = [later - earlier for earlier, later in pairwise(times)]
    for wait, full in zip(waits, [3.75, 7.5, 15.0, 30.0, 30.0, 30.0, 30.0], strict=False):
        assert 0.75 * full <= wait <= full
    assert len(waits) > 9
    assert len(set(waits[3:])) > 1


async def test_an_attempt_that_hangs_is_given_up(autojump_clock: MockClock) -> None:
    """A SYN that nobody answers does not keep the peer waiting for the kernel's two minutes."""
    attempts = 0

    async def connect(settings: PeerSettings) -> Transport:
        nonlocal attempts
        attempts += 1
        await trio.sleep_forever()
        raise AssertionError

    async with house(SETTINGS, connect):
        await trio.sleep(100)
    assert attempts >= 2


async def test_an_incoming_connection_ends_the_attempt_to_connect(autojump_clock: MockClock) -> None:
    """What is being dialled is given up when the peer is there first."""
    given_up = trio.Event()

    async def connect(settings: PeerSettings) -> Transport:
        try:
            await trio.sleep_forever()
        finally:
            given_up.set()
        raise AssertionError

    async with house(SETTINGS, connect) as the:
        await the.up()
        assert given_up.is_set()


@pytest.mark.parametrize("how", ["refused in OpenSent", "reset when established"])
async def test_no_reconnect_storm(autojump_clock: MockClock, how: str) -> None:
    """FSM-12: a peer that is thrown out each time, established or not, is dialled ever more rarely."""
    times = []
    async with trio.open_nursery() as nursery:

        async def connect(settings: PeerSettings) -> Transport:
            times.append(trio.current_time())
            remote = Remote(asn=65001 if how == "reset when established" else 65009)
            nursery.start_soon(remote.send, remote.open() + KEEPALIVE)
            return remote.transport

        async with house(SETTINGS, connect) as the:
            with trio.move_on_after(600):
                while True:
                    command = await the.command()
                    if isinstance(command, PeerUp):
                        command.member.reset(Notification(6, 1, b"\0\1\1\0\0\0\5"), "too many prefixes")
    assert 15 <= len(times) <= 30
    assert times[-1] - times[-2] > 20


async def test_a_session_that_lasted_is_dialled_again_soon(autojump_clock: MockClock) -> None:
    """A connection lost after a day is tried again within a few seconds, whatever had failed before it."""
    times = []
    remotes = []
    async with trio.open_nursery() as nursery:

        async def connect(settings: PeerSettings) -> Transport:
            times.append(trio.current_time())
            if len(times) <= 6:
                raise ConnectionRefusedError
            remote = Remote()
            remotes.append(remote)
            nursery.start_soon(remote.send, remote.open(hold_time=0) + KEEPALIVE)
            return remote.transport

        async with house(SETTINGS, connect) as the:
            assert isinstance(await the.command(), PeerUp)
            await trio.sleep(86400)
            lost = trio.current_time()
            await remotes[0].stream.aclose()
            assert isinstance(await the.command(), PeerDown)
            assert isinstance(await the.command(), PeerUp)
            assert trio.current_time() - lost < 4


async def test_a_bug_while_connecting_is_logged_and_tried_again(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception nobody expects from `connect` is a failed attempt with a traceback."""
    attempts = 0

    async def connect(settings: PeerSettings) -> Transport:
        nonlocal attempts
        attempts += 1
        raise ZeroDivisionError

    async with house(SETTINGS, connect):
        await trio.sleep(30)
    assert attempts > 1
    assert any(record.exc_info for record in caplog.records if record.message.startswith("peer.crashed"))


async def test_a_bug_in_the_read_task_costs_one_session(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The traceback is logged, the forwarder hears PeerDown, no buffer is lost, and the peer can come again."""
    async with house() as the:
        remote = await the.up()

        async def broken(self: Connection, batch: Batch) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setattr(Connection, "_take", broken)
            await remote.send(UPDATE)
            assert await remote.ending() is None
        assert isinstance(await the.command(), PeerDown)
        await the.up()
    assert any(record.exc_info for record in caplog.records if record.message.startswith("peer.crashed"))


async def test_cancelling_an_established_peer_gives_everything_back(autojump_clock: MockClock) -> None:
    """Cancelled while its read task waits in front of a full forwarder: the batches' references are released."""
    async with house() as the:
        remote = await the.up()
        for _ in range(40):
            await remote.send(UPDATE)
            await trio.testing.wait_all_tasks_blocked()
        # Room for PeerDown, which is sent whatever happens.
        for _ in range(2):
            command = await the.command()
            assert isinstance(command, Updates)
            command.batch.release()


async def test_connections_accepted_before_run_are_kept_for_it(autojump_clock: MockClock) -> None:
    """A dynamic peer is made for a connection: it lives as long as one is left, then it is finished."""
    forwarder = Forwarder(Settings(speaker=SPEAKER))
    settings = PeerSettings(name="lab", peer_as=65001)
    peer = Peer(
        SPEAKER,
        settings,
        name="lab/192.0.2.1",
        address=ip_address("192.0.2.1"),
        board=forwarder.board,
        connect=nobody,
        rng=random.Random(1),
        dynamic=True,
    )
    remote = Remote()
    assert peer.accept(remote.transport)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.run)
        await remote.establish()
        assert not peer.finished
        await remote.stream.aclose()
    assert peer.finished
    late = Remote()
    assert not peer.accept(late.transport)
    late.transport.abort()
    await trio.testing.wait_all_tasks_blocked()


async def test_what_was_accepted_for_a_run_that_never_comes_is_closed(autojump_clock: MockClock) -> None:
    """`drop_early` closes it."""
    peer = Peer(
        SPEAKER,
        SETTINGS,
        name="x",
        address=ip_address("192.0.2.1"),
        board=Forwarder(Settings(speaker=SPEAKER)).board,
        connect=nobody,
        rng=random.Random(1),
    )
    remote = Remote()
    assert peer.accept(remote.transport)
    peer.drop_early()
    assert await remote.receive() is None
