"""A daemon under test: its processes, pinned to one processor, and what they cost."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import attrs

__all__ = ["ADDRESS", "AS", "FIRST_AS", "Daemon", "Peer", "descendants", "listens", "program"]

AS = 64999
ADDRESS = "127.0.0.1"
FIRST_AS = 4200000000
SYSTEM_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
START_SECONDS = 30.0


@attrs.frozen
class Peer:
    """A peer as the load generator has it.

    Args:
        index: from 0, in the order in which they connect.
        variant: "plain", "as2" (no 4-octet AS numbers), "add-path" (takes path identifiers) or "internal".
    """

    index: int
    variant: str = "plain"

    @property
    def address(self) -> str:
        """Where it connects from."""
        return f"127.0.{1 + self.index // 250}.{self.index % 250 + 1}"

    @property
    def asn(self) -> int:
        """Its AS number."""
        return {"as2": 60000 + self.index, "internal": AS}.get(self.variant, FIRST_AS + self.index)


def program(*names: str) -> str:
    """The path of the first of the programs that is there; empty if none is."""
    for name in names:
        found = shutil.which(name, path=SYSTEM_PATH)
        if found is not None:
            return found
    return ""


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(path.name))
    found = [pid]
    for each in found:  # grows while it is walked
        found += children.get(each, [])
    return found


def listens(port: int) -> bool:
    """Whether somebody does, on whatever IPv4 address."""
    return f"{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()


class Daemon:
    """A daemon as a transparent route server.

    Args:
        folder: for its files.
        port: where it listens.
        peers: all that will ever connect.
    """

    name: ClassVar[str]
    variants: ClassVar[frozenset[str]] = frozenset({"plain", "as2", "add-path", "internal"})
    """Kinds of receivers it can have beside plain ones."""
    lacks: ClassVar[dict[str, str]] = {}
    """Workloads it cannot do, and why."""
    to_source: ClassVar[str] = "nothing"
    """What the source of a best path gets: "nothing", the "runner-up" (RFC 7947, section 2.3), or an "echo" of it."""
    hold_time: ClassVar[int] = 0
    """Of the sessions, in seconds; 0 for no KEEPALIVEs."""
    pace: ClassVar[tuple[float, float]] = (3e-6, 2e-8)
    """Seconds per prefix, and per prefix and receiver: roughly, for the estimate of how long all takes."""

    def __init__(self, folder: Path, port: int, peers: Sequence[Peer]) -> None:
        self.folder = folder
        self.port = port
        self.peers = peers
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Write the configuration; the command that runs the daemon in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """What it runs in."""
        return dict(os.environ)

    @classmethod
    def version(cls) -> str:
        """What it says it is; empty if it is not installed."""
        raise NotImplementedError

    @classmethod
    def fingerprint(cls) -> str:
        """What results are good for: others of the same daemon are not comparable."""
        return cls.version()

    def start(self, processor: int) -> None:
        """Start it on `processor` and wait until it listens.

        Raises:
            RuntimeError: it does not, or somebody else does on its port.
        """
        if listens(self.port):
            raise RuntimeError(f"port {self.port} is taken")
        log = self.folder / "output"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment(),
                preexec_fn=lambda: os.sched_setaffinity(0, {processor}),
            )
        deadline = time.monotonic() + START_SECONDS
        while not listens(self.port):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"{self.name} does not listen: {log.read_text(errors='replace')[-1000:]}")
            time.sleep(0.05)

    def _pids(self) -> list[int]:
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"{self.name} is not running")
        return descendants(self.process.pid)

    def cpu(self) -> float:
        """User and system CPU seconds of all its processes so far, by the clocks that the kernel keeps of them."""
        # The number of a process's clock, as clock_getcpuclockid(3) makes it.
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self._pids())

    def memory(self) -> dict[str, int]:
        """Octets resident at most so far, and now, of all its processes."""
        found = {"memory": 0, "resident": 0}
        for pid in self._pids():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(("VmHWM:", "VmRSS:")):
                    found["memory" if line.startswith("VmHWM") else "resident"] += int(line.split()[1]) * 1024
        return found

    def stop(self) -> None:
        """End it."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
