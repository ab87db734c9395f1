"""`trio-bgp run` as a process: the shipped example, and what signals do."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.harness import decoder

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30.0
CEASE_SHUTDOWN = b"\x06\x02"


def free_port() -> int:
    """A port of the IPv4 and IPv6 loopback that nobody listens on."""
    while True:
        with socket.socket() as found, socket.socket(socket.AF_INET6) as other:
            found.bind(("127.0.0.1", 0))
            port = int(found.getsockname()[1])
            with contextlib.suppress(OSError):
                other.bind(("::1", port))
                return port


class Daemon:
    """A running daemon and what it logs."""

    def __init__(self, text: str, folder: Path) -> None:
        path = folder / "config.toml"
        path.write_text(text)
        self._log = folder / "log"
        with self._log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trio_bgp", "run", str(path)],
                cwd=folder,
                stderr=stream,
                env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(folder)},
            )

    def log(self) -> str:
        """All it has logged."""
        return self._log.read_text()

    def said(self, words: str) -> None:
        """Wait until it has logged these words."""
        deadline = time.monotonic() + SECONDS
        while words not in self.log():
            assert time.monotonic() < deadline, f"no {words}: {self.log()}"
            assert self.process.poll() is None, self.log()
            time.sleep(0.02)


@contextlib.contextmanager
def daemon(text: str, folder: Path) -> Iterator[Daemon]:
    """A daemon with this configuration; killed in the end if it still runs."""
    running = Daemon(text, folder)
    try:
        running.said("speaker.started")
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait()


@contextlib.contextmanager
def session(address: str, asn: int, port: int) -> Iterator[socket.socket]:
    """An established session from this address."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS, source_address=(address, 0)) as client:
        client.sendall(decoder.open_message(asn, 0x0A000001, hold_time=0) + decoder.message(decoder.KEEPALIVE))
        while heard(client)[18] != decoder.KEEPALIVE:
            pass
        yield client


def heard(client: socket.socket) -> bytes:
    """The next message; empty at the end of the connection."""
    head = client.recv(19, socket.MSG_WAITALL)
    rest = int.from_bytes(head[16:18], "big") - 19
    return head + (client.recv(rest, socket.MSG_WAITALL) if rest > 0 else b"")


def test_the_example_runs_as_shipped(tmp_path: Path) -> None:
    """Its first peer gets a session; SIGTERM says Cease/Administrative Shutdown and ends with status 0."""
    port = free_port()
    text = (ROOT / "config.example.toml").read_text().replace("1790", str(port))
    with daemon(text, tmp_path) as running, session("127.0.1.1", 65001, port) as client:
        running.said("peer.established name=as65001 ")
        running.process.send_signal(signal.SIGTERM)
        last = b""
        while message := heard(client):
            last = message
        assert last[18] == decoder.NOTIFICATION
        assert last[19:21] == CEASE_SHUTDOWN
        assert running.process.wait(SECONDS) == 0


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    """The first SIGTERM waits for a minute, routes marked with GRACEFUL_SHUTDOWN; the second waits for nothing."""
    port = free_port()
    text = f"""
[speaker]
local_as = 65000
bgp_identifier = "10.255.0.1"
listen = ["127.0.0.1:{port}"]
graceful_shutdown_time = 60

[[peers]]
name = "a"
address = "127.0.1.1"
peer_as = 65001
passive = true
"""
    with daemon(text, tmp_path) as running, session("127.0.1.1", 65001, port):
        running.process.send_signal(signal.SIGTERM)
        running.said("speaker.stopping signal=SIGTERM")
        time.sleep(0.5)
        assert running.process.poll() is None, "it ended although it should have waited"
        begun = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(SECONDS)
        assert time.monotonic() - begun < 10
        assert "speaker.aborted signal=SIGTERM" in running.log()


def test_a_peer_without_policy_is_told_of(tmp_path: Path) -> None:
    """RFC 8212: when the session comes up, the log says that nothing passes, and why."""
    port = free_port()
    text = f"""
[speaker]
local_as = 65000
bgp_identifier = "10.255.0.1"
listen = ["127.0.0.1:{port}"]

[[peers]]
name = "a"
address = "127.0.1.1"
peer_as = 65001
role = "ebgp"
passive = true
"""
    with daemon(text, tmp_path) as running, session("127.0.1.1", 65001, port):
        running.said("peer.no_policy name=a cause='nothing is taken from or sent to it (RFC 8212)'")
