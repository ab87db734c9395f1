"""Restarts: of a peer (RFC 4724, RFC 8538, RFC 9494), of ours, and refreshes and shutdowns that are like them."""

import struct
from collections import Counter

import attrs
import pytest
import trio

from tests.harness import decoder
from tests.harness.decoder import V4, Route
from tests.harness.lab import Lab, lab, peer_settings
from tests.harness.speaker import ScriptedSpeaker
from trio_bgp.routing import retention
from trio_bgp.routing.catch_up import Progress
from trio_bgp.settings import MaxPrefixesAction
from trio_bgp.wire.numbers import IPV4_UNICAST

LLGR_STALE, NO_LLGR, GRACEFUL_SHUTDOWN = b"\xff\xff\x00\x06", b"\xff\xff\x00\x07", b"\xff\xff\x00\x00"
ROUTES: list[Route] = [(V4, bytes((24, 10, 0, n))) for n in range(6)]
EOR = decoder.update()


def graceful(seconds: int, *, forwarding: bool = True, flags: int = 0) -> bytes:
    """The graceful restart capability for IPv4 unicast; flags 8: restarting, 4: notification."""
    value = struct.pack(">HHBB", flags << 12 | seconds, 1, 1, 0x80 if forwarding else 0)
    return bytes((64, len(value))) + value


def long_lived(seconds: int) -> bytes:
    """The long-lived graceful restart capability for IPv4 unicast."""
    return bytes((71, 7)) + struct.pack(">HBB", 1, 1, 0x80) + seconds.to_bytes(3, "big")


def announce(*routes: Route, asn: int = 65001, communities: bytes = b"", med: int = 0) -> bytes:
    """An announcement."""
    block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(asn)
    block += decoder.attribute(0x80, 4, med.to_bytes(4, "big"))
    if communities:
        block += decoder.attribute(0xC0, 8, communities)
    return decoder.announce(list(routes), block, b"\xc0\0\2\1")


def communities_of(client: ScriptedSpeaker, route: Route) -> bytes:
    """The COMMUNITIES with which a client holds a route."""
    return b"".join(value for _, kind, value in client.table[route] if kind == 8)


async def two(the_lab: Lab, *extra: bytes, **options: object) -> tuple[ScriptedSpeaker, ScriptedSpeaker]:
    """A peer with these capabilities that has announced three routes and End-of-RIB, and one that got them."""
    one = await the_lab.join(1, families=(V4,), extra=extra)
    other = await the_lab.join(2, families=(V4,), extra=tuple(options.get("others", ())))  # type: ignore[arg-type]
    await one.say(announce(*ROUTES[:3]) + EOR)
    await the_lab.settle()
    assert set(other.table) == set(ROUTES[:3])
    other.updates.clear()
    return one, other


PEERS = [peer_settings(number, families=(IPV4_UNICAST,)) for number in (1, 2, 3)]


async def test_a_peer_that_restarts_is_not_missed(autojump_clock: object) -> None:
    """GR-2: nothing is said while it is away; what it announces again is no news; the rest goes at its End-of-RIB."""
    async with lab(*PEERS) as the_lab:
        one, other = await two(the_lab, graceful(60))
        await one.cut()
        await trio.sleep(30)
        assert other.updates == []
        one = await the_lab.join(1, families=(V4,), extra=(graceful(60, flags=8),))
        await one.say(announce(ROUTES[0]) + announce(ROUTES[1], med=7))
        await the_lab.settle()
        assert other.updates == [announce(ROUTES[1], med=7)]
        assert set(other.table) == set(ROUTES[:3])
        await one.say(EOR)
        await the_lab.settle()
        assert other.updates[1:] == [decoder.withdraw([ROUTES[2]])]
        await one.say(announce(ROUTES[2]))
        await the_lab.settle()
        assert set(other.table) == set(ROUTES[:3])


async def test_a_peer_that_does_not_return_is_given_up(autojump_clock: object) -> None:
    """GR-3: with the Restart Time its routes go."""
    async with lab(*PEERS) as the_lab:
        one, other = await two(the_lab, graceful(60))
        await one.cut()
        await trio.sleep(59)
        assert set(other.table) == set(ROUTES[:3])
        await trio.sleep(2)
        assert other.table == {}


@pytest.mark.parametrize("again", [graceful(60, forwarding=False), b"\x40\x02\x00\x3c", None])
async def test_forwarding_state_that_was_lost_is_not_trusted(again: bytes | None, autojump_clock: object) -> None:
    """GR-3: it returns without the F bit, without the family, or without the capability: its routes go at once."""
    async with lab(*PEERS) as the_lab:
        one, other = await two(the_lab, graceful(60))
        await one.cut()
        await the_lab.settle()
        await the_lab.join(1, families=(V4,), extra=() if again is None else (again,))
        await the_lab.settle()
        assert other.table == {}


async def test_a_peer_without_the_capability_is_missed_at_once(autojump_clock: object) -> None:
    """RFC 4271: the end of a session withdraws its routes; also if we are told not to keep them."""
    unwilling = [attrs.evolve(each, graceful_restart=False) for each in PEERS]
    for extra, settings in (((), PEERS), ((graceful(60),), unwilling)):
        async with lab(*settings) as the_lab:
            one, other = await two(the_lab, *extra)
            await one.cut()
            await the_lab.settle()
            assert other.table == {}


@pytest.mark.parametrize(
    ("flags", "notification", "kept"),
    [
        (0, bytes((6, 4)), False),
        (4, bytes((6, 4)), True),
        (4, bytes((6, 9, 6, 4)), False),
        (4, bytes((4, 0)), True),
    ],
    ids=["without N", "with N", "hard reset", "hold timer"],
)
async def test_a_notification_ends_it_unless_both_say_otherwise(
    flags: int, notification: bytes, kept: bool, autojump_clock: object
) -> None:
    """GR-4 (RFC 8538, section 3): with the N bit only a Hard Reset removes routes at once."""
    async with lab(*PEERS) as the_lab:
        one, other = await two(the_lab, graceful(60, flags=flags))
        await one.say(decoder.message(decoder.NOTIFICATION, notification))
        await the_lab.settle()
        assert set(other.table) == (set(ROUTES[:3]) if kept else set())


async def test_a_second_restart_drops_what_was_stale(autojump_clock: object) -> None:
    """RFC 4724, section 4.2: routes that were stale already do not survive the next restart."""
    async with lab(*PEERS) as the_lab:
        one, other = await two(the_lab, graceful(60))
        await one.cut()
        await the_lab.settle()
        one = await the_lab.join(1, families=(V4,), extra=(graceful(60),))
        await one.say(announce(ROUTES[0]))
        await the_lab.settle()
        await one.cut()
        await the_lab.settle()
        assert set(other.table) == {ROUTES[0]}
        await trio.sleep(61)
        assert other.table == {}


async def test_a_peer_that_never_says_end_of_rib_is_not_waited_for_forever(autojump_clock: object) -> None:
    """RFC 4724, section 4.2: stale routes have an end even then."""
    async with lab(*PEERS) as the_lab:
        one, other = await two(the_lab, graceful(60))
        await one.cut()
        one = await the_lab.join(1, families=(V4,), extra=(graceful(60),))
        await one.say(announce(ROUTES[0]))
        await trio.sleep(359)
        assert set(other.table) == set(ROUTES[:3])
        await trio.sleep(2)
        assert set(other.table) == {ROUTES[0]}


async def test_long_lived_stale_routes(autojump_clock: object) -> None:
    """GR-6 (RFC 9494): marked, least preferred, for those who know it only, without NO_LLGR, and not for ever."""
    peers = [attrs.evolve(each, long_lived_stale_time=1000) for each in PEERS]
    async with lab(*peers, peer_settings(4, families=(IPV4_UNICAST,))) as the_lab:
        one = await the_lab.join(1, families=(V4,), extra=(graceful(60), long_lived(500)))
        knows = await the_lab.join(2, families=(V4,), extra=(graceful(0), long_lived(0)))
        not_ = await the_lab.join(4, families=(V4,))
        await one.say(announce(*ROUTES[:2], communities=b"\xfd\xe8\0\1") + announce(ROUTES[2], communities=NO_LLGR))
        backup = await the_lab.join(3, asn=65003, families=(V4,))
        await backup.say(announce(ROUTES[1], asn=65003))
        await one.cut()
        await trio.sleep(59)
        assert set(knows.table) == set(not_.table) == set(ROUTES[:3])
        await trio.sleep(2)
        assert set(knows.table) == set(ROUTES[:2])
        assert communities_of(knows, ROUTES[0]) == b"\xfd\xe8\0\1" + LLGR_STALE
        assert communities_of(knows, ROUTES[1]) == b""
        assert set(not_.table) == {ROUTES[1]}
        late = await the_lab.join(1, families=(V4,), extra=(graceful(60), long_lived(500)))
        await late.say(announce(ROUTES[0]) + EOR)
        await the_lab.settle()
        assert communities_of(knows, ROUTES[0]) == b""
        await late.cut()
        await trio.sleep(61)
        assert communities_of(knows, ROUTES[0]) == LLGR_STALE
        await trio.sleep(500)
        assert set(knows.table) == {ROUTES[1]}


async def test_routes_are_long_lived_stale_at_once_without_a_restart_time(autojump_clock: object) -> None:
    """GR-6 (RFC 9494, section 4.2): a peer whose graceful restart names no family has no restart time to wait for."""
    settings = [attrs.evolve(each, long_lived_stale_time=1000) for each in PEERS]
    capabilities = (b"\x40\x02\x00\x78", long_lived(500))
    async with lab(*settings) as the_lab:
        one = await the_lab.join(1, families=(V4,), extra=capabilities)
        other = await the_lab.join(2, families=(V4,), extra=capabilities)
        await one.say(announce(*ROUTES[:3]))
        await the_lab.settle()
        await one.cut()
        await the_lab.settle()
        assert {communities_of(other, route) for route in ROUTES[:3]} == {LLGR_STALE}
        await trio.sleep(499)
        assert set(other.table) == set(ROUTES[:3])
        await trio.sleep(2)
        assert other.table == {}


async def test_our_restart_is_told_and_waited_out(autojump_clock: object) -> None:
    """GR-5 (RFC 4724, section 4.1): the R bit is set, and nobody is told anything before all have said End-of-RIB."""
    async with lab(*PEERS[:2], restart_time=120, restarting=True) as the_lab:
        one = await the_lab.join(1, families=(V4,))
        assert bytes((64, 6, 0xC0, 120, 0, 1, 1, 0x80)) in one.log[0]
        await one.say(announce(ROUTES[0]) + EOR)
        other = await the_lab.join(2, families=(V4,))
        await trio.sleep(20)
        assert other.updates == []
        await other.say(announce(ROUTES[1], asn=65002) + EOR)
        await the_lab.settle()
        assert set(other.table) == {ROUTES[0]}
        assert set(one.table) == {ROUTES[1]}
        assert one.end_of_rib == other.end_of_rib == [V4]
        await one.cut()
        await the_lab.settle()
        one = await the_lab.join(1, families=(V4,))
        assert bytes((64, 6, 0x40, 120, 0, 1, 1, 0x80)) in one.log[0]


async def test_our_restart_does_not_wait_for_who_does_not_come(autojump_clock: object) -> None:
    """GR-5: with the restart time over, whoever is there is told what there is."""
    async with lab(*PEERS, restart_time=120, restarting=True) as the_lab:
        one = await the_lab.join(1, families=(V4,))
        other = await the_lab.join(2, families=(V4,))
        await one.say(announce(ROUTES[0]) + EOR)
        await other.say(EOR)
        await trio.sleep(110)
        assert other.updates == []
        await trio.sleep(20)
        assert set(other.table) == {ROUTES[0]}


async def test_our_stop_is_a_hard_reset_for_peers_that_would_keep_our_routes(autojump_clock: object) -> None:
    """RFC 8538, section 3.1: 6/9 with the NOTIFICATION in it; others get 6/2 itself."""
    async with lab(*PEERS[:2]) as the_lab:
        one = await the_lab.join(1, families=(V4,), extra=(graceful(60, flags=4),))
        other = await the_lab.join(2, families=(V4,))
        the_lab.speaker.shutdown("bye")
        await the_lab.settle()
        assert one.notifications == [bytes((6, 9, 6, 2, 3)) + b"bye"]
        assert other.notifications == [bytes((6, 2, 3)) + b"bye"]


async def test_stopping_for_a_restart_says_nothing(autojump_clock: object) -> None:
    """RFC 4724: connections end without NOTIFICATION, so peers keep our routes."""
    async with lab(*PEERS[:2], restart_time=60) as the_lab:
        one = await the_lab.join(1, families=(V4,))
        the_lab.speaker.stop_for_restart()
        await one.closed.wait()
        assert one.notifications == []


async def test_routes_are_marked_before_a_stop(autojump_clock: object) -> None:
    """RFC 8326: GRACEFUL_SHUTDOWN on all routes, then, after the time, Cease."""
    async with lab(*PEERS, graceful_shutdown_time=30) as the_lab:
        one, other = await two(the_lab)
        the_lab.speaker.shutdown("maintenance")
        await trio.sleep(1)
        assert {communities_of(other, route) for route in ROUTES[:3]} == {GRACEFUL_SHUTDOWN}
        await one.say(announce(ROUTES[4], communities=b"\xfd\xe8\0\1"))
        late = await the_lab.join(3, families=(V4,))
        await trio.sleep(1)
        assert communities_of(other, ROUTES[4]) == b"\xfd\xe8\0\1" + GRACEFUL_SHUTDOWN
        assert communities_of(late, ROUTES[0]) == GRACEFUL_SHUTDOWN
        assert not other.notifications
        await trio.sleep(30)
        assert other.notifications == [bytes((6, 2, 11)) + b"maintenance"]


async def test_what_a_refresh_does_not_bring_again_is_gone(autojump_clock: object) -> None:
    """RF-4 (RFC 7313, section 4.1): between BoRR and EoRR all is announced again."""
    async with lab(*PEERS) as the_lab:
        one = await the_lab.join(1, families=(V4,), enhanced_refresh=True)
        other = await the_lab.join(2, families=(V4,))
        await one.say(announce(*ROUTES[:3]))
        await the_lab.settle()
        await one.say(decoder.message(decoder.REFRESH, b"\0\1\1\1") + announce(ROUTES[0]))
        await the_lab.settle()
        assert set(other.table) == set(ROUTES[:3])
        await one.say(announce(ROUTES[1], med=5) + decoder.message(decoder.REFRESH, b"\0\1\2\1"))
        await the_lab.settle()
        assert set(other.table) == set(ROUTES[:2])


@pytest.mark.parametrize("how", ["refresh", "restart"])
async def test_what_is_said_while_routes_are_marked_is_not_stale(
    how: str, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RF-4, GR-2: marking a table takes many steps; what a peer says between them counts as said again."""
    monkeypatch.setattr(retention, "STEP_PREFIXES", 7)
    routes: list[Route] = [(V4, bytes((24, 10, n >> 8, n & 255))) for n in range(1000)]
    begin = decoder.message(decoder.REFRESH, b"\0\1\1\1") if how == "refresh" else b""
    end = decoder.message(decoder.REFRESH, b"\0\1\2\1") if how == "refresh" else EOR
    async with lab(*PEERS) as the_lab:
        one = await the_lab.join(1, families=(V4,), enhanced_refresh=True, extra=(graceful(60),))
        other = await the_lab.join(2, families=(V4,))
        for start in range(0, 1000, 100):
            await one.say(announce(*routes[start : start + 100]))
        await the_lab.settle()
        turn = 0
        steps = Counter[int]()
        original = retention.Mark.step

        def counted(self: retention.Mark) -> Progress:
            steps[turn] += 1
            return original(self)

        async def count() -> None:
            nonlocal turn
            while not done.is_set():
                turn += 1
                await trio.lowlevel.checkpoint()

        monkeypatch.setattr(retention.Mark, "step", counted)
        done = trio.Event()
        the_lab.nursery.start_soon(count)
        if how == "restart":
            await one.cut()
            one = await the_lab.join(1, families=(V4,), extra=(graceful(60, flags=8),), wait=False)
            await one.established.wait()
        said = begin + announce(*routes[:400]) + announce(*routes[600:700], med=9) + decoder.withdraw(routes[700:800])
        await one.say(said + end)
        for _ in range(1000):
            await trio.lowlevel.checkpoint()
        done.set()
        await the_lab.settle()
        assert sum(steps.values()) >= 1000 // 7
        assert max(steps.values()) <= 4, "others had no turn"
        assert set(other.table) == {*routes[:400], *routes[600:700]}
        # And nothing is stale any more.
        await one.say(announce(*routes[400:600]) + EOR)
        await trio.sleep(700)
        assert set(other.table) == set(routes[:700])


async def test_a_refresh_that_never_ends_has_an_end(autojump_clock: object) -> None:
    """RFC 7313, section 4.1: stale routes are not kept for ever if EoRR does not come."""
    async with lab(*PEERS) as the_lab:
        one = await the_lab.join(1, families=(V4,), enhanced_refresh=True)
        other = await the_lab.join(2, families=(V4,))
        await one.say(announce(*ROUTES[:2]) + decoder.message(decoder.REFRESH, b"\0\1\1\1") + announce(ROUTES[0]))
        await trio.sleep(599)
        assert set(other.table) == set(ROUTES[:2])
        await trio.sleep(2)
        assert set(other.table) == {ROUTES[0]}


async def test_refreshes_are_answered_one_after_the_other(autojump_clock: object) -> None:
    """A hundred requests while an answer is under way get one more."""
    async with lab(*(attrs.evolve(each, queue_limit=1 << 16) for each in PEERS)) as the_lab:
        one, other = await two(the_lab)
        await other.say(decoder.message(decoder.REFRESH, b"\0\1\0\1") * 100)
        await the_lab.settle()
        assert 1 <= len(other.updates) <= 22
        await trio.sleep(20)
        assert 2 <= len(other.updates) <= 26
        assert set(other.table) == set(ROUTES[:3])
        assert not one.closed.is_set()


@pytest.mark.parametrize("action", list(MaxPrefixesAction))
async def test_too_many_prefixes(action: MaxPrefixesAction, autojump_clock: object) -> None:
    """FSM-12: 6/1 and a pause, or for good; or further prefixes are not taken; or a line in the log."""
    changes = {"max_prefixes": 3, "max_prefixes_action": action, "max_prefixes_restart_time": 100.0}
    async with lab(attrs.evolve(PEERS[0], **changes), PEERS[1]) as the_lab:  # type: ignore[arg-type]
        one, other = await two(the_lab)
        await one.say(announce(*ROUTES[2:5]))
        await the_lab.settle()
        if action is MaxPrefixesAction.WARN:
            assert set(other.table) == set(ROUTES[:5])
        elif action is MaxPrefixesAction.DROP:
            assert set(other.table) == set(ROUTES[:3])
            await one.say(decoder.withdraw([ROUTES[0]]) + announce(*ROUTES[4:6]))
            await the_lab.settle()
            assert set(other.table) == {ROUTES[1], ROUTES[2], ROUTES[4]}
        else:
            assert one.notifications == [bytes((6, 1, 0, 1, 1, 0, 0, 0, 3))]
            await the_lab.settle()
            assert other.table == {}
            early = await the_lab.join(1, families=(V4,))
            assert not early.established.is_set()
            await trio.sleep(101)
            late = await the_lab.join(1, families=(V4,))
            assert late.established.is_set() == (action is MaxPrefixesAction.RESTART)


async def test_a_range_has_room_for_so_many_peers(autojump_clock: object) -> None:
    """The next connection is refused, and taken when one has left."""
    from ipaddress import ip_network

    lab_range = attrs.evolve(PEERS[0], address=None, range=ip_network("192.0.2.0/24"), max_peers=2)
    async with lab(lab_range) as the_lab:
        clients = [await the_lab.join(number, asn=65001, families=(V4,)) for number in (11, 12, 13)]
        assert [client.established.is_set() for client in clients] == [True, True, False]
        assert clients[2].notifications == [bytes((6, 5))]
        await clients[0].cut()
        await the_lab.settle()
        again = await the_lab.join(13, asn=65001, families=(V4,))
        assert again.established.is_set()


async def test_unknown_addresses_cost_little(autojump_clock: object, caplog: pytest.LogCaptureFixture) -> None:
    """A flood of connections from unknown addresses is answered and logged a few times only."""
    async with lab(PEERS[0]) as the_lab:
        clients = [await the_lab.join(200, families=(V4,), wait=False) for _ in range(200)]
        await the_lab.settle()
        told = sum(bool(client.notifications) for client in clients)
        assert 1 <= told <= 30
        assert caplog.text.count("connection.refused") <= 30
        await trio.sleep(5)
        await the_lab.join(200, families=(V4,))
        assert "more were not logged" in caplog.text
        assert (await the_lab.join(1, families=(V4,))).established.is_set()


async def test_bad_updates_are_logged_a_few_times(autojump_clock: object, caplog: pytest.LogCaptureFixture) -> None:
    """RES-1: ten thousand malformed UPDATEs in a row: the session stays, the log is short."""
    async with lab(*PEERS[:2]) as the_lab:
        one, other = await two(the_lab)
        bad = decoder.announce([ROUTES[3]], decoder.attribute(0x40, 1, b"\7") + decoder.as_path(65001), b"\xc0\0\2\1")
        for _ in range(20):
            await one.say(bad * 500)
            await the_lab.settle()
        assert caplog.text.count("update.refused") < 60
        assert not one.notifications
        assert set(other.table) == set(ROUTES[:3])
