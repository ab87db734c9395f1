"""A scripted BGP speaker over any Trio stream: says what the test tells it, believes what the octets say."""

from collections.abc import Callable

import trio

from tests.harness import decoder
from tests.harness.decoder import V4, Attribute, Family, Route, Update


class ScriptedSpeaker:
    """The other side of a session.

    Attributes:
        table: what it holds, built from the octets it received.
        updates: every UPDATE received, whole.
        notifications: body of each NOTIFICATION received.
        refreshes: body of each ROUTE-REFRESH received.
        end_of_rib: families whose End-of-RIB it received, in order.
        closed: the daemon ended the connection.
        raw: UPDATEs are kept and not read: their families are nobody's.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        asn: int,
        identifier: int,
        families: tuple[Family, ...] = (V4,),
        extended: bool = False,
        hold_time: int = 0,
        asn4: bool = True,
        enhanced_refresh: bool = False,
        add_path: int = 0,
        receives_add_path: bool = False,
        extra: tuple[bytes, ...] = (),
        keepalives: bool = False,
        raw: bool = False,
    ) -> None:
        self.stream = stream
        self.keepalive_seconds = hold_time / 3 if keepalives else 0.0
        self.receives_add_path = receives_add_path
        self.raw = raw
        self.asn4 = asn4
        self.asn = asn
        self.identifier = identifier
        self.families = families
        self.extended = extended
        self.open_octets = decoder.open_message(
            asn,
            identifier,
            hold_time=hold_time,
            families=families,
            extended=extended,
            asn4=asn4,
            enhanced_refresh=enhanced_refresh,
            add_path=add_path,
            extra=extra,
        )
        self.table: dict[Route, tuple[Attribute, ...]] = {}
        self.updates: list[bytes] = []
        self.log: list[bytes] = []
        self.notifications: list[bytes] = []
        self.refreshes: list[bytes] = []
        self.end_of_rib: list[Family] = []
        self.established = trio.Event()
        self.closed = trio.Event()
        self.thawed = trio.Event()
        self.thawed.set()
        self._sending = trio.Lock()
        self.on_message: Callable[[bytes], None] | None = None
        self._octets = bytearray()

    async def run(self) -> None:
        """Say OPEN and KEEPALIVE, then listen until the connection ends."""
        if not self.keepalive_seconds:
            await self._listen()
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_alive)
            await self._listen()
            nursery.cancel_scope.cancel()

    async def _keep_alive(self) -> None:
        await self.established.wait()
        while True:
            await trio.sleep(self.keepalive_seconds)
            try:
                await self.say(decoder.message(decoder.KEEPALIVE))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def _listen(self) -> None:
        try:
            await self.say(self.open_octets)
            while True:
                await self.thawed.wait()
                octets = await self.stream.receive_some(65536)
                if not octets:
                    break
                self._octets += octets
                while len(self._octets) >= 19:
                    size = int.from_bytes(self._octets[16:18], "big")
                    if len(self._octets) < size:
                        break
                    whole = bytes(self._octets[:size])
                    del self._octets[:size]
                    await self._take(whole)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.closed.set()

    def freeze(self) -> None:
        """Stop reading (after the read under way)."""
        if self.thawed.is_set():
            self.thawed = trio.Event()

    async def say(self, octets: bytes) -> None:
        """Send octets as they are, after what is being sent."""
        async with self._sending:
            await self.stream.send_all(octets)

    async def cut(self) -> None:
        """End the connection at once."""
        await trio.aclose_forcefully(self.stream)

    async def _take(self, whole: bytes) -> None:
        assert whole[:16] == decoder.MARKER, "a marker is not all ones"
        assert len(whole) <= (65535 if self.extended else 4096), "a message is longer than negotiated"
        self.log.append(whole)
        if self.on_message is not None:
            self.on_message(whole)
        kind, body = whole[18], whole[19:]
        if kind == decoder.OPEN:
            await self.say(decoder.message(decoder.KEEPALIVE))
        elif kind == decoder.KEEPALIVE:
            self.established.set()
        elif kind == decoder.UPDATE:
            self._update(whole)
        elif kind == decoder.NOTIFICATION:
            self.notifications.append(body)
        elif kind == decoder.REFRESH:
            self.refreshes.append(body)

    def _update(self, whole: bytes) -> None:
        self.updates.append(whole)
        if self.raw:
            return
        found = Update(whole, add_path=self.receives_add_path)
        if found.end_of_rib is not None:
            self.end_of_rib.append(found.end_of_rib)
        for route in found.withdrawn:
            assert route[0] in self.families, f"a withdrawal of {route[0]}, which was not negotiated"
            self.table.pop(route, None)
        for route, attributes in found.announced.items():
            assert route[0] in self.families, f"a route of {route[0]}, which was not negotiated"
            self.table[route] = attributes
