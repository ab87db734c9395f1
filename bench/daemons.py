"""The daemons under test, each configured as a transparent route server."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

__all__ = ["Bird", "CompiledTrioBgp", "Copier", "Daemon", "TrioBgp"]

AS = 64999
ADDRESS = "127.0.0.1"
FIRST_AS = 4200000000


def client_address(index: int) -> str:
    """The address of client `index`, as the generator binds it."""
    return f"127.0.{1 + index // 250}.{index % 250 + 1}"


class Daemon:
    """A daemon process pinned to one processor.

    Args:
        folder: for its files.
        port: where it listens.
        clients: how many peers it has, the sender included.
        variant: what the second half of the receivers is: "" the same as the others, "as2", "add-path" or "internal".
    """

    name = ""
    copier = False

    def __init__(self, folder: Path, port: int, clients: int, variant: str = "") -> None:
        self.folder = folder
        self.port = port
        self.clients = clients
        self.variant = variant
        self.process: subprocess.Popen[bytes] | None = None

    def variant_of(self, index: int) -> str:
        """What client `index` is, as the generator has it."""
        return self.variant if index > self.clients // 2 else ""

    def asn(self, index: int) -> int:
        """The AS number of client `index`, likewise."""
        return {"as2": 60000 + index, "internal": AS}.get(self.variant_of(index), FIRST_AS + index)

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

    def start(self, processor: int) -> None:
        """Start it on `processor` and wait until it listens."""
        with (self.folder / f"{self.name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=subprocess.STDOUT, cwd=self.folder, env=self.environment()
            )
        os.sched_setaffinity(self.process.pid, {processor})
        needle = f"{self.port:04X} 00000000:0000 0A"
        deadline = time.monotonic() + 20
        while needle not in Path("/proc/net/tcp").read_text():
            if time.monotonic() > deadline or self.process.poll() is not None:
                output = (self.folder / f"{self.name}.log").read_text()
                raise RuntimeError(f"{self.name} does not listen: {output[-2000:]}")
            time.sleep(0.05)

    def cpu(self) -> float:
        """User and system CPU seconds used so far."""
        if self.process is None:
            raise RuntimeError("not running")
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Octets of the largest resident set so far."""
        if self.process is None:
            raise RuntimeError("not running")
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        return 0

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None


class TrioBgp(Daemon):
    """This project."""

    name = "trio-bgp"

    @classmethod
    def version(cls) -> str:
        """Its version and Python's."""
        from trio_bgp import __version__

        found = find_spec("trio_bgp.rib.table")
        build = "pure Python" if found is None or str(found.origin).endswith(".py") else "compiled with mypyc"
        return f"trio-bgp {__version__} ({build}), CPython {sys.version.split()[0]}"

    def command(self) -> list[str]:
        """See `Daemon.command`."""
        text = f'[speaker]\nlocal_as = {AS}\nbgp_identifier = "10.255.0.1"\nlisten = ["{ADDRESS}:{self.port}"]\n'
        text += '[log]\nlevel = "warning"\n[groups.members]\nfamilies = ["ipv4-unicast"]\npassive = true\n'
        text += "enforce_first_as = false\n"
        for index in range(self.clients):
            text += f'[[peers]]\nname = "c{index}"\naddress = "{client_address(index)}"\n'
            text += f'peer_as = {self.asn(index)}\ngroup = "members"\n'
            text += {"add-path": 'add_path = {send = "all"}\n', "internal": 'role = "rr-client"\n'}.get(
                self.variant_of(index), ""
            )
        path = self.folder / "trio-bgp.toml"
        path.write_text(text)
        return [sys.executable, "-m", "trio_bgp", "run", str(path)]


class CompiledTrioBgp(TrioBgp):
    """The same with its hot modules compiled by mypyc (`setup.py`)."""

    name = "trio-bgp compiled"

    @classmethod
    def build(cls) -> Path:
        """A copy of the project with the compiled modules in it; made once for each state of the source."""
        root = Path(__file__).resolve().parents[1]
        target = root / "bench" / "build" / "compiled"
        sources = [root / "setup.py", *(root / "trio_bgp").rglob("*.py")]
        newest = max(path.stat().st_mtime for path in sources)
        stamp = target / "stamp"
        if stamp.exists() and stamp.stat().st_mtime >= newest:
            return target
        environment = {
            **os.environ,
            "TRIO_BGP_COMPILE": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        }
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        # outside of the checkout: mypy takes a folder below `bench` for a part of that package
        with tempfile.TemporaryDirectory() as name:
            copy = Path(name) / "compiled"
            ignore = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(root / "trio_bgp", copy / "trio_bgp", ignore=ignore)
            for name in ("setup.py", "pyproject.toml", "README.md"):
                shutil.copy(root / name, copy)
            subprocess.run(command, cwd=copy, env=environment, check=True, capture_output=True)
            shutil.rmtree(copy / "build", ignore_errors=True)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(copy, target)
        stamp.touch()
        return target

    @classmethod
    def version(cls) -> str:
        """As its own command line says; empty if it cannot be compiled here."""
        try:
            folder = cls.build()
        except (OSError, subprocess.CalledProcessError):
            return ""
        command = [sys.executable, "-m", "trio_bgp", "--version"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

    def environment(self) -> dict[str, str]:
        """See `Daemon.environment`."""
        return {**os.environ, "PYTHONPATH": str(self.build())}


class Bird(Daemon):
    """BIRD 2 with `rs client` for each peer."""

    name = "BIRD"

    @classmethod
    def version(cls) -> str:
        """What `bird --version` says."""
        program = shutil.which("bird", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if program is None:
            return ""
        return subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stderr.strip()

    def command(self) -> list[str]:
        """See `Daemon.command`. Next hops have a table of their own: else BIRD re-announces when a route covers one."""
        text = (
            f'log "{self.folder}/bird.log" {{ warning, error, fatal }};\nrouter id 10.255.0.1;\nprotocol device {{}}\n'
        )
        text += "ipv4 table hops;\nprotocol static up { ipv4 { table hops; }; route 0.0.0.0/0 blackhole; }\n"
        for index in range(self.clients):
            variant = self.variant_of(index)
            client = "rr client" if variant == "internal" else "rs client"
            paths = "add paths tx; " if variant == "add-path" else ""
            text += (
                f"protocol bgp c{index} {{ local {ADDRESS} port {self.port} as {AS};"
                f" neighbor {client_address(index)} as {self.asn(index)}; strict bind yes; passive yes; multihop;"
                f" {client}; ipv4 {{ igp table hops; {paths}import all; export all; next hop keep; }}; }}\n"
            )
        path = self.folder / "bird.conf"
        path.write_text(text)
        program = shutil.which("bird", path=os.environ.get("PATH", "") + ":/usr/sbin") or "bird"
        return [
            program,
            "-f",
            "-c",
            str(path),
            "-s",
            str(self.folder / "bird.ctl"),
            "-P",
            str(self.folder / "bird.pid"),
        ]


class Copier(Daemon):
    """The floor: a program that copies what the first connection says to all others, and understands nothing of it."""

    name = "copier"
    copier = True

    @classmethod
    def version(cls) -> str:
        """It is compiled here."""
        return "blind byte copier (C)"

    def command(self) -> list[str]:
        """See `Daemon.command`."""
        return [str(self.folder / "copier"), str(self.port), str(self.clients)]
