import logging
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_bgp.passthrough.pool import BufferPool
from trio_bgp.runtime.commands import Command
from trio_bgp.runtime.forwarder import Forwarder
from trio_bgp.runtime.session.peer import Peer
from trio_bgp.runtime.session.transport import StreamTransport, Transport
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.session.fsm import State
from trio_bgp.settings import Endpoint, PeerSettings, Settings, SpeakerSettings
from trio_bgp.wire.capabilities import FourOctetAs, Multiprotocol
from trio_bgp.wire.header import KEEPALIVE
from trio_bgp.wire.notification import Notification, decode_notification, read_shutdown_communication
from trio_bgp.wire.numbers import IPV4_UNICAST
from trio_bgp.wire.open import Open, encode_open
from trio_bgp.wire.update import encode_update

ME = SpeakerSettings(local_as=65000, bgp_identifier=100)
UPDATE = encode_update(
    b"",
    b"\x40\x01\x01\x00" + b"\x40\x02\x06\x02\x01" + (65001).to_bytes(4, "big") + b"\x40\x03\x04\xc0\x00\x02\x01",
    b"\x18\xc6\x33\x64",
)
"""198.51.100.0/24 from AS 65001 by way of 192.0.2.1."""

pytestmark = pytest.mark.usefixtures("poisoned")


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Returned slabs are overwritten: a use after free reads as a bad marker."""
    monkeypatch.setattr(BufferPool, "poison", True)


def clients(number: int) -> tuple[PeerSettings, ...]:
    """Passive peers as65001 at 192.0.2.1 and so on."""
    return tuple(
        PeerSettings(name=f"as{65000 + n}", address=ip_address(f"192.0.2.{n}"), peer_as=65000 + n, passive=True)
        for n in range(1, number + 1)
    )


async def nobody(settings: PeerSettings) -> Transport:
    """A `connect` for speakers whose peers are all passive."""
    raise AssertionError("a passive peer was dialled")


class Client:
    """A peer played by octets over a memory stream."""

    def __init__(self, address: str, asn: int, *, lockstep: bool = False) -> None:
        pair = trio.testing.lockstep_stream_pair() if lockstep else trio.testing.memory_stream_pair()
        self.stream: trio.abc.Stream = pair[0]
        self.transport = StreamTransport(pair[1], peer_address=address)
        self.asn = asn
        self._received = b""

    async def come(self, speaker: Speaker) -> "Client":
        """Connect and bring the session up."""
        speaker.accept(self.transport)
        await self.stream.send_all(self.hello())
        await trio.testing.wait_all_tasks_blocked()
        return self

    def hello(self) -> bytes:
        """OPEN and KEEPALIVE."""
        capabilities = (FourOctetAs(self.asn), Multiprotocol(IPV4_UNICAST))
        ours = Open(my_as=self.asn, hold_time=90, bgp_identifier=self.asn, capabilities=capabilities)
        return encode_open(ours) + KEEPALIVE

    async def messages(self, seconds: float = 1.0) -> list[bytes]:
        """What comes in `seconds`, as whole messages."""
        with trio.move_on_after(seconds):
            while more := await self.stream.receive_some(65536):
                self._received += bytes(more)
        found = []
        while self._received:
            length = int.from_bytes(self._received[16:18], "big")
            found.append(self._received[:length])
            self._received = self._received[length:]
        return found

    async def ending(self) -> Notification | None:
        """Read to the end of the stream; the NOTIFICATION if that was the last message."""
        found = await self.messages(10_000)
        return decode_notification(found[-1][19:]) if found and found[-1][18] == 3 else None


@asynccontextmanager
async def running(
    *peers: PeerSettings, connect: Callable[[PeerSettings], Awaitable[Transport]] = nobody
) -> AsyncIterator[tuple[Speaker, trio.Event]]:
    """A running speaker without listeners, and an event for its end; all slabs must be back afterwards."""
    speaker = Speaker(Settings(speaker=ME, peers=peers), connect=connect, rng=random.Random(1))
    over = trio.Event()

    async def run(task_status: trio.TaskStatus[list[Endpoint]]) -> None:
        await speaker.run(task_status=task_status)
        over.set()

    # Two virtual days: what would wait for ever fails instead.
    with trio.fail_after(200_000):
        async with trio.open_nursery() as nursery:
            assert await nursery.start(run) == []
            yield speaker, over
            nursery.cancel_scope.cancel()
    assert speaker.forwarder.board.pool.outstanding == 0


def states(speaker: Speaker) -> dict[str, State]:
    """Each peer's state by its name."""
    return {each.name: each.state for each in speaker.statistics()}


async def test_an_update_reaches_the_others_as_it_came(autojump_clock: MockClock) -> None:
    """End to end: the octets one client sent are what the others receive, and the sender gets nothing back."""
    async with running(*clients(3)) as (speaker, _):
        one, two, three = [await Client(f"192.0.2.{n}", 65000 + n).come(speaker) for n in (1, 2, 3)]
        for client in (one, two, three):
            await client.messages()
        await one.stream.send_all(UPDATE)
        assert await two.messages() == [UPDATE]
        assert await three.messages() == [UPDATE]
        assert UPDATE not in await one.messages()
        found = {each.name: (each.state, each.prefixes) for each in speaker.statistics()}
        assert found == {
            "as65001": (State.ESTABLISHED, 1),
            "as65002": (State.ESTABLISHED, 0),
            "as65003": (State.ESTABLISHED, 0),
        }
        await one.stream.aclose()
        (withdrawal,) = await two.messages()
        assert withdrawal == encode_update(b"\x18\xc6\x33\x64", b"", b"")


async def test_an_unknown_address_is_refused(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """FSM-11: Cease/5 and the end, and a line that names the address."""
    async with running(*clients(1)) as (speaker, _):
        stranger = Client("198.51.100.7", 65001)
        speaker.accept(stranger.transport)
        assert await stranger.ending() == Notification(6, 5)
        assert states(speaker) == {"as65001": State.ACTIVE}
    assert any("connection.refused address=198.51.100.7" in text for text in caplog.messages)


async def test_a_second_connection_is_refused_while_established(autojump_clock: MockClock) -> None:
    """FSM-10: Cease/7 for the new one, nothing for the old one."""
    async with running(*clients(1)) as (speaker, _):
        await Client("192.0.2.1", 65001).come(speaker)
        again = Client("192.0.2.1", 65001)
        speaker.accept(again.transport)
        assert await again.ending() == Notification(6, 7)
        assert states(speaker) == {"as65001": State.ESTABLISHED}


async def test_strangers_who_take_nothing_hold_few_tasks(autojump_clock: MockClock) -> None:
    """Beyond a handful, unwanted connections are closed without waiting for them to read the refusal."""
    async with running() as (speaker, _):
        strangers = [Client("198.51.100.7", 1, lockstep=True) for _ in range(50)]
        for stranger in strangers:
            speaker.accept(stranger.transport)
        assert speaker._refusals <= 16
        await trio.sleep(1.5)
        assert speaker._refusals == 0


@pytest.mark.parametrize("address", ["::ffff:192.0.2.1", "192.0.2.1"])
async def test_an_address_is_known_in_each_notation(autojump_clock: MockClock, address: str) -> None:
    """An IPv4 peer that comes over an IPv6 socket is the configured one."""
    async with running(*clients(1)) as (speaker, _):
        await Client(address, 65001).come(speaker)
        assert states(speaker) == {"as65001": State.ESTABLISHED}


async def test_a_scope_id_does_not_hide_a_peer(autojump_clock: MockClock) -> None:
    """fe80::1%eth0 is the peer configured as fe80::1."""
    link_local = attrs.evolve(clients(1)[0], address=ip_address("fe80::1"))
    async with running(link_local) as (speaker, _):
        await Client("fe80::1%eth0", 65001).come(speaker)
        assert states(speaker) == {"as65001": State.ESTABLISHED}


async def test_peers_from_a_range_come_and_go(autojump_clock: MockClock) -> None:
    """One peer for each address of the range, named `name/address`, gone with its connection, and welcome again."""
    lab = PeerSettings(name="lab", range=ip_network("10.0.0.0/8"), peer_as=65001)
    async with running(lab) as (speaker, _):
        assert speaker.peers == {}
        one = await Client("10.0.0.1", 65001).come(speaker)
        await Client("10.9.9.9", 65001).come(speaker)
        assert states(speaker) == {"lab/10.0.0.1": State.ESTABLISHED, "lab/10.9.9.9": State.ESTABLISHED}
        await one.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert set(states(speaker)) == {"lab/10.9.9.9"}
        await Client("10.0.0.1", 65001).come(speaker)
        assert states(speaker)["lab/10.0.0.1"] is State.ESTABLISHED
        stranger = Client("11.0.0.1", 65001)
        speaker.accept(stranger.transport)
        assert await stranger.ending() == Notification(6, 5)


async def test_the_narrowest_range_rules_and_an_address_rules_over_ranges(autojump_clock: MockClock) -> None:
    """Nested ranges with different AS numbers, and a peer configured by its address inside both."""
    wide = PeerSettings(name="wide", range=ip_network("10.0.0.0/8"), peer_as=65001)
    narrow = PeerSettings(name="narrow", range=ip_network("10.1.0.0/16"), peer_as=65002)
    exact = PeerSettings(name="exact", address=ip_address("10.1.0.1"), peer_as=65003, passive=True)
    async with running(wide, narrow, exact) as (speaker, _):
        await Client("10.2.0.1", 65001).come(speaker)
        await Client("10.1.0.2", 65002).come(speaker)
        await Client("10.1.0.1", 65003).come(speaker)
        assert states(speaker) == dict.fromkeys(("wide/10.2.0.1", "narrow/10.1.0.2", "exact"), State.ESTABLISHED)


async def test_a_connection_in_the_moment_a_dynamic_peer_ends_gets_a_peer_of_its_own(autojump_clock: MockClock) -> None:
    """One address whose connections end and come in any order: each is served or refused, none crashes."""
    lab = PeerSettings(name="lab", range=ip_network("10.0.0.0/8"), peer_as=65001)
    async with running(lab) as (speaker, _):
        for pause in range(12):
            first = await Client("10.0.0.1", 65001).come(speaker)
            assert states(speaker) == {"lab/10.0.0.1": State.ESTABLISHED}
            await first.stream.aclose()
            for _ in range(pause):
                await trio.lowlevel.checkpoint()
            second = Client("10.0.0.1", 65001)
            speaker.accept(second.transport)
            await second.stream.send_all(second.hello())
            await trio.testing.wait_all_tasks_blocked()
            refused = second.transport._aborted
            assert states(speaker) == ({} if refused else {"lab/10.0.0.1": State.ESTABLISHED})
            await second.stream.aclose()
            await trio.testing.wait_all_tasks_blocked()
            assert speaker.peers == {}


async def test_shutdown_tells_everybody_and_ends(autojump_clock: MockClock) -> None:
    """Cease/2 with the operator's words to each peer, then `run` returns; later connections are closed at once."""
    async with running(*clients(3)) as (speaker, over):
        connected = [await Client(f"192.0.2.{n}", 65000 + n).come(speaker) for n in (1, 2, 3)]
        started = trio.current_time()
        speaker.shutdown("maintenance, back at 12:00")
        late = Client("192.0.2.1", 65001)
        speaker.accept(late.transport)
        assert await late.messages() == []
        for client in connected:
            said = await client.ending()
            assert said is not None
            assert (said.code, said.subcode) == (6, 2)
            assert read_shutdown_communication(said.data) == "maintenance, back at 12:00"
        await over.wait()
        assert trio.current_time() - started < 1.5


async def test_shutdown_does_not_wait_for_who_takes_nothing(autojump_clock: MockClock) -> None:
    """A peer that does not read, and one that is being dialled, hold the end up by 2 s at most."""

    async def connect(settings: PeerSettings) -> Transport:
        await trio.sleep_forever()
        raise AssertionError

    one, two = clients(2)
    async with running(one, attrs.evolve(two, passive=False), connect=connect) as (speaker, over):
        speaker.accept(Client("192.0.2.1", 65001, lockstep=True).transport)
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        speaker.shutdown()
        await over.wait()
        assert trio.current_time() - started <= 2.0


@pytest.mark.parametrize("number", [1, 100])
async def test_cancelling_ends_with_any_number_of_peers(autojump_clock: MockClock, number: int) -> None:
    """More sessions than the forwarder's channel has room: each still gets rid of its PeerDown."""
    with trio.fail_after(60):
        async with running(*clients(number)) as (speaker, _):
            for n in range(1, number + 1):
                await Client(f"192.0.2.{n}", 65000 + n).come(speaker)
            assert set(states(speaker).values()) == {State.ESTABLISHED}


async def test_a_bug_in_the_forwarder_ends_the_speaker(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no going on without it: `run` raises what happened, also with more peers than its channel has room."""

    def broken(self: Forwarder, command: Command) -> None:
        raise ZeroDivisionError

    speaker = Speaker(Settings(speaker=ME, peers=clients(60)), connect=nobody)
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True), trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: speaker.run(task_status=task_status))
            for n in range(1, 61):
                one = await Client(f"192.0.2.{n}", 65000 + n).come(speaker)
            monkeypatch.setattr(Forwarder, "_handle", broken)
            await one.stream.aclose()


async def test_a_bug_in_one_peer_leaves_the_others_alone(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception that ends a peer's `run` is logged with its traceback; that peer is back after a while."""
    original = Peer._put_off

    def broken(self: Peer) -> None:
        if self.name == "as65001":
            raise ZeroDivisionError
        original(self)

    monkeypatch.setattr(Peer, "_put_off", broken)
    async with running(*clients(2)) as (speaker, _):
        one = await Client("192.0.2.1", 65001).come(speaker)
        two = await Client("192.0.2.2", 65002).come(speaker)
        await two.messages()
        await one.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert states(speaker)["as65002"] is State.ESTABLISHED
        early = Client("192.0.2.1", 65001)
        speaker.accept(early.transport)
        await early.stream.send_all(early.hello())
        await trio.sleep(6)
        assert states(speaker) == {"as65001": State.ESTABLISHED, "as65002": State.ESTABLISHED}
        await early.stream.send_all(UPDATE)
        assert await two.messages() == [UPDATE]
    crashes = [record for record in caplog.records if record.message.startswith("peer.crashed")]
    assert crashes
    assert all(record.exc_info and "as65001" in record.message for record in crashes)


async def test_configured_peers_are_dialled(autojump_clock: MockClock) -> None:
    """Those that are not passive, each with its own settings."""
    arrived: list[Client] = []

    async with trio.open_nursery() as nursery:

        async def connect(settings: PeerSettings) -> Transport:
            client = Client(str(settings.address), settings.peer_as)
            arrived.append(client)
            nursery.start_soon(client.stream.send_all, client.hello())
            return client.transport

        one, two, three = clients(3)
        async with running(
            attrs.evolve(one, passive=False), two, attrs.evolve(three, passive=False), connect=connect
        ) as (
            speaker,
            _,
        ):
            await trio.testing.wait_all_tasks_blocked()
            assert sorted(client.asn for client in arrived) == [65001, 65003]
            found = states(speaker)
            assert (found["as65001"], found["as65002"], found["as65003"]) == (
                State.ESTABLISHED,
                State.ACTIVE,
                State.ESTABLISHED,
            )


async def test_connections_before_and_after_run_are_closed(autojump_clock: MockClock) -> None:
    """`accept` never raises and never leaves a connection open that nobody looks after."""
    speaker = Speaker(Settings(speaker=ME, peers=clients(1)), connect=nobody)
    early = Client("192.0.2.1", 65001)
    speaker.accept(early.transport)
    assert await early.messages() == []
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: speaker.run(task_status=task_status))
        speaker.shutdown()
    late = Client("192.0.2.1", 65001)
    speaker.accept(late.transport)
    assert await late.messages() == []


async def test_two_speakers_over_loopback(caplog: pytest.LogCaptureFixture) -> None:
    """Real sockets and the real clock: one listens on an IPv4 and an IPv6 port, the other dials it over both."""
    caplog.set_level(logging.INFO)
    four, six = ip_address("127.0.0.1"), ip_address("::1")
    server = Speaker(
        Settings(
            speaker=attrs.evolve(ME, listen=(Endpoint(four, 0), Endpoint(six, 0))),
            peers=(
                PeerSettings(name="four", address=ip_address("127.0.0.2"), peer_as=65001, passive=True),
                PeerSettings(name="six", range=ip_network("::1/128"), peer_as=65001),
            ),
        )
    )
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            endpoints = await nursery.start(lambda task_status: server.run(task_status=task_status))
            assert [endpoint.address for endpoint in endpoints] == [four, six]
            assert all(endpoint.port for endpoint in endpoints)
            peers = tuple(
                PeerSettings(
                    name=f"rs{n}", address=endpoint.address, port=endpoint.port, peer_as=65000, local_address=local
                )
                for n, endpoint, local in (
                    (4, endpoints[0], ip_address("127.0.0.2")),
                    (6, endpoints[1], None),
                )
            )
            dialler = Speaker(Settings(speaker=SpeakerSettings(local_as=65001, bgp_identifier=7), peers=peers))
            nursery.start_soon(dialler.run)
            while [*states(server).values(), *states(dialler).values()] != [State.ESTABLISHED] * 4:  # noqa: ASYNC110
                await trio.sleep(0.01)
            assert set(states(server)) == {"four", "six/::1"}
            dialler.shutdown("bye")
            while State.ESTABLISHED in states(server).values():  # noqa: ASYNC110
                await trio.sleep(0.01)
            server.shutdown()
    assert sum("saying 'bye'" in text for text in caplog.messages) == 2
    assert server.forwarder.board.pool.outstanding == dialler.forwarder.board.pool.outstanding == 0


async def test_a_taken_port_ends_run_and_frees_the_others() -> None:
    """`run` raises OSError that names the endpoint; the listeners opened before are closed again."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = Endpoint(ip_address("127.0.0.1"), holder.getsockname()[1])
        speaker = Speaker(Settings(speaker=attrs.evolve(ME, listen=(Endpoint(ip_address("127.0.0.1"), 0), taken))))
        with pytest.raises(OSError, match=f"cannot listen on {taken}"):
            await speaker.run()
