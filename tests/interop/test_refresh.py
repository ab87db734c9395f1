"""Daemons that ask for the routes again (ROUTE-REFRESH, RFC 2918 and RFC 7313).

GoBGP 3.10 never asks: its `softresetin` takes the routes from its own Adj-RIB-In.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop.daemons import RS_ADDRESS, Bird, Daemon, ExaBgp, Frr, OpenBgpd, TrioBgp, member, wait_for

pytestmark = pytest.mark.interop

V4 = {f"203.0.113.{16 * n}/28" for n in range(10)}
V6 = {f"2001:db8:113:{n:x}::/64" for n in range(1, 8)}


@contextmanager
def served(receiver: Daemon, folder: Path, port: int) -> Iterator[None]:
    """The receiver at a route server to which ExaBGP announces V4 and V6; when the block ends no session has ended."""
    lines = [f"route {prefix} next-hop 192.0.2.9 med 7" for prefix in V4]
    lines += [f"route {prefix} next-hop 2001:db8:ffff::9 med 7" for prefix in V6]
    with (
        TrioBgp(folder, port, [member(9), member(receiver.number)]) as server,
        ExaBgp(9, folder, port, lines),
        receiver,
    ):
        wait_for(lambda: server.log().count("peer.established"), lambda count: count == 2)
        yield
        assert server.log().count("peer.established") == 2, server.log()
        assert "peer.down" not in server.log(), server.log()


def holds(daemon: Daemon) -> set[str]:
    """The prefixes a daemon holds."""
    return set(daemon.routes(4)) | set(daemon.routes(6))


def received(bird: Bird) -> list[int]:
    """Import updates BIRD's session has received, for each channel."""
    return [int(n) for n in re.findall(r"Import updates: +(\d+)", bird.birdc("show protocols all up"))]


def test_bird_reloads(tmp_path: Path) -> None:
    """BIRD's `reload in` gets every route of each family once more, and no other."""
    bird = Bird(1, tmp_path, port := 18120)
    with served(bird, tmp_path, port):
        wait_for(lambda: holds(bird), lambda held: held == V4 | V6)
        before = received(bird)
        assert before == [len(V4), len(V6)]
        for turn in (2, 3):
            assert "reloading" in bird.birdc("reload in up")
            wait_for(lambda: received(bird), lambda now, t=turn: now == [t * len(V4), t * len(V6)])  # type: ignore[misc]
            assert holds(bird) == V4 | V6


def test_bird_takes_what_it_filtered(tmp_path: Path) -> None:
    """A BIRD that rejected every route holds all as soon as its filter accepts them: it asks again."""
    bird = Bird(1, tmp_path, port := 18130, imports="import none")
    with served(bird, tmp_path, port):
        wait_for(lambda: received(bird), lambda now: now == [len(V4), len(V6)])
        assert holds(bird) == set()
        bird.imports = "import all"
        bird.configure()
        wait_for(lambda: holds(bird), lambda held: held == V4 | V6)
        assert bird.established()


def messages(frr: Frr) -> dict[str, int]:
    """FRR's counts of messages with the route server."""
    text = frr.vtysh(f"show bgp neighbors {RS_ADDRESS} json") or "{}"
    found: dict[str, int] = json.loads(text).get(RS_ADDRESS, {}).get("messageStats", {})
    return found


def test_frr_soft_in(tmp_path: Path) -> None:
    """FRR's `clear bgp * soft in` is answered: it has its routes, a filter's change included, and no new session."""
    frr = Frr(1, tmp_path, port := 18140)
    with served(frr, tmp_path, port):
        wait_for(lambda: holds(frr), lambda held: held == V4 | V6)
        before = messages(frr)
        for family in ("ipv4", "ipv6"):
            frr.vtysh(f"clear bgp {family} unicast * soft in")
        asked = before["routeRefreshSent"] + 2
        wait_for(lambda: messages(frr), lambda now: now["routeRefreshSent"] == asked)
        wait_for(lambda: messages(frr), lambda now: now["updatesRecv"] >= before["updatesRecv"] + 2)
        assert holds(frr) == V4 | V6
        for no in ("", "no "):
            frr.vtysh(
                "configure terminal",
                "route-map NONE deny 10",
                f"router bgp {frr.asn}",
                "address-family ipv4 unicast",
                f"{no}neighbor {RS_ADDRESS} route-map NONE in",
            )
            frr.vtysh("clear bgp ipv4 unicast * soft in")
            expected = V4 | V6 if no else V6
            wait_for(lambda: holds(frr), lambda held, e=expected: held == e)  # type: ignore[misc]


def test_openbgpd_refresh(tmp_path: Path) -> None:
    """OpenBGPD's `neighbor refresh` gets every route of both families once more."""
    bgpd = OpenBgpd(1, tmp_path, port := 18150)

    def stats() -> dict[str, Any]:
        text = bgpd.bgpctl("-j", "show", "neighbor", RS_ADDRESS) or '{"neighbors": [{}]}'
        found: dict[str, Any] = json.loads(text)["neighbors"][0].get("stats", {})
        return found

    with served(bgpd, tmp_path, port):
        wait_for(lambda: holds(bgpd), lambda held: held == V4 | V6)
        before = stats()["update"]["received"]["updates"]
        assert before == len(V4 | V6)
        bgpd.bgpctl("neighbor", RS_ADDRESS, "refresh")
        wait_for(lambda: stats()["update"]["received"]["updates"], lambda now: now == 2 * before)
        assert holds(bgpd) == V4 | V6
