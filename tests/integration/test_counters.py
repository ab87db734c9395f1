"""What a group's counters say of each message: unchanged, repacked and why, split, withheld and why."""

from typing import Any

import attrs
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.decoder import V4, V6
from tests.harness.lab import LOCAL_AS, Lab, lab, peer_settings
from trio_bgp.settings import AddPathSettings, Policy, Role
from trio_bgp.wire.numbers import IPV4_UNICAST

A, B = (V4, b"\x18\x0a\0\1"), (V4, b"\x18\x0a\0\2")
A6 = (V6, b"\x30\x20\1\0\0\0\1")
HOP, HOP6 = bytes((192, 0, 2, 1)), bytes.fromhex("20010db8000000000000000000000001")
ATTRIBUTES = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001, 70000)
NO_EXPORT = decoder.attribute(0xC0, 8, b"\xff\xff\xff\x01")
LONG = decoder.attribute(0xC0, 200, bytes(5000))
MANY = [(V4, bytes((24, 11, n >> 8, n & 255))) for n in range(1500)]

Counters = tuple[int, dict[str, int], int, dict[str, int]]
"""Unchanged, repacked, split, withheld."""


class Observer:
    """Says what has been counted since it was asked last."""

    def __init__(self, the_lab: Lab) -> None:
        self._egress = the_lab.speaker.forwarder.core.egress
        self.since()

    def since(self) -> dict[str, Counters]:
        """By the members' names, of the groups where something was counted."""
        found: dict[str, Counters] = {}
        for group in self._egress.groups:
            counted = group.counters
            if attrs.asdict(counted) != attrs.asdict(type(counted)()):
                name = "+".join(member.name for member in group.members)
                found[name] = (counted.unchanged, dict(counted.repacked), counted.split, dict(counted.withheld))
            counted.unchanged = counted.split = 0
            counted.repacked.clear()
            counted.withheld.clear()
        return found


async def test_each_message_is_counted_once_for_each_receiver(autojump_clock: MockClock) -> None:
    """Two clients, two with messages of 4,096 octets, an old one, a collector, an internal and an external peer."""
    policy: dict[str, Any] = {"import_policy": Policy.ACCEPT, "export_policy": Policy.ACCEPT}
    peers = [
        *(peer_settings(number) for number in (1, 2, 3, 4, 5, 6)),
        peer_settings(7, add_path=AddPathSettings(send=AddPathSettings.ALL)),
        peer_settings(8, role=Role.RR_CLIENT, peer_as=LOCAL_AS),
        peer_settings(9, role=Role.EBGP, **policy),
        peer_settings(10, families=(IPV4_UNICAST,)),
    ]
    extended: dict[str, Any] = {"extended": True}
    async with lab(*peers) as the_lab:
        one, two, three = [await the_lab.join(number, **extended) for number in (1, 2, 3)]
        for number in (4, 5):
            await the_lab.join(number)
        await the_lab.join(6, asn4=False, **extended)
        await the_lab.join(7, add_path=1, receives_add_path=True, **extended)
        await the_lab.join(8, asn=LOCAL_AS, **extended)
        await the_lab.join(9, **extended)
        await the_lab.join(10, families=(V4,), **extended)
        observer = Observer(the_lab)

        async def told(octets: bytes) -> dict[str, Counters]:
            await one.say(octets)
            await the_lab.settle()
            return observer.since()

        assert await told(decoder.announce([A], ATTRIBUTES, HOP)) == {
            "p1+p2+p3": (2, {}, 0, {}),
            "p4+p5": (2, {}, 0, {}),
            "p6": (0, {"as-width": 1}, 0, {}),
            "p7": (0, {"add-path": 1}, 0, {}),
            "p8": (0, {"role": 1}, 0, {}),
            "p9": (0, {"role": 1}, 0, {}),
            "p10": (1, {}, 0, {}),
        }
        # One message of two families: as it came for nobody, and with another family for one.
        reach = decoder.attribute(0x80, 14, b"\0\2\1\x10" + HOP6 + b"\0" + A6[1])
        next_hop = decoder.attribute(0x40, 3, HOP)
        found = await told(decoder.update(b"", reach + ATTRIBUTES + next_hop, B[1]))
        assert found["p1+p2+p3"] == (0, {"part": 4}, 0, {})
        assert found["p10"] == (0, {"part": 1}, 0, {})
        # No EBGP peer may have it, and it was told of that route before.
        found = await told(decoder.announce([A], ATTRIBUTES + NO_EXPORT, HOP))
        assert found["p1+p2+p3"] == (2, {}, 0, {})
        assert found["p9"] == (0, {"part": 1}, 0, {"role": 1})
        # Too long for two, in two messages then.
        found = await told(decoder.announce(MANY, ATTRIBUTES, HOP))
        assert found["p1+p2+p3"] == (2, {}, 0, {})
        assert found["p4+p5"] == (0, {"length": 4}, 2, {})
        # Attributes alone too long for two: withdrawn.
        found = await told(decoder.announce([B], ATTRIBUTES + LONG, HOP))
        assert found["p1+p2+p3"] == (2, {}, 0, {})
        assert found["p4+p5"] == (0, {"length": 2}, 0, {"too-long": 2})
        # A second path, not as good: for the source of the first alone, and for who gets all.
        await two.say(decoder.announce([A], decoder.attribute(0x40, 1, b"\2") + decoder.as_path(65002, 1, 2, 3), HOP))
        await the_lab.settle()
        found = observer.since()
        assert found["p1+p2+p3"] == (1, {}, 0, {})
        assert found["p7"] == (0, {"add-path": 1}, 0, {})
        assert set(found) == {"p1+p2+p3", "p7", "p9"}
        assert not three.notifications
