"""A whole Internet table through the route server, between BIRDs and as the octets that were recorded."""

import lzma
import os
import re
import signal
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.harness import decoder
from tests.interop.daemons import Bird, TrioBgp, member, wait_for
from tests.interop.raw import RawSpeaker, replay

pytestmark = [pytest.mark.interop, pytest.mark.shared]

TABLE = "rrc06-2010-full-table.bgp.xz"
ENOUGH = 100_000
FEEDER, FEEDER_AS = "127.0.9.1", 4777
HOPS = "ipv4 table hops;\nprotocol static holds { ipv4 { table hops; }; route 0.0.0.0/0 blackhole; }\n"
"""Next hops in a table of their own: else BIRD looks every one up again whenever a route covers one."""
HOPS_TABLE = "igp table hops;"


@pytest.fixture(scope="module")
def updates() -> list[bytes]:
    """The recorded UPDATEs of the table's first peer, up to 100,000 distinct prefixes; required in CI."""
    path = Path(__file__).resolve().parents[3] / "shared" / "replay" / TABLE
    if not path.is_file():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{path} is missing")
        pytest.skip(f"{path} is missing: the real table is not run")
    octets = lzma.decompress(path.read_bytes())
    kept = []
    seen: set[bytes] = set()
    position = 0
    while len(seen) < ENOUGH:
        size = int.from_bytes(octets[position + 16 : position + 18], "big")
        whole = octets[position : position + size]
        position += size
        if whole[18] == decoder.UPDATE:
            kept.append(whole)
            seen.update(replay([whole]))
    return kept


def in_words(prefix: bytes) -> str:
    """A prefix as BIRD shows it."""
    return f"{IPv4Address(prefix[1:].ljust(4, bytes(1)))}/{prefix[0]}"


def shown(bird: Bird, protocol: str) -> dict[str, dict[str, str]]:
    """What BIRD holds from a protocol: each prefix's path attributes in its words."""
    found = {}
    for block in re.split(r"\n(?=\d)", bird.birdc(f"show route table master4 protocol {protocol} all")):
        head = re.match(r"(\S+/\d+) ", block)
        if head:
            found[head[1]] = dict(re.findall(r"^\s*BGP\.(\w+): ?(.*)$", block, re.MULTILINE))
            assert found[head[1]].pop("local_pref") == "100"
    return found


def test_between_two_birds(updates: list[bytes], tmp_path: Path) -> None:
    """BIRD sends 100,000 real routes: a receiver and a late joiner hold exactly its table; when it is killed, none."""
    port = 18100
    expected = {in_words(prefix) for prefix in replay(updates)}
    assert len(expected) >= ENOUGH
    feed = (
        HOPS + f"protocol bgp feed {{ local 127.0.1.1 port {port + 1} as 65001; neighbor {FEEDER} as {FEEDER_AS};"
        f" passive yes; multihop; strict bind yes; ipv4 {{ import all; {HOPS_TABLE} export none; }}; }}\n"
    )
    with (
        TrioBgp(tmp_path, port, [member(number) for number in (1, 2, 3)]),
        Bird(1, tmp_path, port, extra=feed, exports='if proto = "feed" then accept;') as sender,
        Bird(2, tmp_path, port, extra=HOPS, ipv4=HOPS_TABLE) as receiver,
    ):
        wait_for(sender.established, bool)
        wait_for(receiver.established, bool)
        with RawSpeaker(FEEDER, FEEDER_AS, port + 1, server="127.0.1.1") as feeder:
            feeder.say(b"".join(updates))
            wait_for(receiver.count, lambda count: count == len(expected))
            table = shown(sender, "feed")
            assert set(table) == expected
            for attributes in table.values():
                attributes["as_path"] = f"65001 {attributes['as_path']}"
            assert shown(receiver, "up") == table
            with Bird(3, tmp_path, port, extra=HOPS, ipv4=HOPS_TABLE) as late:
                wait_for(late.count, lambda count: count == len(expected))
                assert shown(late, "up") == table
                sender.stop(signal.SIGKILL)
                for each in (receiver, late):
                    wait_for(each.count, lambda count: count == 0)
                    assert each.established()


def test_recorded_octets(updates: list[bytes], tmp_path: Path) -> None:
    """The recorded UPDATEs reach another speaker with every prefix's attributes byte for byte, and BIRD all routes."""
    port = 18110
    expected = replay(updates)
    feeder_peer = f'name = "feeder"\naddress = "{FEEDER}"\npeer_as = {FEEDER_AS}\ngroup = "members"\n'
    with (
        TrioBgp(tmp_path, port, [feeder_peer, member(1), member(2), member(3)]),
        Bird(1, tmp_path, port, extra=HOPS, ipv4=HOPS_TABLE) as bird,
        RawSpeaker("127.0.2.1", 65002, port) as receiver,
    ):
        wait_for(bird.established, bool)
        with RawSpeaker(FEEDER, FEEDER_AS, port) as feeder:
            feeder.say(b"".join(updates))
            wait_for(bird.count, lambda count: count == len(expected))
            assert set(shown(bird, "up")) == {in_words(prefix) for prefix in expected}
            wait_for(lambda: receiver.held() == expected, bool)
            with RawSpeaker("127.0.3.1", 65003, port) as late:
                wait_for(lambda: late.held() == expected, bool)
            assert not receiver.kinds(decoder.NOTIFICATION)
            assert not feeder.kinds(decoder.UPDATE) or not feeder.held(), "the sender got its own routes"
        wait_for(bird.count, lambda count: count == 0)
        wait_for(receiver.held, lambda held: not held)
        assert bird.established()
        assert not receiver.closed.is_set()
