"""Recordings of a running daemon read by bgpdump, and a whole table replayed into BIRD."""

import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.interop.daemons import Bird, TrioBgp, member, need, wait_for

pytestmark = [pytest.mark.interop, pytest.mark.shared]

RECORD = """
enforce_first_as = false
[control]
socket = "{folder}/socket"
[record]
updates = "{folder}/updates.%Y.mrt"
rotate_seconds = 0
compression = "gzip"
sent = true
"""
ROUTES = "rv-2016-updates.bgp.xz"
PREFIXES = 5379
WITHDRAWN = 383
TABLE_PREFIXES = 323_487


def command(*words: str) -> list[str]:
    """The words of a `trio-bgp` command."""
    return [sys.executable, "-m", "trio_bgp", *words]


def bgpdump(path: Path) -> list[list[str]]:
    """The fields of each line that bgpdump prints of a file; it must not complain."""
    done = subprocess.run([need("bgpdump"), "-v", "-m", str(path)], capture_output=True, text=True, check=True)
    told = [line for line in done.stderr.splitlines() if "logging to" not in line]
    assert told == []
    return [line.split("|") for line in done.stdout.splitlines()]


@pytest.mark.parametrize("add_path", [False, True])
def test_bgpdump_reads_what_a_daemon_records(tmp_path: Path, shared: Path, add_path: bool) -> None:
    """Real UPDATEs through a daemon: each prefix is in the stream as received and as sent, and in the table."""
    port = 18170 + 10 * add_path
    peers = [member(1, "add_path = { receive = true }\n" if add_path else ""), member(2)]
    to = ["--to", f"127.0.0.1:{port}", "--unchanged", "--keep", *(["--add-path"] if add_path else [])]
    one = command("replay", str(shared / "replay" / ROUTES), *to, "--as", "65001", "--local-address", "127.0.1.1")
    two = command("replay", "/dev/null", *to, "--as", "65002", "--local-address", "127.0.2.1")
    with TrioBgp(tmp_path, port, peers, extra=RECORD.format(folder=tmp_path)) as daemon:
        receiver = subprocess.Popen(two)
        wait_for(daemon.log, lambda text: "peer.established name=p2" in text)
        sender = subprocess.Popen(one)
        try:
            subprocess.run(command("wait", "p1", "eor", "--socket", f"{tmp_path}/socket"), check=True, timeout=60)
            dump = command("dump", "mrt", f"{tmp_path}/table", "--socket", f"{tmp_path}/socket")
            subprocess.run(dump, check=True, timeout=60)
        finally:
            for process in (sender, receiver):
                process.send_signal(signal.SIGINT)
                assert process.wait(20) == 0
    lines = bgpdump(next(tmp_path.glob("updates.*.gz")))
    assert all(line[0].startswith("BGP4MP_ET") for line in lines)
    kinds = Counter((line[0], line[2]) for line in lines if line[3] == "127.0.1.1")
    received = "BGP4MP_ET_AP" if add_path else "BGP4MP_ET"
    assert kinds[received, "A"] == PREFIXES
    assert kinds[received, "W"] == WITHDRAWN
    assert kinds["BGP4MP_ET", "STATE"] == 4
    assert sum(line[0] == "BGP4MP_ET_LOCAL" and line[2] == "A" for line in lines) > PREFIXES // 2
    table = bgpdump(tmp_path / "table")
    assert {line[0] for line in table} == {"TABLE_DUMP2_AP" if add_path else "TABLE_DUMP2"}
    assert len({line[5] for line in table}) > 500


def test_a_whole_table_into_bird(tmp_path: Path, shared: Path) -> None:
    """An Internet table: BIRD holds each of its prefixes, and none when the replay is over."""
    port = 18190
    table = shared / "replay" / "rrc06-2010-full-table.bgp.xz"
    feed = (
        "ipv4 table hops;\nprotocol static holds { ipv4 { table hops; }; route 0.0.0.0/0 blackhole; }\n"
        f"protocol bgp feed {{ local 127.0.1.1 port {port + 1} as 65001; neighbor 127.0.9.1 as 4777; passive yes;"
        " multihop; strict bind yes; ipv4 { import all; igp table hops; export none; }; }\n"
    )
    words = ["--to", f"127.0.1.1:{port + 1}", "--as", "4777", "--local-address", "127.0.9.1", "--keep"]
    with Bird(1, tmp_path, port, extra=feed) as bird:

        def held() -> int:
            found = re.search(r"(\d+) of \d+ routes", bird.birdc("show route protocol feed count"))
            return int(found[1]) if found else -1

        process = subprocess.Popen(command("replay", str(table), *words))
        try:
            wait_for(held, lambda count: count == TABLE_PREFIXES)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        wait_for(held, lambda count: count == 0)
        assert "Administrative shutdown" in bird.birdc("show protocols feed")
