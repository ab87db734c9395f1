"""Small speakers inside the process, for the demo: they announce, listen, and know what they hold."""

import trio

from trio_bgp.wire.attributes import AttributeContext, parse_attributes
from trio_bgp.wire.capabilities import (
    AddPath,
    Capability,
    EnhancedRouteRefresh,
    ExtendedMessage,
    FourOctetAs,
    Multiprotocol,
    RouteRefresh,
)
from trio_bgp.wire.header import HEADER_LENGTH, KEEPALIVE, scan
from trio_bgp.wire.nlri import split_nlri, split_nlri_add_path
from trio_bgp.wire.numbers import (
    EXTENDED_MESSAGE_LENGTH,
    IPV4_UNICAST,
    IPV6_UNICAST,
    Family,
    MessageType,
)
from trio_bgp.wire.open import Open, encode_open
from trio_bgp.wire.update import sections

__all__ = ["EmbeddedSpeaker", "Held"]

Held = tuple[bytes, bytes]
"""A route as received: the next-hop field of MP_REACH_NLRI (empty for IPv4), and all other path attributes' octets."""


class EmbeddedSpeaker:
    """One session's other side.

    Args:
        name: for display.
        asn: its AS number.
        identifier: its BGP Identifier.
        stream: the connection.
        watched: see below.
        asn4: it has 4-octet AS numbers (RFC 6793).
        add_path: it receives several paths to a prefix (RFC 7911).

    Attributes:
        table: what it holds: each route received and not withdrawn, with its octets; with ADD-PATH by NLRI with the
            path identifier in front.
        updates: UPDATEs received.
        octets: octets of them.
        end_of_rib: families whose End-of-RIB came.
        watched: counts, among all speakers that share it, who got exactly these whole messages.
    """

    def __init__(
        self,
        name: str,
        asn: int,
        identifier: int,
        stream: trio.abc.Stream,
        watched: dict[bytes, int] | None = None,
        *,
        asn4: bool = True,
        add_path: bool = False,
    ) -> None:
        self._asn4 = asn4
        self._add_path = add_path
        self._context = AttributeContext(asn4=asn4)
        self.name = name
        self.asn = asn
        self.table: dict[tuple[Family, bytes], Held] = {}
        self.watched = {} if watched is None else watched
        self.updates = 0
        self.octets = 0
        self.end_of_rib: set[Family] = set()
        self.established = trio.Event()
        self.closed = False
        self._stream = stream
        self._identifier = identifier

    async def run(self) -> None:
        """Open the session and listen until the connection ends."""
        capabilities: tuple[Capability, ...] = (
            Multiprotocol(IPV4_UNICAST),
            Multiprotocol(IPV6_UNICAST),
            RouteRefresh(),
            EnhancedRouteRefresh(),
            ExtendedMessage(),
        )
        if self._asn4:
            capabilities += (FourOctetAs(self.asn),)
        if self._add_path:
            capabilities += (AddPath(((IPV4_UNICAST, 1), (IPV6_UNICAST, 1))),)
        message = Open(my_as=self.asn, hold_time=0, bgp_identifier=self._identifier, capabilities=capabilities)
        octets = bytearray()
        try:
            await self._stream.send_all(encode_open(message))
            while received := await self._stream.receive_some(262144):
                octets += received
                found = scan(octets, 0, len(octets), EXTENDED_MESSAGE_LENGTH)
                ends = [*found.offsets[1:], found.end]
                for start, end in zip(found.offsets, ends, strict=True):
                    await self._take(bytes(octets[start:end]))
                del octets[: found.end]
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.closed = True

    async def say(self, octets: bytes) -> None:
        """Send whole messages."""
        await self._stream.send_all(octets)

    async def leave(self) -> None:
        """End the connection without a word."""
        await trio.aclose_forcefully(self._stream)

    async def _take(self, message: bytes) -> None:
        kind = message[18]
        if kind == MessageType.OPEN:
            await self.say(KEEPALIVE)
        elif kind == MessageType.KEEPALIVE:
            self.established.set()
        elif kind == MessageType.UPDATE:
            self._update(message)

    def _update(self, message: bytes) -> None:
        self.updates += 1
        self.octets += len(message)
        if message in self.watched:
            self.watched[message] += 1
        withdrawn_end, attributes_end = sections(message, 0, len(message))
        if len(message) == HEADER_LENGTH + 4:
            self.end_of_rib.add(IPV4_UNICAST)
            return
        parsed = parse_attributes(message[withdrawn_end + 2 : attributes_end], self._context)
        for nlri in self._split(IPV4_UNICAST, message[HEADER_LENGTH + 2 : withdrawn_end]):
            self.table.pop((IPV4_UNICAST, nlri), None)
        if parsed.mp_unreach is not None:
            family = parsed.mp_unreach.family
            gone = parsed.octets[parsed.mp_unreach.nlri_start : parsed.mp_unreach.nlri_end]
            if not gone:
                self.end_of_rib.add(family)
            for nlri in self._split(family, gone):
                self.table.pop((family, nlri), None)
        if parsed.mp_reach is not None:
            family = parsed.mp_reach.family
            octets = parsed.octets[parsed.mp_reach.nlri_start : parsed.mp_reach.nlri_end]
            rest = parsed.octets[: parsed.mp_reach.attribute_start] + parsed.octets[parsed.mp_reach.attribute_end :]
            held = (parsed.mp_reach.next_hop, rest)
            for nlri in self._split(family, octets):
                self.table[family, nlri] = held
        held = (b"", parsed.octets)
        for nlri in self._split(IPV4_UNICAST, message[attributes_end:]):
            self.table[IPV4_UNICAST, nlri] = held

    def _split(self, family: Family, octets: bytes) -> list[bytes]:
        if self._add_path:
            return [path_id.to_bytes(4, "big") + nlri for path_id, nlri in split_nlri_add_path(family, octets)]
        return split_nlri(family, octets, add_path=False)
