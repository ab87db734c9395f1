"""BMP over in-memory streams: what stations are told, and when they cannot follow."""

import contextlib
import itertools
import logging
import struct
from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import Any

import attrs
import pytest
import trio

from tests.harness import decoder
from tests.harness.decoder import V4, V6
from tests.harness.lab import Lab, lab, peer_settings
from tests.harness.station import LOC_RIB, FakeStation, FakeStations
from trio_bgp import __version__
from trio_bgp.config.diff import compare
from trio_bgp.monitoring.bmp import Stations, stations_of
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.settings import (
    AddPathSettings,
    BmpSettings,
    BmpStationSettings,
    Endpoint,
    MonitoredRib,
    PeerSettings,
    Policy,
    Role,
    Settings,
    SpeakerSettings,
)
from trio_bgp.wire.capabilities import ExtendedMessage, ExtendedNextHop, FourOctetAs, Multiprotocol
from trio_bgp.wire.numbers import EVPN, IPV4_MULTICAST, IPV4_UNICAST, IPV6_UNICAST, VPNV4
from trio_bgp.wire.open import decode_open

EVERYTHING = tuple(MonitoredRib)
TEN = (V4, b"\x08\x0a")
ELEVEN = (V4, b"\x08\x0b")
SIX = (V6, bytes.fromhex("2020010db8"))


def station(port: int = 5000, **changes: Any) -> BmpStationSettings:
    """Settings of a station that is told everything."""
    settings = BmpStationSettings(
        address=Endpoint(ip_address("192.0.2.200"), port), monitor=EVERYTHING, statistics_interval=0
    )
    return attrs.evolve(settings, **changes)


@contextlib.asynccontextmanager
async def bmp_lab(
    stations: FakeStations, settings: tuple[BmpStationSettings, ...], *peers: PeerSettings, **options: Any
) -> AsyncIterator[Lab]:
    """A daemon with stations; what these say of the octets is checked at the end."""
    async with lab(*peers, stations=settings, connect_station=stations.connect, **options) as the_lab:
        await the_lab.settle()
        yield the_lab
        await the_lab.settle()
    stations.check()


def announce(number: int, *routes: decoder.Route, length: int = 1, more: bytes = b"", asn: int = 0) -> bytes:
    """An announcement of peer `number`, with an AS path of `length`."""
    path = [asn or 65000 + number, *(64500 + n for n in range(length - 1))]
    block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(*path) + more
    hop = bytes((192, 0, 2, number)) if routes[0][0] == V4 else bytes(15) + bytes((number,))
    return decoder.announce(list(routes), block, hop)


def held(octets: bytes) -> dict[decoder.Route, tuple[decoder.Attribute, ...]]:
    """What an announcement says."""
    return decoder.Update(octets).announced


def address(number: int) -> str:
    """The address of peer `number`, as the station is told."""
    return f"192.0.2.{number}"


async def test_a_station_is_told_who_is_up_and_what_they_say(autojump_clock: trio.testing.MockClock) -> None:
    """Initiation, Peer Up with both OPENs as they were, every RIB as it changes, Peer Down."""
    stations = FakeStations()
    async with bmp_lab(stations, (station(),), peer_settings(1), peer_settings(2)) as the_lab:
        told = stations.last(5000)
        assert told.initiation == [(1, f"trio-bgp {__version__}".encode()), (2, b"10.255.0.1")]
        one = await the_lab.join(1)
        two = await the_lab.join(2)
        up = told.peers[0, address(1)]
        assert (up.asn, up.identifier) == (65001, 0x0A000001)
        assert up.received_open == one.open_octets
        assert up.sent_open == one.log[0]
        assert up.local_address == bytes(12) + bytes((127, 0, 0, 1))
        first, second = announce(1, TEN, ELEVEN, length=2), announce(2, TEN)
        await one.say(first)
        await two.say(second)
        await the_lab.settle()
        assert told.table(address(1), "pre") == told.table(address(1), "post") == held(first)
        assert told.table(address(2), "pre") == told.table(address(2), "post") == held(second)
        assert told.table("", "loc") == {TEN: held(second)[TEN], ELEVEN: held(first)[ELEVEN]}
        assert told.table(address(1), "out") == one.table == held(second)
        assert told.table(address(2), "out") == two.table == held(first)
        await two.say(decoder.withdraw([TEN]))
        await the_lab.settle()
        assert told.table("", "loc") == held(first)
        assert told.table(address(2), "pre") == told.table(address(2), "post") == {}
        assert told.table(address(1), "out") == one.table == {}
        assert up.flags == {"pre": {0}, "post": {0x40}, "out": {0x50}}
        assert told.downs == []
        await one.cut()
        await the_lab.settle()
        assert told.downs == [(0, address(1), 4, b"")]
        assert told.table("", "loc") == {}
        assert told.table(address(2), "out") == two.table == {}


async def test_received_octets_are_mirrored_as_they_are(autojump_clock: trio.testing.MockClock) -> None:
    """Also what is refused, and what is odd in form: it is the Adj-RIB-In before policy."""
    stations = FakeStations()
    settings = station(monitor=(MonitoredRib.ADJ_RIB_IN_PRE, MonitoredRib.ADJ_RIB_IN_POST))
    async with bmp_lab(stations, (settings,), peer_settings(1)) as the_lab:
        one = await the_lab.join(1)
        loop = announce(1, TEN, asn=65000)
        odd = decoder.update(
            b"\x10\x0a\x09", b"\x50\x01\x00\x01\x00" + decoder.as_path(65001) + b"\x40\x03\x04\1\2\3\4", b"\x08\x0c"
        )
        await one.say(loop + odd + decoder.update())
        await the_lab.settle()
        told = stations.last(5000)
        mirrored = [each[48:] for each in told.log if each[5] == 0 and each[7] & 0x40 == 0 and len(each) > 48 + 23]
        assert mirrored == [loop, odd]
        assert set(told.table(address(1), "post")) == {(V4, b"\x08\x0c")}
        peer = told.peers[0, address(1)]
        assert peer.end_of_rib == {"pre": [V4], "post": [V4]}


async def test_a_late_station_gets_all_there_is_with_end_of_rib(autojump_clock: trio.testing.MockClock) -> None:
    """Once it can be connected to it holds what one holds that was there from the beginning."""
    stations = FakeStations(5001)
    both = (station(5000), station(5001))
    async with bmp_lab(stations, both, peer_settings(1), peer_settings(2), peer_settings(3)) as the_lab:
        one, two = await the_lab.join(1), await the_lab.join(2, families=(V4,))
        for number, client in ((1, one), (2, two)):
            prefixes = [(V4, struct.pack(">BHB", 24, n, number % 2)) for n in range(1700)]
            for start in range(0, 1700, 100):
                await client.say(announce(number, *prefixes[start : start + 100], length=1 + start // 400))
        await one.say(announce(1, SIX))
        await the_lab.settle()
        early = stations.last(5000)
        stations.refused.clear()
        await trio.sleep(40)
        late = stations.last(5001)
        for number, families in ((1, [V4, V6]), (2, [V4])):
            for rib in ("pre", "post", "out"):
                assert late.table(address(number), rib) == early.table(address(number), rib)
                assert late.peers[0, address(number)].end_of_rib[rib] == families
        assert late.table("", "loc") == early.table("", "loc")
        assert late.peers[LOC_RIB, ""].end_of_rib["loc"] == [V4, V6]
        assert len(late.table("", "loc")) == 3401
        assert set(late.table(address(1), "out")) == set(one.table)


async def test_what_happens_during_a_dump_is_not_lost(autojump_clock: trio.testing.MockClock) -> None:
    """Changes between a dump's steps, also of what it has yet to tell, and a session that ends meanwhile."""
    stations = FakeStations(5001, window=20000)
    both = (station(5000), station(5001))
    async with bmp_lab(stations, both, peer_settings(1), peer_settings(2)) as the_lab:
        one, two = await the_lab.join(1), await the_lab.join(2)
        prefixes = [(V4, struct.pack(">BHB", 24, n, 0)) for n in range(5000)]
        fat = decoder.attribute(0xC0, 200, bytes(800))
        for start in range(0, 5000, 50):
            await one.say(
                announce(
                    1, *prefixes[start : start + 50], more=fat + decoder.attribute(0x80, 4, struct.pack(">I", start))
                )
            )
        await the_lab.settle()
        stations.refused.clear()
        stations.connected = trio.Event()
        await stations.connected.wait()
        late = stations.last(5001)
        late.freeze()
        await the_lab.settle()
        seen = len(late.log)
        await one.say(decoder.withdraw(prefixes[:10] + prefixes[-10:]))
        await two.say(announce(2, *prefixes[:5], *prefixes[2000:2005], *prefixes[-5:]))
        await the_lab.settle()
        late.thawed.set()
        await the_lab.settle()
        assert len(late.log) > seen + 20, "the dump was over before anything happened"
        early = stations.last(5000)
        for rib in ("pre", "post", "out"):
            for number in (1, 2):
                assert late.table(address(number), rib) == early.table(address(number), rib)
        assert late.table("", "loc") == early.table("", "loc")
        assert late.table(address(2), "out") == two.table


async def test_a_dump_alone_is_never_too_much(autojump_clock: trio.testing.MockClock) -> None:
    """Ten megaoctets of attributes through the shortest queue there may be."""
    stations = FakeStations(5000, window=65536)
    settings = station(queue_limit=1 << 20)
    async with bmp_lab(stations, (settings,), *(peer_settings(number) for number in (1, 2, 3))) as the_lab:
        clients = [await the_lab.join(number) for number in (1, 2, 3)]
        for number, client in enumerate(clients, 1):
            for n in range(400):
                fat = decoder.attribute(0xC0, 200, struct.pack(">HH", number, n) + bytes(3800))
                await client.say(announce(number, (V4, struct.pack(">BHB", 24, n, 0)), more=fat))
        await the_lab.settle()
        stations.refused.clear()
        stations.connected = trio.Event()
        await stations.connected.wait()
        told = stations.last(5000)
        (record,) = stations_of(the_lab.speaker).values()
        most = 0
        while len(told.peers) < 4 or told.peers[LOC_RIB, ""].end_of_rib.get("loc") != [V4, V6]:
            most = max(most, record.queued)
            await trio.lowlevel.checkpoint()
        await the_lab.settle()
        assert (record.overflows, record.sessions) == (0, 1)
        assert 1 << 19 < most < 1 << 20
        assert record.octets_sent > 10_000_000
        for number, client in enumerate(clients, 1):
            assert len(told.table(address(number), "pre")) == 400
            assert told.table(address(number), "out") == client.table


async def test_a_station_that_cannot_follow_begins_anew(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its queue is bounded; then the connection is closed, counted and logged, and the next has all there is."""
    stations = FakeStations(window=4096)
    settings = station(queue_limit=100_000)
    async with bmp_lab(stations, (settings,), peer_settings(1), peer_settings(2)) as the_lab:
        one, two = await the_lab.join(1), await the_lab.join(2)
        first = stations.last(5000)
        first.freeze()
        prefixes = [(V4, struct.pack(">BHB", 24, n, 0)) for n in range(2000)]
        with caplog.at_level(logging.WARNING, logger="trio_bgp.bmp"):
            for start in range(0, 2000, 10):
                await one.say(announce(1, *prefixes[start : start + 10], more=decoder.attribute(0xC0, 200, bytes(100))))
            await the_lab.settle()
        assert len(two.table) == 2000, "a slow station costs peers nothing"
        (record,) = stations_of(the_lab.speaker).values()
        assert (record.state, record.overflows, record.queued) == ("waiting", 1, 0)
        assert record.messages_dropped > 10
        assert "bmp.down station=192.0.2.200:5000 reason='more than 100000 octets wait for it'" in caplog.text
        first.thawed.set()
        await trio.sleep(40)
        assert first.closed.is_set()
        second = stations.last(5000)
        assert second is not first
        assert record.sessions == 2
        assert len(second.table(address(1), "pre")) == 2000
        assert second.table(address(2), "out") == two.table
        assert second.table("", "loc") == second.table(address(1), "post") == second.table(address(1), "pre")


async def test_attempts_to_connect_are_put_off(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Soon at first, then twice as long each time up to connect_retry_time; one warning, not one for each."""
    stations = FakeStations(5000)
    async with bmp_lab(stations, (station(connect_retry_time=16),)) as the_lab:
        with caplog.at_level(logging.WARNING, logger="trio_bgp.bmp"):
            await trio.sleep(100)
        times = [at for at, _ in stations.attempts]
        gaps = [after - before for before, after in itertools.pairwise(times)]
        for gap, most in zip(gaps, [2, 4, 8, 16, 16, 16], strict=False):
            assert 0.75 * most <= gap <= most
        assert len(gaps) >= 6
        (record,) = stations_of(the_lab.speaker).values()
        assert record.last_end == "cannot connect: ECONNREFUSED: Connection refused"
        stations.refused.clear()
        await trio.sleep(16)
        assert record.state == "up"
        await stations.last(5000).stream.aclose()
        await the_lab.settle()
        assert (record.state, record.last_end) == ("waiting", "closed by the station")
        await trio.sleep(16)
        assert (record.state, record.sessions) == ("up", 2)
    assert caplog.text.count("bmp.connect_failed") == 1


@pytest.mark.parametrize(
    ("how", "reason", "data"),
    [
        ("closed by the peer", 4, b""),
        ("notification", 3, decoder.message(3, b"\x06\x04")),
        ("reset", 1, decoder.message(3, b"\x06\x04")),
        ("malformed", 1, decoder.message(3, b"\x03\x01")),
    ],
)
async def test_why_a_session_went_down(
    how: str, reason: int, data: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    """RFC 7854, section 4.9, with the NOTIFICATION that was sent or received."""
    stations = FakeStations()
    async with bmp_lab(stations, (station(),), peer_settings(1)) as the_lab:
        one = await the_lab.join(1)
        if how == "closed by the peer":
            await one.cut()
        elif how == "notification":
            await one.say(data)
        elif how == "reset":
            the_lab.speaker.reset("p1")
        else:
            await one.say(decoder.message(decoder.UPDATE, b"\xff\xff\0\0"))
        await the_lab.settle()
        assert stations.last(5000).downs == [(0, address(1), reason, data)]


async def test_a_daemon_that_stops_says_so(autojump_clock: trio.testing.MockClock) -> None:
    """Peer Down with the Cease that was sent, then Termination, then the end of the connection."""
    stations = FakeStations()
    async with bmp_lab(stations, (station(),), peer_settings(1)) as the_lab:
        await the_lab.join(1)
        the_lab.speaker.shutdown("bye")
        await the_lab.settle()
        told = stations.last(5000)
        assert told.downs == [(0, address(1), 1, decoder.message(3, b"\x06\x02\x03bye"))]
        assert told.termination == 0
        assert told.closed.is_set()


async def test_a_station_that_reads_nothing_does_not_keep_the_daemon(autojump_clock: trio.testing.MockClock) -> None:
    """Goodbyes to stations take a second at most, those that are connected to and those that are not yet."""
    stations = FakeStations(5001, window=100)
    async with bmp_lab(stations, (station(5000), station(5001)), peer_settings(1)) as the_lab:
        stations.last(5000).freeze()
        one = await the_lab.join(1)
        await one.say(announce(1, TEN, more=decoder.attribute(0xC0, 200, bytes(1000))))
        await the_lab.settle()
        began = trio.current_time()
        the_lab.speaker.shutdown()
        await one.closed.wait()
        while the_lab.speaker._nursery is not None:  # noqa: ASYNC110 (nothing tells)
            await trio.sleep(0.01)
        assert trio.current_time() - began < 1.5
        assert stations.last(5000).termination is None


async def test_a_daemon_that_leaves_for_a_restart(autojump_clock: trio.testing.MockClock) -> None:
    """Sessions are broken off without a NOTIFICATION: reason 2, event 2."""
    stations = FakeStations()
    async with bmp_lab(stations, (station(),), peer_settings(1)) as the_lab:
        await the_lab.join(1)
        the_lab.speaker.stop_for_restart()
        await the_lab.settle()
        assert stations.last(5000).downs == [(0, address(1), 2, b"\0\2")]
        assert stations.last(5000).termination == 0


async def test_a_reload_adds_removes_and_changes_stations(autojump_clock: trio.testing.MockClock) -> None:
    """One that is removed is told so; of one whose list of peers changed the connection goes on."""
    stations = FakeStations()
    before = (station(5000), station(5001, peers=("p1",)), station(5002))
    async with bmp_lab(stations, before, peer_settings(1), peer_settings(2)) as the_lab:
        one, two = await the_lab.join(1), await the_lab.join(2)
        await one.say(announce(1, TEN))
        await two.say(announce(2, ELEVEN))
        await the_lab.settle()
        chosen = stations.last(5001)
        assert set(chosen.peers) == {(0, address(1)), (LOC_RIB, "")}
        assert set(chosen.table("", "loc")) == {TEN, ELEVEN}, "the Loc-RIB is that of all peers"
        after = (station(5000), station(5001, peers=("p2",)), station(5003, monitor=(MonitoredRib.LOC_RIB,)))
        speaker = the_lab.speaker
        speaker.reconfigure(attrs.evolve(speaker.settings, bmp=BmpSettings(stations=after)), ())
        await the_lab.settle()
        assert {port: len(found) for port, found in stations.connections.items()} == dict.fromkeys(
            (5000, 5001, 5002, 5003), 1
        )
        assert stations.last(5002).termination == 0
        assert stations.last(5000).termination is None
        assert chosen.downs == [(0, address(1), 5, b"")]
        assert chosen.table(address(2), "pre") == held(announce(2, ELEVEN))
        assert chosen.table(address(2), "out") == two.table == held(announce(1, TEN))
        await one.say(announce(1, (V4, b"\x08\x0d")))
        await the_lab.settle()
        assert chosen.table(address(2), "out") == two.table
        alone = stations.last(5003)
        assert set(alone.peers) == {(LOC_RIB, "")}
        assert len(alone.table("", "loc")) == 3
        changed = (*after[:2], station(5003))
        speaker.reconfigure(attrs.evolve(speaker.settings, bmp=BmpSettings(stations=changed)), ())
        await the_lab.settle()
        assert alone.termination == 0
        assert len(stations.connections[5003]) == 2
        assert set(stations.last(5003).peers) == {(0, address(1)), (0, address(2)), (LOC_RIB, "")}


async def test_a_speaker_can_be_told_of_stations_before_it_runs(autojump_clock: trio.testing.MockClock) -> None:
    """A program may do that; it connects to those it was told of last."""
    stations = FakeStations()
    settings = Settings(speaker=SpeakerSettings(local_as=65000, bgp_identifier=1))
    speaker = Speaker(settings)
    Stations(speaker, connect=stations.connect)
    speaker.reconfigure(attrs.evolve(settings, bmp=BmpSettings(stations=(station(5001),))), ())
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: speaker.run(task_status=task_status))
        await trio.testing.wait_all_tasks_blocked()
        assert set(stations.connections) == {5001}
        speaker.shutdown()
    assert stations.last(5001).termination == 0
    speaker.reconfigure(attrs.evolve(settings, bmp=BmpSettings(stations=(station(5002),))), ())
    assert set(stations.connections) == {5001}


async def test_nobody_is_watched_for_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """Without a connected station the forwarder's hooks are empty and peers' queues their own; else they are not."""
    stations = FakeStations(5000)
    async with bmp_lab(stations, (station(),), peer_settings(1)) as the_lab:
        await the_lab.join(1)
        forwarder = the_lab.speaker.forwarder
        own = the_lab.member(1).outbound
        assert forwarder.observers == []
        assert forwarder.core.on_change is None
        stations.refused.clear()
        await trio.sleep(40)
        assert len(forwarder.observers) == 1
        assert forwarder.core.on_change is not None
        assert the_lab.member(1).outbound is not own
        assert the_lab.member(1).outbound.queued == own.queued
        await stations.last(5000).stream.aclose()
        await the_lab.settle()
        assert forwarder.observers == []
        assert forwarder.core.on_change is None
        assert the_lab.member(1).outbound is own


async def test_path_identifiers_are_those_of_the_session(autojump_clock: trio.testing.MockClock) -> None:
    """Adj-RIB-In has the peer's, Adj-RIB-Out ours, as both OPENs say; the Loc-RIB has none."""
    stations = FakeStations(5001)
    add_path = AddPathSettings(send=AddPathSettings.ALL, receive=True)
    peers = (peer_settings(1, add_path=add_path), peer_settings(2, add_path=add_path), peer_settings(3))
    async with bmp_lab(stations, (station(5000), station(5001)), *peers) as the_lab:
        one = await the_lab.join(1, families=(V4,), add_path=3, receives_add_path=True)
        two = await the_lab.join(2, families=(V4,), add_path=3, receives_add_path=True)
        three = await the_lab.join(3, families=(V4,))
        for number, client in ((1, one), (2, two)):
            for identifier in (7, 8):
                prefix = struct.pack(">I", identifier) + b"\x08\x0a"
                await client.say(announce(number, (V4, prefix), length=10 - identifier))
        await three.say(announce(3, TEN, length=5))
        await the_lab.settle()
        stations.refused.clear()
        await trio.sleep(40)
        for port in (5000, 5001):
            told = stations.last(port)
            for number in (1, 2):
                own = {nlri for _, nlri in told.table(address(number), "pre")}
                assert own == {b"\0\0\0\7\x08\x0a", b"\0\0\0\x08\x08\x0a"}
                assert own == {nlri for _, nlri in told.table(address(number), "post")}
            assert told.table(address(1), "out") == one.table
            assert told.table(address(2), "out") == two.table
            assert told.table(address(3), "out") == three.table
            assert len(one.table) == 3
            assert list(told.table("", "loc")) == [TEN]
            assert set(told.table(address(3), "pre")) == {TEN}


async def test_two_octet_as_numbers_are_marked(autojump_clock: trio.testing.MockClock) -> None:
    """The A flag where AS_PATH has them: what an old peer sends and is sent, not what is kept (RFC 7854, 4.2)."""
    stations = FakeStations(5001)
    async with bmp_lab(stations, (station(5000), station(5001)), peer_settings(1), peer_settings(2)) as the_lab:
        one = await the_lab.join(1, asn4=False)
        two = await the_lab.join(2)
        old = decoder.attribute(0x40, 2, struct.pack(">BBHH", 2, 2, 65001, 23456))
        as4 = decoder.attribute(0xC0, 17, struct.pack(">BBII", 2, 2, 65001, 4200000001))
        block = decoder.attribute(0x40, 1, b"\0") + old
        said = decoder.update(b"", block + decoder.attribute(0x40, 3, b"\xc0\0\2\1") + as4, b"\x08\x0a")
        await one.say(said)
        await two.say(announce(2, ELEVEN))
        await the_lab.settle()
        stations.refused.clear()
        await trio.sleep(40)
        wide = {**dict.fromkeys([TEN], two.table[TEN])}
        for port in (5000, 5001):
            told = stations.last(port)
            assert told.peers[0, address(1)].flags == {"pre": {0x20}, "post": {0x40}, "out": {0x70}}
            assert told.peers[0, address(2)].flags == {"pre": {0}, "post": {0x40}, "out": {0x50}}
            assert sorted(told.table(address(1), "pre")[TEN]) == sorted(held(said)[TEN])
            assert told.table(address(1), "post") == wide
            assert told.table(address(1), "out") == one.table
            assert told.table("", "loc")[TEN] == wide[TEN]


async def test_the_loc_rib_has_what_nobody_may_have(autojump_clock: trio.testing.MockClock) -> None:
    """NO_ADVERTISE keeps a route from peers, not from the table; an injected route is there too."""
    stations = FakeStations(5001)
    peers = [peer_settings(n, role=Role.EBGP, import_policy=Policy.ACCEPT, export_policy=Policy.ACCEPT) for n in (1, 2)]
    async with bmp_lab(stations, (station(5000), station(5001)), *peers) as the_lab:
        one, two = await the_lab.join(1), await the_lab.join(2)
        await one.say(announce(1, TEN, more=decoder.attribute(0xC0, 8, b"\xff\xff\xff\2")))
        block = (
            decoder.attribute(0x40, 1, b"\0")
            + decoder.attribute(0x40, 2, b"")
            + decoder.attribute(0x40, 3, b"\1\2\3\4")
        )
        the_lab.speaker.forwarder.announce(IPV4_UNICAST, b"\x08\x0b", block, None)
        await the_lab.settle()
        assert set(two.table) == {ELEVEN}
        stations.refused.clear()
        await trio.sleep(40)
        for port in (5000, 5001):
            told = stations.last(port)
            assert set(told.table("", "loc")) == {TEN, ELEVEN}
            assert set(told.table(address(1), "post")) == {TEN}
            assert told.table(address(2), "out") == two.table


async def test_the_loc_rib_comes_up_again_for_a_new_family(autojump_clock: trio.testing.MockClock) -> None:
    """Its OPEN has to name every family (RFC 9069, section 6.1.3): Peer Down 6, a new Peer Up, and the table again."""
    stations = FakeStations()
    first = peer_settings(1, families=(IPV4_UNICAST,))
    async with bmp_lab(stations, (station(),), first) as the_lab:
        one = await the_lab.join(1, families=(V4,))
        await one.say(announce(1, TEN))
        await the_lab.settle()
        told = stations.last(5000)
        assert told.peers[LOC_RIB, ""].sent_open == told.peers[LOC_RIB, ""].received_open
        said = decode_open(told.peers[LOC_RIB, ""].sent_open[19:])
        unicast = (Multiprotocol(IPV4_UNICAST), Multiprotocol(IPV6_UNICAST))
        assert said.capabilities == (*unicast, FourOctetAs(65000), ExtendedMessage())
        assert (said.my_as, said.bgp_identifier) == (65000, 0x0AFF0001)
        new = peer_settings(2, families=(EVPN, VPNV4), extended_next_hop=True)
        speaker = the_lab.speaker
        after = attrs.evolve(speaker.settings, peers=(first, new))
        speaker.reconfigure(after, compare(speaker.settings, after).peers)
        await the_lab.settle()
        assert told.downs == [(LOC_RIB, "", 6, b"")]
        said = decode_open(told.peers[LOC_RIB, ""].sent_open[19:])
        assert said.capabilities == (
            Multiprotocol(IPV4_UNICAST),
            Multiprotocol(VPNV4),
            Multiprotocol(IPV6_UNICAST),
            Multiprotocol(EVPN),
            FourOctetAs(65000),
            ExtendedMessage(),
            ExtendedNextHop(((IPV4_UNICAST, 2), (VPNV4, 2))),
        )
        assert set(told.table("", "loc")) == {TEN}
        two = await the_lab.join(2, families=(decoder.EVPN,))
        route = (decoder.EVPN, b"\x03\x11" + bytes(8) + bytes(4) + b"\x20\1\2\3\4")
        block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65002)
        await two.say(decoder.announce([route], block, bytes((192, 0, 2, 2))))
        await the_lab.settle()
        assert set(told.table("", "loc")) == {TEN, route}
        assert told.downs == [(LOC_RIB, "", 6, b"")]
        # A program can announce routes of a family that no peer is configured for.
        block = decoder.attribute(0x40, 1, b"\0") + decoder.attribute(0x40, 2, b"")
        speaker.forwarder.announce(IPV4_MULTICAST, b"\x08\x0c", block, b"\1\2\3\4")
        await the_lab.settle()
        assert told.downs == [(LOC_RIB, "", 6, b"")] * 2
        assert set(told.table("", "loc")) == {TEN, route, ((1, 2), b"\x08\x0c")}
        assert told.peers[LOC_RIB, ""].end_of_rib["loc"] == [V4, (1, 2), decoder.VPN4, V6, decoder.EVPN]


async def test_a_peer_that_moves_is_two_for_a_while(autojump_clock: trio.testing.MockClock) -> None:
    """A reload gives it another address: the new session may be up before the old one is over."""
    stations = FakeStations()
    async with bmp_lab(stations, (station(),), peer_settings(1)) as the_lab:
        one = await the_lab.join(1, lockstep=True)
        speaker = the_lab.speaker
        one.freeze()
        # It takes this, and then nothing more: the goodbye has to wait.
        block = decoder.attribute(0x40, 1, b"\0") + decoder.attribute(0x40, 2, b"")
        block += decoder.attribute(0x40, 3, b"\1\2\3\4")
        speaker.forwarder.announce(IPV4_UNICAST, b"\x08\x0b", block, None)
        await the_lab.settle()
        after = attrs.evolve(speaker.settings, peers=(attrs.evolve(peer_settings(9), name="p1", peer_as=65001),))
        speaker.reconfigure(after, compare(speaker.settings, after).peers)
        moved = await the_lab.join(9, asn=65001, wait=False)
        await moved.established.wait()
        told = stations.last(5000)
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert len(speaker.forwarder.members) == 2
        await moved.say(announce(9, TEN, asn=65001))
        await trio.sleep(5)
        assert set(told.peers) == {(LOC_RIB, ""), (0, address(9))}
        assert set(told.table(address(9), "pre")) == {TEN}


async def test_statistics_are_reported(autojump_clock: trio.testing.MockClock) -> None:
    """Every so often: refusals by cause, routes of each peer and of the Loc-RIB, by family too."""
    stations = FakeStations()
    checked = peer_settings(1, enforce_first_as=True, reject_martians=True)
    async with bmp_lab(stations, (station(statistics_interval=10),), checked, peer_settings(2)) as the_lab:
        one = await the_lab.join(1)
        several = [(V4, bytes((8, number))) for number in (20, 21, 22, 23)]
        await one.say(announce(1, *several[:2]) + announce(1, (V6, bytes.fromhex("202a001450"))))
        await one.say(announce(1, several[2], asn=65000))
        await one.say(announce(1, *several[2:], asn=65009))
        await one.say(announce(1, TEN, several[3]))
        missing = decoder.as_path(65001) + decoder.attribute(0x40, 3, b"\1\2\3\4")
        await one.say(2 * decoder.update(b"", missing, b"\x08\x1e\x08\x1f"))
        await trio.sleep(11)
        told = stations.last(5000)
        found = told.statistics[0, address(1)]
        assert {kind: int.from_bytes(value, "big") for kind, value in found if kind != 9} == {
            0: 3,
            3: 0,
            4: 1,
            5: 0,
            7: 4,
            11: 2,
            12: 4,
        }
        assert {len(value) for kind, value in found if kind not in (7, 9)} == {4}
        assert [value for kind, value in found if kind == 9] == [
            b"\0\1\1" + (3).to_bytes(8, "big"),
            b"\0\2\1" + (1).to_bytes(8, "big"),
        ]
        assert told.statistics[LOC_RIB, ""] == [
            (8, (4).to_bytes(8, "big")),
            (10, b"\0\1\1" + (3).to_bytes(8, "big")),
            (10, b"\0\2\1" + (1).to_bytes(8, "big")),
        ]


async def test_a_bug_is_the_stations_misfortune(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has it, stations begin anew, peers notice nothing."""
    stations = FakeStations()
    async with bmp_lab(stations, (station(),), peer_settings(1), peer_settings(2), crash_expected=True) as the_lab:
        one, two = await the_lab.join(1), await the_lab.join(2)

        def broken(*arguments: object) -> None:
            raise RuntimeError("a bug")

        with monkeypatch.context() as patched:
            patched.setattr("trio_bgp.monitoring.bmp.best_paths", broken)
            await one.say(announce(1, TEN) + announce(1, ELEVEN))
            await the_lab.settle()
        assert caplog.text.count("bmp.crashed") == 1
        assert set(two.table) == {TEN, ELEVEN}
        await trio.sleep(40)
        assert set(stations.last(5000).table("", "loc")) == {TEN, ELEVEN}
        assert len(stations.connections[5000]) == 2


async def test_stations_that_want_little_are_told_little(autojump_clock: trio.testing.MockClock) -> None:
    """Each gets the RIBs it asked for, and no other."""
    stations = FakeStations()
    settings = tuple(station(5000 + n, monitor=(rib,)) for n, rib in enumerate(MonitoredRib))
    async with bmp_lab(stations, settings, peer_settings(1), peer_settings(2)) as the_lab:
        one, _ = await the_lab.join(1), await the_lab.join(2)
        await one.say(announce(1, TEN))
        await the_lab.settle()

        def ribs(found: FakeStation) -> set[str]:
            return {rib for peer in found.peers.values() for rib in peer.ribs}

        assert [ribs(stations.last(5000 + n)) for n in range(4)] == [{"pre"}, {"post"}, {"out"}, {"loc"}]
