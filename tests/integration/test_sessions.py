"""Sessions of a whole daemon on the wire: message headers, OPEN, the state machine, timers, collisions, the end.

Rows of the conformance table are the parameters' ids.
"""

import struct
from itertools import pairwise

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.decoder import KEEPALIVE, MARKER, NOTIFICATION, OPEN, REFRESH, UPDATE, V4, message
from tests.harness.lab import Lab, address_of, lab, peer_settings
from trio_bgp.runtime.session.transport import StreamTransport, Transport
from trio_bgp.session.fsm import State
from trio_bgp.settings import AddPathSettings, BgpRole, PeerSettings, Role
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST
from trio_bgp.wire.numbers import family as make_family

KEEP = message(KEEPALIVE)
IDENTIFIER = 0x0A000001
OURS = 0x0AFF0001
MULTIPROTOCOL_V4 = b"\x01\x04\x00\x01\x00\x01"
MULTIPROTOCOL_V6 = b"\x01\x04\x00\x02\x00\x01"
FOUR_OCTET_AS = b"\x41\x04\x00\x00\xfd\xe9"
ROUTE = (V4, b"\x18\x0a\x00\x01")
ANNOUNCEMENT = decoder.announce(
    [ROUTE], decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001), bytes((192, 0, 2, 1))
)


def parameter(value: bytes, kind: int = 2) -> bytes:
    """An optional parameter, of capabilities if nothing else is said."""
    return bytes((kind, len(value))) + value


CAPABILITIES = parameter(MULTIPROTOCOL_V4 + FOUR_OCTET_AS)


def hello(
    parameters: bytes = CAPABILITIES,
    *,
    version: int = 4,
    my_as: int = 65001,
    hold_time: int = 0,
    identifier: int = IDENTIFIER,
    length: int | None = None,
) -> bytes:
    """An OPEN, of these optional parameters, right or wrong."""
    size = len(parameters) if length is None else length
    return message(OPEN, struct.pack(">BHHIB", version, my_as, hold_time, identifier, size) + parameters)


class Wire:
    """A connection with the daemon, as octets."""

    def __init__(self, *, lockstep: bool = False) -> None:
        pair = trio.testing.lockstep_stream_pair() if lockstep else trio.testing.memory_stream_pair()
        self.stream: trio.abc.Stream = pair[0]
        self.far: trio.abc.Stream = pair[1]
        self.ended = False
        self.times: list[float] = []
        self._octets = b""

    def transport(self, number: int = 1) -> Transport:
        """The daemon's end, as a connection with peer `number`."""
        return StreamTransport(self.far, peer_address=address_of(number))

    async def say(self, *octets: bytes) -> None:
        """Send in one piece."""
        await self.stream.send_all(b"".join(octets))

    async def hear(self, seconds: float = 1.0) -> list[bytes]:
        """The messages that come in `seconds`, or until the end; `times` has when."""
        found: list[bytes] = []
        self.times = []
        with trio.move_on_after(seconds):
            while not self.ended:
                try:
                    more = await self.stream.receive_some(65536)
                except trio.BrokenResourceError:
                    more = b""
                self.ended = not more
                self._octets += more
                while len(self._octets) >= 19 and len(self._octets) >= (size := int.from_bytes(self._octets[16:18])):
                    assert self._octets[:16] == MARKER
                    found.append(self._octets[:size])
                    self.times.append(trio.current_time())
                    self._octets = self._octets[size:]
        if self.ended:
            assert not self._octets, "the stream ends inside a message"
        return found

    async def ending(self, seconds: float = 3000.0) -> bytes | None:
        """Listen to the end, which must come; the body of the NOTIFICATION, which must be the last message, if any."""
        found = await self.hear(seconds)
        assert self.ended, f"the connection is still there, after {[each.hex() for each in found]}"
        notifications = [each for each in found if each[18] == NOTIFICATION]
        assert notifications in ([], found[-1:])
        return notifications[0][19:] if notifications else None


async def connect(the_lab: Lab, *octets: bytes, number: int = 1, lockstep: bool = False) -> Wire:
    """Connect as peer `number` and say this."""
    wire = Wire(lockstep=lockstep)
    the_lab.speaker.accept(wire.transport(number))
    if octets:
        await wire.say(*octets)
    return wire


def state(the_lab: Lab, name: str = "p1") -> State:
    """The peer's state."""
    return next(each.state for each in the_lab.speaker.statistics() if each.name == name)


async def is_up(the_lab: Lab, wire: Wire) -> bool:
    """Whether the session is established and has sent nothing but what it should."""
    found = await wire.hear()
    return state(the_lab) is State.ESTABLISHED and not wire.ended and all(each[18] != NOTIFICATION for each in found)


def length_error(octets: bytes) -> bytes:
    """Message Header Error/Bad Message Length for this message."""
    return b"\1\2" + octets[16:18]


BAD_MARKER = b"\xff" * 15 + b"\xfe" + KEEP[16:]
SHORT = MARKER + b"\x00\x12\x04"
LONG = MARKER + b"\x10\x01\x02" + bytes(4097 - 19)
HEADERS = {
    "HDR-1-last-octet": (BAD_MARKER, b"\1\1"),
    "HDR-1-first-octet": (b"\0" + KEEP[1:], b"\1\1"),
    "HDR-2": (SHORT, length_error(SHORT)),
    "HDR-2-zero": (MARKER + b"\0\0\x04", b"\1\2\0\0"),
    "HDR-3": (LONG, length_error(LONG)),
    "HDR-4": (message(KEEPALIVE, b"\0"), b"\1\2\0\x14"),
    "HDR-5-open": (message(OPEN, bytes(9)), b"\1\2\0\x1c"),
    "HDR-5-update": (message(UPDATE, bytes(3)), b"\1\2\0\x16"),
    "HDR-5-refresh": (message(REFRESH, bytes(3)), b"\1\2\0\x16"),
    "HDR-6-0": (message(0), b"\1\3\0"),
    "HDR-6-6": (message(6), b"\1\3\6"),
    "HDR-6-255": (message(255, bytes(30)), b"\1\3\xff"),
}


@pytest.mark.parametrize(("octets", "expected"), HEADERS.values(), ids=HEADERS.keys())
async def test_a_bad_header_ends_an_established_session(
    octets: bytes, expected: bytes, autojump_clock: MockClock
) -> None:
    """RFC 4271, section 6.1: the NOTIFICATION names the fault; what came before it counts; its routes go with it."""
    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        other = await the_lab.join(2)
        wire = await connect(the_lab, hello(), KEEP)
        assert await is_up(the_lab, wire)
        await wire.say(ANNOUNCEMENT, octets)
        assert await wire.ending(1) == expected
        await the_lab.settle()
        assert ANNOUNCEMENT in other.updates
        assert other.table == {}
        assert state(the_lab) is State.ACTIVE


@pytest.mark.parametrize(("octets", "expected"), HEADERS.values(), ids=HEADERS.keys())
async def test_a_bad_header_instead_of_open(octets: bytes, expected: bytes, autojump_clock: MockClock) -> None:
    """RFC 4271, section 6.1, in OpenSent: the same NOTIFICATION, behind our OPEN; the next connection is served."""
    async with lab(peer_settings(1)) as the_lab:
        wire = await connect(the_lab, octets)
        assert await wire.ending(1) == expected
        assert await is_up(the_lab, await connect(the_lab, hello(), KEEP))


@pytest.mark.parametrize("kind", [OPEN, KEEPALIVE], ids=["XM-3-open", "XM-3-keepalive"])
async def test_only_updates_and_their_like_may_be_long(kind: int, autojump_clock: MockClock) -> None:
    """XM-3 (RFC 8654, section 4): OPEN and KEEPALIVE beyond 4096 octets are 1/2 on an extended session too."""
    octets = message(kind, bytes(4097 - 19))
    async with lab(peer_settings(1)) as the_lab:
        wire = await connect(the_lab, hello(CAPABILITIES + parameter(b"\6\0")), KEEP)
        assert await is_up(the_lab, wire)
        await wire.say(octets)
        assert await wire.ending(1) == b"\1\2\x10\x01"


async def test_long_messages_are_for_those_who_both_offer_them(autojump_clock: MockClock) -> None:
    """HDR-3, XM-1: with the capability on one side only, 4097 octets are 1/2."""
    async with lab(peer_settings(1, extended_message=False)) as the_lab:
        wire = await connect(the_lab, hello(CAPABILITIES + parameter(b"\6\0")), KEEP)
        assert await is_up(the_lab, wire)
        await wire.say(LONG)
        assert await wire.ending(1) == b"\1\2\x10\x01"


@pytest.mark.parametrize("body", [b"", b"\6"], ids=["HDR-5-notification-19", "HDR-5-notification-20"])
async def test_a_malformed_notification_ends_the_session(body: bytes, autojump_clock: MockClock) -> None:
    """FSM-7: a NOTIFICATION that is too short ends the session, whatever is said of it."""
    async with lab(peer_settings(1)) as the_lab:
        wire = await connect(the_lab, hello(), KEEP)
        assert await is_up(the_lab, wire)
        await wire.say(message(NOTIFICATION, body))
        await wire.ending(1)
        assert state(the_lab) is State.ACTIVE


async def test_a_session_in_single_octets(autojump_clock: MockClock) -> None:
    """HDR-7: OPEN, KEEPALIVE, UPDATE cut into segments of one octet are those messages."""
    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        other = await the_lab.join(2)
        wire = await connect(the_lab)
        for octet in hello() + KEEP + ANNOUNCEMENT + KEEP:
            await wire.say(bytes((octet,)))
            await the_lab.settle()
        assert await is_up(the_lab, wire)
        assert ANNOUNCEMENT in other.updates


async def test_500_messages_in_one_segment(autojump_clock: MockClock) -> None:
    """HDR-7: all of them arrive, in order, also behind the OPEN in the same segment."""
    updates = [
        decoder.announce(
            [(V4, bytes((24, 10, n >> 8, n & 255)))],
            decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001, n + 1),
            bytes((192, 0, 2, 1)),
        )
        for n in range(500)
    ]
    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        other = await the_lab.join(2)
        other.updates.clear()
        wire = await connect(the_lab, hello(), KEEP, *updates)
        assert await is_up(the_lab, wire)
        assert other.updates == updates


async def test_a_message_that_never_ends_is_silence(autojump_clock: MockClock) -> None:
    """HDR-8: a header that promises 4096 octets is waited for; the hold timer ends it with 4/0, nothing sooner."""
    async with lab(peer_settings(1, hold_time=90)) as the_lab:
        wire = await connect(the_lab, hello(hold_time=9), KEEP)
        await the_lab.settle()
        started = trio.current_time()
        await wire.say(MARKER + b"\x10\x00\x02" + bytes(100))
        assert await wire.ending() == b"\4\0"
        assert trio.current_time() - started == pytest.approx(9.0)


EXTENDED_AS = b"\x41\x04\x00\x01\x11\x70"
WIDE = peer_settings(1, peer_as=70000)
INTERNAL = peer_settings(1, peer_as=65000, role=Role.RR_CLIENT)
WITH_ROLE = peer_settings(1, bgp_role=BgpRole.RS)
ZERO_AS = b"\x41\x04\x00\x00\x00\x00"
REFUSED: dict[str, tuple[PeerSettings, bytes, bytes]] = {
    "OPN-1-version-3": (peer_settings(1), hello(version=3), b"\2\1\0\4"),
    "OPN-1-version-5": (peer_settings(1), hello(version=5), b"\2\1\0\4"),
    "OPN-2": (peer_settings(1), hello(parameter(b"\x41\x04\0\0\xfd\xea"), my_as=65002), b"\2\2"),
    "OPN-2-two-octet": (peer_settings(1), hello(parameter(MULTIPROTOCOL_V4), my_as=65002), b"\2\2"),
    "OPN-3-my-as": (peer_settings(1), hello(my_as=0), b"\2\2"),
    "OPN-3-capability": (peer_settings(1), hello(parameter(MULTIPROTOCOL_V4 + ZERO_AS)), b"\2\2"),
    "OPN-3-both": (peer_settings(1), hello(parameter(ZERO_AS), my_as=0), b"\2\2"),
    "OPN-4": (peer_settings(1), hello(identifier=0), b"\2\3"),
    "OPN-5": (
        INTERNAL,
        hello(parameter(MULTIPROTOCOL_V4 + b"\x41\x04\0\0\xfd\xe8"), my_as=65000, identifier=OURS),
        b"\2\3",
    ),
    "OPN-6-1": (peer_settings(1), hello(hold_time=1), b"\2\6"),
    "OPN-6-2": (peer_settings(1), hello(hold_time=2), b"\2\6"),
    "OPN-9": (peer_settings(1), hello(CAPABILITIES + parameter(b"\1secret", 1)), b"\2\4"),
    "OPN-9-unassigned": (peer_settings(1), hello(parameter(b"", 77)), b"\2\4"),
    "OPN-10-total-beyond-message": (peer_settings(1), hello(length=len(CAPABILITIES) + 1), b"\2\0"),
    "OPN-10-total-within-message": (peer_settings(1), hello(length=len(CAPABILITIES) - 1), b"\2\0"),
    "OPN-10-parameter-beyond-total": (peer_settings(1), hello(CAPABILITIES + b"\2\5\1\4\0\1"), b"\2\0"),
    "OPN-10-half-a-parameter": (peer_settings(1), hello(CAPABILITIES + b"\2"), b"\2\0"),
    "OPN-14": (peer_settings(1), hello(parameter(b"\1\5\0\1\0\1")), b"\2\0"),
    "OPN-14-half-a-capability": (peer_settings(1), hello(parameter(MULTIPROTOCOL_V4 + b"\x41")), b"\2\0"),
    "OPN-15": (
        peer_settings(1, families=(IPV6_UNICAST,)),
        hello(),
        b"\2\7" + MULTIPROTOCOL_V6,
    ),
    "OPN-16-overrun": (peer_settings(1), hello(b"\xff\0\x0a\2\0\x09" + MULTIPROTOCOL_V4, length=255), b"\2\0"),
    "OPN-18-wrong-as": (WIDE, hello(parameter(MULTIPROTOCOL_V4 + FOUR_OCTET_AS), my_as=23456), b"\2\2"),
    "RO-1-rs-and-rs": (WITH_ROLE, hello(CAPABILITIES + parameter(b"\x09\1\1")), b"\2\x0b"),
    "RO-1-rs-and-peer": (WITH_ROLE, hello(CAPABILITIES + parameter(b"\x09\1\4")), b"\2\x0b"),
    "RO-3": (WITH_ROLE, hello(CAPABILITIES + parameter(b"\x09\1\2\x09\1\3")), b"\2\x0b"),
}


@pytest.mark.parametrize(("settings", "octets", "expected"), REFUSED.values(), ids=REFUSED.keys())
async def test_an_open_that_is_refused(
    settings: PeerSettings, octets: bytes, expected: bytes, autojump_clock: MockClock
) -> None:
    """RFC 4271, section 6.2: our OPEN, the NOTIFICATION, the end; no KEEPALIVE accepts what is refused."""
    async with lab(settings) as the_lab:
        wire = await connect(the_lab, octets)
        found = await wire.hear(1)
        assert [each[18] for each in found] == [OPEN, NOTIFICATION]
        assert found[1][19:] == expected
        assert wire.ended
        assert state(the_lab) is State.ACTIVE


def extended(parameters: bytes, *, mark: int = 255) -> bytes:
    """Optional parameters in the form of RFC 9072; `parameters` with lengths of two octets."""
    return hello(b"\xff" + len(parameters).to_bytes(2, "big") + parameters, length=mark)


LONG_CAPABILITY = b"\x63\xc8" + bytes(200)
ACCEPTED: dict[str, tuple[PeerSettings, bytes]] = {
    "plain": (peer_settings(1), hello()),
    "no-parameters": (peer_settings(1), hello(b"")),
    "OPN-5-external": (peer_settings(1), hello(identifier=OURS)),
    "OPN-6-3": (peer_settings(1), hello(hold_time=3)),
    "OPN-6-65535": (peer_settings(1), hello(hold_time=65535)),
    "OPN-11": (peer_settings(1), hello(CAPABILITIES + parameter(b"\x7f\3abc\xff\0\0\2xy"))),
    "OPN-12-one-parameter": (peer_settings(1), hello(parameter(MULTIPROTOCOL_V4 + FOUR_OCTET_AS + b"\2\0\6\0"))),
    "OPN-12-each-its-own": (
        peer_settings(1),
        hello(b"".join(map(parameter, (MULTIPROTOCOL_V4, FOUR_OCTET_AS, b"\2\0", b"\6\0")))),
    ),
    "OPN-12-empty-parameter": (peer_settings(1), hello(parameter(b"") + CAPABILITIES)),
    "OPN-13": (peer_settings(1), hello(parameter(MULTIPROTOCOL_V4 * 2 + FOUR_OCTET_AS * 2))),
    "OPN-13-other-families": (
        peer_settings(1),
        hello(parameter(b"\1\4\x40\x04\0\x47" + MULTIPROTOCOL_V4 + b"\1\4\0\1\0\x85" + FOUR_OCTET_AS)),
    ),
    "OPN-16-short": (peer_settings(1), extended(b"\2\0\x0c" + MULTIPROTOCOL_V4 + FOUR_OCTET_AS)),
    "OPN-16-long": (
        peer_settings(1),
        extended(b"\2\0\x0c" + MULTIPROTOCOL_V4 + FOUR_OCTET_AS + 2 * (b"\2\0\xca" + LONG_CAPABILITY)),
    ),
    "OPN-16-one-parameter": (
        peer_settings(1),
        extended(b"\2\1\xa0" + MULTIPROTOCOL_V4 + FOUR_OCTET_AS + 2 * LONG_CAPABILITY),
    ),
    "OPN-16-other-length": (
        peer_settings(1),
        extended(b"\2\0\x0c" + MULTIPROTOCOL_V4 + FOUR_OCTET_AS, mark=1),
    ),
    "OPN-18": (WIDE, hello(parameter(MULTIPROTOCOL_V4 + EXTENDED_AS), my_as=23456)),
    "OPN-19": (peer_settings(1), hello(my_as=64999)),
    "RO-1": (WITH_ROLE, hello(CAPABILITIES + parameter(b"\x09\1\2"))),
    "RO-1-twice-the-same": (WITH_ROLE, hello(CAPABILITIES + parameter(b"\x09\1\2\x09\1\2"))),
    "RO-2": (WITH_ROLE, hello()),
    "AP-5": (
        peer_settings(1, add_path=AddPathSettings(send=4, receive=True)),
        hello(CAPABILITIES + parameter(b"\x45\4\0\1\1\0") + parameter(b"\x45\4\0\1\1\4")),
    ),
}


@pytest.mark.parametrize(("settings", "octets"), ACCEPTED.values(), ids=ACCEPTED.keys())
async def test_an_open_that_is_accepted(settings: PeerSettings, octets: bytes, autojump_clock: MockClock) -> None:
    """The session comes up, and an UPDATE in the plain form reaches another client."""
    async with lab(settings, peer_settings(2)) as the_lab:
        other = await the_lab.join(2)
        wire = await connect(the_lab, octets, KEEP)
        await the_lab.settle()
        assert state(the_lab) is State.ESTABLISHED
        found = await wire.hear(0.5)
        assert [each[18] for each in found[:2]] == [OPEN, KEEPALIVE]
        if not octets.endswith(b"\x45\4\0\1\1\4") and octets[29:] != b"":
            await wire.say(ANNOUNCEMENT)
            await the_lab.settle()
            assert ROUTE in other.table


async def test_without_capabilities_a_peer_is_an_old_one(autojump_clock: MockClock) -> None:
    """OPN-12, RFC 4760 section 8, RFC 6793: no parameters are IPv4 unicast and 2-octet AS numbers."""
    old = decoder.update(b"", b"\x40\1\1\0" + b"\x40\2\4\2\1\xfd\xe9" + b"\x40\3\4\xc0\0\2\1", ROUTE[1])
    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        other = await the_lab.join(2)
        wire = await connect(the_lab, hello(b""), KEEP)
        await the_lab.settle()
        await wire.say(old)
        await the_lab.settle()
        assert (0x40, 2, b"\2\1\0\0\xfd\xe9") in other.table[ROUTE]


def capabilities(octets: bytes) -> list[tuple[int, bytes]]:
    """The capabilities of an OPEN, in either form of optional parameters."""
    total, position, width = octets[28], 29, 1
    if total == 255 and octets[29] == 255:
        total, position, width = int.from_bytes(octets[30:32]), 32, 2
    assert position + total == len(octets)
    found = []
    while position < len(octets):
        assert octets[position] == 2
        end = position + 1 + width + int.from_bytes(octets[position + 1 : position + 1 + width])
        position += 1 + width
        while position < end:
            size = octets[position + 1]
            found.append((octets[position], octets[position + 2 : position + 2 + size]))
            position += 2 + size
        assert position == end
    return found


async def test_what_our_open_says(autojump_clock: MockClock) -> None:
    """RFC 4271, section 4.2: version, AS, hold time, identifier as configured; the capabilities that are offered."""
    settings = peer_settings(1, hold_time=30, add_path=AddPathSettings(receive=True))
    async with lab(settings, local_as=70000, bgp_identifier=OURS) as the_lab:
        wire = await connect(the_lab)
        (octets,) = await wire.hear()
        assert struct.unpack(">BHHI", octets[19:28]) == (4, 23456, 30, OURS)
        found = capabilities(octets)
        assert (65, (70000).to_bytes(4, "big")) in found
        assert [value for code, value in found if code == 1] == [b"\0\1\0\1", b"\0\2\0\1"]
        assert (2, b"") in found
        assert (6, b"") in found
        assert (70, b"") in found
        assert (69, b"\0\1\1\1\0\2\1\1") in found


async def test_an_open_of_many_families_has_the_extended_form(autojump_clock: MockClock) -> None:
    """OPN-17 (RFC 9072): more than 255 octets of parameters are written with two-octet lengths."""
    families = (IPV4_UNICAST, *(make_family(16388, safi) for safi in range(60)))
    async with lab(peer_settings(1, families=families)) as the_lab:
        wire = await connect(the_lab)
        (octets,) = await wire.hear()
        assert octets[28:30] == b"\xff\xff"
        assert len([value for code, value in capabilities(octets) if code == 1]) == 61
        await wire.say(hello(), KEEP)
        assert await is_up(the_lab, wire)


async def test_hold_time_zero_runs_no_timers(autojump_clock: MockClock) -> None:
    """OPN-7: no KEEPALIVE but the one that accepts the OPEN, and a day of silence ends nothing."""
    async with lab(peer_settings(1, hold_time=90)) as the_lab:
        wire = await connect(the_lab, hello(hold_time=0), KEEP)
        found = await wire.hear(86400)
        assert [each[18] for each in found].count(KEEPALIVE) == 1
        assert not wire.ended
        assert state(the_lab) is State.ESTABLISHED


@pytest.mark.parametrize(("ours", "theirs", "used"), [(90, 9, 9), (9, 90, 9), (3, 90, 3), (90, 3, 3)])
async def test_keepalives_and_the_end_of_silence(ours: int, theirs: int, used: int, autojump_clock: MockClock) -> None:
    """OPN-8, FSM-5, FSM-6: the smaller hold time; a KEEPALIVE each third of it, not above one a second; then 4/0."""
    async with lab(peer_settings(1, hold_time=ours), peer_settings(2)) as the_lab:
        other = await the_lab.join(2)
        wire = await connect(the_lab, hello(hold_time=theirs), KEEP, ANNOUNCEMENT)
        await the_lab.settle()
        assert ROUTE in other.table
        started = trio.current_time()
        found = await wire.hear(used + 5)
        times = [
            at - started for at, each in zip(wire.times, found, strict=True) if each[18] == KEEPALIVE and at > started
        ]
        assert all(max(1.0, 0.75 * used / 3) - 1e-6 <= b - a <= used / 3 + 1e-6 for a, b in pairwise([0.0, *times]))
        assert len(times) >= 2
        assert found[-1][18:] == b"\3\4\0"
        assert wire.times[-1] - started == pytest.approx(used)
        await the_lab.settle()
        assert other.table == {}


@pytest.mark.parametrize(
    "octets", [KEEP, ANNOUNCEMENT, message(REFRESH, b"\0\1\0\1")], ids=["keepalive", "update", "refresh"]
)
async def test_whatever_is_heard_keeps_the_session_up(octets: bytes, autojump_clock: MockClock) -> None:
    """FSM-5: any good message restarts the hold timer; an hour of one kind only is no silence.

    RFC 4271 names KEEPALIVE and UPDATE; a ROUTE-REFRESH is as good a sign of life.
    """
    async with lab(peer_settings(1, hold_time=9)) as the_lab:
        wire = await connect(the_lab, hello(hold_time=9), KEEP)
        for _ in range(450):
            await trio.sleep(8)
            await wire.say(octets)
        await the_lab.settle()
        assert state(the_lab) is State.ESTABLISHED


UNEXPECTED = {
    "FSM-1-keepalive": ([KEEP], b"\5\1"),
    "FSM-1-update": ([ANNOUNCEMENT], b"\5\1"),
    "FSM-1-refresh": ([message(REFRESH, b"\0\1\0\1")], b"\5\1"),
    "FSM-2-update": ([hello(), ANNOUNCEMENT], b"\5\2"),
    "FSM-2-refresh": ([hello(), message(REFRESH, b"\0\1\0\1")], b"\5\2"),
    "FSM-2-open": ([hello(), hello()], b"\5\2"),
    "FSM-3": ([hello(), KEEP, hello()], b"\5\3"),
}


@pytest.mark.parametrize("together", [True, False], ids=["one-read", "one-by-one"])
@pytest.mark.parametrize(("messages", "expected"), UNEXPECTED.values(), ids=UNEXPECTED.keys())
async def test_a_message_out_of_place(
    messages: list[bytes], expected: bytes, together: bool, autojump_clock: MockClock
) -> None:
    """RFC 6608: Finite State Machine Error with the subcode of the state; nothing of it reaches anybody."""
    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        other = await the_lab.join(2)
        other.updates.clear()
        wire = await connect(the_lab)
        if together:
            await wire.say(*messages)
        else:
            for each in messages:
                await wire.say(each)
                await the_lab.settle()
        assert await wire.ending(1) == expected
        assert other.updates == []


async def test_a_connection_that_says_nothing(autojump_clock: MockClock) -> None:
    """FSM-4: four minutes for an OPEN, then 4/0."""
    async with lab(peer_settings(1, hold_time=90)) as the_lab:
        started = trio.current_time()
        wire = await connect(the_lab)
        assert await wire.ending() == b"\4\0"
        assert trio.current_time() - started == pytest.approx(240)


async def test_an_open_and_then_nothing(autojump_clock: MockClock) -> None:
    """RFC 4271, section 8.2.2, OpenConfirm: the negotiated hold time for a KEEPALIVE, then 4/0; ours come meanwhile."""
    async with lab(peer_settings(1, hold_time=90)) as the_lab:
        started = trio.current_time()
        wire = await connect(the_lab, hello(hold_time=9))
        found = await wire.hear(20)
        assert found[-1][18:] == b"\3\4\0"
        assert trio.current_time() - started == pytest.approx(9)
        assert [each[18] for each in found].count(KEEPALIVE) >= 3


@pytest.mark.parametrize("progress", ["OpenSent", "OpenConfirm", "Established", "inside a message"])
async def test_a_lost_connection_leaves_nothing_and_the_next_one_works(
    progress: str, autojump_clock: MockClock
) -> None:
    """FSM-8: the connection is cut in each state; its routes are gone the peer may come again at once."""
    said = {
        "OpenSent": (),
        "OpenConfirm": (hello(),),
        "Established": (hello(), KEEP, ANNOUNCEMENT),
        "inside a message": (hello(), KEEP, ANNOUNCEMENT, ANNOUNCEMENT[:-3]),
    }[progress]
    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        other = await the_lab.join(2)
        for _ in range(3):
            wire = await connect(the_lab, *said)
            await the_lab.settle()
            assert (ROUTE in other.table) == (len(said) > 2)
            await trio.aclose_forcefully(wire.stream)
            await the_lab.settle()
            assert other.table == {}
            assert state(the_lab) is State.ACTIVE
        assert await is_up(the_lab, await connect(the_lab, hello(), KEEP))


async def test_a_peer_we_dial_is_dialled_again(autojump_clock: MockClock) -> None:
    """FSM-8: we open the connection; when it is lost we open another, after a while and with what there is now."""
    wires: list[Wire] = []
    times: list[float] = []

    async def dial(settings: PeerSettings) -> Transport:
        wires.append(Wire())
        times.append(trio.current_time())
        return wires[-1].transport()

    async with lab(peer_settings(1, passive=False), peer_settings(2), connect=dial) as the_lab:
        other = await the_lab.join(2)
        for round_number in range(3):
            await wires[-1].say(hello(), KEEP, ANNOUNCEMENT)
            await the_lab.settle()
            assert state(the_lab) is State.ESTABLISHED
            assert len(wires) == round_number + 1
            assert ROUTE in other.table
            await trio.aclose_forcefully(wires[-1].stream)
            await the_lab.settle()
            assert other.table == {}
            assert state(the_lab) is State.CONNECT
            await trio.sleep(30)
        assert all(1 <= b - a <= 31 for a, b in pairwise(times))


async def test_too_many_prefixes_again_and_again(autojump_clock: MockClock) -> None:
    """FSM-12: a peer that is thrown out each time is dialled ever more rarely: no storm."""
    times: list[float] = []
    async with trio.open_nursery() as nursery:

        async def dial(settings: PeerSettings) -> Transport:
            times.append(trio.current_time())
            wire = Wire()
            nursery.start_soon(wire.say, hello() + KEEP + ANNOUNCEMENT)
            return wire.transport()

        async with lab(peer_settings(1, passive=False, max_prefixes=0), connect=dial):
            await trio.sleep(600)
    assert 15 <= len(times) <= 40
    assert times[-1] - times[-2] > 20


@pytest.mark.parametrize("identifier", [OURS - 1, OURS + 1], ids=["ours-higher", "ours-lower"])
@pytest.mark.parametrize("order", ["incoming-open-first", "outgoing-open-first"])
async def test_of_two_connections_one_survives(identifier: int, order: str, autojump_clock: MockClock) -> None:
    """FSM-9: the connection opened by the side with the higher identifier is kept, the other one gets Cease/7."""
    outgoing = Wire()
    dialled = 0

    async def dial(settings: PeerSettings) -> Transport:
        nonlocal dialled
        dialled += 1
        return outgoing.transport()

    async with lab(peer_settings(1, passive=False), connect=dial) as the_lab:
        await the_lab.settle()
        incoming = await connect(the_lab)
        await the_lab.settle()
        first, second = (incoming, outgoing) if order == "incoming-open-first" else (outgoing, incoming)
        for wire in (first, second):
            await wire.say(hello(identifier=identifier))
            await the_lab.settle()
        winner, loser = (incoming, outgoing) if identifier > OURS else (outgoing, incoming)
        assert await loser.ending(2) == b"\6\7"
        await winner.say(KEEP)
        assert await is_up(the_lab, winner)
        assert dialled == 1


async def test_of_equal_identifiers_the_higher_as_decides(autojump_clock: MockClock) -> None:
    """FSM-9 (RFC 6286, section 2.3): the same identifier on both sides; AS 65001 is higher than ours."""
    outgoing = Wire()

    async def dial(settings: PeerSettings) -> Transport:
        return outgoing.transport()

    async with lab(peer_settings(1, passive=False), connect=dial) as the_lab:
        await the_lab.settle()
        incoming = await connect(the_lab)
        for wire in (incoming, outgoing):
            await wire.say(hello(identifier=OURS))
            await the_lab.settle()
        assert await outgoing.ending(2) == b"\6\7"
        await incoming.say(KEEP)
        assert await is_up(the_lab, incoming)


async def test_a_new_connection_while_established_is_closed(autojump_clock: MockClock) -> None:
    """FSM-10: Cease/7 for the new one; the session and its routes stay as they are."""
    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        other = await the_lab.join(2)
        wire = await connect(the_lab, hello(), KEEP, ANNOUNCEMENT)
        await the_lab.settle()
        other.updates.clear()
        again = await connect(the_lab, hello(), KEEP)
        assert await again.ending(2) == b"\6\7"
        assert await is_up(the_lab, wire)
        assert other.updates == []
        assert ROUTE in other.table


TEXT = "Wartung für zwei Stunden: " + "ä" * 51
TEXTS = {
    "none": ("", b""),
    "FSM-14-128": (TEXT, bytes((129,)) + TEXT.encode()),
    "FSM-14-255": ("x" * 255, b"\xff" + b"x" * 255),
    "FSM-14-cut-between-characters": ("ä" * 200, b"\xfe" + "ä".encode() * 127),
}


@pytest.mark.parametrize(("text", "data"), TEXTS.values(), ids=TEXTS.keys())
async def test_shutdown_says_why(text: str, data: bytes, autojump_clock: MockClock) -> None:
    """FSM-14 (RFC 9003): Cease/2 with length and text to every peer, established or not yet, and the daemon is gone."""
    async with lab(peer_settings(1), peer_settings(2), peer_settings(3)) as the_lab:
        up = await connect(the_lab, hello(), KEEP)
        half = await connect(the_lab, hello(parameter(b"\x41\4\0\0\xfd\xea"), my_as=65002, identifier=2), number=2)
        await the_lab.settle()
        the_lab.speaker.shutdown(text)
        assert await up.ending(3) == b"\6\2" + data
        assert await half.ending(3) == b"\6\2" + data
        late = await connect(the_lab, number=3)
        assert await late.hear() == []
        assert late.ended


WORDS = {
    "plain": (b"\x05hello", "'hello'"),
    "FSM-15-length-beyond-data": (b"\xffhello", "hex:ff68656c6c6f"),
    "FSM-15-no-utf8": (b"\x03\xff\xfe\xfd", "hex:fffefd"),
    "FSM-15-escapes": (b"\x09\x1b[31mred\n", "?[31mred?"),
}


@pytest.mark.parametrize(("data", "shown"), WORDS.values(), ids=WORDS.keys())
async def test_a_peers_last_words_are_logged_safely(
    data: bytes, shown: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """FSM-15: the session ends without an answer; what is no text is shown in hex, and no escape reaches a terminal."""
    caplog.set_level("INFO")
    async with lab(peer_settings(1)) as the_lab:
        wire = await connect(the_lab, hello(), KEEP)
        await the_lab.settle()
        await wire.say(message(NOTIFICATION, b"\6\2" + data))
        assert await wire.ending(2) is None
        assert state(the_lab) is State.ACTIVE
    (line,) = [text for text in caplog.messages if text.startswith("peer.down")]
    assert shown in line
    assert line.isprintable()


@pytest.mark.parametrize(("hold_time", "least"), [(30, 480), (3600, 7200)])
async def test_a_peer_that_never_reads_is_let_go(
    hold_time: int, least: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """FSM-16 (RFC 9687): it says KEEPALIVE but takes nothing; gone after 8 minutes or twice the hold time."""
    caplog.set_level("INFO")
    async with lab(peer_settings(1, hold_time=hold_time), peer_settings(2), peer_settings(3)) as the_lab:
        other, source = await the_lab.join(2), await the_lab.join(3)
        stuck = Wire(lockstep=True)
        the_lab.speaker.accept(stuck.transport())
        await stuck.say(hello(hold_time=hold_time))
        assert [each[18] for each in await stuck.hear(1)] == [OPEN, KEEPALIVE]
        await stuck.say(KEEP)
        await the_lab.settle()
        assert state(the_lab) is State.ESTABLISHED
        started = trio.current_time()
        ended = 0.0
        for around in range(2 * least):
            await trio.sleep(hold_time / 3)
            try:
                await stuck.say(KEEP)
            except trio.BrokenResourceError:
                ended = trio.current_time() - started
                break
            await source.say(
                decoder.announce(
                    [ROUTE], decoder.attribute(0x40, 1, b"\0") + decoder.as_path(around + 1), bytes((192, 0, 2, 3))
                )
            )
            await the_lab.settle()
            assert (0x40, 2, b"\2\1" + (around + 1).to_bytes(4, "big")) in other.table[ROUTE]
        assert least <= ended <= least + hold_time
        assert state(the_lab) is not State.ESTABLISHED
    assert any("send hold timer expired" in text and "8/0" in text for text in caplog.messages)


async def test_stray_notifications_before_a_session(autojump_clock: MockClock) -> None:
    """RFC 4271, section 8.2.2: a NOTIFICATION instead of OPEN or KEEPALIVE ends the attempt and is not answered."""
    async with lab(peer_settings(1)) as the_lab:
        for said in ((), (hello(),)):
            wire = await connect(the_lab, *said, message(NOTIFICATION, b"\2\1\0\3"))
            assert await wire.ending(2) is None
        assert await is_up(the_lab, await connect(the_lab, hello(), KEEP))


def lengths(subtype: int, size: int) -> bytes:
    """A ROUTE-REFRESH of `size` octets."""
    return message(REFRESH, (b"\0\1" + bytes((subtype, 1))).ljust(size - 19, b"\0")[: size - 19])


async def ask(octets: bytes) -> tuple[bytes | None, bool]:
    """Say this on an enhanced session: the NOTIFICATION if the session ended, and whether anything was answered."""
    async with lab(peer_settings(1)) as the_lab:
        wire = await connect(the_lab, hello(CAPABILITIES + parameter(b"\2\0\x46\0")), KEEP)
        assert await is_up(the_lab, wire)
        await wire.say(octets)
        found = await wire.hear()
        return (found[-1][19:] if wire.ended else None), bool(found)


@pytest.mark.parametrize("subtype", [1, 2])
async def test_borr_and_eorr_have_one_length(subtype: int, autojump_clock: MockClock) -> None:
    """RF-5 (RFC 7313, section 5): 24 octets of BoRR or EoRR are 7/1 with the whole message."""
    octets = lengths(subtype, 24)
    assert await ask(octets) == (b"\7\1" + octets, True)


@pytest.mark.parametrize("subtype", [3, 255])
async def test_unknown_refresh_subtypes_are_ignored(subtype: int, autojump_clock: MockClock) -> None:
    """RF-6: nothing is sent, the session stays."""
    assert await ask(lengths(subtype, 23)) == (None, False)


async def test_hdr_5_a_short_notification_is_answered_by_nothing(autojump_clock: MockClock) -> None:
    """HDR-5, FSM-7 (RFC 4271, section 6.4): a fault in a NOTIFICATION cannot be told; the connection ends."""
    async with lab(peer_settings(1)) as the_lab:
        wire = await connect(the_lab, hello(CAPABILITIES), KEEP)
        assert await is_up(the_lab, wire)
        await wire.say(message(NOTIFICATION, b"\6"))
        assert await wire.hear() == []
        assert wire.ended


@pytest.mark.parametrize("subtype", [1, 2], ids=["RF-5-22-borr", "RF-5-22-eorr"])
async def test_rf_5_a_short_borr_or_eorr(subtype: int, autojump_clock: MockClock) -> None:
    """RF-5 (RFC 7313, section 5): 7/1 with the whole message as data."""
    assert (await ask(lengths(subtype, 22)))[0] == b"\7\1" + lengths(subtype, 22)
