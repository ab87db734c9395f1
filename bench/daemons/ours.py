"""This project, as it is and compiled; and the floor."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from bench.build import ROOT, build
from bench.daemons.base import ADDRESS, AS, Daemon

__all__ = ["CompiledTrioBgp", "Copier", "TrioBgp"]


class TrioBgp(Daemon):
    """This project."""

    name = "trio-bgp"
    to_source = "runner-up"
    pace = (3e-6, 3e-9)

    @classmethod
    def version(cls) -> str:
        """Its version and Python's."""
        from trio_bgp import __version__

        found = find_spec("trio_bgp.rib.table")
        how = "pure Python" if found is None or str(found.origin).endswith(".py") else "compiled with mypyc"
        return f"trio-bgp {__version__} ({how}), CPython {sys.version.split()[0]}"

    @classmethod
    def fingerprint(cls) -> str:
        """See `Daemon.fingerprint`; it changes with the source."""
        digest = hashlib.sha256()
        for path in sorted((ROOT / "trio_bgp").rglob("*.py")):
            digest.update(path.read_bytes())
        return f"{cls.version()} {digest.hexdigest()[:12]}"

    def command(self) -> list[str]:
        """See `Daemon.command`."""
        text = f'[speaker]\nlocal_as = {AS}\nbgp_identifier = "10.255.0.1"\nlisten = ["{ADDRESS}:{self.port}"]\n'
        text += f'[control]\nsocket = "{self.folder}/control"\n'
        text += '[log]\nlevel = "warning"\n[groups.members]\nfamilies = ["ipv4-unicast"]\npassive = true\n'
        text += "enforce_first_as = false\n"
        for peer in self.peers:
            text += f'[[peers]]\nname = "c{peer.index}"\naddress = "{peer.address}"\n'
            text += f'peer_as = {peer.asn}\ngroup = "members"\n'
            text += {"add-path": 'add_path = {send = "all"}\n', "internal": 'role = "rr-client"\n'}.get(
                peer.variant, ""
            )
        path = self.folder / "trio-bgp.toml"
        path.write_text(text)
        return [sys.executable, "-m", "trio_bgp", "run", str(path)]


class CompiledTrioBgp(TrioBgp):
    """The same with its hot modules compiled by mypyc (`setup.py`)."""

    name = "trio-bgp compiled"
    _made: ClassVar[Path | None] = None

    @classmethod
    def build(cls) -> Path:
        """A copy of the project with the compiled modules in it; made once for each state of the source."""
        if cls._made is not None:
            return cls._made
        target = ROOT / "bench" / "build" / "compiled"
        stamp = target / "stamp"
        state = TrioBgp.fingerprint() + (ROOT / "setup.py").read_text()
        if not stamp.exists() or stamp.read_text() != state:
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
                shutil.copytree(ROOT / "trio_bgp", copy / "trio_bgp", ignore=ignore)
                for name in ("setup.py", "pyproject.toml", "README.md"):
                    shutil.copy(ROOT / name, copy)
                subprocess.run(command, cwd=copy, env=environment, check=True, capture_output=True)
                shutil.rmtree(copy / "build", ignore_errors=True)
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(copy, target)
            stamp.write_text(state)
        cls._made = target
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


class Copier(Daemon):
    """The floor: a program that copies what the first connection says to all others, and understands nothing of it."""

    name = "copier"
    variants = frozenset({"plain"})
    pace = (1e-7, 3e-9)
    lacks = {
        "paths": "it copies one connection only",
        "join": "it keeps nothing that could be told later",
        "churn": "what the sender says first is gone when it is ready",
        "frozen": "it waits for the slowest",
        "leave": "it knows no routes",
        "mixed": "it changes nothing",
    }

    @classmethod
    def version(cls) -> str:
        """It is compiled here."""
        return "blind byte copier (C)"

    def command(self) -> list[str]:
        """See `Daemon.command`."""
        return [str(build("copier", "copier.c")), str(self.port), str(len(self.peers))]
