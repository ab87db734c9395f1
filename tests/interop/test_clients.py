"""Each daemon as two or more live clients of the route server."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.daemons import (
    RS_AS,
    Bird,
    Daemon,
    ExaBgp,
    Frr,
    GoBgp,
    OpenBgpd,
    Route,
    TrioBgp,
    member,
    wait_for,
)

pytestmark = pytest.mark.interop

V4, V6 = "203.0.113.0/24", "2001:db8:113::/48"
CLIENTS: list[Callable[[int, Path, int], Daemon]] = [Bird, Frr, GoBgp, OpenBgpd]


def check_route(daemon: Daemon, route: Route, source: Daemon, prefix: str) -> None:
    """The route is as its source announced it: nothing of the route server in it."""
    assert route.as_path == str(source.asn)
    assert RS_AS not in map(int, route.as_path.split())
    assert route.next_hop == source.next_hop(prefix)
    assert route.med == 7
    if route.communities is not None and not isinstance(daemon, OpenBgpd):
        assert route.communities == (f"{source.asn}:100",)


@pytest.mark.parametrize("client", CLIENTS, ids=[each.__name__ for each in CLIENTS])
def test_a_daemon_with_itself(client: Callable[[int, Path, int], Daemon], tmp_path: Path) -> None:
    """One announces, the other and a late joiner hold exactly the routes; withdrawal and loss are told."""
    port = 17910
    with (
        TrioBgp(tmp_path, port, [member(1), member(2), member(3)]) as server,
        client(1, tmp_path, port) as first,
        client(2, tmp_path, port) as second,
    ):
        assert isinstance(server, TrioBgp)
        first.announce(V4, communities=(f"{first.asn}:100",))
        first.announce(V6, communities=(f"{first.asn}:100",))
        for version, prefix in ((4, V4), (6, V6)):
            held = wait_for(lambda v=version: second.routes(v), lambda routes, p=prefix: list(routes) == [p])  # type: ignore[misc]
            check_route(second, held[prefix], first, prefix)
            assert first.routes(version) == {}
        with client(3, tmp_path, port) as late:
            for version, prefix in ((4, V4), (6, V6)):
                wait_for(lambda v=version: late.routes(v), lambda routes, p=prefix: list(routes) == [p])  # type: ignore[misc]
        first.withdraw(V6)
        wait_for(lambda: second.routes(6), lambda routes: routes == {})
        assert list(second.routes(4)) == [V4]
        first.stop(signal.SIGKILL)
        wait_for(lambda: second.routes(4), lambda routes: routes == {})


def test_all_daemons_together(tmp_path: Path) -> None:
    """Five implementations on one route server: everybody holds what the others announce, and nothing else."""
    port = 17920
    lines = [
        f"route {V4.replace('113', '6')} next-hop 192.0.2.6 med 7 community [65006:100]",
        f"route {V6.replace('113', '6')} next-hop 2001:db8:ffff::6 med 7 community [65006:100]",
    ]
    with (
        TrioBgp(tmp_path, port, [member(number) for number in range(1, 7)]),
        Bird(1, tmp_path, port) as bird,
        Frr(2, tmp_path, port) as frr,
        GoBgp(3, tmp_path, port) as gobgp,
        OpenBgpd(4, tmp_path, port) as openbgpd,
        ExaBgp(6, tmp_path, port, lines) as exabgp,
    ):
        clients = [bird, frr, gobgp, openbgpd]
        prefixes: dict[Daemon, tuple[str, str]] = {exabgp: (V4.replace("113", "6"), V6.replace("113", "6"))}
        for client in clients:
            prefixes[client] = (V4.replace("113", str(client.number)), V6.replace("113", str(client.number)))
            for prefix in prefixes[client]:
                client.announce(prefix, communities=(f"{client.asn}:100",))
        for client in clients:
            others = [each for each in prefixes if each is not client]
            for index, version in enumerate((4, 6)):
                expected = {prefixes[each][index] for each in others}
                held = wait_for(lambda c=client, v=version: c.routes(v), lambda got, e=expected: set(got) == e)  # type: ignore[misc]
                for each in others:
                    check_route(client, held[prefixes[each][index]], each, prefixes[each][index])


def test_shutdown_is_said(tmp_path: Path) -> None:
    """SIGTERM tells clients Cease/Administrative Shutdown."""
    port = 17930
    with TrioBgp(tmp_path, port, [member(1)]) as server, Bird(1, tmp_path, port) as bird:
        assert isinstance(bird, Bird)
        wait_for(lambda: bird.birdc("show protocols up"), lambda text: "Established" in text)
        assert server.stop() == 0
        text = wait_for(lambda: bird.birdc("show protocols all up"), lambda text: "Last error" in text)
        assert "Received: Administrative shutdown" in text
