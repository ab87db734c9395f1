"""What a whole daemon makes of each wrong or odd UPDATE: RFC 4271 section 6.3, RFC 7606, 7607, 8092, 6793, 4760.

The parameters' ids are the rows of the conformance table. In each test peer 1 has announced A, B, A6 and B6 before and
says what is tested of A and C (or A6 and C6); peer 2 is who would be told.
"""

import contextlib
from collections.abc import AsyncIterator

import attrs
import pytest
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.decoder import V4, V6, Family, Route, Update, attribute, update
from tests.harness.lab import Lab, lab, peer_settings
from tests.harness.speaker import ScriptedSpeaker
from trio_bgp.session.fsm import State
from trio_bgp.settings import BgpRole, PeerSettings, Role
from trio_bgp.wire.numbers import EVPN as EVPN_FAMILY
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST

A, B, C = ((V4, bytes((24, 10, 0, n))) for n in range(3))
A6, B6, C6 = ((V6, bytes((48, 0x20, 0x01, 0x0D, 0xB8, 0, n))) for n in range(3))
HOP = bytes((192, 0, 2, 1))
HOP6 = bytes.fromhex("20010db8") + bytes(11) + b"\x01"
ORIGIN = attribute(0x40, 1, b"\0")
PATH = decoder.as_path(65001)
NEXT_HOP = attribute(0x40, 3, HOP)
LOCAL_PREF = attribute(0x40, 5, b"\0\0\0\x64")
NLRI = A[1] + C[1]
COMMUNITY = attribute(0xC0, 8, b"\0\1\0\1")
AGGREGATOR = attribute(0xC0, 7, b"\0\0\xfd\xe9\x0a\0\0\1")


def v4(more: bytes = b"", *, origin: bytes = ORIGIN, path: bytes = PATH, hop: bytes = NEXT_HOP) -> bytes:
    """An UPDATE that announces A and C."""
    return update(b"", origin + path + hop + more, NLRI)


def reach(nlri: bytes = A6[1] + C6[1], *, flags: int = 0x80, hop: bytes = HOP6, family: Family = V6) -> bytes:
    """An MP_REACH_NLRI."""
    value = family[0].to_bytes(2, "big") + bytes((family[1], len(hop))) + hop + b"\0" + nlri
    return attribute(flags, 14, value)


def unreach(nlri: bytes = A6[1], *, family: Family = V6, flags: int = 0x80) -> bytes:
    """An MP_UNREACH_NLRI."""
    return attribute(flags, 15, family[0].to_bytes(2, "big") + bytes((family[1],)) + nlri)


def v6(more: bytes = b"", *, origin: bytes = ORIGIN, path: bytes = PATH) -> bytes:
    """An UPDATE that announces A6 and C6."""
    return update(b"", reach() + origin + path + more)


def as_path(value: bytes) -> bytes:
    """An AS_PATH of this value."""
    return attribute(0x40, 2, value)


@attrs.frozen
class Setting:
    """Who peer 1 is."""

    settings: PeerSettings
    receiver: PeerSettings
    asn: int = 65001
    asn4: bool = True


FAMILIES = (IPV4_UNICAST, IPV6_UNICAST, EVPN_FAMILY)
CLIENT = Setting(peer_settings(1), peer_settings(2))
OLD = attrs.evolve(CLIENT, asn4=False)
NO_SETS = Setting(peer_settings(1, reject_as_set=True), peer_settings(2))
WITH_ROLE = Setting(peer_settings(1, bgp_role=BgpRole.RS), peer_settings(2))
INTERNAL = Setting(
    peer_settings(1, peer_as=65000, role=Role.RR_CLIENT), peer_settings(2, peer_as=65000, role=Role.RR_CLIENT), 65000
)
EVPN_TOO = Setting(peer_settings(1, families=FAMILIES), peer_settings(2, families=FAMILIES))
FIRST_AS = Setting(peer_settings(1, enforce_first_as=True), peer_settings(2))


class Test:
    """A daemon between peer 1, who sends, and peer 2, who looks."""

    __test__ = False

    def __init__(self, the_lab: Lab, one: ScriptedSpeaker, two: ScriptedSpeaker) -> None:
        self.lab = the_lab
        self.one = one
        self.two = two

    def forget(self) -> None:
        """Look only at what comes from here on."""
        self.two.updates.clear()

    async def say(self, *octets: bytes) -> None:
        """Peer 1 sends, and all is done that follows."""
        await self.one.say(b"".join(octets))
        await self.lab.settle()

    @property
    def up(self) -> bool:
        """Peer 1's session is established."""
        return (
            next(each.state for each in self.lab.speaker.statistics() if each.name == "p1") is State.ESTABLISHED
            and not self.one.notifications
            and not self.one.closed.is_set()
        )

    def withdrawn(self) -> list[Route]:
        """What peer 2 was told to forget, sorted, with repetitions."""
        return sorted(route for each in self.two.updates for route in Update(each).withdrawn)

    def announced(self) -> list[Route]:
        """What peer 2 was given, sorted, with repetitions."""
        return sorted(route for each in self.two.updates for route in Update(each).announced)


@contextlib.asynccontextmanager
async def between(setting: Setting = CLIENT) -> AsyncIterator[Test]:
    """See the module's words."""
    families: tuple[Family, ...] = (V4, V6, decoder.EVPN) if setting is EVPN_TOO else (V4, V6)
    async with lab(setting.settings, setting.receiver) as the_lab:
        one = await the_lab.join(1, asn=setting.asn, asn4=setting.asn4, families=families)
        two = await the_lab.join(2, asn=setting.receiver.peer_as, families=families)
        test = Test(the_lab, one, two)
        path = as_path(b"\2\1\xfd\xe9") if not setting.asn4 else PATH
        more = path + (LOCAL_PREF if setting is INTERNAL else b"")
        await test.say(update(b"", ORIGIN + more + NEXT_HOP, A[1] + B[1]))
        await test.say(update(b"", reach(A6[1] + B6[1]) + ORIGIN + more))
        assert set(two.table) == {A, B, A6, B6}
        test.forget()
        yield test


def old_path(*numbers: int) -> bytes:
    """An AS_PATH of 2-octet AS numbers."""
    return as_path(bytes((2, len(numbers))) + b"".join(number.to_bytes(2, "big") for number in numbers))


BAD_MED = attribute(0x80, 4, b"\0\0\1")
TREAT_AS_WITHDRAW: dict[str, tuple[bytes, list[Route], Setting]] = {
    "UPD-2-origin-optional": (v4(origin=attribute(0xC0, 1, b"\0")), [A], CLIENT),
    "UPD-2-origin-not-transitive": (v4(origin=attribute(0x00, 1, b"\0")), [A], CLIENT),
    "UPD-2-as-path-optional": (v4(path=attribute(0xC0, 2, PATH[3:])), [A], CLIENT),
    "UPD-2-next-hop-optional": (v4(hop=attribute(0xC0, 3, HOP)), [A], CLIENT),
    "UPD-2-med-transitive": (v4(attribute(0xC0, 4, bytes(4))), [A], CLIENT),
    "UPD-2-med-well-known": (v4(attribute(0x40, 4, bytes(4))), [A], CLIENT),
    "UPD-2-atomic-aggregate-optional": (v4(attribute(0xC0, 6, b"")), [A], CLIENT),
    "UPD-2-aggregator-not-transitive": (v4(attribute(0x80, 7, AGGREGATOR[3:])), [A], CLIENT),
    "UPD-2-community-not-transitive": (v4(attribute(0x80, 8, bytes(4))), [A], CLIENT),
    "UPD-2-community-well-known": (v4(attribute(0x40, 8, bytes(4))), [A], CLIENT),
    "UPD-2-large-community-not-transitive": (v4(attribute(0x80, 32, bytes(12))), [A], CLIENT),
    "UPD-2-mp-reach-transitive": (update(b"", reach(flags=0xC0) + ORIGIN + PATH), [A6], CLIENT),
    "UPD-3-origin": (v4(origin=b""), [A], CLIENT),
    "UPD-3-as-path": (v4(path=b""), [A], CLIENT),
    "UPD-3-next-hop": (v4(hop=b""), [A], CLIENT),
    "UPD-3-all": (update(b"", b"", NLRI), [A], CLIENT),
    "UPD-3-origin-ipv6": (v6(origin=b""), [A6], CLIENT),
    "UPD-3-as-path-ipv6": (v6(path=b""), [A6], CLIENT),
    "UPD-3-next-hop-of-mixed": (update(b"", reach() + ORIGIN + PATH, NLRI), [A, A6], CLIENT),
    "UPD-6": (v4(attribute(0xC0, 7, bytes(7)) + BAD_MED), [A], CLIENT),
    "UPD-6-other-order": (v4(BAD_MED + attribute(0xC0, 7, bytes(7))), [A], CLIENT),
    "UPD-7-overrun": (v4(b"\xc0\x08\x08\0\1\0\1"), [A], CLIENT),
    "UPD-7-overrun-extended": (v4(b"\xd0\x08\x01\0\0\1\0\1"), [A], CLIENT),
    "UPD-7-one-octet-left": (v4(b"\xc0"), [A], CLIENT),
    "UPD-7-two-octets-left": (v4(b"\xc0\x08"), [A], CLIENT),
    "UPD-7-half-a-length": (v4(b"\xd0\x08\x00"), [A], CLIENT),
    "UPD-7-ipv6": (v6(b"\xc0\x08\x08\0\1\0\1"), [A6], CLIENT),
    "UPD-11-length-0": (v4(origin=attribute(0x40, 1, b"")), [A], CLIENT),
    "UPD-11-length-2": (v4(origin=attribute(0x40, 1, b"\0\0")), [A], CLIENT),
    "UPD-11-value-3": (v4(origin=attribute(0x40, 1, b"\3")), [A], CLIENT),
    "UPD-11-value-255": (v4(origin=attribute(0x40, 1, b"\xff")), [A], CLIENT),
    "UPD-11-ipv6": (v6(origin=attribute(0x40, 1, b"\3")), [A6], CLIENT),
    "UPD-12-type-0": (v4(path=as_path(b"\0\1\0\0\xfd\xe9")), [A], CLIENT),
    "UPD-12-type-9": (v4(path=as_path(b"\x09\1\0\0\xfd\xe9")), [A], CLIENT),
    "UPD-12-count-0": (v4(path=as_path(b"\2\0")), [A], CLIENT),
    "UPD-12-count-0-later": (v4(path=as_path(b"\2\1\0\0\xfd\xe9\2\0")), [A], CLIENT),
    "UPD-12-overrun": (v4(path=as_path(b"\2\2\0\0\xfd\xe9")), [A], CLIENT),
    "UPD-12-odd-octet": (v4(path=as_path(b"\2\1\0\0\xfd\xe9\2")), [A], CLIENT),
    "UPD-12-two-octet-numbers": (v4(path=as_path(b"\2\1\xfd\xe9")), [A], CLIENT),
    "UPD-12-old-peer": (update(b"", ORIGIN + as_path(b"\2\1\0\0\xfd") + NEXT_HOP, NLRI), [A], OLD),
    "UPD-13-length-0": (v4(hop=attribute(0x40, 3, b"")), [A], CLIENT),
    "UPD-13-length-3": (v4(hop=attribute(0x40, 3, HOP[:3])), [A], CLIENT),
    "UPD-13-length-5": (v4(hop=attribute(0x40, 3, HOP + b"\0")), [A], CLIENT),
    "UPD-13-length-16": (v4(hop=attribute(0x40, 3, HOP6)), [A], CLIENT),
    "UPD-14-zero": (v4(hop=attribute(0x40, 3, bytes(4))), [A], CLIENT),
    "UPD-14-multicast": (v4(hop=attribute(0x40, 3, b"\xe0\0\0\1")), [A], CLIENT),
    "UPD-14-broadcast": (v4(hop=attribute(0x40, 3, b"\xff\xff\xff\xff")), [A], CLIENT),
    "UPD-15-length-3": (v4(BAD_MED), [A], CLIENT),
    "UPD-15-length-0": (v4(attribute(0x80, 4, b"")), [A], CLIENT),
    "UPD-15-length-8": (v4(attribute(0x80, 4, bytes(8))), [A], CLIENT),
    "UPD-15-ipv6": (v6(BAD_MED), [A6], CLIENT),
    "UPD-16-internal": (v4(attribute(0x40, 5, bytes(3))), [A], INTERNAL),
    "UPD-18-community-0": (v4(attribute(0xC0, 8, b"")), [A], CLIENT),
    "UPD-18-community-3": (v4(attribute(0xC0, 8, bytes(3))), [A], CLIENT),
    "UPD-18-community-5": (v4(attribute(0xC0, 8, bytes(5))), [A], CLIENT),
    "UPD-18-extended-0": (v4(attribute(0xC0, 16, b"")), [A], CLIENT),
    "UPD-18-extended-7": (v4(attribute(0xC0, 16, bytes(7))), [A], CLIENT),
    "UPD-18-ipv6-extended-19": (v4(attribute(0xC0, 25, bytes(19))), [A], CLIENT),
    "UPD-19-length-11": (v4(attribute(0xC0, 32, bytes(11))), [A], CLIENT),
    "UPD-19-length-0": (v4(attribute(0xC0, 32, b"")), [A], CLIENT),
    "UPD-20-originator-id-3": (v4(LOCAL_PREF + attribute(0x80, 9, bytes(3))), [A], INTERNAL),
    "UPD-20-cluster-list-3": (v4(LOCAL_PREF + attribute(0x80, 10, bytes(3))), [A], INTERNAL),
    "UPD-20-cluster-list-0": (v4(LOCAL_PREF + attribute(0x80, 10, b"")), [A], INTERNAL),
    "UPD-29-loop": (v4(path=decoder.as_path(65001, 65000)), [A], CLIENT),
    "UPD-29-loop-in-a-set": (v4(path=as_path(PATH[3:] + b"\1\2\0\0\0\1\0\0\xfd\xe8")), [A], CLIENT),
    "UPD-29-loop-ipv6": (v6(path=decoder.as_path(65001, 65000)), [A6], CLIENT),
    "UPD-29-loop-old-peer": (update(b"", ORIGIN + old_path(65001, 65000) + NEXT_HOP, NLRI), [A], OLD),
    "UPD-30-as-path": (v4(path=decoder.as_path(65001, 0, 3)), [A], CLIENT),
    "UPD-30-as-path-alone": (v4(path=decoder.as_path(0)), [A], CLIENT),
    "UPD-30-as-path-set": (v4(path=as_path(PATH[3:] + b"\1\1\0\0\0\0")), [A], CLIENT),
    "UPD-30-as-path-old-peer": (update(b"", ORIGIN + old_path(65001, 0) + NEXT_HOP, NLRI), [A], OLD),
    "UPD-32-sequence": (v4(path=as_path(b"\3\1\0\0\xfd\xe9" + PATH[3:])), [A], CLIENT),
    "UPD-32-set": (v4(path=as_path(PATH[3:] + b"\4\1\0\0\0\1")), [A], CLIENT),
    "UPD-33-as-set": (v4(path=as_path(PATH[3:] + b"\1\1\0\0\0\1")), [A], NO_SETS),
    "UPD-33-confed-set": (v4(path=as_path(PATH[3:] + b"\4\1\0\0\0\1")), [A], NO_SETS),
    "UPD-33-first-as-in-a-set": (v4(path=as_path(b"\1\1\0\0\xfd\xe9")), [A], FIRST_AS),
    "RO-6": (v4(attribute(0xC0, 35, bytes(3))), [A], CLIENT),
    "RO-6-with-role": (v4(attribute(0xC0, 35, bytes(3))), [A], WITH_ROLE),
    "RR-3-originator": (v4(LOCAL_PREF + attribute(0x80, 9, b"\x0a\xff\0\1")), [A], INTERNAL),
    "RR-3-cluster": (v4(LOCAL_PREF + attribute(0x80, 10, b"\1\2\3\4\x0a\xff\0\1")), [A], INTERNAL),
}


@pytest.mark.parametrize(("octets", "routes", "setting"), TREAT_AS_WITHDRAW.values(), ids=TREAT_AS_WITHDRAW.keys())
async def test_treat_as_withdraw(
    octets: bytes,
    routes: list[Route],
    setting: Setting,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was announced before is withdrawn, what is new reaches nobody, the session stays and works; it is logged."""
    async with between(setting) as test:
        await test.say(octets)
        assert test.withdrawn() == routes
        assert test.announced() == []
        assert test.up
        assert set(test.two.table) == {A, B, A6, B6} - set(routes)
        logged = [text for text in caplog.messages if text.startswith("update.refused") and "discard:" not in text]
        assert len(logged) == 1
        assert "name=p1" in logged[0]
        good = old_path(65001) if not setting.asn4 else PATH
        await test.say(update(b"", ORIGIN + good + NEXT_HOP + (LOCAL_PREF if setting is INTERNAL else b""), NLRI))
        assert {A, C} <= set(test.two.table)


@pytest.mark.parametrize(("octets", "routes", "setting"), TREAT_AS_WITHDRAW.values(), ids=TREAT_AS_WITHDRAW.keys())
async def test_treat_as_withdraw_is_for_one_message_only(
    octets: bytes, routes: list[Route], setting: Setting, autojump_clock: MockClock
) -> None:
    """In one read with good UPDATEs in front and behind: those count; the same blocks again are refused again."""
    path = old_path(65001) if not setting.asn4 else PATH
    good = ORIGIN + path + NEXT_HOP + (LOCAL_PREF if setting is INTERNAL else b"")
    front = update(b"", good + attribute(0xC0, 8, b"\0\1\0\2"), NLRI)
    behind = update(b"", good, b"\x18\x0a\x00\x09")
    async with between(setting) as test:
        await test.say(front, octets, octets, behind)
        left = {A, B, C, A6, B6, (V4, b"\x18\x0a\x00\x09")}
        families = {family for family, _ in routes}
        left -= {(family, prefix) for family, prefix in (A, C, A6, C6) if family in families}
        assert set(test.two.table) == left
        assert test.up


def without(octets: bytes, *kinds: int) -> bytes:
    """The UPDATE without attributes of these types."""
    size = int.from_bytes(octets[21:23], "big")
    kept = b"".join(attribute(*each) for each in decoder.attributes_of(octets[23 : 23 + size]) if each[1] not in kinds)
    return update(b"", kept, octets[23 + size :])


FIRST = attribute(0x80, 4, b"\0\0\0\1")
SECOND = attribute(0x80, 4, b"\0\0\0\2")
UNKNOWN = attribute(0xC0, 200, b"first")
AS4_AGGREGATOR = attribute(0xC0, 18, b"\0\1\x11\x70\x0a\0\0\1")
AS4_PATH = attribute(0xC0, 17, b"\2\1\0\1\x11\x70")
OLD_BASE = ORIGIN + old_path(65001, 23456) + NEXT_HOP
NEW_BASE = ORIGIN + decoder.as_path(65001, 23456) + NEXT_HOP
ATTRIBUTE_DISCARD: dict[str, tuple[bytes, bytes, Setting]] = {
    "UPD-4-med": (v4(FIRST + SECOND), v4(FIRST), CLIENT),
    "UPD-4-community": (v4(COMMUNITY + FIRST + attribute(0xC0, 8, b"\0\2\0\2")), v4(COMMUNITY + FIRST), CLIENT),
    "UPD-4-unknown": (v4(UNKNOWN + attribute(0xC0, 200, b"second")), v4(UNKNOWN), CLIENT),
    "UPD-4-origin": (v4(attribute(0x40, 1, b"\2")), v4(), CLIENT),
    "UPD-4-as-path": (v4(decoder.as_path(65001, 65002)), v4(), CLIENT),
    "UPD-4-next-hop": (v4(attribute(0x40, 3, b"\1\1\1\1")), v4(), CLIENT),
    "UPD-4-second-malformed": (v4(FIRST + BAD_MED), v4(FIRST), CLIENT),
    "UPD-4-three": (v4(FIRST + SECOND + SECOND), v4(FIRST), CLIENT),
    "UPD-16-external": (v4(LOCAL_PREF), v4(), CLIENT),
    "UPD-16-external-length-3": (v4(attribute(0x40, 5, bytes(3))), v4(), CLIENT),
    "UPD-16-external-between": (v4(COMMUNITY + LOCAL_PREF + FIRST), v4(COMMUNITY + FIRST), CLIENT),
    "UPD-17-atomic-aggregate": (v4(attribute(0x40, 6, b"\0")), v4(), CLIENT),
    "UPD-17-aggregator-7": (v4(attribute(0xC0, 7, bytes(7)) + FIRST), v4(FIRST), CLIENT),
    "UPD-17-aggregator-6": (v4(attribute(0xC0, 7, b"\xfd\xe9\x0a\0\0\1")), v4(), CLIENT),
    "UPD-17-aggregator-old-peer": (
        update(b"", ORIGIN + old_path(65001) + NEXT_HOP + attribute(0xC0, 7, AGGREGATOR[3:]), NLRI),
        v4(),
        OLD,
    ),
    "UPD-20-originator-id": (v4(attribute(0x80, 9, bytes(4))), v4(), CLIENT),
    "UPD-20-cluster-list": (v4(attribute(0x80, 10, bytes(4))), v4(), CLIENT),
    "UPD-20-malformed": (v4(attribute(0x80, 9, bytes(3)) + attribute(0x80, 10, bytes(3))), v4(), CLIENT),
    "UPD-30-aggregator": (v4(attribute(0xC0, 7, bytes(4) + b"\x0a\0\0\1")), v4(), CLIENT),
    "UPD-30-as4-path": (
        update(b"", OLD_BASE + attribute(0xC0, 17, b"\2\1\0\0\0\0"), NLRI),
        update(b"", NEW_BASE, NLRI),
        OLD,
    ),
    "UPD-30-as4-aggregator": (
        update(
            b"",
            OLD_BASE + attribute(0xC0, 7, b"\x5b\xa0\x0a\0\0\1") + attribute(0xC0, 18, bytes(4) + b"\x0a\0\0\1"),
            NLRI,
        ),
        update(b"", NEW_BASE + attribute(0xC0, 7, b"\0\0\x5b\xa0\x0a\0\0\1"), NLRI),
        OLD,
    ),
    "AS4-4": (
        update(b"", OLD_BASE + AS4_PATH, NLRI),
        v4(path=decoder.as_path(65001, 70000)),
        OLD,
    ),
    "AS4-4-longer": (
        update(b"", OLD_BASE + attribute(0xC0, 17, b"\2\3\0\1\x11\x70\0\1\x11\x71\0\1\x11\x72"), NLRI),
        update(b"", NEW_BASE, NLRI),
        OLD,
    ),
    "AS4-4-aggregator": (
        update(b"", OLD_BASE + attribute(0xC0, 7, b"\x5b\xa0\x0a\0\0\1") + AS4_PATH + AS4_AGGREGATOR, NLRI),
        v4(attribute(0xC0, 7, AS4_AGGREGATOR[3:]), path=decoder.as_path(65001, 70000)),
        OLD,
    ),
    "AS4-5": (
        update(b"", OLD_BASE + attribute(0xC0, 7, b"\xfd\xe9\x0a\0\0\1") + AS4_PATH + AS4_AGGREGATOR, NLRI),
        update(b"", NEW_BASE + AGGREGATOR, NLRI),
        OLD,
    ),
    "AS4-6-path-malformed": (
        update(b"", OLD_BASE + attribute(0xC0, 17, b"\2\2\0\1\x11\x70"), NLRI),
        update(b"", NEW_BASE, NLRI),
        OLD,
    ),
    "AS4-6-aggregator-malformed": (
        update(b"", OLD_BASE + attribute(0xC0, 7, b"\x5b\xa0\x0a\0\0\1") + attribute(0xC0, 18, bytes(7)), NLRI),
        update(b"", NEW_BASE + attribute(0xC0, 7, b"\0\0\x5b\xa0\x0a\0\0\1"), NLRI),
        OLD,
    ),
    "AS4-6-path-from-new-peer": (v4(AS4_PATH), v4(), CLIENT),
    "AS4-6-aggregator-from-new-peer": (v4(AGGREGATOR + AS4_AGGREGATOR), v4(AGGREGATOR), CLIENT),
    "trap-10b-low-flag-bits": (v4(b"\xcf\xc8\1x"), v4(b"\xc0\xc8\1x"), CLIENT),
    "trap-10b-partial-well-known": (v4(origin=b"\x60\1\1\0"), v4(), CLIENT),
    "trap-10b-partial-non-transitive": (v4(b"\xa0\4\4\0\0\0\1"), v4(FIRST), CLIENT),
    "trap-10b-partial-unknown-non-transitive": (v4(b"\xa0\xc8\1x"), v4(b"\x80\xc8\1x"), CLIENT),
}


@pytest.mark.parametrize(("octets", "expected", "setting"), ATTRIBUTE_DISCARD.values(), ids=ATTRIBUTE_DISCARD.keys())
async def test_attribute_discard(octets: bytes, expected: bytes, setting: Setting, autojump_clock: MockClock) -> None:
    """The routes go on without what is wrong, all else as it came, and the session stays."""
    async with between(setting) as test:
        if expected == v4():
            # To see the replacement: what is there already would be no news.
            await test.say(
                update(b"", ORIGIN + (PATH if setting.asn4 else old_path(65001)) + NEXT_HOP + COMMUNITY, NLRI)
            )
            test.forget()
        await test.say(octets)
        assert test.withdrawn() == []
        assert test.announced() == [A, C]
        wanted = Update(expected).announced
        for route in (A, C):
            assert sorted(test.two.table[route]) == sorted(wanted[route])
        assert test.up


UPDATE_16 = v4()
RESET: dict[str, tuple[bytes, bytes, Setting]] = {
    "UPD-1-withdrawn-length": (decoder.message(2, b"\0\1\0\0"), b"\3\1", CLIENT),
    "UPD-1-attributes-length": (decoder.message(2, b"\0\0\0\1"), b"\3\1", CLIENT),
    "UPD-1-attributes-length-by-one": (
        decoder.message(2, b"\0\0" + (len(UPDATE_16) - 22).to_bytes(2, "big") + UPDATE_16[23:]),
        b"\3\1",
        CLIENT,
    ),
    "UPD-1-both-65535": (decoder.message(2, b"\xff\xff\xff\xff"), b"\3\1", CLIENT),
    "UPD-1-withdrawn-hides-attributes-length": (decoder.message(2, b"\0\5\0\0\0\0\0"), b"\3\1", CLIENT),
    "UPD-5-mp-reach": (update(b"", reach() + ORIGIN + PATH + reach(B6[1])), b"\3\1", CLIENT),
    "UPD-5-mp-reach-equal": (update(b"", reach() + reach() + ORIGIN + PATH), b"\3\1", CLIENT),
    "UPD-5-mp-unreach": (update(b"", unreach() + unreach()), b"\3\1", CLIENT),
    "UPD-8-attributes-alone": (update(b"", attribute(0x40, 1, b"\3")), b"\3", CLIENT),
    "UPD-8-withdrawn": (update(A[1], ORIGIN + PATH + BAD_MED), b"\3", CLIENT),
    "UPD-8-mp-unreach": (update(b"", unreach() + BAD_MED), b"\3", CLIENT),
    "UPD-8-overrun": (update(b"", unreach() + b"\xc0\x08\x09\0"), b"\3", CLIENT),
    "UPD-8-octets-left": (update(b"", b"\xc0\x08"), b"\3", CLIENT),
    "UPD-8-mp-unreach-flags": (update(b"", unreach(flags=0xC0)), b"\3", CLIENT),
    "UPD-9-length-33": (update(b"", UPDATE_16[23:-8], b"\x21\x0a\0\0\0\0"), b"\3\x0a", CLIENT),
    "UPD-9-length-33-later": (update(b"", UPDATE_16[23:-8], A[1] + b"\x21\x0a\0\0\0\0"), b"\3\x0a", CLIENT),
    "UPD-9-length-255": (update(b"", UPDATE_16[23:-8], b"\xff" + bytes(32)), b"\3\x0a", CLIENT),
    "UPD-9-cut-short": (update(b"", UPDATE_16[23:-8], A[1][:-1]), b"\3\x0a", CLIENT),
    "UPD-9-cut-short-later": (update(b"", UPDATE_16[23:-8], A[1] + b"\x18"), b"\3\x0a", CLIENT),
    "UPD-10-length-33": (update(b"\x21\x0a\0\0\0\0"), b"\3\x0a", CLIENT),
    "UPD-10-cut-short": (update(A[1][:-1]), b"\3\x0a", CLIENT),
    "UPD-10-cut-short-later": (update(A[1] + b"\x20\x0a\0\0"), b"\3\x0a", CLIENT),
    "UPD-10-before-good-nlri": (update(b"\x21\x0a\0\0\0\0", UPDATE_16[23:-8], A[1]), b"\3\x0a", CLIENT),
    "UPD-10-mp-unreach-129": (update(b"", unreach(b"\x81" + bytes(17))), b"\3", CLIENT),
    "UPD-10-mp-unreach-cut-short": (update(b"", unreach(A6[1][:-1])), b"\3", CLIENT),
    "UPD-21-next-hop-15": (
        update(b"", reach(hop=HOP6[:15]) + ORIGIN + PATH),
        b"\3\x09" + reach(hop=HOP6[:15]),
        CLIENT,
    ),
    "UPD-21-next-hop-0": (update(b"", reach(hop=b"") + ORIGIN + PATH), b"\3\x09" + reach(hop=b""), CLIENT),
    "UPD-21-next-hop-beyond": (
        update(b"", attribute(0x80, 14, b"\0\2\1\xff" + HOP6) + ORIGIN + PATH),
        b"\3\x09" + attribute(0x80, 14, b"\0\2\1\xff" + HOP6),
        CLIENT,
    ),
    "UPD-21-length-4": (
        update(b"", attribute(0x80, 14, b"\0\2\1\0") + ORIGIN + PATH),
        b"\3\x09" + attribute(0x80, 14, b"\0\2\1\0"),
        CLIENT,
    ),
    "UPD-21-mp-unreach-length-2": (update(b"", attribute(0x80, 15, b"\0\2")), b"\3\x09" + b"\x80\x0f\2\0\2", CLIENT),
    "UPD-21-nlri-129": (update(b"", reach(b"\x81" + bytes(17)) + ORIGIN + PATH), b"\3", CLIENT),
    "UPD-21-nlri-cut-short": (update(b"", reach(A6[1][:-1]) + ORIGIN + PATH), b"\3", CLIENT),
    "UPD-22": (v4(attribute(0x40, 99, b"abc")), b"\3\2" + attribute(0x40, 99, b"abc"), CLIENT),
    "UPD-22-extended": (
        v4(b"\x50\x63\x00\x03abc"),
        b"\3\2" + b"\x50\x63\x00\x03abc",
        CLIENT,
    ),
    "UPD-22-behind-treat-as-withdraw": (
        v4(BAD_MED + attribute(0x40, 99, b"abc")),
        b"\3\2" + attribute(0x40, 99, b"abc"),
        CLIENT,
    ),
    "MP-4-not-negotiated": (
        update(b"", reach(NLRI, family=V4) + ORIGIN + PATH),
        b"\3\x09" + reach(NLRI, family=V4),
        CLIENT,
    ),
}


@pytest.mark.parametrize(("octets", "expected", "setting"), RESET.values(), ids=RESET.keys())
async def test_session_reset(octets: bytes, expected: bytes, setting: Setting, autojump_clock: MockClock) -> None:
    """What came before it in the same read counts; then the NOTIFICATION, the end, and all routes of the peer go.

    Of an expected code without subcode any subcode will do: the RFCs do not say which.
    """
    front = update(b"", ORIGIN + PATH + NEXT_HOP + attribute(0xC0, 8, b"\0\7\0\7"), b"\x18\x0a\x00\x09")
    behind = update(b"", ORIGIN + PATH + NEXT_HOP, b"\x18\x0a\x00\x0a")
    async with between(setting) as test:
        await test.say(front, octets, behind)
        assert len(test.one.notifications) == 1
        if len(expected) == 1:
            assert test.one.notifications[0][:1] == expected
        elif len(expected) == 2 and expected != b"\3\1":
            assert test.one.notifications[0][:2] == expected
        else:
            assert test.one.notifications == [expected]
        assert test.one.closed.is_set()
        assert test.announced() == [(V4, b"\x18\x0a\x00\x09")]
        assert test.two.table == {}
        assert not test.two.notifications


UNCHANGED: dict[str, bytes] = {
    "UPD-23": v4(attribute(0xC0, 200, b"abc")),
    "UPD-23-partial": v4(attribute(0xE0, 200, b"abc")),
    "UPD-24": v4(attribute(0x80, 200, b"abc")),
    "UPD-24-empty": v4(attribute(0x80, 200, b"")),
    "UPD-31-descending": update(b"", attribute(0xC0, 200, b"x") + COMMUNITY + FIRST + NEXT_HOP + PATH + ORIGIN, NLRI),
    "UPD-31-extended-length": v4(b"\x90\x04\x00\x04\0\0\0\1", origin=b"\x50\x01\x00\x01\x00"),
    "UPD-33-accepted": v4(path=as_path(PATH[3:] + b"\1\2\0\0\0\1\0\0\0\2")),
    "UPD-17-aggregator": v4(AGGREGATOR + attribute(0x40, 6, b"")),
    "UPD-11-egp-and-incomplete": v4(origin=attribute(0x40, 1, b"\2")),
    "UPD-12-long-path": v4(path=attribute(0x40, 2, b"\2\xff" + bytes(range(1, 256)) * 4 + PATH[3:])),
    "MP-2": v6(NEXT_HOP),
    "MP-2-unusable-next-hop": v6(attribute(0x40, 3, bytes(4))),
    "MP-3-16": v6(COMMUNITY),
    "MP-3-32": update(b"", reach(hop=HOP6 + b"\xfe\x80" + bytes(14)) + ORIGIN + PATH),
    "MP-6": update(b"", reach(NLRI, family=V4, hop=HOP) + ORIGIN + PATH + COMMUNITY),
    "MP-6-mp-reach-last": update(b"", ORIGIN + PATH + COMMUNITY + reach(NLRI, family=V4, hop=HOP)),
}


@pytest.mark.parametrize("octets", UNCHANGED.values(), ids=UNCHANGED.keys())
async def test_odd_but_right(octets: bytes, autojump_clock: MockClock) -> None:
    """What is legal goes on as it came, octet for octet."""
    async with between() as test:
        await test.say(octets)
        assert test.two.updates == [octets]
        assert test.up


NOTHING: dict[str, bytes] = {
    "UPD-27": update(C[1]),
    "UPD-27-ipv6": update(b"", unreach(C6[1])),
    "UPD-27-with-attributes": update(C[1], ORIGIN + PATH),
    "MP-1-reach": update(b"", reach(b"\x00\x02ab", family=(16388, 99), hop=b"1234") + ORIGIN + PATH),
    "MP-1-unreach": update(b"", unreach(b"\x18\x0a\0\0", family=(1, 2))),
    "MP-1-end-of-rib": update(b"", unreach(b"", family=(25, 70))),
    "UPD-8-attributes-alone-and-good": update(b"", ORIGIN + PATH + NEXT_HOP),
    "UPD-8-discard": update(b"", attribute(0xC0, 7, bytes(7))),
}


@pytest.mark.parametrize("octets", NOTHING.values(), ids=NOTHING.keys())
async def test_without_effect(octets: bytes, autojump_clock: MockClock) -> None:
    """Nothing is sent on, nothing changes, the session stays."""
    async with between() as test:
        await test.say(octets)
        assert test.two.updates == []
        assert test.up
        assert set(test.two.table) == {A, B, A6, B6}


WITHDRAWALS: dict[str, tuple[bytes, list[Route]]] = {
    "plain": (update(A[1]), [A]),
    "UPD-8-discard-next-to-withdrawn": (update(A[1], ORIGIN + attribute(0xC0, 7, bytes(7))), [A]),
    "UPD-8-discard-next-to-mp-unreach": (update(b"", unreach() + attribute(0xC0, 7, bytes(7))), [A6]),
    "UPD-8-good-attributes-next-to-mp-unreach": (update(b"", unreach() + ORIGIN + PATH + COMMUNITY), [A6]),
    "UPD-26": (update(b"\x18\x0a\0\0" + b"\x18\x0a\0\1"), [A, B]),
    "UPD-27-among-others": (update(C[1] + A[1]), [A]),
    "UPD-27-twice": (update(A[1] + A[1]), [A]),
    "MP-6": (update(b"", unreach(A[1], family=V4)), [A]),
    "mixed": (update(A[1], unreach()), [A, A6]),
}


@pytest.mark.parametrize(("octets", "routes"), WITHDRAWALS.values(), ids=WITHDRAWALS.keys())
async def test_withdrawals(octets: bytes, routes: list[Route], autojump_clock: MockClock) -> None:
    """What is withdrawn, in whatever form, is withdrawn, and nothing else is."""
    async with between() as test:
        await test.say(octets)
        assert sorted(set(test.withdrawn())) == sorted(routes)
        assert test.announced() == []
        assert set(test.two.table) == {A, B, A6, B6} - set(routes)
        assert test.up


async def test_the_same_prefix_withdrawn_and_announced(autojump_clock: MockClock) -> None:
    """UPD-25: in one UPDATE, the announcement wins; of IPv6 too."""
    async with between() as test:
        await test.say(update(A[1] + C[1], ORIGIN + PATH + NEXT_HOP + FIRST, NLRI))
        await test.say(update(b"", unreach(A6[1] + C6[1]) + reach() + ORIGIN + PATH + FIRST))
        assert set(test.two.table) == {A, B, C, A6, B6, C6}
        for route in (A, C, A6, C6):
            assert (0x80, 4, b"\0\0\0\1") in test.two.table[route]
        assert test.up


@pytest.mark.parametrize("several", [False, True])
async def test_bits_behind_a_prefix(several: bool, autojump_clock: MockClock) -> None:
    """UPD-26: 10.9.127.0/17 with seven stray bits is the prefix without them: it is replaced and withdrawn as such."""
    stray, clean = b"\x11\x0a\x09\x7f", b"\x11\x0a\x09\x00"
    more = b"\x18\x0a\x0a\x0a" if several else b""

    def zeroed() -> set[bytes]:
        """What peer 2 holds of it, as a peer that ignores stray bits would."""
        return {prefix[:3] + bytes((prefix[3] & 0x80,)) for _, prefix in test.two.table if prefix[0] == 17}

    async with between() as test:
        await test.say(update(b"", ORIGIN + PATH + NEXT_HOP, stray + more))
        assert zeroed() == {clean}
        test.two.table.clear()
        await test.say(update(b"", ORIGIN + PATH + NEXT_HOP + FIRST, clean + more))
        assert zeroed() == {clean}
        test.forget()
        await test.say(update(stray))
        (withdrawn,) = test.withdrawn()
        assert withdrawn[1][:3] + bytes((withdrawn[1][3] & 0x80,)) == clean
        test.forget()
        await test.say(update(clean))
        assert test.two.updates == [], "it was there twice"


async def test_a_prefix_announced_again(autojump_clock: MockClock) -> None:
    """UPD-28: other attributes are one replacement, without a withdrawal."""
    async with between() as test:
        octets = update(b"", ORIGIN + PATH + NEXT_HOP + FIRST, A[1])
        await test.say(octets)
        assert test.two.updates == [octets]


async def test_a_route_of_an_unknown_evpn_type(autojump_clock: MockClock) -> None:
    """MP-5: a type nobody has heard of is passed on as it is, and withdrawn as such."""
    octets = update(b"", reach(b"\xf7\x05hello", family=decoder.EVPN, hop=HOP) + ORIGIN + PATH)
    async with between(EVPN_TOO) as test:
        await test.say(octets)
        assert test.two.updates == [octets]
        test.forget()
        await test.say(update(b"", unreach(b"\xf7\x05hello", family=decoder.EVPN)))
        assert test.withdrawn() == [(decoder.EVPN, b"\xf7\x05hello")]
        assert test.up


@pytest.mark.parametrize("takes", [True, False])
async def test_an_ipv6_next_hop_of_ipv4_routes(takes: bool, autojump_clock: MockClock) -> None:
    """MP-4 (RFC 8950): accepted where negotiated, sent on to whoever negotiated it too and to nobody else."""
    capability = (b"\x05\x06\0\1\0\1\0\2",)
    octets = update(b"", reach(NLRI, family=V4) + ORIGIN + PATH)
    async with lab(peer_settings(1, extended_next_hop=True), peer_settings(2, extended_next_hop=True)) as the_lab:
        one = await the_lab.join(1, extra=capability)
        two = await the_lab.join(2, extra=capability if takes else ())
        two.updates.clear()
        await one.say(octets)
        await the_lab.settle()
        assert two.updates == ([octets] if takes else [])
        assert one.notifications == []


async def test_ten_thousand_refused_updates(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """RES-1: the session stays, nothing is left of them, the others hear nothing; a good one behind them counts."""
    caplog.set_level("CRITICAL", logger="trio_bgp.forwarder")
    async with between() as test:
        await test.say(update(A[1] + B[1]))
        test.forget()
        for start in range(0, 10_000, 500):
            await test.say(
                *(v4(BAD_MED + attribute(0xC0, 200, n.to_bytes(4, "big"))) for n in range(start, start + 500))
            )
        assert test.two.updates == []
        assert test.up
        source = test.lab.member(1).source
        assert sum(len(store) for store in source.paths.values()) < 20
        await test.say(v4())
        assert test.two.updates == [v4()]


LARGE = attribute(0xC0, 32, bytes(range(12)) * 2)


async def test_upd_14_our_own_address_is_no_next_hop(autojump_clock: MockClock) -> None:
    """UPD-14 (RFC 4271, section 6.3): a route whose next hop is the receiving speaker's own address is not used."""
    async with between() as test:
        await test.say(v4(hop=attribute(0x40, 3, b"\x7f\0\0\1")))
        assert A not in test.two.table
        assert C not in test.two.table
        assert test.up


async def test_upd_19_duplicates_are_removed(autojump_clock: MockClock) -> None:
    """UPD-19 (RFC 8092, section 5): large communities that repeat are removed on receipt."""
    one, two = bytes(11) + b"\1", bytes(11) + b"\2"
    async with between() as test:
        await test.say(v4(attribute(0xC0, 32, one + two + one)))
        assert test.two.table[A] == tuple(
            decoder.attributes_of(ORIGIN + PATH + NEXT_HOP + attribute(0xC0, 32, one + two))
        )
        assert test.up
