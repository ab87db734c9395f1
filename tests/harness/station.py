"""A BMP station of its own, written from the RFCs: believes what the octets say, and nothing else."""

import struct

import attrs
import trio
import trio.testing

from tests.harness.decoder import Attribute, Family, Route, Update
from trio_bgp.runtime.session.transport import StreamTransport, Transport
from trio_bgp.settings import BmpStationSettings
from trio_bgp.testing.window import window_stream_pair

MONITORING, STATISTICS, DOWN, UP, INITIATION, TERMINATION = range(6)
LOC_RIB = 3
V, L, A, O = 0x80, 0x40, 0x20, 0x10  # noqa: E741 (the RFCs' names)

Table = dict[Route, tuple[Attribute, ...]]


def tlvs(octets: bytes) -> list[tuple[int, bytes]]:
    """Type and value of each; asserts that they are whole."""
    found = []
    while octets:
        kind, size = struct.unpack(">HH", octets[:4])
        assert len(octets) >= 4 + size, "a TLV exceeds its message"
        found.append((kind, octets[4 : 4 + size]))
        octets = octets[4 + size :]
    return found


def whole_message(octets: bytes) -> tuple[bytes, bytes]:
    """The BGP message at the beginning, and what follows."""
    assert octets[:16] == b"\xff" * 16, "no BGP message where one should be"
    size = int.from_bytes(octets[16:18], "big")
    assert 19 <= size <= len(octets), "a BGP message is cut short"
    return octets[:size], octets[size:]


def add_path_modes(an_open: bytes) -> dict[Family, int]:
    """What an OPEN offers of ADD-PATH."""
    found: dict[Family, int] = {}
    parameters = an_open[29:]
    if an_open[28] == 255 and parameters[:1] == b"\xff":
        return extended_modes(parameters[3:])
    while parameters:
        kind, size = parameters[0], parameters[1]
        if kind == 2:
            found |= modes_of(parameters[2 : 2 + size])
        parameters = parameters[2 + size :]
    return found


def extended_modes(parameters: bytes) -> dict[Family, int]:
    """The same for two octets of length (RFC 9072)."""
    found: dict[Family, int] = {}
    while parameters:
        size = int.from_bytes(parameters[1:3], "big")
        found |= modes_of(parameters[3 : 3 + size])
        parameters = parameters[3 + size :]
    return found


def modes_of(capabilities: bytes) -> dict[Family, int]:
    """The same for the capabilities of one parameter."""
    found: dict[Family, int] = {}
    while capabilities:
        code, size = capabilities[0], capabilities[1]
        if code == 69:
            for afi, safi, mode in struct.iter_unpack(">HBB", capabilities[2 : 2 + size]):
                found[afi, safi] = mode
        capabilities = capabilities[2 + size :]
    return found


@attrs.define
class Peer:
    """A peer that is up, as the station was told."""

    kind: int
    address: bytes
    asn: int
    identifier: int
    local_address: bytes
    ports: tuple[int, int]
    sent_open: bytes
    received_open: bytes
    information: list[tuple[int, bytes]]
    ribs: dict[str, Table] = attrs.Factory(dict)
    end_of_rib: dict[str, list[Family]] = attrs.Factory(dict)
    flags: dict[str, set[int]] = attrs.Factory(dict)

    def add_path(self, rib: str) -> bool:
        """Whether NLRI of a RIB have path identifiers, by both OPENs (all families alike here)."""
        ours, theirs = add_path_modes(self.sent_open), add_path_modes(self.received_open)
        if rib == "out":
            ours, theirs = theirs, ours
        return any(ours.get(family, 0) & 1 and mode & 2 for family, mode in theirs.items())


class FakeStation:
    """One connection of the daemon to a station.

    Attributes:
        log: every message, whole.
        peers: those that are up, by peer type and address.
        downs: type, address, reason and data of each Peer Down.
        initiation: the TLVs of the Initiation.
        statistics: the last report of each peer: type to value.
        termination: the reason, once there is one.
        error: what was wrong with the octets.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.log: list[bytes] = []
        self.peers: dict[tuple[int, str], Peer] = {}
        self.downs: list[tuple[int, str, int, bytes]] = []
        self.initiation: list[tuple[int, bytes]] = []
        self.statistics: dict[tuple[int, str], list[tuple[int, bytes]]] = {}
        self.termination: int | None = None
        self.error: AssertionError | None = None
        self.thawed = trio.Event()
        self.thawed.set()
        self.closed = trio.Event()

    async def run(self) -> None:
        """Listen until the connection ends."""
        octets = bytearray()
        try:
            while True:
                await self.thawed.wait()
                more = await self.stream.receive_some(65536)
                if not more:
                    break
                octets += more
                while len(octets) >= 6:
                    size = int.from_bytes(octets[1:5], "big")
                    if len(octets) < size:
                        break
                    self._take(bytes(octets[:size]))
                    del octets[:size]
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except AssertionError as error:
            self.error = error
        finally:
            self.closed.set()

    def freeze(self) -> None:
        """Stop reading (after the read under way)."""
        if self.thawed.is_set():
            self.thawed = trio.Event()

    def table(self, address: str, rib: str) -> Table:
        """What a peer has in one RIB: `pre`, `post`, `out`; with address "" in the Loc-RIB."""
        return self.peers[(0 if address else LOC_RIB), address].ribs.get(rib, {})

    def _take(self, message: bytes) -> None:
        assert message[0] == 3, "not version 3"
        assert self.termination is None, "a message behind the Termination"
        kind, body = message[5], message[6:]
        assert bool(self.log) == (kind != INITIATION), "the Initiation is not the first message"
        self.log.append(message)
        if kind == INITIATION:
            self.initiation = tlvs(body)
        elif kind == TERMINATION:
            ((found, value),) = tlvs(body)
            assert found == 1
            self.termination = int.from_bytes(value, "big")
        else:
            self._about(kind, body)

    def _about(self, kind: int, body: bytes) -> None:
        peer_type, flags, distinguisher, address, asn, identifier, _, micros = struct.unpack(">BBQ16sIIII", body[:42])
        assert distinguisher == 0
        assert micros < 1_000_000
        rest = body[42:]
        packed = address if flags & V and peer_type != LOC_RIB else address[12:]
        if len(packed) == 4:
            assert address[:12] == bytes(12)
        text = "" if peer_type == LOC_RIB else ".".join(map(str, packed)) if len(packed) == 4 else packed.hex(":", 2)
        key = (peer_type, text)
        if kind == UP:
            assert key not in self.peers, "a peer is up twice"
            sent, more = whole_message(rest[20:])
            received, more = whole_message(more)
            ports = struct.unpack(">HH", rest[16:20])
            self.peers[key] = Peer(
                peer_type, packed, asn, identifier, rest[:16], (ports[0], ports[1]), sent, received, tlvs(more)
            )
            return
        assert key in self.peers, "something of a peer that is not up"
        peer = self.peers[key]
        assert (peer.asn, peer.identifier) == (asn, identifier)
        if kind == DOWN:
            del self.peers[key]
            self.downs.append((*key, rest[0], rest[1:]))
        elif kind == STATISTICS:
            (count,) = struct.unpack(">I", rest[:4])
            found = tlvs(rest[4:])
            assert len(found) == count
            self.statistics[key] = found
        else:
            assert kind == MONITORING
            self._monitoring(peer, flags, rest)

    def _monitoring(self, peer: Peer, flags: int, octets: bytes) -> None:
        rib = "loc" if peer.kind == LOC_RIB else "out" if flags & O else "post" if flags & L else "pre"
        assert rib != "out" or flags & L, "an Adj-RIB-Out before policy"
        peer.flags.setdefault(rib, set()).add(flags)
        update, rest = whole_message(octets)
        assert not rest, "something behind an UPDATE"
        found = Update(update, add_path=peer.add_path(rib))
        table = peer.ribs.setdefault(rib, {})
        if found.end_of_rib is not None:
            peer.end_of_rib.setdefault(rib, []).append(found.end_of_rib)
        for route in found.withdrawn:
            table.pop(route, None)
        table.update(found.announced)


class FakeStations:
    """Where the daemon's connections to stations lead.

    Attributes:
        connections: of each station, by its port, in order.
        refused: ports that refuse to be connected to.
        attempts: when which port was connected to, or refused that.
        window: octets under way at most; None for no limit.
    """

    def __init__(self, *refused: int, window: int | None = None) -> None:
        self.connections: dict[int, list[FakeStation]] = {}
        self.refused = set(refused)
        self.attempts: list[tuple[float, int]] = []
        self.window = window
        self.connected = trio.Event()
        """Set by the next connection after it was replaced."""

    async def connect(self, settings: BmpStationSettings) -> Transport:
        """What the daemon calls."""
        await trio.lowlevel.checkpoint()
        port = settings.address.port
        self.attempts.append((trio.current_time(), port))
        if port in self.refused:
            raise OSError(111, "ECONNREFUSED: Connection refused")
        ours: trio.abc.Stream
        theirs: trio.abc.Stream
        if self.window is None:
            ours, theirs = trio.testing.memory_stream_pair()
        else:
            ours, theirs = window_stream_pair(self.window)
        station = FakeStation(ours)
        self.connections.setdefault(port, []).append(station)
        self.connected.set()
        trio.lowlevel.spawn_system_task(station.run)
        return StreamTransport(theirs, peer_address=str(settings.address.address))

    def last(self, port: int) -> FakeStation:
        """The station's connection that was made last."""
        return self.connections[port][-1]

    def check(self) -> None:
        """Raise what was wrong with the octets of any connection there was."""
        for connections in self.connections.values():
            for each in connections:
                if each.error is not None:
                    raise each.error
