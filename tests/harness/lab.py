"""Whole daemons over in-memory streams, with scripted speakers around them."""

import contextlib
import logging
import random
from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import Any

import attrs
import trio
import trio.testing

from tests.harness.decoder import V4, V6, Family
from tests.harness.speaker import ScriptedSpeaker
from trio_bgp.monitoring.bmp import Stations
from trio_bgp.monitoring.station import ConnectStation, connect_station
from trio_bgp.runtime.session import sockets
from trio_bgp.runtime.session.peer import Connect
from trio_bgp.runtime.session.transport import StreamTransport
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.settings import BmpSettings, BmpStationSettings, PeerSettings, Settings, SpeakerSettings
from trio_bgp.testing.lab import Crashes
from trio_bgp.testing.window import window_stream_pair
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST

LOCAL_AS = 65000


def address_of(number: int) -> str:
    """The address of peer `number`."""
    return f"192.0.2.{number}"


def peer_settings(number: int, **changes: Any) -> PeerSettings:
    """Settings of peer `number`, AS 65000 + number, passive, both families, no first-AS check."""
    settings = PeerSettings(
        name=f"p{number}",
        address=ip_address(address_of(number)),
        peer_as=65000 + number,
        passive=True,
        enforce_first_as=False,
        families=(IPV4_UNICAST, IPV6_UNICAST),
        hold_time=0,
    )
    return attrs.evolve(settings, **changes)


class Lab:
    """A running daemon.

    Attributes:
        speaker: the daemon.
        nursery: where scripted speakers run.
    """

    def __init__(self, speaker: Speaker, nursery: trio.Nursery) -> None:
        self.speaker = speaker
        self.nursery = nursery

    async def join(
        self,
        number: int,
        *,
        families: tuple[Family, ...] = (V4, V6),
        lockstep: bool = False,
        window: int | None = None,
        wait: bool = True,
        **options: Any,
    ) -> ScriptedSpeaker:
        """Connect as peer `number`; with `wait` until the session is up and quiet."""
        ours: trio.abc.Stream
        theirs: trio.abc.Stream
        if window is not None:
            ours, theirs = window_stream_pair(window)
        elif lockstep:
            ours, theirs = trio.testing.lockstep_stream_pair()
        else:
            ours, theirs = trio.testing.memory_stream_pair()
        options = {"asn": 65000 + number, "identifier": 0x0A000000 + number, **options}
        client = ScriptedSpeaker(ours, families=families, **options)
        self.speaker.accept(StreamTransport(theirs, peer_address=address_of(number)))
        self.nursery.start_soon(client.run)
        if wait:
            await self.settle()
        return client

    async def settle(self) -> None:
        """Wait until nobody has anything left to do."""
        await trio.testing.wait_all_tasks_blocked(0.001)

    def member(self, number: int) -> Any:
        """The forwarder's member of peer `number`."""
        return next(each for each in self.speaker.forwarder.members if each.name == f"p{number}")


@contextlib.asynccontextmanager
async def lab(
    *peers: PeerSettings,
    seed: int = 0,
    connect: Connect = sockets.connect,
    crash_expected: bool = False,
    stations: tuple[BmpStationSettings, ...] = (),
    connect_station: ConnectStation = connect_station,
    **changes: Any,
) -> AsyncIterator[Lab]:
    """Run a daemon with these peers and `changes` to its own settings; in the end every buffer must be back."""
    settings = Settings(
        speaker=SpeakerSettings(**{"local_as": LOCAL_AS, "bgp_identifier": 0x0AFF0001, **changes}),
        peers=tuple(peers),
        bmp=BmpSettings(stations=stations),
    )
    speaker = Speaker(settings, connect=connect, rng=random.Random(seed))
    Stations(speaker, connect=connect_station, rng=random.Random(seed))
    crashes = Crashes()
    logging.getLogger("trio_bgp").addHandler(crashes)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: speaker.run(task_status=task_status))
            yield Lab(speaker, nursery)
            await trio.testing.wait_all_tasks_blocked(0.001)
            nursery.cancel_scope.cancel()
    finally:
        logging.getLogger("trio_bgp").removeHandler(crashes)
    if crashes.records and not crash_expected:
        raise AssertionError(f"a daemon's task crashed: {crashes.records[0].getMessage()}") from crashes.cause
    assert speaker.forwarder.board.pool.outstanding == 0, "slabs were not given back"
