"""ADD-PATH (RFC 7911) with the daemons: they hold every path, or as many as they may, or the best."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.daemons import (
    RS_ADDRESS,
    RS_AS,
    Bird,
    Daemon,
    Frr,
    GoBgp,
    OpenBgpd,
    TrioBgp,
    member,
    peer,
    wait_for,
)

pytestmark = pytest.mark.interop

V4 = "203.0.113.0/24"
MARK = "198.51.100.0/24"
SEND_ALL = 'add_path = {send = "all"}'

Paths = list[tuple[str, str]]
"""AS_PATH and next hop of each path, sorted."""


def of_bird(daemon: Daemon, prefix: str) -> Paths:
    """What a BIRD has learned of a prefix."""
    assert isinstance(daemon, Bird)
    return sorted((path["as_path"], path["next_hop"].split()[0]) for path in daemon.paths(prefix))


def of_frr(daemon: Daemon, prefix: str) -> Paths:
    """What an FRR has learned of a prefix; no two of its path identifiers are equal."""
    assert isinstance(daemon, Frr)
    paths = daemon.paths(prefix)
    identifiers = [path["addpath"]["rxId"] for path in paths if "addpath" in path]
    assert len(identifiers) == len(set(identifiers))
    return sorted((path["aspath"]["string"], path["nexthops"][0]["ip"]) for path in paths)


def of_gobgp(daemon: Daemon, prefix: str) -> Paths:
    """What a GoBGP has learned of a prefix."""
    assert isinstance(daemon, GoBgp)
    found = []
    for path in daemon.adjacent("adj-in", "ipv6" if ":" in prefix else "ipv4").get(prefix, []):
        by_type = {each["type"]: each for each in path["attrs"]}
        numbers = [str(number) for segment in by_type[2].get("as_paths", []) for number in segment["asns"]]
        found.append((" ".join(numbers), by_type[3]["nexthop"]))
    return sorted(found)


def of_openbgpd(daemon: Daemon, prefix: str) -> Paths:
    """What an OpenBGPD has learned of a prefix."""
    assert isinstance(daemon, OpenBgpd)
    text = daemon.bgpctl("-j", "show", "rib", "detail", "in", "neighbor", RS_ADDRESS)
    entries = (json.loads(text) if text.strip().startswith("{") else {}).get("rib", [])
    return sorted(
        (entry["aspath"], entry.get("exit_nexthop") or entry["nexthop"])
        for entry in entries
        if entry["prefix"] == prefix
    )


def from_(*sources: Daemon) -> Paths:
    """What to have of V4 when these announce it."""
    return sorted((str(source.asn), source.next_hop(V4)) for source in sources)


Receiver = tuple[Callable[[Path, int], Daemon], Callable[[Daemon, str], Paths]]
RECEIVERS: dict[str, Receiver] = {
    "BIRD": (lambda folder, port: Bird(3, folder, port, ipv4="add paths rx;"), of_bird),
    "FRR": (lambda folder, port: Frr(3, folder, port), of_frr),
    "GoBGP": (lambda folder, port: GoBgp(3, folder, port, receive=True), of_gobgp),
    "OpenBGPD": (lambda folder, port: OpenBgpd(3, folder, port, options="announce add-path recv yes"), of_openbgpd),
}


@pytest.mark.parametrize("name", list(RECEIVERS))
def test_receiver_of_all_paths(name: str, tmp_path: Path) -> None:
    """An ADD-PATH receiver holds every path, one beside it the best alone; withdrawals and losses take away theirs."""
    port = 18500
    make, shown = RECEIVERS[name]
    peers = [member(1), member(2), member(3, SEND_ALL), member(4, SEND_ALL)]
    with (
        TrioBgp(tmp_path, port, peers) as server,
        Bird(1, tmp_path, port) as first,
        Bird(2, tmp_path, port) as second,
        make(tmp_path, port) as receiver,
        Bird(4, tmp_path, port) as plain,
    ):

        def both(paths: Paths, best: Paths) -> None:
            wait_for(lambda: (shown(receiver, V4), of_bird(plain, V4)), lambda held: held == (paths, best))

        second.announce(V4)
        both(from_(second), from_(second))
        first.announce(V4)
        both(from_(first, second), from_(first))
        log = server.log()
        assert "add_path" in next(line for line in log.splitlines() if "peer.established name=p3 " in line)
        assert "add_path" not in next(line for line in log.splitlines() if "peer.established name=p4 " in line)
        # One of them announces other attributes: that path is replaced, not added to.
        first.announce(V4, communities=("65001:5",))
        first.announce(MARK)
        wait_for(lambda: shown(receiver, MARK), bool)
        both(from_(first, second), from_(first))
        first.withdraw(V4)
        both(from_(second), from_(second))
        first.announce(V4)
        both(from_(first, second), from_(first))
        second.withdraw(V4)
        both(from_(first), from_(first))
        second.announce(V4)
        both(from_(first, second), from_(first))
        first.stop()
        both(from_(second), from_(second))
        second.withdraw(V4)
        both([], [])


def test_late_receiver_and_limit(tmp_path: Path) -> None:
    """A BIRD that joins late is told all paths; one that may have two has the best two, whoever comes and goes."""
    port = 18510
    peers = [*(member(n) for n in (1, 2, 3)), member(4, "add_path = {send = 2}"), member(5, SEND_ALL)]
    with (
        TrioBgp(tmp_path, port, peers),
        Bird(1, tmp_path, port) as first,
        Bird(2, tmp_path, port) as second,
        Bird(3, tmp_path, port) as third,
        Bird(4, tmp_path, port, ipv4="add paths rx;") as two,
    ):
        third.announce(V4)
        wait_for(lambda: of_bird(two, V4), lambda held: held == from_(third))
        second.announce(V4)
        wait_for(lambda: of_bird(two, V4), lambda held: held == from_(second, third))
        first.announce(V4)
        wait_for(lambda: of_bird(two, V4), lambda held: held == from_(first, second))
        with Bird(5, tmp_path, port, ipv4="add paths rx;") as late:
            wait_for(lambda: of_bird(late, V4), lambda held: held == from_(first, second, third))
            second.withdraw(V4)
            wait_for(lambda: of_bird(two, V4), lambda held: held == from_(first, third))
            wait_for(lambda: of_bird(late, V4), lambda held: held == from_(first, third))


def test_sources_do_not_get_their_own(tmp_path: Path) -> None:
    """Two BIRDs with ADD-PATH announce the same prefix: each holds the other's path alone."""
    port = 18520
    with (
        TrioBgp(tmp_path, port, [member(n, SEND_ALL) for n in (1, 2, 3)]),
        Bird(1, tmp_path, port, ipv4="add paths rx;") as first,
        Bird(2, tmp_path, port, ipv4="add paths rx;") as second,
        Bird(3, tmp_path, port, ipv4="add paths rx;") as third,
    ):
        first.announce(V4)
        second.announce(V4)
        wait_for(lambda: of_bird(third, V4), lambda held: held == from_(first, second))
        wait_for(lambda: of_bird(first, V4), lambda held: held == from_(second))
        wait_for(lambda: of_bird(second, V4), lambda held: held == from_(first))


def second_static(hop: str) -> str:
    """One more protocol of a BIRD with a route to V4."""
    return f"protocol static more {{ ipv4; route {V4} blackhole {{ bgp_next_hop = {hop}; }}; }}"


@pytest.mark.parametrize("role", ["rs-client", "rr-client"])
def test_sender(role: str, tmp_path: Path) -> None:
    """A BIRD sends two paths: ADD-PATH receivers hold both, another one of them; one is withdrawn, the other stays."""
    port = 18530
    asn = RS_AS if role == "rr-client" else 0
    peers = [
        peer(1, role, "add_path = {receive = true}"),
        *(peer(n, role, SEND_ALL) for n in (2, 3, 4)),
    ]
    more = "192.0.2.101"
    with (
        TrioBgp(tmp_path, port, peers),
        Bird(1, tmp_path, port, asn=asn, ipv4="add paths tx;", extra=second_static(more)) as sender,
        Bird(2, tmp_path, port, asn=asn, ipv4="add paths rx;") as bird,
        Frr(3, tmp_path, port, asn=asn) as frr,
        Bird(4, tmp_path, port, asn=asn) as plain,
    ):
        as_path = "" if asn else str(sender.asn)
        for_frr = as_path or "Local"
        own = sender.next_hop(V4)

        def check(*hops: str) -> None:
            wait_for(lambda: of_bird(bird, V4), lambda held: held == sorted((as_path, hop) for hop in hops))
            wait_for(lambda: of_frr(frr, V4), lambda held: held == sorted((for_frr, hop) for hop in hops))
            wait_for(
                lambda: of_bird(plain, V4), lambda held: len(held) == min(1, len(hops)) and {*held} <= {*from_hops}
            )

        from_hops = [(as_path, own), (as_path, more)]
        check(more)
        sender.announce(V4)
        check(own, more)
        sender.extra = ""
        sender.configure()
        check(own)
        sender.extra = second_static("192.0.2.102")
        from_hops.append((as_path, "192.0.2.102"))
        sender.configure()
        check(own, "192.0.2.102")
        sender.withdraw(V4)
        check("192.0.2.102")
        sender.stop()
        check()


def test_sender_and_others(tmp_path: Path) -> None:
    """Two senders of two paths each whose path identifiers may be the same: a receiver holds four, with four others."""
    port = 18540
    both_ways = 'add_path = {send = "all", receive = true}'
    with (
        TrioBgp(tmp_path, port, [member(n, both_ways) for n in (1, 2, 3)]),
        Bird(1, tmp_path, port, ipv4="add paths on;", extra=second_static("192.0.2.101")) as first,
        Bird(2, tmp_path, port, ipv4="add paths on;", extra=second_static("192.0.2.102")) as second,
        Frr(3, tmp_path, port) as receiver,
    ):
        first.announce(V4)
        second.announce(V4)
        of_first = [("65001", "192.0.2.1"), ("65001", "192.0.2.101")]
        of_second = [("65002", "192.0.2.102"), ("65002", "192.0.2.2")]
        wait_for(lambda: of_frr(receiver, V4), lambda held: held == of_first + of_second)
        wait_for(lambda: of_bird(first, V4), lambda held: held == of_second)
        wait_for(lambda: of_bird(second, V4), lambda held: held == of_first)
        first.withdraw(V4)
        wait_for(lambda: of_frr(receiver, V4), lambda held: held == of_first[1:] + of_second)
        wait_for(lambda: of_bird(second, V4), lambda held: held == of_first[1:])
        first.stop()
        wait_for(lambda: of_frr(receiver, V4), lambda held: held == of_second)


def test_frr_sends_all_paths(tmp_path: Path) -> None:
    """An FRR with `addpath-tx-all-paths` passes on what two BIRDs told it: a receiver holds both paths."""
    port = 18550
    behind = [11, 12]
    neighbors = "".join(
        f" neighbor 127.0.{n}.1 remote-as {RS_AS + n}\n neighbor 127.0.{n}.1 port {port + 21}\n"
        f" neighbor 127.0.{n}.1 update-source 127.0.3.1\n neighbor 127.0.{n}.1 ebgp-multihop 5\n"
        f" neighbor 127.0.{n}.1 timers connect 1\n"
        for n in behind
    )
    activate = "".join(f"  neighbor 127.0.{n}.1 activate\n" for n in behind)
    more = (
        f"{neighbors} address-family ipv4 unicast\n{activate}"
        f"  no neighbor {RS_ADDRESS} route-map OUT out\n"
        f"  neighbor {RS_ADDRESS} addpath-tx-all-paths\n  neighbor {RS_ADDRESS} attribute-unchanged next-hop\n"
        " exit-address-family\n"
    )
    # Their route server is FRR: its address, AS and port.
    with (
        TrioBgp(tmp_path, port, [member(3, "add_path = {receive = true}"), member(4, SEND_ALL)]),
        Frr(3, tmp_path, port, more=more) as frr,
        Bird(4, tmp_path, port, ipv4="add paths rx;") as receiver,
        BehindFrr(11, tmp_path, port + 20) as first,
        BehindFrr(12, tmp_path, port + 20) as second,
    ):
        first.announce(V4)
        second.announce(V4)
        paths = sorted((f"{frr.asn} {each.asn}", each.next_hop(V4)) for each in (first, second))
        wait_for(lambda: of_bird(receiver, V4), lambda held: held == paths)
        first.withdraw(V4)
        wait_for(lambda: of_bird(receiver, V4), lambda held: held == paths[1:])


class BehindFrr(Bird):
    """A BIRD whose only neighbor is the FRR at 127.0.3.1, which connects to it."""

    def __init__(self, number: int, folder: Path, port: int) -> None:
        super().__init__(number, folder, port, server="127.0.3.1", options="passive yes;")

    def write(self) -> None:
        """Write the configuration with FRR's AS."""
        super().write()
        path = self.folder / "conf"
        path.write_text(path.read_text().replace(f" as {RS_AS};", f" as {RS_AS + 3};"))
