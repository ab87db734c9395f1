"""A speaker that says what a test tells it and knows what it was told."""

import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network

import attrs
import trio

from trio_bgp.testing.faults import FaultyStream
from trio_bgp.wire.as_path import decode_as_path, encode_as_path, format_as_path
from trio_bgp.wire.attribute_block import encode_attribute, walk
from trio_bgp.wire.attributes import AttributeContext, parse_attributes
from trio_bgp.wire.capabilities import AddPath, Capability, ExtendedMessage, FourOctetAs, Multiprotocol, RouteRefresh
from trio_bgp.wire.header import HEADER_LENGTH, KEEPALIVE, scan
from trio_bgp.wire.nlri import format_nlri, prefix_octets, split_nlri, split_nlri_add_path
from trio_bgp.wire.notification import Notification, decode_notification, encode_notification
from trio_bgp.wire.numbers import (
    EXTENDED_MESSAGE_LENGTH,
    IPV4_UNICAST,
    IPV6_UNICAST,
    AttributeType,
    Family,
    MessageType,
)
from trio_bgp.wire.open import Open, decode_open, encode_open
from trio_bgp.wire.route_refresh import RouteRefreshMessage, decode_route_refresh, encode_route_refresh
from trio_bgp.wire.update import (
    end_of_rib,
    is_end_of_rib,
    pack_ipv4_announcement,
    pack_ipv4_withdrawal,
    pack_mp_announcement,
    pack_mp_withdrawal,
    sections,
)

__all__ = ["BgpPeer", "ReceivedRoute"]


@attrs.frozen
class ReceivedRoute:
    """A route as it was received."""

    prefix: str
    """`203.0.113.0/24`; in hex for families whose routes have no such form."""
    next_hop: str
    as_path: str
    """In words: `65001 65002 {65003}`."""
    med: int | None
    local_pref: int | None
    communities: tuple[str, ...]
    attributes: bytes
    """All path attributes' octets but MP_REACH_NLRI's."""
    path_id: int | None = None


class BgpPeer:
    """One side of a session, made by `BgpLab.peer`.

    Attributes:
        name: as the daemon knows it.
        asn: its AS number.
        stream: its end of the connection, where faults are set.
        routes: what it holds, by prefix; with ADD-PATH by `prefix#path_id`.
        messages: every whole message received, in order.
        notifications: what it was told.
        refreshes: families that the daemon asked for again.
        end_of_rib: families whose End-of-RIB came, in order.
        remote: the daemon's OPEN.
        closed: set when the connection has ended.
        keepalives: whether it says KEEPALIVE every third of the negotiated hold time; may be changed at any time.
    """

    def __init__(
        self,
        name: str,
        stream: FaultyStream,
        *,
        asn: int,
        identifier: int,
        families: Sequence[Family],
        asn4: bool,
        hold_time: int,
        extended_message: bool,
        add_path: int,
        capabilities: Sequence[Capability],
    ) -> None:
        self.name = name
        self.asn = asn
        self.stream = stream
        self.routes: dict[str, ReceivedRoute] = {}
        self.messages: list[bytes] = []
        self.notifications: list[Notification] = []
        self.refreshes: list[Family] = []
        self.end_of_rib: list[Family] = []
        self.remote: Open | None = None
        self.closed = trio.Event()
        self.keepalives = True
        self._sending = trio.Lock()
        self._established = trio.Event()
        self._asn4 = asn4
        self._maximum = EXTENDED_MESSAGE_LENGTH if extended_message else 4096
        self._add_path = add_path
        self._sends_ids = self._gets_ids = False
        offered: list[Capability] = [Multiprotocol(family) for family in families]
        offered.append(RouteRefresh())
        if asn4:
            offered.append(FourOctetAs(asn))
        if extended_message:
            offered.append(ExtendedMessage())
        if add_path:
            offered.append(AddPath(tuple((family, add_path) for family in families)))
        self._open = Open(
            my_as=asn if asn <= 0xFFFF else 23456,
            hold_time=hold_time,
            bgp_identifier=identifier,
            capabilities=(*offered, *capabilities),
        )

    async def run(self) -> None:
        """Say OPEN, listen until the connection ends, say KEEPALIVE in time; `BgpLab` runs it."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_alive)
            await self._listen()
            nursery.cancel_scope.cancel()

    async def _keep_alive(self) -> None:
        await self._established.wait()
        hold_time = min(self._open.hold_time, self.remote.hold_time if self.remote is not None else 0)
        while hold_time:
            await trio.sleep(hold_time / 3)
            if self.keepalives:
                try:
                    await self.send(KEEPALIVE)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return

    async def _listen(self) -> None:
        octets = bytearray()
        try:
            await self.send(encode_open(self._open))
            while received := await self.stream.receive_some(65536):
                octets += received
                found = scan(octets, 0, len(octets), EXTENDED_MESSAGE_LENGTH)
                for start, end in zip(found.offsets, [*found.offsets[1:], found.end], strict=True):
                    await self._take(bytes(octets[start:end]))
                del octets[: found.end]
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.closed.set()

    async def wait_established(self) -> None:
        """Return when the session is up; raises ConnectionError if it ends before."""
        async with trio.open_nursery() as nursery:

            async def ended() -> None:
                await self.closed.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(ended)
            await self._established.wait()
            nursery.cancel_scope.cancel()
        if not self._established.is_set():
            raise ConnectionError(f"{self.name}: the session did not come up: {self.notifications}")

    async def announce(
        self,
        *prefixes: str,
        next_hop: str | None = None,
        as_path: Sequence[int] | None = None,
        med: int | None = None,
        local_pref: int | None = None,
        communities: Iterable[str] = (),
        attributes: bytes = b"",
        path_id: int | None = None,
    ) -> None:
        """Announce prefixes of one IP version with one set of attributes.

        Args:
            prefixes: as in `203.0.113.0/24`.
            next_hop: an address; one of 192.0.2.0/24 or 2001:db8::/64 by default.
            as_path: AS numbers; the peer's own alone by default.
            med: MULTI_EXIT_DISC.
            local_pref: LOCAL_PREF.
            communities: as in `65000:1`.
            attributes: further path attributes' octets.
            path_id: with ADD-PATH.
        """
        networks = [ip_network(prefix) for prefix in prefixes]
        path = [self.asn] if as_path is None else list(as_path)
        block = encode_attribute(0x40, AttributeType.ORIGIN, b"\0")
        segments = [(2, tuple(path))] if path else []
        block += encode_attribute(0x40, AttributeType.AS_PATH, encode_as_path(segments, asn4=self._asn4))
        if med is not None:
            block += encode_attribute(0x80, AttributeType.MULTI_EXIT_DISC, med.to_bytes(4, "big"))
        if local_pref is not None:
            block += encode_attribute(0x40, AttributeType.LOCAL_PREF, local_pref.to_bytes(4, "big"))
        values = [tuple(map(int, each.split(":"))) for each in communities]
        if values:
            octets = b"".join(high.to_bytes(2, "big") + low.to_bytes(2, "big") for high, low in values)
            block += encode_attribute(0xC0, AttributeType.COMMUNITIES, octets)
        block += attributes
        front = b"" if not self._sends_ids else (path_id or 1).to_bytes(4, "big")
        nlris = [front + prefix_octets(network) for network in networks]
        last = self._open.bgp_identifier & 0xFF
        if networks[0].version == 4:
            hop = IPv4Address(next_hop or f"192.0.2.{last}").packed
            block += encode_attribute(0x40, AttributeType.NEXT_HOP, hop)
            messages = pack_ipv4_announcement(block, nlris, self._maximum)
        else:
            hop = IPv6Address(next_hop or f"2001:db8::{last:x}").packed
            messages = pack_mp_announcement(block, IPV6_UNICAST, hop, nlris, self._maximum)
        await self.send(b"".join(messages))

    async def withdraw(self, *prefixes: str, path_id: int | None = None) -> None:
        """Withdraw prefixes of one IP version."""
        networks = [ip_network(prefix) for prefix in prefixes]
        front = b"" if not self._sends_ids else (path_id or 1).to_bytes(4, "big")
        nlris = [front + prefix_octets(network) for network in networks]
        if networks[0].version == 4:
            await self.send(b"".join(pack_ipv4_withdrawal(nlris, self._maximum)))
        else:
            await self.send(b"".join(pack_mp_withdrawal(IPV6_UNICAST, nlris, self._maximum)))

    async def say_end_of_rib(self, family: Family = IPV4_UNICAST) -> None:
        """Say that all has been announced (RFC 4724)."""
        await self.send(end_of_rib(family))

    async def refresh(self, family: Family = IPV4_UNICAST) -> None:
        """Ask for all routes again (RFC 2918)."""
        await self.send(encode_route_refresh(RouteRefreshMessage(family, 0)))

    async def notify(self, code: int, subcode: int = 0, data: bytes = b"") -> None:
        """Send a NOTIFICATION and end the connection."""
        await self.send(encode_notification(Notification(code, subcode, data)))
        await self.close()

    async def send(self, octets: bytes) -> None:
        """Send octets as they are, after what is being sent."""
        async with self._sending:
            await self.stream.send_all(octets)

    async def close(self) -> None:
        """End the connection without a word."""
        await trio.aclose_forcefully(self.stream)

    async def _take(self, message: bytes) -> None:
        self.messages.append(message)
        kind, body = message[18], message[HEADER_LENGTH:]
        if kind == MessageType.OPEN:
            self.remote = decode_open(body)
            theirs = {
                mode for each in self.remote.capabilities if isinstance(each, AddPath) for _, mode in each.entries
            }
            self._sends_ids = bool(self._add_path & 2) and any(mode & 1 for mode in theirs)
            self._gets_ids = bool(self._add_path & 1) and any(mode & 2 for mode in theirs)
            await self.send(KEEPALIVE)
        elif kind == MessageType.KEEPALIVE:
            self._established.set()
        elif kind == MessageType.NOTIFICATION:
            self.notifications.append(decode_notification(body))
        elif kind == MessageType.ROUTE_REFRESH:
            self.refreshes.append(decode_route_refresh(body).family)
        elif kind == MessageType.UPDATE:
            family = is_end_of_rib(message)
            if family is not None:
                self.end_of_rib.append(family)
            else:
                self._update(message)

    def _update(self, message: bytes) -> None:
        withdrawn_end, attributes_end = sections(message, 0, len(message))
        block = message[withdrawn_end + 2 : attributes_end]
        parsed = parse_attributes(block, AttributeContext(asn4=self._asn4, external=False))
        self._withdraw(IPV4_UNICAST, message[HEADER_LENGTH + 2 : withdrawn_end])
        if parsed.mp_unreach is not None:
            self._withdraw(parsed.mp_unreach.family, block[parsed.mp_unreach.nlri_start : parsed.mp_unreach.nlri_end])
        self._announce(IPV4_UNICAST, message[attributes_end:], block, parsed.next_hop or b"")
        if parsed.mp_reach is not None:
            reach = parsed.mp_reach
            rest = block[: reach.attribute_start] + block[reach.attribute_end :]
            self._announce(reach.family, block[reach.nlri_start : reach.nlri_end], rest, reach.next_hop)

    def _split(self, family: Family, octets: bytes) -> list[tuple[int | None, bytes]]:
        if self._gets_ids:
            return list(split_nlri_add_path(family, octets))
        return [(None, nlri) for nlri in split_nlri(family, octets, add_path=False)]

    def _withdraw(self, family: Family, octets: bytes) -> None:
        for path_id, nlri in self._split(family, octets):
            self.routes.pop(_key(family, nlri, path_id), None)

    def _announce(self, family: Family, octets: bytes, block: bytes, next_hop: bytes) -> None:
        for path_id, nlri in self._split(family, octets):
            self.routes[_key(family, nlri, path_id)] = self._route(family, nlri, path_id, block, next_hop)

    def _route(self, family: Family, nlri: bytes, path_id: int | None, block: bytes, next_hop: bytes) -> ReceivedRoute:
        values = {kind: block[start:end] for _, kind, start, end in walk(block)}
        hop = next_hop.hex()
        if len(next_hop) == 4:
            hop = str(IPv4Address(next_hop))
        elif len(next_hop) in (16, 32):
            hop = str(IPv6Address(next_hop[:16]))
        communities = values.get(AttributeType.COMMUNITIES, b"")
        med, local_pref = values.get(AttributeType.MULTI_EXIT_DISC), values.get(AttributeType.LOCAL_PREF)
        return ReceivedRoute(
            prefix=format_nlri(family, nlri),
            next_hop=hop,
            as_path=format_as_path(decode_as_path(values.get(AttributeType.AS_PATH, b""), asn4=self._asn4)),
            med=None if med is None else int.from_bytes(med, "big"),
            local_pref=None if local_pref is None else int.from_bytes(local_pref, "big"),
            communities=tuple(f"{high}:{low}" for high, low in struct.iter_unpack(">HH", communities)),
            attributes=block,
            path_id=path_id,
        )


def _key(family: Family, nlri: bytes, path_id: int | None) -> str:
    prefix = format_nlri(family, nlri)
    return prefix if path_id is None else f"{prefix}#{path_id}"
