"""The C programs of the benchmark, made with the system's compiler when their source has changed."""

import subprocess
from pathlib import Path

__all__ = ["ROOT", "build", "generator"]

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "bench" / "load"


def build(name: str, *sources: str) -> Path:
    """Compile a program; its path.

    Raises:
        OSError: there is no `cc`.
        subprocess.CalledProcessError: it does not compile.
    """
    target = ROOT / "bench" / "build" / name
    target.parent.mkdir(exist_ok=True)
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    if not target.exists() or target.stat().st_mtime < newest:
        paths = [str(SOURCES / each) for each in sources]
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", str(target), *paths], check=True)
    return target


def generator() -> Path:
    """The load generator (`bench/load/main.c`)."""
    return build("load", "main.c", "peer.c", "table.c", "delay.c")
