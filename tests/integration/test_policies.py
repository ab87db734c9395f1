"""Switches that refuse routes or peers."""

import struct
from typing import Any

import attrs
import pytest

from tests.harness import decoder
from tests.harness.decoder import V4, V6, Family, Route
from tests.harness.lab import lab, peer_settings
from trio_bgp.settings import BgpRole, NextHopCheck, PeerChange
from trio_bgp.wire.nlri import is_martian
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST


@pytest.mark.parametrize(
    ("nlri", "martian"),
    [
        ("080a", True),
        ("180a0102", True),
        ("07 0a", False),
        ("0c ac10", True),
        ("0c ac20", False),
        ("20 7f000001", True),
        ("18 cb0071", True),
        ("18 cb0072", False),
        ("04 e0", False),
        ("04 f0", True),
        ("00", False),
        ("18 080808", False),
    ],
)
def test_martians_of_ipv4(nlri: str, martian: bool) -> None:
    """RFC 6890: inside a special-purpose block; not a shorter prefix around one, nor multicast or the default."""
    assert is_martian(IPV4_UNICAST, bytes.fromhex(nlri)) is martian


@pytest.mark.parametrize(
    ("nlri", "martian"),
    [
        ("20 20010db8", True),
        ("20 2a00 0001", False),
        ("08 fd", True),
        ("0a fe80", True),
        ("08 ff", False),
        ("00", False),
    ],
)
def test_martians_of_ipv6(nlri: str, martian: bool) -> None:
    """Outside of 2000::/3 and multicast, or for documentation."""
    assert is_martian(IPV6_UNICAST, bytes.fromhex(nlri)) is martian


async def test_martians_are_refused_one_by_one(autojump_clock: object, caplog: pytest.LogCaptureFixture) -> None:
    """Other prefixes of the UPDATE are taken; what was announced before counts as withdrawn; the log names one."""
    good: Route = (V4, b"\x18\x08\x08\x08")
    bad: Route = (V4, b"\x08\x0a")
    bad6: Route = (V6, b"\x20\x20\x01\x0d\xb8")
    async with lab(peer_settings(1, reject_martians=True), peer_settings(2), peer_settings(3)) as the_lab:
        one, two, three = [await the_lab.join(number) for number in (1, 2, 3)]
        block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001)
        await one.say(
            decoder.announce([bad, good], block, b"\xc0\0\2\1") + decoder.announce([bad6], block, bytes(15) + b"\1")
        )
        await three.say(decoder.announce([bad], block, b"\xc0\0\2\3"))
        await the_lab.settle()
        assert set(two.table) == {good, bad}
        assert set(three.table) == {good}
        assert "cause='martian: 10.0.0.0/8'" in caplog.text
        assert not one.notifications


@pytest.mark.parametrize("strict", [False, True])
async def test_a_peer_that_does_not_say_its_role(strict: bool, autojump_clock: object) -> None:
    """RO-2 (RFC 9234, section 4.2): 2/11 in strict mode, accepted otherwise."""
    async with lab(peer_settings(1, bgp_role=BgpRole.RS, bgp_role_strict=strict)) as the_lab:
        one = await the_lab.join(1)
        assert one.established.is_set() is not strict
        assert one.notifications == ([bytes((2, 11))] if strict else [])
        if strict:
            again = await the_lab.join(1, extra=(b"\x09\x01\x02",))
            assert again.established.is_set()


async def test_lag_and_detachment_are_counted(autojump_clock: object) -> None:
    """Per peer: octets queued, how long they wait, how often it fell behind."""
    import trio

    async with lab(peer_settings(1), peer_settings(2, queue_limit=300)) as the_lab:
        one = await the_lab.join(1)
        slow = await the_lab.join(2, lockstep=True)
        slow.freeze()
        block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001)
        for number in range(20):
            await one.say(decoder.announce([(V4, bytes((24, 8, 0, number)))], block, b"\xc0\0\2\1"))
            await the_lab.settle()
        await trio.sleep(7)
        found = {peer.name: peer for peer in the_lab.speaker.statistics()}["p2"]
        assert found.behind
        assert found.detached == 1
        assert found.queued > 300
        assert found.lag >= 7
        slow.thawed.set()
        await trio.sleep(1)
        found = {peer.name: peer for peer in the_lab.speaker.statistics()}["p2"]
        assert not found.behind
        assert found.queued == 0
        assert set(slow.table) == {(V4, bytes((24, 8, 0, number))) for number in range(20)}


@pytest.mark.parametrize(
    ("change", "first", "hop"),
    [
        ({"enforce_first_as": True}, 64999, b"\xc0\0\2\1"),
        ({"next_hop_check": NextHopCheck.STRICT}, 65001, b"\xc0\0\2\x09"),
        ({"reject_as_set": True}, 65001, b"\xc0\0\2\1"),
    ],
    ids=["enforce_first_as", "next_hop_check", "reject_as_set"],
)
@pytest.mark.parametrize("family", [V4, V6], ids=["ipv4", "ipv6"])
async def test_a_check_switched_on_holds_for_attributes_seen_before(
    family: Family, change: dict[str, Any], first: int, hop: bytes, autojump_clock: object
) -> None:
    """What was accepted once is judged again when it is announced again."""
    route: Route = (family, b"\x18\x08\x08\x08")
    path = decoder.attribute(0x40, 2, struct.pack(">BBIBBI", 2, 1, first, 1, 1, 64998))
    block = decoder.attribute(0x40, 1, b"\0") + path
    whole = decoder.announce([route], block, hop if family == V4 else bytes(15) + b"\1")
    settings = peer_settings(1)
    async with lab(settings, peer_settings(2)) as the_lab:
        one, two = [await the_lab.join(number) for number in (1, 2)]
        await one.say(whole)
        await the_lab.settle()
        assert set(two.table) == {route}
        changed = attrs.evolve(settings, **change)
        everything = attrs.evolve(the_lab.speaker.settings, peers=(changed, peer_settings(2)))
        the_lab.speaker.reconfigure(everything, [PeerChange("changed", "p1", changed, tuple(change))])
        await one.say(whole)
        await the_lab.settle()
        assert two.table == {}
        the_lab.speaker.reconfigure(the_lab.speaker.settings, [PeerChange("changed", "p1", settings, tuple(change))])
        await one.say(whole)
        await the_lab.settle()
        assert set(two.table) == {route}
