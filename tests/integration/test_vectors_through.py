"""Every UPDATE of ../shared/vectors through a daemon: what is sound arrives as it was, and nobody hears what is not."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.decoder import Attribute, Route
from tests.harness.lab import lab, peer_settings
from tests.harness.speaker import ScriptedSpeaker
from trio_bgp.settings import AddPathSettings, Policy, Role
from trio_bgp.wire.numbers import FAMILIES, afi_of, safi_of

pytestmark = pytest.mark.shared

OURS = 4199999999
"""Our AS, which is in no vector's AS_PATH."""
EVERY = tuple(FAMILIES.values())
EVERY_PAIR = tuple((afi_of(family), safi_of(family)) for family in EVERY)
ALL = AddPathSettings(send=AddPathSettings.ALL)
EXTENDED_NEXT_HOP = b"\x05\x06\x00\x01\x00\x01\x00\x02"
OWN_ADDRESS = bytes((127, 0, 0, 1))
"""Our end of the in-memory streams, which is no next hop for others."""
WITHHELD = {
    "exabgp-qa-encoding-0001": "its NLRI have path identifiers, here not negotiated",
    "exabgp-qa-encoding-0005": "NEXT_HOP 255.255.255.255 is no host address, RFC 4271 section 6.3",
    "exabgp-qa-encoding-0093": "an IPv4 next hop for IPv6 prefixes: RFC 8950 defines only the other direction",
}


def load(shared: Path, asn4: bool) -> list[dict[str, Any]]:
    """The UPDATEs that have AS numbers of this width, or may have."""
    vectors = [
        json.loads(line)
        for path in sorted((shared / "vectors").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return [each for each in vectors if each["type"] == "UPDATE" and each["asn4"] in (None, asn4)]


def announced(vector: dict[str, Any]) -> dict[Route, tuple[Attribute, ...]]:
    """What a vector announces that its source calls valid, to whom is told nothing internal."""
    if vector["expect"]["outcome"] != "valid":
        return {}
    try:
        found = decoder.Update(bytes.fromhex(vector["hex"])).announced
    except (AssertionError, IndexError, struct.error):
        return {}
    return {
        route: tuple(sorted(each for each in attributes if each[1] not in (5, 9, 10)))
        for route, attributes in found.items()
        if (0x40, 3, OWN_ADDRESS) not in attributes
    }


@pytest.mark.parametrize(
    ("role", "asn4", "arriving"), [(Role.RS_CLIENT, True, 1800), (Role.RR_CLIENT, False, 0)], ids=["new", "old"]
)
async def test_what_is_sound_arrives_and_nobody_hears_what_is_not(
    role: Role, asn4: bool, arriving: int, shared: Path, autojump_clock: MockClock
) -> None:
    """No vector ends another's session; each message heard is legal for what its hearer negotiated."""
    ours = OURS if asn4 else 64999  # an old internal peer cannot say more than two octets
    asn = ours if role is Role.RR_CLIENT else 65001
    policy: dict[str, Any] = {"import_policy": Policy.ACCEPT, "export_policy": Policy.ACCEPT}
    peers = [
        peer_settings(1, peer_as=asn, role=role, families=EVERY, extended_next_hop=True),
        peer_settings(2, families=EVERY, extended_next_hop=True),
        peer_settings(3, families=EVERY, extended_message=False),
        peer_settings(4, families=EVERY, add_path=ALL),
        peer_settings(5, families=EVERY, role=Role.RR_CLIENT, peer_as=ours),
        peer_settings(6, families=EVERY, role=Role.EBGP, **policy),
    ]
    async with lab(*peers, local_as=ours) as the_lab:
        watchers = [
            await the_lab.join(2, families=EVERY_PAIR, extended=True, extra=(EXTENDED_NEXT_HOP,)),
            await the_lab.join(3, families=EVERY_PAIR, asn4=False),
            await the_lab.join(4, families=EVERY_PAIR, add_path=1, receives_add_path=True),
            await the_lab.join(5, families=EVERY_PAIR, asn=ours),
            await the_lab.join(6, families=EVERY_PAIR),
        ]
        sender: ScriptedSpeaker | None = None
        arrived = 0
        for vector in load(shared, asn4):
            octets = bytes.fromhex(vector["hex"])
            if sender is None:
                options: dict[str, Any] = {"asn": asn, "asn4": asn4, "extended": True, "extra": (EXTENDED_NEXT_HOP,)}
                await trio.sleep(2)  # who comes more often is held off
                sender = await the_lab.join(1, families=EVERY_PAIR, **options)
            await sender.say(octets)
            await the_lab.settle()
            for watcher in watchers:
                assert not watcher.notifications, vector["id"]
                assert not watcher.closed.is_set(), vector["id"]
            if arriving and vector["id"] not in WITHHELD:
                for route, attributes in announced(vector).items():
                    if vector["asn4"] is None and route not in watchers[0].table:
                        continue  # it may have been of the other width
                    held = watchers[0].table[route]
                    mixed = {kind for _, kind, _ in attributes} >= {0, 3}
                    # NEXT_HOP parts from what has its next hop in MP_REACH_NLRI.
                    assert tuple(sorted(held)) == tuple(
                        each for each in attributes if not (mixed and each[1] == 3 and len(held) < len(attributes))
                    ), vector["id"]
                    arrived += 1
            if sender.closed.is_set() or len(octets) != int.from_bytes(octets[16:18], "big"):
                await sender.cut()
                await the_lab.settle()
                assert [watcher.table for watcher in watchers] == [{}] * 5, vector["id"]
                sender = None
        assert arrived >= arriving
        assert min(len(watcher.updates) for watcher in watchers) > 200
