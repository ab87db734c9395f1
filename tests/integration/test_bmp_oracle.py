"""The oracle again, for stations: what they are told is what peers said, what is best, and what receivers hold."""

import random
from ipaddress import ip_address

import pytest
import trio

from tests.harness.lab import address_of, lab, peer_settings
from tests.harness.station import FakeStation, FakeStations, Table
from tests.integration import test_mixed_oracle as mixed
from tests.integration import test_oracle as plain
from trio_bgp.settings import BmpStationSettings, Endpoint, MonitoredRib
from trio_bgp.wire.nlri import Framing

STATIONS = tuple(
    BmpStationSettings(
        address=Endpoint(ip_address("192.0.2.200"), port),
        monitor=tuple(MonitoredRib),
        statistics_interval=7 if port == 5000 else 0,
        connect_retry_time=1,
    )
    for port in (5000, 5001)
)


async def reconnected(stations: FakeStations) -> list[FakeStation]:
    """The early station and one that has just connected, after all it was told."""
    stations.refused.clear()
    if 5001 in stations.connections:
        await stations.last(5001).stream.aclose()
    stations.connected = trio.Event()
    await stations.connected.wait()
    return [stations.last(5000), stations.last(5001)]


def without_second_hop(table: Table) -> Table:
    """Routes of MP_REACH_NLRI without the NEXT_HOP that is there in an UPDATE as it came, for its NLRI field."""
    return {route: tuple(each for each in held if held[0][1] or each[1] != 3) for route, held in table.items()}


def in_any_order(table: Table) -> dict[object, object]:
    """Octets that pass unchanged may have AS4_PATH elsewhere than those written here."""
    return {route: sorted(held) for route, held in table.items()}


def compare_plain(run: plain.Run, told: FakeStation) -> None:
    """Every RIB, with all attributes."""
    best: Table = {}
    for route in plain.ROUTES:
        chosen = plain.decide([routes[route] for routes in run.model.announced.values() if route in routes])
        if chosen is not None:
            best[route] = chosen.held
    assert told.table("", "loc") == best
    assert {address for kind, address in told.peers if kind == 0} == {address_of(number) for number in run.clients}
    for number, client in run.clients.items():
        said = {route: each.held for route, each in run.model.announced[number].items()}
        assert without_second_hop(told.table(address_of(number), "pre")) == said, number
        assert told.table(address_of(number), "post") == said, number
        assert told.table(address_of(number), "out") == client.table, number


@pytest.mark.parametrize("queue_limit", [1 << 23, 400], ids=["roomy", "tight"])
@pytest.mark.parametrize("seed", range(6))
async def test_stations_hold_what_peers_say_and_hold(seed: int, queue_limit: int, autojump_clock: object) -> None:
    """Whatever happens in whatever order, and for stations that were there before as for those that come after it."""
    peers = [peer_settings(number, queue_limit=queue_limit) for number in range(1, plain.PEERS + 1)]
    stations = FakeStations(5001)
    async with lab(*peers, seed=seed, stations=STATIONS, connect_station=stations.connect) as the_lab:
        run = plain.Run(seed, the_lab)
        for _ in range(3):
            for _ in range(40):
                await run.step()
            await run.compare()
            found = await reconnected(stations)
            await the_lab.settle()
            for told in found:
                compare_plain(run, told)
    stations.check()


@pytest.mark.parametrize("queue_limit", [1 << 23, 400], ids=["roomy", "tight"])
@pytest.mark.parametrize("seed", range(10))
async def test_stations_hold_the_same_in_any_mix_of_peers(seed: int, queue_limit: int, autojump_clock: object) -> None:
    """Roles, 2-octet AS numbers, labels, unknown families, path identifiers in both directions."""
    rng = random.Random(seed)
    peers = mixed.random_peers(rng, bgp_roles=False)
    settings = [mixed.settings_of(peer, queue_limit) for peer in peers.values()]
    stations = FakeStations(5001)
    framing = {mixed.OPAQUE_FAMILY: Framing.U16}
    async with lab(
        *settings, seed=seed, framing=framing, stations=STATIONS, connect_station=stations.connect
    ) as the_lab:
        run = mixed.Run(rng, the_lab, peers)
        for _ in range(3):
            for _ in range(40):
                await run.step()
            await run.compare()
            found = await reconnected(stations)
            await the_lab.settle()
            for told in found:
                announced = {(family, route) for paths in run.announced.values() for family, route, _ in paths}
                assert set(told.table("", "loc")) == announced
                for number, client in run.clients.items():
                    peer = peers[number]
                    said = {
                        (family, (identifier.to_bytes(4, "big") if peer.receive else b"") + route)
                        for family, route, identifier in run.announced[number]
                    }
                    pre, post, out = (told.table(address_of(number), rib) for rib in ("pre", "post", "out"))
                    assert set(pre) == set(post) == said, number
                    assert in_any_order(out) == in_any_order(client.table), number
            early, late = found
            for number in run.clients:
                for rib in ("post", "out"):
                    first, second = (told.table(address_of(number), rib) for told in found)
                    assert in_any_order(first) == in_any_order(second)
            assert early.table("", "loc") == late.table("", "loc")
    stations.check()
