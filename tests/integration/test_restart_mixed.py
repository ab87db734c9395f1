"""Restarts of peers that come back as others: with ADD-PATH or without, with other AS widths, other families."""

from typing import Any

import pytest
import trio

from tests.harness import decoder
from tests.harness.decoder import V4, Route
from tests.harness.lab import lab, peer_settings
from tests.harness.speaker import ScriptedSpeaker
from tests.integration.test_restart import EOR, ROUTES, graceful
from trio_bgp.settings import AddPathSettings
from trio_bgp.wire.numbers import IPV4_UNICAST

BOTH = AddPathSettings(send=AddPathSettings.ALL, receive=True)


def announcement(identifiers: tuple[int, ...], *routes: Route, med: int = 0, asn4: bool = True) -> bytes:
    """Each route with each path identifier; () for none."""
    path = decoder.as_path(65001, 70000)
    if not asn4:
        path = decoder.attribute(0x40, 2, bytes.fromhex("0202 fde9 5ba0"))
        path += decoder.attribute(0xC0, 17, bytes.fromhex("0202 0000fde9 00011170"))
    block = decoder.attribute(0x40, 1, b"\0") + path + decoder.attribute(0x80, 4, med.to_bytes(4, "big"))
    fronts = [number.to_bytes(4, "big") for number in identifiers] or [b""]
    return decoder.announce([(V4, front + nlri) for _, nlri in routes for front in fronts], block, b"\xc0\0\2\1")


def meds(client: ScriptedSpeaker) -> dict[Route, list[int]]:
    """The MEDs of all paths that a client holds to each route, sorted."""
    found: dict[Route, list[int]] = {}
    for (family, nlri), attributes in client.table.items():
        route = (family, nlri[4:] if client.receives_add_path else nlri)
        found.setdefault(route, []).append(
            next(int.from_bytes(value, "big") for _, kind, value in attributes if kind == 4)
        )
    return {route: sorted(each) for route, each in found.items()}


@pytest.mark.parametrize("old", [False, True], ids=["4-octet", "2-octet"])
@pytest.mark.parametrize(
    ("before", "after"), [((7, 8), (7, 8)), ((7, 8), (9,)), ((7, 8), ()), ((), (7, 8)), ((), ())], ids=str
)
async def test_paths_of_the_time_before_are_replaced_or_go(
    before: tuple[int, ...], after: tuple[int, ...], old: bool, autojump_clock: object
) -> None:
    """RFC 4724, section 4.2, RFC 7911: whatever identifiers and AS width it returns with, only what it says is left."""
    peers = [peer_settings(number, families=(IPV4_UNICAST,), add_path=BOTH) for number in (1, 2, 3)]

    def options(identifiers: tuple[int, ...]) -> dict[str, Any]:
        return {"families": (V4,), "add_path": 3 if identifiers else 0, "receives_add_path": bool(identifiers)}

    async with lab(*peers) as the_lab:
        one = await the_lab.join(1, extra=(graceful(60),), **options(before))
        collector = await the_lab.join(2, families=(V4,), add_path=1, receives_add_path=True)
        plain = await the_lab.join(3, families=(V4,), asn4=False)
        await one.say(announcement(before, *ROUTES[:3]) + EOR)
        await the_lab.settle()
        paths = max(1, len(before))
        assert meds(collector) == {route: [0] * paths for route in ROUTES[:3]}
        assert meds(plain) == {route: [0] for route in ROUTES[:3]}
        await one.cut()
        await trio.sleep(30)
        assert meds(collector) == {route: [0] * paths for route in ROUTES[:3]}
        one = await the_lab.join(1, extra=(graceful(60, flags=8),), asn4=not old, **options(after))
        await one.say(announcement(after, ROUTES[0], med=5, asn4=not old))
        await the_lab.settle()
        # The routes kept are read as they came: who returns otherwise has them no more.
        kept = bool(before) is bool(after) and not old
        assert set(meds(plain)) == set(ROUTES[:3] if kept else ROUTES[:1])
        await one.say(EOR)
        await the_lab.settle()
        assert meds(collector) == {ROUTES[0]: [5] * max(1, len(after))}
        assert meds(plain) == {ROUTES[0]: [5]}
        await one.cut()
        await trio.sleep(100)
        assert meds(collector) == meds(plain) == {}
