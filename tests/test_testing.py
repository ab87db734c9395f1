"""`trio_bgp.testing` itself; the how-to's programs run in `test_docs`."""

import random

import pytest
import trio
import trio.testing

from tests.simulation.test_simulation import run_schedule
from trio_bgp.config import ConfigError
from trio_bgp.runtime.session.connection import Connection
from trio_bgp.settings import Role
from trio_bgp.testing import Faults, FaultyStream, bgp_lab, deterministic, window_stream_pair
from trio_bgp.wire.notification import Notification


async def test_routes_are_shown_as_they_came(autojump_clock: object) -> None:
    """IPv4 and IPv6, attributes in words, withdrawals, End-of-RIB, the daemon's OPEN."""
    async with bgp_lab() as lab:
        one, two = await lab.peer(asn=65001), await lab.peer(asn=4200000002, asn4=True)
        await one.announce("203.0.113.0/24", as_path=[65001, 7], communities=["65001:5"])
        await one.announce("2001:db8:1::/48", next_hop="2001:db8::77")
        await lab.settle()
        route = two.routes["203.0.113.0/24"]
        assert (route.next_hop, route.as_path, route.med, route.communities) == (
            "192.0.2.1",
            "65001 7",
            None,
            ("65001:5",),
        )
        assert two.routes["2001:db8:1::/48"].next_hop == "2001:db8::77"
        assert two.remote is not None
        assert two.remote.peer_as == 65000
        assert len(two.end_of_rib) == 2
        await one.withdraw("203.0.113.0/24")
        await one.withdraw("2001:db8:1::/48")
        await lab.settle()
        assert two.routes == {}


async def test_roles_and_other_settings(autojump_clock: object) -> None:
    """A new peer's settings are those of the daemon: a reflector's client gets LOCAL_PREF, a limit holds."""
    async with bgp_lab() as lab:
        one, two = await lab.peer(asn=65001), await lab.peer(asn=65002, max_prefixes=1)
        inside = await lab.peer(role=Role.RR_CLIENT)
        await one.announce("203.0.113.0/24")
        await two.announce("203.0.113.0/24", as_path=[65002, 1])
        await lab.settle()
        assert inside.routes["203.0.113.0/24"].as_path == "65001"
        assert inside.routes["203.0.113.0/24"].local_pref == 100
        await two.announce("198.51.100.0/24")
        await two.closed.wait()
        assert (two.notifications[0].code, two.notifications[0].subcode) == (6, 1)


async def test_a_session_that_does_not_come_up_is_an_error(autojump_clock: object) -> None:
    """With what the daemon said."""
    async with bgp_lab() as lab:
        await lab.peer("known", asn=65001)
        with pytest.raises(ConnectionError, match="known: the session did not come up"):
            await lab.peer("known", asn=65001)


async def test_notify_and_refresh(autojump_clock: object) -> None:
    """Both directions."""
    async with bgp_lab() as lab:
        one, two = await lab.peer(asn=65001), await lab.peer(asn=65002)
        await one.announce("203.0.113.0/24")
        await lab.settle()
        before = len(two.messages)
        await two.refresh()
        await lab.settle()
        assert len(two.messages) > before
        await one.notify(6, 2)
        await lab.settle()
        assert two.routes == {}
        await two.send(b"\0" * 19)
        await two.closed.wait()
        assert two.notifications == [Notification(1, 1)]


async def test_a_cut_is_where_it_was_asked_for() -> None:
    """Exactly so many octets arrive; then both sides see a broken connection."""
    ours, theirs = trio.testing.memory_stream_pair()
    stream = FaultyStream(ours, Faults(cut_after_sent=5), random.Random(1))
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"0123456789")
    assert await theirs.receive_some() == b"01234"
    assert await theirs.receive_some() == b""
    ours, theirs = trio.testing.memory_stream_pair()
    stream = FaultyStream(ours, Faults(cut_after_received=3))
    await theirs.send_all(b"0123456789")
    assert await stream.receive_some() == b"012"
    with pytest.raises(trio.BrokenResourceError):
        await stream.receive_some()


async def test_pieces_delays_and_frost(autojump_clock: object) -> None:
    """What was sent arrives whole and in order, later; a frozen reader takes nothing."""
    ours, theirs = trio.testing.memory_stream_pair()
    stream = FaultyStream(ours, Faults(fragment=2, delay=1.0), random.Random(3))
    begun = trio.current_time()
    await stream.send_all(b"0123456789")
    assert trio.current_time() - begun >= 5
    assert await theirs.receive_some() == b"0123456789"
    await theirs.send_all(b"x")
    stream.freeze()
    with trio.move_on_after(5) as scope:
        await stream.receive_some()
    assert scope.cancelled_caught
    stream.thaw()
    assert await stream.receive_some() == b"x"


def test_a_seed_is_an_order_of_tasks() -> None:
    """The same one twice, others for other seeds, and Trio's own state afterwards."""

    def order(seed: int) -> list[int]:
        found: list[int] = []

        async def note(number: int) -> None:
            for _ in range(3):
                await trio.lowlevel.checkpoint()
                found.append(number)

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                for number in range(6):
                    nursery.start_soon(note, number)

        with deterministic(seed):
            trio.run(main)
        return found

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(8)}) > 1


def test_a_schedule_of_the_simulation() -> None:
    """One seed of each kind, so that `make test` has some too."""
    for seed in range(5):
        run_schedule(1_000_000 + seed)


async def test_a_window_stream_is_a_stream_as_trio_wants_them() -> None:
    """Trio's own checks of a bidirectional stream, the full pipe among them."""

    async def make(window: int) -> tuple[trio.abc.Stream, trio.abc.Stream]:
        await trio.lowlevel.checkpoint()
        return window_stream_pair(window)

    async def roomy() -> tuple[trio.abc.Stream, trio.abc.Stream]:
        return await make(1 << 16)

    async def clogged() -> tuple[trio.abc.Stream, trio.abc.Stream]:
        one, two = await make(1)
        await one.send_all(b"x")
        await two.send_all(b"x")
        return one, two

    await trio.testing.check_two_way_stream(roomy, clogged)


async def test_a_frozen_peer_is_felt_through_a_window(autojump_clock: object) -> None:
    """What does not fit waits in the daemon, then the peer is behind; thawed it holds everything, others always did."""
    async with bgp_lab() as lab:
        source = await lab.peer(hold_time=9)
        frozen = await lab.peer(window=1000, queue_limit=2000)
        other = await lab.peer(hold_time=9)
        frozen.stream.freeze()
        for number in range(200):
            await source.announce(f"10.0.{number}.0/24", med=number)
            await lab.settle()
        member = next(each for each in lab.speaker.forwarder.members if each.name == frozen.name)
        assert member.detached == 1
        assert len(other.routes) == 200
        await trio.sleep(60)
        frozen.stream.thaw()
        await trio.sleep(5)
        assert set(frozen.routes) == set(other.routes)
        assert not source.closed.is_set()
        assert not other.closed.is_set()


async def test_a_silent_peer_runs_out_of_time(autojump_clock: object) -> None:
    """KEEPALIVEs keep a session up; without them the hold timer expires (RFC 4271, section 6.5)."""
    async with bgp_lab() as lab:
        peer = await lab.peer(hold_time=9)
        await trio.sleep(100)
        assert not peer.closed.is_set()
        peer.keepalives = False
        await trio.sleep(10)
        assert [each.code for each in peer.notifications] == [4]


async def test_settings_may_be_toml() -> None:
    """The text of a configuration file does; a bad one says what is wrong with it."""
    async with bgp_lab('[speaker]\nlocal_as = 65010\nbgp_identifier = "10.0.0.9"\n') as lab:
        assert lab.speaker.settings.speaker.local_as == 65010
        with pytest.raises(ConfigError, match="local_az"):
            await lab.daemon("bad", '[speaker]\nlocal_az = 65010\nbgp_identifier = "10.0.0.9"\n', "10.0.0.9")


async def test_a_crash_in_the_daemon_fails_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon outlives a crashed task of its own, and says so; a lab raises when it ends."""

    async def crash(*_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("a bug")

    async def crashing_lab() -> None:
        async with bgp_lab() as lab:
            peer = await lab.peer()
            monkeypatch.setattr(Connection, "_updates", crash)
            await peer.announce("10.0.0.0/24")
            await lab.settle()

    with pytest.raises(AssertionError, match="crashed"):
        await crashing_lab()
