"""BMP: what the forwarder sees and does, told to stations (RFC 7854, RFC 8671, RFC 9069).

Everything here runs in the forwarder's task, or between its commands, and only queues octets. What no connected station
wants is not even looked at: observers are there only as long as somebody listens.
"""

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address
from typing import Final

import attrs
import trio

from trio_bgp import __version__
from trio_bgp.monitoring.monitored import Told, adj_rib_in, best_paths, dump, loc_rib, messages_of
from trio_bgp.monitoring.station import ConnectStation, Station, connect_station
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.passthrough.repack import Part
from trio_bgp.rib.path import Source
from trio_bgp.rib.table import Changes
from trio_bgp.routing.group import Member
from trio_bgp.runtime.commands import EndOfRib, Handshake, PeerDown, PeerUp
from trio_bgp.runtime.session.outbound import Tap
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.session.events import Close
from trio_bgp.settings import BmpStationSettings, Endpoint, MonitoredRib, Settings
from trio_bgp.wire.bmp import (
    PeerDownReason,
    PeerFlag,
    PeerType,
    Statistic,
    TerminationReason,
    encode_initiation,
    encode_peer,
    encode_peer_down,
    encode_peer_up,
    encode_route_monitoring,
    encode_statistics,
    encode_termination,
)
from trio_bgp.wire.capabilities import Capability, ExtendedMessage, ExtendedNextHop, FourOctetAs, Multiprotocol
from trio_bgp.wire.notification import encode_notification
from trio_bgp.wire.numbers import (
    AS_TRANS,
    EXTENDED_NEXT_HOP_FAMILIES,
    IPV4_UNICAST,
    IPV6_UNICAST,
    Afi,
    Family,
    MessageType,
)
from trio_bgp.wire.open import Open, encode_open
from trio_bgp.wire.update import end_of_rib

__all__ = ["Stations", "stations_of"]

logger = logging.getLogger("trio_bgp.bmp")

GOODBYE_SECONDS: Final = 1.0
"""How long the last messages to the stations may take."""
FSM_MANUAL_STOP: Final = (2).to_bytes(2, "big")
COUNTERS: Final = {
    Statistic.CLUSTER_LIST_LOOP: "reflection loop: CLUSTER_LIST",
    Statistic.AS_PATH_LOOP: "AS loop",
    Statistic.ORIGINATOR_ID: "reflection loop: ORIGINATOR_ID",
    Statistic.TREAT_AS_WITHDRAW: "treat-as-withdraw",
}
"""Statistics and what `Member.refused` calls them."""
PREFIX_COUNTERS: Final = {
    Statistic.PREFIXES_REJECTED: "policy",
    Statistic.PREFIXES_TREATED_AS_WITHDRAWN: "treat-as-withdraw",
}
"""Likewise of `Member.prefixes_refused`."""


@attrs.frozen(eq=False)
class _Peer:
    """A session as stations are told of it."""

    member: Member
    handshake: Handshake
    up_at: float
    """In seconds of Unix time."""
    headers: dict[MonitoredRib | None, bytes]
    """Per-peer headers, by what they are for; None: what is about the session itself."""


class Stations:
    """The BMP stations, and what is told to them.

    Args:
        speaker: what is reported; it runs these stations as a companion.
        connect: opens connections to stations; tests replace it.
        rng: for timer jitter.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        speaker: Speaker,
        *,
        connect: ConnectStation = connect_station,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        forwarder, settings = speaker.forwarder, speaker.settings
        self.stations: dict[Endpoint, Station] = {}
        self._forwarder = forwarder
        self._settings = settings
        self._connect = connect
        self._rng = random.Random() if rng is None else rng
        self._clock = clock
        self._nursery: trio.Nursery | None = None
        self._up: list[Station] = []
        self._peers: dict[Member, _Peer] = {}
        self._by_name: dict[str, _Peer] = {}
        """Of two with one name, while a peer's address changes, the one that came last."""
        self._sources: dict[Source, _Peer] = {}
        self._taps: dict[Member, Tap] = {}
        self._families = frozenset[Family]()
        """Those that the OPENs of the Loc-RIB's Peer Up have."""
        self._loc_rib = encode_peer(
            PeerType.LOC_RIB_INSTANCE, 0, None, settings.speaker.local_as, settings.speaker.bgp_identifier
        )
        forwarder.session_observers.append(self._session)
        speaker.companions.append(self)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep connections with all stations until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                for settings in self._settings.bmp.stations:
                    self._start(settings)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    async def stop(self) -> None:
        """Say goodbye to all stations, as far as that takes no time."""
        stations = list(self.stations.values())
        for station in stations:
            station.stop(encode_termination(TerminationReason.ADMINISTRATIVELY_CLOSED))
        with trio.move_on_after(GOODBYE_SECONDS):
            for station in stations:
                await station.finished.wait()

    def reconfigure(self, settings: Settings) -> None:
        """Take over other stations. One of which only the list of peers differs keeps its connection."""
        before = self._loc_rib_open()
        self._settings = settings
        wanted = {station.address: station for station in settings.bmp.stations}
        for endpoint, station in list(self.stations.items()):
            new = wanted.get(endpoint)
            if new == station.settings:
                continue
            if new is not None and attrs.evolve(new, peers=station.settings.peers) == station.settings:
                self._renew_peers(station, new)
                continue
            del self.stations[endpoint]
            station.stop(encode_termination(TerminationReason.ADMINISTRATIVELY_CLOSED))
        for endpoint, new in wanted.items():
            if endpoint not in self.stations:
                self._start(new)
        self._note_families()
        if self._loc_rib_open() != before and self._wanted(MonitoredRib.LOC_RIB, None):
            self._renew_loc_rib()

    def _start(self, settings: BmpStationSettings) -> None:
        if self._nursery is None:
            return  # `run` begins with those there are then
        station = Station(settings, connect=self._connect, owner=self, rng=self._rng)
        self.stations[settings.address] = station
        self._nursery.start_soon(station.run)

    # What a station's task calls.

    def begin(self, station: Station) -> None:
        """See `StationOwner`: who we are, who is up, then all there is."""
        speaker = self._settings.speaker
        name = speaker.hostname or str(IPv4Address(speaker.bgp_identifier))
        station.put(encode_initiation(f"trio-bgp {__version__}", name))
        if station.wants(MonitoredRib.LOC_RIB, None):
            self._note_families()
            station.put(self._loc_rib_up())
        peers = [peer for peer in self._peers.values() if station.wants_peer(peer.member)]
        for peer in peers:
            station.put(self._peer_up(peer))
        self._up.append(station)
        self._attach()
        station.put_dump(self._dump(station, station.settings.monitor, peers))

    def end(self, station: Station) -> None:
        """See `StationOwner`."""
        if station in self._up:
            self._up.remove(station)
        self._attach()

    def report(self, station: Station) -> None:
        """See `StationOwner`."""
        now = self._clock()
        for peer in self._peers.values():
            if station.wants_peer(peer.member):
                member = peer.member
                found: list[tuple[Statistic, Family | None, int]] = [
                    (kind, None, member.refused.get(name, 0)) for kind, name in COUNTERS.items()
                ]
                found += [(kind, None, member.prefixes_refused.get(name, 0)) for kind, name in PREFIX_COUNTERS.items()]
                found.append((Statistic.ADJ_RIB_IN, None, sum(member.source.prefixes.values())))
                found += [
                    (Statistic.ADJ_RIB_IN_BY_FAMILY, family, member.source.prefixes.get(family, 0))
                    for family in sorted(member.negotiated.families)
                ]
                station.put(encode_statistics(peer.headers[None], found, now))
        if station.wants(MonitoredRib.LOC_RIB, None):
            tables = sorted(self._forwarder.core.tables.items())
            found = [(Statistic.LOC_RIB, None, sum(len(table) for _, table in tables))]
            found += [(Statistic.LOC_RIB_BY_FAMILY, family, len(table)) for family, table in tables]
            station.put(encode_statistics(self._loc_rib, found, now))

    # What the forwarder calls.

    def _attach(self) -> None:
        """Have the forwarder tell us what some connected station wants to know, and nothing else."""
        wanted = {rib for station in self._up for rib in station.settings.monitor}
        forwarder = self._forwarder
        listening = self._update in forwarder.observers
        if MonitoredRib.ADJ_RIB_IN_PRE in wanted and not listening:
            forwarder.observers.append(self._update)
        elif MonitoredRib.ADJ_RIB_IN_PRE not in wanted and listening:
            forwarder.observers.remove(self._update)
        changes = bool(wanted & {MonitoredRib.ADJ_RIB_IN_POST, MonitoredRib.LOC_RIB})
        forwarder.core.on_change = self._change if changes else None
        for peer in self._peers.values():
            self._attach_tap(peer)

    def _attach_tap(self, peer: _Peer) -> None:
        """Have us shown what goes to a peer, or no longer."""
        member = peer.member
        wanted = any(station.wants(MonitoredRib.ADJ_RIB_OUT, member) for station in self._up)
        tap = self._taps.get(member)
        if wanted and tap is None:
            tap = self._taps[member] = Tap(member.outbound, lambda message: self._sent(peer, message))
            member.outbound = tap
        elif not wanted and tap is not None:
            member.outbound = tap.queue
            del self._taps[member]

    def _session(self, event: PeerUp | EndOfRib | PeerDown) -> None:
        try:
            self._tell_session(event)
        except Exception as error:
            self._crashed(error)

    def _tell_session(self, event: PeerUp | EndOfRib | PeerDown) -> None:
        member = event.member
        if isinstance(event, PeerUp):
            peer = _Peer(member, event.handshake, self._clock(), _headers(member))
            self._peers[member] = self._by_name[member.name] = self._sources[member.source] = peer
            self._attach_tap(peer)
            up = self._peer_up(peer)
            for station in self._up:
                if station.wants_peer(member):
                    station.put(up)
            return
        known = self._peers.get(member)
        if known is None:
            return
        if isinstance(event, EndOfRib):
            self._tell(MonitoredRib.ADJ_RIB_IN_POST, known, [end_of_rib(event.family)])
            return
        del self._peers[member]
        self._sources.pop(member.source, None)
        if self._by_name.get(member.name) is known:
            del self._by_name[member.name]
        self._taps.pop(member, None)
        down = encode_peer_down(known.headers[None], *_why(event.close), at=self._clock())
        for station in self._up:
            if station.wants_peer(member):
                station.put(down)

    def _update(self, name: str, octets: bytes) -> None:
        """A peer sent this."""
        peer = self._by_name.get(name)
        if peer is not None:
            try:
                self._tell(MonitoredRib.ADJ_RIB_IN_PRE, peer, (octets,))
            except Exception as error:
                self._crashed(error)

    def _sent(self, peer: _Peer, message: PassthroughMessage) -> None:
        """A peer is sent this."""
        try:
            updates = [each for each in messages_of(bytes(message.octets)) if each[18] == MessageType.UPDATE]
            self._tell(MonitoredRib.ADJ_RIB_OUT, peer, updates)
        except Exception as error:
            self._crashed(error)

    def _change(self, part: Part, changes: Changes | None) -> None:
        """The tables changed."""
        try:
            peer = None if part.lane is None else self._sources.get(part.lane.source)
            if peer is not None and part.nlris and self._wanted(MonitoredRib.ADJ_RIB_IN_POST, peer.member):
                updates = adj_rib_in(part, peer.member, post=True)
                self._tell(MonitoredRib.ADJ_RIB_IN_POST, peer, updates)
            if self._wanted(MonitoredRib.LOC_RIB, None):
                if part.family not in self._families:
                    self._renew_loc_rib()
                for each in best_paths(part, changes):
                    self._tell(MonitoredRib.LOC_RIB, None, loc_rib(each))
        except Exception as error:
            self._crashed(error)

    def _wanted(self, rib: MonitoredRib, member: Member | None) -> bool:
        return any(station.wants(rib, member) for station in self._up)

    def _tell(self, rib: MonitoredRib, peer: _Peer | None, updates: Iterable[bytes]) -> None:
        """Tell UPDATEs that happen now to the stations that want them; they share the octets."""
        member = None if peer is None else peer.member
        stations = [station for station in self._up if station.wants(rib, member)]
        if stations:
            now = self._clock()
            header = self._loc_rib if peer is None else peer.headers[rib]
            for update in updates:
                message = encode_route_monitoring(header, update, now)
                for station in stations:
                    station.put(message)

    def _crashed(self, error: Exception) -> None:
        """A bug in what is told must not end the forwarder: stations begin anew, and the log says why, once."""
        logger.error("bmp.crashed: all stations begin anew", exc_info=error)
        stations, self._up = self._up, []
        self._attach()
        for station in stations:
            station.fail("a bug: see the log")

    # Octets.

    def _dump(self, station: Station, ribs: Iterable[MonitoredRib], peers: Iterable[_Peer]) -> Iterator[list[bytes]]:
        """All there is, in steps. When a route was received is not known any more."""
        told = list(peers)
        headers = {peer.member: peer.headers for peer in told}

        def octets(each: Told) -> Iterator[bytes]:
            header = self._loc_rib if each.member is None else headers[each.member][each.rib]
            return (encode_route_monitoring(header, update) for update in each.updates)

        forwarder = self._forwarder
        members = [peer.member for peer in told]
        for step in dump(forwarder.core, tuple(ribs), members, forwarder.sessions, self._families):
            yield [message for each in step if station.wants(each.rib, each.member) for message in octets(each)]

    def _peer_up(self, peer: _Peer) -> bytes:
        handshake = peer.handshake
        return encode_peer_up(
            peer.headers[None],
            local_address=peer.member.local_address,
            local_port=handshake.local_port,
            remote_port=handshake.peer_port,
            sent_open=handshake.sent_open,
            received_open=handshake.received_open,
            at=peer.up_at,
        )

    def _loc_rib_open(self) -> bytes:
        """What would be said of a session that has the routes of the Loc-RIB (RFC 9069, section 5.2)."""
        speaker = self._settings.speaker
        families = sorted(self._families)
        capabilities: list[Capability] = [Multiprotocol(family) for family in families]
        capabilities += [FourOctetAs(speaker.local_as), ExtendedMessage()]
        if any(peer.extended_next_hop for peer in self._settings.peers):
            entries = tuple((family, int(Afi.IPV6)) for family in families if family in EXTENDED_NEXT_HOP_FAMILIES)
            capabilities.append(ExtendedNextHop(entries))
        return encode_open(
            Open(
                my_as=speaker.local_as if speaker.local_as <= 0xFFFF else AS_TRANS,
                hold_time=0,
                bgp_identifier=speaker.bgp_identifier,
                capabilities=tuple(capabilities),
            )
        )

    def _loc_rib_up(self) -> bytes:
        made_up = self._loc_rib_open()
        return encode_peer_up(
            self._loc_rib,
            local_address=None,
            local_port=0,
            remote_port=0,
            sent_open=made_up,
            received_open=made_up,
            at=self._clock(),
        )

    def _note_families(self) -> None:
        """What the Loc-RIB may have; what it ever was said to have stays."""
        configured = {family for peer in self._settings.peers for family in peer.families}
        self._families |= configured | self._forwarder.core.tables.keys() | {IPV4_UNICAST, IPV6_UNICAST}

    def _renew_loc_rib(self) -> None:
        """Its OPEN has to be another: it goes down and comes up again (RFC 9069, section 6.1.3)."""
        self._note_families()
        down = encode_peer_down(self._loc_rib, PeerDownReason.LOCAL_INFORMATION, at=self._clock())
        up = self._loc_rib_up()
        for station in self._up:
            if station.wants(MonitoredRib.LOC_RIB, None):
                station.put(down)
                station.put(up)
                station.put_dump(self._dump(station, (MonitoredRib.LOC_RIB,), ()))

    def _renew_peers(self, station: Station, settings: BmpStationSettings) -> None:
        """Tell a station of other peers than before."""
        before = [peer for peer in self._peers.values() if station.wants_peer(peer.member)]
        station.settings = settings
        after = [peer for peer in self._peers.values() if station.wants_peer(peer.member)]
        for peer in before:
            if peer not in after:
                station.put(encode_peer_down(peer.headers[None], PeerDownReason.DE_CONFIGURED, at=self._clock()))
        fresh = [peer for peer in after if peer not in before]
        for peer in fresh:
            station.put(self._peer_up(peer))
        self._attach()
        ribs = [rib for rib in settings.monitor if rib is not MonitoredRib.LOC_RIB]
        station.put_dump(self._dump(station, ribs, fresh))


def stations_of(speaker: Speaker) -> Mapping[Endpoint, Station]:
    """The BMP stations of a speaker by address; empty if it was given none."""
    companion = next((each for each in speaker.companions if isinstance(each, Stations)), None)
    return {} if companion is None else companion.stations


def _headers(member: Member) -> dict[MonitoredRib | None, bytes]:
    negotiated = member.negotiated
    narrow = 0 if negotiated.asn4 else PeerFlag.A

    def header(flags: int) -> bytes:
        return encode_peer(
            PeerType.GLOBAL_INSTANCE, flags, member.address, negotiated.peer_as, negotiated.bgp_identifier
        )

    return {
        None: header(0),
        MonitoredRib.ADJ_RIB_IN_PRE: header(narrow),
        MonitoredRib.ADJ_RIB_IN_POST: header(PeerFlag.L),
        MonitoredRib.ADJ_RIB_OUT: header(PeerFlag.O | PeerFlag.L | narrow),
    }


def _why(close: Close | None) -> tuple[PeerDownReason, bytes]:
    """RFC 7854, section 4.9."""
    if close is None:
        return PeerDownReason.LOCAL, FSM_MANUAL_STOP
    if close.notification is not None:
        return PeerDownReason.LOCAL_NOTIFICATION, encode_notification(close.notification)
    if close.received is not None:
        return PeerDownReason.REMOTE_NOTIFICATION, encode_notification(close.received)
    return PeerDownReason.REMOTE, b""
