"""BMP stations that are not ours: pmacct's collector says what it was told of, tshark finds nothing malformed."""

import json
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.interop.daemons import Bird, Daemon, Route, TrioBgp, member, need, wait_for
from tests.interop.test_capture import captured, values

pytestmark = pytest.mark.interop

MALFORMED = '_ws.malformed || (bmp && _ws.expert.severity == "Error") || (bmp && _ws.expert.group == "Malformed")'
LOC_RIB = "0.0.0.0"
Told = dict[str, tuple[str, str, tuple[str, ...]]]
"""Next hop, AS path and communities of each prefix."""


class Pmbmpd(Daemon):
    """pmacct's BMP collector, which writes each message to a file as JSON."""

    program = "pmbmpd"

    def start(self) -> None:
        """Start, and wait until it listens."""
        (self.folder / "conf").write_text(f"""
daemonize: false
bmp_daemon_ip: 127.0.0.1
bmp_daemon_port: {self.port}
bmp_daemon_max_peers: 4
bmp_daemon_msglog_file: {self.folder}/messages
bmp_daemon_msglog_output: json
logfile: {self.folder}/log
""")
        self.spawn(self.path, "-f", str(self.folder / "conf"))
        wait_for(lambda: self.log() + self.ended(), lambda text: "waiting for BMP data" in text or "ended" in text)
        assert not self.ended(), self.ended()

    def stop(self, sign: int = signal.SIGINT) -> int | None:
        """End it; it does not heed SIGTERM while it has a connection."""
        return super().stop(sign)

    def log(self) -> str:
        """What it logged."""
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def messages(self) -> list[dict[str, Any]]:
        """All it has written; the last line may be cut short."""
        path = self.folder / "messages"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """The messages of one type."""
        return [each for each in self.messages() if each.get("bmp_msg_type") == kind]

    def table(self, address: str, rib: str) -> Told:
        """What a peer has: `pre`, `post`, `out`, or the Loc-RIB's `loc`."""
        table: Told = {}
        for each in self.messages():
            if each.get("bmp_msg_type") == "peer_down" and each["peer_ip"] == address:
                table.clear()
            if each.get("bmp_msg_type") != "route_monitor" or each["peer_ip"] != address:
                continue
            found = "loc" if "is_loc" in each else "out" if "is_out" in each else "post" if each["is_post"] else "pre"
            if found != rib or "ip_prefix" not in each:
                continue
            if each["log_type"] == "withdraw":
                table.pop(each["ip_prefix"], None)
            else:
                communities = tuple(sorted(each["comms"].split())) if "comms" in each else ()
                table[each["ip_prefix"]] = (each["bgp_nexthop"], each["as_path"], communities)
        return table


def held(routes: dict[str, Route]) -> Told:
    """What BIRD shows of its routes, in the same form."""
    return {
        prefix: (route.next_hop, route.as_path, tuple(sorted(route.communities or ())))
        for prefix, route in routes.items()
    }


def said(bird: Bird, *prefixes: str) -> Told:
    """What BIRD announces of its own."""
    return {
        prefix: (bird.next_hop(prefix), str(bird.asn), tuple(sorted(bird.static[prefix][1]))) for prefix in prefixes
    }


def test_a_collector_is_told_of_peers_and_routes(tmp_path: Path) -> None:
    """Who is up and why no longer; Adj-RIB-In before and after policy, Adj-RIB-Out and Loc-RIB, live and late."""
    port, bmp_port = 18670, 18675
    stations = f"""
[[bmp.stations]]
address = "127.0.0.1:{bmp_port}"
monitor = ["adj-rib-in-pre", "adj-rib-in-post", "adj-rib-out", "loc-rib"]
statistics_interval = 1
connect_retry_time = 1
"""
    file = tmp_path / "bmp.pcapng"
    own = [f"10.{n}.0.0/16" for n in range(12)] + [f"2001:db8:{n:x}::/48" for n in range(1, 12)]
    shared = ["198.51.100.0/24", "2001:db8:ffff::/48"]
    late_folder = tmp_path / "late"
    late_folder.mkdir()
    with (
        captured(file, bmp_port),
        TrioBgp(tmp_path, port, [member(1), member(2)], extra=stations) as server,
        Bird(1, tmp_path, port) as one,
    ):
        wait_for(server.log, lambda text: "bmp.connect_failed" in text)
        with Pmbmpd(0, tmp_path, bmp_port) as station, Bird(2, tmp_path, port) as two:
            one.static |= dict.fromkeys((*own, *shared), (7, ("65001:1", "65001:2")))
            one.configure()
            for prefix in shared:
                two.announce(prefix)
            ours, theirs = said(one, *own, *shared), said(two, *shared)
            wait_for(lambda: held(two.routes(4)) | held(two.routes(6)), lambda routes: routes == ours)
            wait_for(lambda: held(one.routes(4)) | held(one.routes(6)), lambda routes: routes == theirs)
            addresses = {one.address: (ours, theirs), two.address: (theirs, ours)}

            def check(collector: Pmbmpd) -> None:
                for address, (sent, received) in addresses.items():
                    for rib, expected in (("pre", sent), ("post", sent), ("out", received)):
                        wait_for(
                            lambda a=address, r=rib: collector.table(a, r),  # type: ignore[misc]
                            lambda told, e=expected: told == e,  # type: ignore[misc]
                        )
                wait_for(lambda: collector.table(LOC_RIB, "loc"), lambda told: told == ours)

            check(station)
            (init,) = station.of_type("init")
            assert init["bmp_init_info_sysname"] == "10.255.0.1"
            assert init["bmp_init_info_sysdescr"].startswith("trio-bgp ")
            ups = {each["peer_ip"]: each for each in station.of_type("peer_up")}
            assert ups.keys() == {LOC_RIB, one.address, two.address}
            for bird in (one, two):
                up = ups[bird.address]
                assert (up["peer_asn"], up["bgp_id"]) == (bird.asn, f"10.0.0.{bird.number}")
                assert (up["local_ip"], up["is_in"], up["is_post"]) == ("127.0.0.1", 1, 0)
                assert port in (up["local_port"], up["remote_port"])
            assert (ups[LOC_RIB]["peer_asn"], ups[LOC_RIB]["is_loc"], ups[LOC_RIB]["is_filtered"]) == (65000, 1, 0)

            def statistics() -> dict[tuple[str, int], int]:
                found = {}
                for each in station.of_type("stats"):
                    if "afi" not in each:
                        found[each["peer_ip"], each["counter_type"]] = each["counter_value"]
                return found

            wait_for(
                statistics,
                lambda found: (
                    found.get((one.address, 7)) == len(ours)
                    and found.get((two.address, 7)) == len(theirs)
                    and found.get((LOC_RIB, 8)) == len(ours)
                ),
            )
            for prefix in (own[0], shared[0]):
                one.withdraw(prefix)
                del ours[prefix]
            best = ours | {shared[0]: theirs[shared[0]]}
            wait_for(lambda: station.table(LOC_RIB, "loc"), lambda told: told == best)
            wait_for(lambda: station.table(two.address, "out"), lambda told: told == ours)
            assert held(two.routes(4)) | held(two.routes(6)) == ours
            # A collector that is started anew is told all there is.
            station.stop()
            with Pmbmpd(0, late_folder, bmp_port) as late:
                best_of_late = best
                wait_for(lambda: late.table(LOC_RIB, "loc"), lambda told: told == best_of_late)
                for address, (sent, received) in addresses.items():
                    for rib, expected in (("pre", sent), ("post", sent), ("out", received)):
                        wait_for(
                            lambda a=address, r=rib: late.table(a, r),  # type: ignore[misc]
                            lambda told, e=expected: told == e,  # type: ignore[misc]
                        )
                two.stop()
                wait_for(
                    lambda: [(each["peer_ip"], each["reason_type"]) for each in late.of_type("peer_down")],
                    lambda downs: downs == [(two.address, 3)],
                )
                assert server.stop() == 0
                wait_for(lambda: late.of_type("term"), bool)
                downs = [(each["peer_ip"], each["reason_type"]) for each in late.of_type("peer_down")]
                assert downs == [(two.address, 3), (one.address, 1)]
                assert "ERROR" not in late.log() + station.log()
        types = wait_for(lambda: kinds(file, bmp_port), lambda found: found["5"] == 1)
    assert types["4"] == 2
    assert types["3"] == 6
    assert types["2"] == 2
    assert types["1"] > 3
    assert types["0"] > 40
    v4 = values(bmp_tshark(file, bmp_port, "bmp.type == 0", "bgp.nlri_prefix"))
    v6 = values(bmp_tshark(file, bmp_port, "bmp.type == 0", "bgp.mp_reach_nlri_ipv6_prefix"))
    assert {prefix.split("/")[0] for prefix in (*own, *shared)} == set(v4 | v6)
    assert bmp_tshark(file, bmp_port, MALFORMED) == []


def bmp_tshark(file: Path, port: int, show: str, *fields: str) -> list[str]:
    """A line for each frame of a capture that a filter shows, or the fields of it."""
    arguments = [need("tshark"), "-n", "-r", str(file), "-d", f"tcp.port=={port},bmp", "-Y", show]
    if fields:
        arguments += ["-T", "fields", *(item for field in fields for item in ("-e", field))]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    # While the capture is written its last frame may be cut short.
    assert done.returncode == 0 or "cut short" in done.stderr, done.stderr
    return done.stdout.splitlines()


def kinds(file: Path, port: int) -> Counter[str]:
    """How many messages of each type there are."""
    return values(bmp_tshark(file, port, "bmp", "bmp.type"))


def test_the_decoder_sees_what_is_malformed(tmp_path: Path) -> None:
    """A Peer Up whose OPEN is cut short, in a file made by hand, does not pass unseen."""
    body = bytes(42) + bytes(20) + b"\xff" * 16 + b"\0\x1d\1\4\xfd\xe8"
    octets = b"\3" + (6 + len(body)).to_bytes(4, "big") + b"\3" + body
    dump = tmp_path / "octets"
    dump.write_text("000000 " + " ".join(f"{octet:02x}" for octet in octets) + "\n")
    file = tmp_path / "malformed.pcapng"
    subprocess.run([need("text2pcap"), "-q", "-T", "18679,40000", str(dump), str(file)], check=True, timeout=30)
    assert kinds(file, 18679) == {"3": 1}
    assert len(bmp_tshark(file, 18679, MALFORMED)) == 1


def test_a_collector_reads_path_identifiers(tmp_path: Path) -> None:
    """With ADD-PATH on a session its Adj-RIBs have path identifiers, as both OPENs say, and others have none."""
    port, bmp_port = 18680, 18685
    stations = f"""
[[bmp.stations]]
address = "127.0.0.1:{bmp_port}"
monitor = ["adj-rib-in-pre", "adj-rib-out", "loc-rib"]
"""
    prefixes = ("10.1.0.0/16", "10.2.0.0/16")
    add_path = 'families = ["ipv4-unicast"]\nadd_path = { send = "all", receive = true }\n'
    peers = [member(1, add_path), member(2, add_path), member(3)]
    with (
        Pmbmpd(0, tmp_path, bmp_port) as station,
        TrioBgp(tmp_path, port, peers, extra=stations),
        Bird(1, tmp_path, port, ipv4="add paths on;") as one,
        Bird(2, tmp_path, port, ipv4="add paths on;") as two,
        Bird(3, tmp_path, port) as three,
    ):
        for prefix in prefixes:
            one.announce(prefix)
        wait_for(lambda: three.routes(4), lambda routes: routes.keys() == set(prefixes))
        for prefix in prefixes:
            two.announce(prefix)

        def monitored() -> dict[tuple[str, str], set[tuple[str, bool, str]]]:
            found: dict[tuple[str, str], set[tuple[str, bool, str]]] = {}
            for each in station.of_type("route_monitor"):
                rib = "loc" if "is_loc" in each else "out" if "is_out" in each else "pre"
                path = (each["ip_prefix"], "as_path_id" in each, each["as_path"])
                found.setdefault((each["peer_ip"], rib), set()).add(path)
            return found

        expected = {
            (LOC_RIB, "loc"): {(prefix, False, "65001") for prefix in prefixes},
            (one.address, "pre"): {(prefix, True, "65001") for prefix in prefixes},
            (two.address, "pre"): {(prefix, True, "65002") for prefix in prefixes},
            (one.address, "out"): {(prefix, True, "65002") for prefix in prefixes},
            (two.address, "out"): {(prefix, True, "65001") for prefix in prefixes},
            (three.address, "out"): {(prefix, False, "65001") for prefix in prefixes},
        }
        wait_for(monitored, lambda found: found == expected)
