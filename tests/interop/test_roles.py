"""Daemons in every role: reflection (RFC 4456), external peers (RFC 4271), communities obeyed (RFC 1997)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness import decoder
from tests.interop.daemons import RS_ADDRESS, RS_AS, Bird, Daemon, Frr, GoBgp, Route, TrioBgp, member, peer, wait_for
from tests.interop.raw import RawSpeaker

pytestmark = pytest.mark.interop

CLUSTER = "10.255.0.99"
SPEAKER = f'cluster_id = "{CLUSTER}"'
NO_EXPORT = "65535:65281"
OUR_V6 = "2001:db8:ffff::65"


def v4(number: int) -> str:
    """The IPv4 prefix of a daemon."""
    return f"203.0.{number}.0/24"


def v6(number: int) -> str:
    """The IPv6 prefix of a daemon."""
    return f"2001:db8:{number}::/48"


def holds(bird: Bird, *prefixes: str) -> None:
    """Wait until a BIRD has learned exactly these IPv4 prefixes."""
    wait_for(lambda: set(bird.routes(4)), lambda held: held == set(prefixes))


def of_bird(bird: Bird, prefix: str) -> dict[str, str]:
    """The only path a BIRD has to a prefix, waited for."""
    [path] = wait_for(lambda: bird.paths(prefix), bool)
    return path


def of_frr(frr: Frr, prefix: str) -> dict[str, Any]:
    """The only path an FRR has to a prefix, waited for."""
    [path] = wait_for(lambda: frr.paths(prefix), bool)
    return path


def test_reflection_between_clients(tmp_path: Path) -> None:
    """Clients hold each other's routes with LOCAL_PREF and next hop kept, ORIGINATOR_ID and CLUSTER_LIST added."""
    port = 18400
    with (
        TrioBgp(tmp_path, port, [peer(1, "rr-client"), peer(2, "rr-client")], speaker=SPEAKER),
        Bird(1, tmp_path, port, asn=RS_AS, exports="bgp_local_pref = 300;") as bird,
        Frr(2, tmp_path, port, asn=RS_AS, rules=" set local-preference 400") as frr,
    ):
        for prefix in (v4(1), v6(1)):
            bird.announce(prefix)
        for prefix in (v4(2), v6(2)):
            frr.announce(prefix)
        for prefix in (v4(1), v6(1)):
            path = of_frr(frr, prefix)
            assert path["locPrf"] == 300
            assert path["metric"] == 7
            assert path["originatorId"] == "10.0.0.1"
            assert path["clusterList"]["list"] == [CLUSTER]
            assert path["aspath"]["string"] == "Local"
            assert path["nexthops"][0]["ip"] == bird.next_hop(prefix)
        for prefix in (v4(2), v6(2)):
            held = of_bird(bird, prefix)
            assert held["local_pref"] == "400"
            assert held["med"] == "7"
            assert held["originator_id"] == "10.0.0.2"
            assert held["cluster_list"] == CLUSTER
            assert held["as_path"] == ""
            assert held["next_hop"].split()[0] == frr.next_hop(prefix)
            assert held["community"] == f"({RS_AS},100)"
        bird.withdraw(v4(1))
        wait_for(lambda: frr.paths(v4(1)), lambda paths: paths == [])
        assert len(frr.paths(v6(1))) == 1


def test_reflection_of_what_was_reflected(tmp_path: Path) -> None:
    """Another reflector's ORIGINATOR_ID stays and our CLUSTER_ID comes first; a route of our own cluster is dropped."""
    port = 18405

    def announcement(prefix: bytes, originator: bytes, clusters: bytes) -> bytes:
        attributes = decoder.attribute(0x40, 1, b"\0") + decoder.attribute(0x40, 2, b"")
        attributes += decoder.attribute(0x40, 3, bytes((192, 0, 2, 9))) + decoder.attribute(0x40, 5, bytes(4))
        attributes += decoder.attribute(0x80, 9, originator) + decoder.attribute(0x80, 10, clusters)
        return decoder.update(b"", attributes, prefix)

    with (
        TrioBgp(tmp_path, port, [peer(1, "rr-client"), peer(9, "ibgp")], speaker=SPEAKER),
        Bird(1, tmp_path, port, asn=RS_AS) as bird,
        RawSpeaker("127.0.9.1", RS_AS, port) as raw,
    ):
        wait_for(bird.established, bool)
        ours = bytes(map(int, CLUSTER.split(".")))
        raw.say(announcement(b"\x18\xcb\x00\x0a", bytes((10, 7, 7, 7)), bytes((10, 8, 8, 8)) + ours))
        raw.say(announcement(b"\x18\xcb\x00\x09", bytes((10, 7, 7, 7)), bytes((10, 8, 8, 8))))
        path = of_bird(bird, v4(9))
        assert path["originator_id"] == "10.7.7.7"
        assert path["cluster_list"] == f"{CLUSTER} 10.8.8.8"
        assert path["local_pref"] == "0"
        holds(bird, v4(9))


def test_non_clients(tmp_path: Path) -> None:
    """Non-clients exchange routes with a client but not with each other, whatever comes and goes."""
    port = 18410
    with (
        TrioBgp(tmp_path, port, [peer(1, "rr-client"), peer(2, "ibgp"), peer(3, "ibgp")], speaker=SPEAKER),
        Bird(1, tmp_path, port, asn=RS_AS) as client,
        Bird(2, tmp_path, port, asn=RS_AS) as first,
        Frr(3, tmp_path, port, asn=RS_AS) as second,
    ):
        for daemon in (client, first, second):
            daemon.announce(v4(daemon.number))
        holds(client, v4(2), v4(3))
        holds(first, v4(1))
        assert of_frr(second, v4(1))["clusterList"]["list"] == [CLUSTER]
        path = of_bird(client, v4(2))
        assert path["originator_id"] == "10.0.0.2"
        assert path["cluster_list"] == CLUSTER
        # The client's next route is behind everything that might have come from the other non-client.
        client.announce(v4(11))
        holds(first, v4(1), v4(11))
        wait_for(lambda: second.paths(v4(11)), bool)
        assert second.paths(v4(2)) == []
        # When both have the client's prefix the best is first's, which second may not have.
        first.announce(v4(20))
        second.announce(v4(20))
        wait_for(lambda: [path["originator_id"] for path in client.paths(v4(20))], lambda ids: ids == ["10.0.0.2"])
        client.announce(v4(12))
        holds(first, v4(1), v4(11), v4(12))
        first.withdraw(v4(20))
        wait_for(lambda: [path["originator_id"] for path in client.paths(v4(20))], lambda ids: ids == ["10.0.0.3"])


def test_external(tmp_path: Path) -> None:
    """Towards an external BIRD our AS is prepended, the next hop is ours, MED is gone; the way back nothing changes."""
    port = 18420
    peers = [member(1), peer(2, "ebgp", f'next_hop_ipv6 = "{OUR_V6}"'), peer(3, "rr-client"), peer(4, "ebgp")]
    with (
        TrioBgp(tmp_path, port, peers) as server,
        Bird(1, tmp_path, port) as rs_client,
        Bird(2, tmp_path, port) as external,
        Bird(3, tmp_path, port, asn=RS_AS) as rr_client,
        Bird(4, tmp_path, port) as other,
    ):
        for bird in (rs_client, external, rr_client):
            for prefix in (v4(bird.number), v6(bird.number)):
                bird.announce(prefix, communities=(f"{bird.asn}:100",))
        hops = {v4: RS_ADDRESS, v6: OUR_V6}
        for family, hop in hops.items():
            path = of_bird(external, family(1))
            assert (path["as_path"], path["next_hop"].split()[0]) == (f"{RS_AS} 65001", hop)
            assert path["community"] == "(65001,100)"
            assert not {"med", "originator_id", "cluster_list"} & set(path)
            path = of_bird(external, family(3))
            assert (path["as_path"], path["next_hop"].split()[0]) == (f"{RS_AS}", hop)
            assert not {"med", "originator_id", "cluster_list"} & set(path)
            path = of_bird(rs_client, family(2))
            assert (path["as_path"], path["next_hop"].split()[0]) == ("65002", external.next_hop(family(2)))
            assert path["med"] == "7"
            path = of_bird(rr_client, family(2))
            assert (path["as_path"], path["next_hop"].split()[0]) == ("65002", external.next_hop(family(2)))
            assert path["local_pref"] == "100"
            assert "originator_id" not in path
        path = of_bird(other, v4(2))
        assert (path["as_path"], path["next_hop"].split()[0]) == (f"{RS_AS} 65002", RS_ADDRESS)
        holds(other, v4(1), v4(2), v4(3))
        # Over IPv4, and without `next_hop_ipv6`, there is no next hop of ours for IPv6 routes.
        assert other.routes(6) == {}
        assert "name=p4" in server.log()


def test_no_policy(tmp_path: Path) -> None:
    """An external peer without import and export passes nothing in either direction (RFC 8212)."""
    port = 18425
    silent = peer(2, "ebgp").replace('import = "accept"\nexport = "accept"\n', "")
    with (
        TrioBgp(tmp_path, port, [member(1), silent, peer(3, "ebgp")]),
        Bird(1, tmp_path, port) as client,
        Bird(2, tmp_path, port) as external,
        Bird(3, tmp_path, port) as other,
    ):
        wait_for(external.established, bool)
        external.announce(v4(2))
        client.announce(v4(1))
        other.announce(v4(3))
        holds(client, v4(3))
        holds(other, v4(1))
        external.birdc("reload out up")
        client.announce(v4(11))
        holds(other, v4(1), v4(11))
        assert set(client.routes(4)) == {v4(3)}
        assert external.routes(4) == {}


@pytest.mark.parametrize("role", ["ebgp", "rr-client"])
def test_no_export(role: str, tmp_path: Path) -> None:
    """NO_EXPORT passes between route-server clients and to internal peers, not to an external one."""
    port = 18430
    asn = RS_AS if role == "rr-client" else 0
    with (
        TrioBgp(tmp_path, port, [member(1), member(2), peer(3, role)]),
        Bird(1, tmp_path, port) as source,
        Bird(2, tmp_path, port) as client,
        Bird(3, tmp_path, port, asn=asn) as third,
    ):
        source.announce(v4(1), communities=(NO_EXPORT,))
        holds(client, v4(1))
        assert client.routes(4)[v4(1)].communities == (NO_EXPORT,)
        wait_for(third.established, bool)
        source.announce(v4(11))
        holds(client, v4(1), v4(11))
        if role == "ebgp":
            holds(third, v4(11))
        else:
            holds(third, v4(1), v4(11))
        # A route that gets the community later is taken away.
        source.announce(v4(11), communities=(NO_EXPORT,))
        wait_for(lambda: client.routes(4)[v4(11)].communities, lambda found: found == (NO_EXPORT,))
        if role == "ebgp":
            holds(third)
        else:
            wait_for(lambda: third.routes(4)[v4(11)].communities, lambda found: found == (NO_EXPORT,))


def test_all_roles_together(tmp_path: Path) -> None:
    """Every role in one daemon, four implementations: each holds the others' routes as its role says."""
    port = 18440
    hop6 = f'next_hop_ipv6 = "{OUR_V6}"'
    peers = [member(1), member(42), peer(2, "rr-client"), peer(3, "ibgp"), peer(4, "ebgp", hop6)]
    with (
        TrioBgp(tmp_path, port, peers, speaker=SPEAKER),
        Bird(1, tmp_path, port) as rs_bird,
        GoBgp(42, tmp_path, port) as rs_gobgp,
        Frr(2, tmp_path, port, asn=RS_AS) as rr_client,
        Bird(3, tmp_path, port, asn=RS_AS) as non_client,
        Bird(4, tmp_path, port) as external,
    ):
        everybody: list[Daemon] = [rs_bird, rs_gobgp, rr_client, non_client, external]
        for daemon in everybody:
            daemon.announce(v4(daemon.number))
            daemon.announce(v6(daemon.number))
        internal = (rr_client, non_client)

        def expected(receiver: Daemon, source: Daemon, prefix: str) -> tuple[str, str]:
            """AS_PATH and next hop."""
            path = "" if source in internal else str(source.asn)
            if receiver is external:
                return f"{RS_AS} {path}".strip(), OUR_V6 if ":" in prefix else RS_ADDRESS
            if receiver in (rs_bird, rs_gobgp) and source in internal:
                path = str(RS_AS)
            return path, source.next_hop(prefix)

        def shown(route: Route) -> tuple[str, str]:
            return route.as_path, route.next_hop

        families: list[tuple[int, Callable[[int], str]]] = [(4, v4), (6, v6)]
        for version, prefix_of in families:
            for receiver in (rs_bird, rs_gobgp, non_client, external):
                want = {
                    prefix_of(each.number): expected(receiver, each, prefix_of(each.number))
                    for each in everybody
                    if each is not receiver
                }
                wait_for(
                    lambda r=receiver, v=version: {p: shown(route) for p, route in r.routes(v).items()},  # type: ignore[misc]
                    lambda held, w=want: held == w,  # type: ignore[misc]
                )
            for source in everybody:
                if source is rr_client:
                    continue
                prefix = prefix_of(source.number)
                path = of_frr(rr_client, prefix)
                as_path, hop = expected(rr_client, source, prefix)
                assert path["aspath"]["string"] == (as_path or "Local")
                assert path["nexthops"][0]["ip"] == hop
                assert path["locPrf"] == 100
                assert path.get("clusterList", {}).get("list") == ([CLUSTER] if source is non_client else None)
                assert path.get("originatorId") == ("10.0.0.3" if source is non_client else None)
        reflected = of_bird(non_client, v4(2))
        assert (reflected["originator_id"], reflected["cluster_list"]) == ("10.0.0.2", CLUSTER)
        rs_bird.withdraw(v4(1))
        for receiver in (rs_gobgp, non_client, external):
            wait_for(lambda r=receiver: set(r.routes(4)), lambda held: v4(1) not in held)  # type: ignore[misc]
        wait_for(lambda: rr_client.paths(v4(1)), lambda paths: paths == [])
