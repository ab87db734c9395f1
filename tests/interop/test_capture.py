"""What Wireshark's decoder says of whole sessions: nothing in them is malformed."""

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness import decoder
from tests.interop.daemons import Bird, ExaBgp, OpenBgpd, TrioBgp, member, need, wait_for

pytestmark = pytest.mark.interop

MALFORMED = '_ws.malformed || (bgp && _ws.expert.group == "Malformed") || (bgp && _ws.expert.severity == "Error")'
SHARED_V4 = [f"203.0.113.{n}/32" for n in range(200)]
SHARED_V6 = [f"2001:db8:113:{n:x}::/64" for n in range(1, 200)]
LARGE = "large-community [ 65009:1:2 4200000000:3:4 ]"
RICH_V4 = {
    "198.51.100.0/24": "origin egp med 5 community [ 65009:1 65009:2 no-export ]",
    "198.51.101.0/25": f"origin incomplete as-path [ 65009 4200000001 65009 ] {LARGE}",
    "198.51.101.128/25": "atomic-aggregate aggregator ( 65009:192.0.2.9 ) extended-community [ target:65009:1 ]",
    "64.0.0.0/2": "med 0",
    "10.0.0.0/7": f"community [ {' '.join(f'65009:{n}' for n in range(120))} ]",
}
# No IPv6 /32: ExaBGP 4.2 mixes up its mask with IPv4's. No default routes: among other prefixes tshark 4.0 takes ::/0
# for part of a path identifier, and correct withdrawals for malformed.
RICH_V6 = {
    "2001:db8::/29": f"med 4294967295 community [ 65009:1 ] {LARGE}",
    "4000::/2": "origin incomplete",
    "2001:db8:1::1/128": f"as-path [ 65009 {' '.join(str(4200000000 + n) for n in range(80))} ]",
}


def tshark(file: Path, port: int, show: str, *fields: str) -> list[str]:
    """A line for each frame of a capture that a filter shows, or the fields of it."""
    arguments = [need("tshark"), "-n", "-r", str(file), "-d", f"tcp.port=={port},bgp", "-Y", show]
    if fields:
        arguments += ["-T", "fields", *(item for field in fields for item in ("-e", field))]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    # While the capture is written its last frame may be cut short.
    assert done.returncode == 0 or "cut short" in done.stderr, done.stderr
    return done.stdout.splitlines()


def values(lines: list[str]) -> Counter[str]:
    """How often each value of a field is there."""
    return Counter(value for line in lines for field in line.split("\t") for value in field.split(",") if value)


@contextmanager
def captured(file: Path, port: int) -> Iterator[None]:
    """Everything from and to the port goes to a file."""
    messages = file.with_suffix(".messages")
    arguments = [need("tshark"), "-i", "lo", "-f", f"tcp port {port}", "-w", str(file), "-q"]
    with messages.open("wb") as output:
        capture = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        wait_for(messages.read_text, lambda text: "Capture started" in text or capture.poll() is not None, 20)
        assert capture.poll() is None, messages.read_text()
        yield
    finally:
        capture.send_signal(signal.SIGINT)
        capture.wait(20)


def test_sessions_decode(tmp_path: Path) -> None:
    """Many kinds of attributes, a late joiner, withdrawals, refresh and shutdown: tshark finds nothing malformed."""
    port = 18300
    file = tmp_path / "sessions.pcapng"
    lines = [f"route {prefix} next-hop 192.0.2.9 community [ 65009:9 ]" for prefix in SHARED_V4]
    lines += [f"route {prefix} next-hop 2001:db8:ffff::9 community [ 65009:9 ]" for prefix in SHARED_V6]
    lines += [f"route {prefix} next-hop 192.0.2.9 {more}" for prefix, more in RICH_V4.items()]
    lines += [f"route {prefix} next-hop 2001:db8:ffff::9 {more}" for prefix, more in RICH_V6.items()]
    announced = {4: {*SHARED_V4, *RICH_V4}, 6: {*SHARED_V6, *RICH_V6}}
    own = {4: "192.0.2.0/24", 6: "2001:db8:2::/48"}
    ours = f"bgp && tcp.srcport == {port}"

    def sent() -> Counter[str]:
        return values(tshark(file, port, ours, "bgp.type"))

    with captured(file, port):
        with TrioBgp(tmp_path, port, [member(n) for n in (1, 2, 3, 9)]) as server, Bird(1, tmp_path, port) as bird:
            for prefix in own.values():
                bird.announce(prefix, communities=("65001:1", "65001:2"))
            wait_for(bird.established, bool)
            with ExaBgp(9, tmp_path, port, lines), OpenBgpd(3, tmp_path, port) as other:
                for version in (4, 6):
                    wait_for(lambda v=version: set(bird.routes(v)), lambda held, v=version: held == announced[v])  # type: ignore[misc]
                with Bird(2, tmp_path, port) as late:
                    for version in (4, 6):
                        every = announced[version] | {own[version]}
                        wait_for(lambda v=version: set(late.routes(v)), lambda held, e=every: held == e)  # type: ignore[misc]
                    bird.birdc("reload in up")
                    bird.withdraw(own[4])
                    for each in (late, other):
                        wait_for(lambda d=each: set(d.routes(4)), lambda held: held == announced[4])  # type: ignore[misc]
            for version in (4, 6):
                wait_for(lambda v=version: bird.routes(v), lambda held: held == {})  # type: ignore[misc]
            assert server.stop() == 0
            wait_for(sent, lambda types: types["3"] >= 1)
        wait_for(lambda: tshark(file, port, f"tcp.flags.fin == 1 && tcp.srcport == {port}"), bool)
    types = sent()
    assert types["1"] == 4
    assert types["2"] > 50
    assert types["4"] >= 4
    assert types["5"] == 4, "BoRR and EoRR of two families"
    v4 = values(tshark(file, port, ours, "bgp.nlri_prefix"))
    v6 = values(tshark(file, port, ours, "bgp.mp_reach_nlri_ipv6_prefix"))
    assert {prefix.split("/")[0] for prefix in announced[4]} <= set(v4)
    assert {prefix.split("/")[0] for prefix in announced[6]} <= set(v6)
    assert tshark(file, port, MALFORMED) == []


def test_the_decoder_sees_what_is_malformed(tmp_path: Path) -> None:
    """An UPDATE with an attribute that is too short, in a file made by hand, does not pass unseen."""
    octets = decoder.update(b"", decoder.attribute(0x40, 1, b"\0") + decoder.attribute(0x40, 3, b"\x01"), b"\x08\x0a")
    dump = tmp_path / "octets"
    dump.write_text("000000 " + " ".join(f"{octet:02x}" for octet in octets) + "\n")
    file = tmp_path / "malformed.pcapng"
    subprocess.run([need("text2pcap"), "-q", "-T", "18310,40000", str(dump), str(file)], check=True, timeout=30)
    assert len(tshark(file, 18310, "bgp.type == 2")) == 1
    assert len(tshark(file, 18310, MALFORMED)) == 1
