"""Who connects to whom and over what: sessions the route server opens, IPv6, TCP-MD5 (RFC 2385), GTSM (RFC 5082)."""

from pathlib import Path

import pytest

from tests.interop.daemons import RS_ADDRESS, Bird, Daemon, Frr, GoBgp, Route, TrioBgp, member, wait_for

pytestmark = pytest.mark.interop

V4, V6 = "203.0.113.0/24", "2001:db8:113::/48"
TRIES = 3


def dialed(number: int, port: int, more: str = "") -> str:
    """The TOML of a peer that the route server connects to."""
    return member(
        number, f'passive = false\nport = {port + 1}\nlocal_address = "{RS_ADDRESS}"\nconnect_retry_time = 1\n{more}'
    )


def kernel(counter: str) -> int:
    """One of the kernel's TCP counters."""
    lines = Path("/proc/net/netstat").read_text().splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        found = dict(zip(names.split(), values.split(), strict=True))
        if counter in found:
            return int(found[counter])
    pytest.fail(f"no counter {counter}")


def check_exchange(first: Daemon, second: Daemon) -> None:
    """Routes of both families go both ways."""
    for source, receiver in ((first, second), (second, first)):
        prefixes = [prefix.replace("113", str(source.number)) for prefix in (V4, V6)]
        for prefix in prefixes:
            source.announce(prefix)
        for version, prefix in zip((4, 6), prefixes, strict=True):
            held = wait_for(lambda d=receiver, v=version: d.routes(v), lambda routes, p=prefix: list(routes) == [p])  # type: ignore[misc]
            route: Route = held[prefix]
            assert route.as_path == str(source.asn)
            assert route.next_hop == source.next_hop(prefix)


def test_it_connects_to_passive_daemons(tmp_path: Path) -> None:
    """The route server itself opens sessions with a BIRD and a GoBGP that only wait, and forwards both ways."""
    port = 18200
    with (
        TrioBgp(tmp_path, port, [dialed(1, port), dialed(2, port)], listen="[]") as server,
        Bird(1, tmp_path, port, options="passive yes;") as bird,
        GoBgp(2, tmp_path, port, passive=True) as gobgp,
    ):
        check_exchange(bird, gobgp)
        assert server.log().count("peer.established") == 2


def test_both_connect(tmp_path: Path) -> None:
    """When both sides connect, one session per peer is left in the end, and it forwards both ways."""
    port = 18210
    with (
        TrioBgp(tmp_path, port, [dialed(1, port), dialed(2, port)]) as server,
        Bird(1, tmp_path, port) as first,
        GoBgp(2, tmp_path, port) as second,
    ):
        check_exchange(first, second)
        log = server.log()
        assert log.count("peer.established") - log.count("peer.down") == 2, log


def test_ipv6_transport(tmp_path: Path) -> None:
    """A BIRD whose session runs over IPv6 and one over IPv4 hold each other's routes of both families, untouched."""
    port = 18220
    over_ipv6 = member(1).replace("127.0.1.1", "::1")
    with (
        TrioBgp(tmp_path, port, [over_ipv6, member(2)]) as server,
        Bird(1, tmp_path, port, address="::1", server="::1") as first,
        Bird(2, tmp_path, port) as second,
    ):
        check_exchange(first, second)
        assert "peer.established name=p1 address=::1 " in server.log()


def refused(server: TrioBgp, bird: Bird, counter: str) -> None:
    """BIRD reads its configuration; the kernel drops packets, again and again, and no session comes up.

    BIRD itself may think that it has one: its OPEN may be in before the accepted connection is protected.
    """
    before = kernel(counter)
    bird.configure()
    wait_for(lambda: kernel(counter), lambda now: now >= before + TRIES)
    assert "peer.established name=p1 " not in server.log()


@pytest.mark.parametrize("dials", [False, True], ids=["BIRD connects", "trio-bgp connects"])
def test_md5(dials: bool, tmp_path: Path) -> None:
    """With the right TCP-MD5 password the session comes up and forwards; with a wrong one or none it does not."""
    port = 18230
    more = 'md5_password = "right"'
    passive = "passive yes;" if dials else ""
    bird = Bird(1, tmp_path, port, options=f'password "wrong"; {passive}')
    other = Bird(2, tmp_path, port)
    with (
        TrioBgp(tmp_path, port, [dialed(1, port, more) if dials else member(1, more), member(2)]) as server,
        bird,
        other,
    ):
        refused(server, bird, "TCPMD5Failure")
        bird.options = passive
        refused(server, bird, "TCPMD5Unexpected" if dials else "TCPMD5NotFound")
        bird.options = f'password "right"; {passive}'
        bird.configure()
        check_exchange(bird, other)
        assert "right" not in server.log()


@pytest.mark.parametrize("dials", [False, True], ids=["BIRD connects", "trio-bgp connects"])
def test_gtsm(dials: bool, tmp_path: Path) -> None:
    """With GTSM on both sides the session comes up and forwards."""
    port = 18240
    passive = "passive yes;" if dials else ""
    peer = dialed(1, port, "ttl_security = 1") if dials else member(1, "ttl_security = 1")
    with (
        TrioBgp(tmp_path, port, [peer, member(2)]),
        Bird(1, tmp_path, port, hops="multihop 1", options=f"ttl security on; {passive}") as first,
        Bird(2, tmp_path, port) as second,
    ):
        check_exchange(first, second)


@pytest.mark.parametrize("dials", [False, True], ids=["BIRD connects", "trio-bgp connects"])
def test_gtsm_refuses(dials: bool, tmp_path: Path) -> None:
    """When BIRD has no GTSM but a TTL of 1 no session comes up, and no route of its gets through."""
    port = 18250
    passive = "passive yes;" if dials else ""
    peer = dialed(1, port, "ttl_security = 1") if dials else member(1, "ttl_security = 1")
    with (
        TrioBgp(tmp_path, port, [peer, member(2)]) as server,
        Bird(1, tmp_path, port, hops="multihop 1", options=passive) as first,
        Bird(2, tmp_path, port) as second,
    ):
        first.announce(V4)
        wait_for(second.established, bool)
        if dials:
            refused(server, first, "TCPMinTTLDrop")
        else:
            # The SYN tells, before the kernel is asked to drop anything.
            wait_for(server.log, lambda log: "GTSM: it came with a TTL of 1, at least 255 is needed" in log)
            assert "peer.established name=p1 " not in server.log()
        assert second.routes(4) == {}


def test_gtsm_of_the_daemon_alone(tmp_path: Path) -> None:
    """A BIRD with GTSM drops what a route server without it sends: no session comes up."""
    port = 18260
    bird = Bird(1, tmp_path, port, hops="multihop 1", options="ttl security on;")
    with TrioBgp(tmp_path, port, [member(1)]) as server, bird:
        refused(server, bird, "TCPMinTTLDrop")


def test_frr_md5_and_gtsm(tmp_path: Path) -> None:
    """FRR with a TCP-MD5 password and `ttl-security hops 1` comes up beside a BIRD that has neither."""
    port = 18270
    peer = member(1, 'md5_password = "right"\nttl_security = 1')
    neighbor = (
        f"no neighbor {RS_ADDRESS} ebgp-multihop",
        f"neighbor {RS_ADDRESS} ttl-security hops 1",
        f"neighbor {RS_ADDRESS} password right",
    )
    with (
        TrioBgp(tmp_path, port, [peer, member(2)]) as server,
        Frr(1, tmp_path, port) as frr,
        Bird(2, tmp_path, port) as bird,
    ):
        wait_for(bird.established, bool)
        before = kernel("TCPMD5NotFound")
        wait_for(lambda: kernel("TCPMD5NotFound"), lambda now: now >= before + TRIES)
        assert "peer.established name=p1 " not in server.log()
        frr.vtysh("configure terminal", f"router bgp {frr.asn}", *neighbor)
        check_exchange(frr, bird)
