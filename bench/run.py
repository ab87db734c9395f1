"""One run: start the daemon, all sessions up, the phases of the case, each measured."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.daemons import Daemon
from bench.generator import Generator
from bench.table import Table
from bench.workloads import JOINERS, Case, first_phase

__all__ = ["measure"]

QUIET = 0.5
"""Seconds before the first phase, so that what follows the handshakes is not counted."""
SETTLED = 0.3
"""Seconds after a phase in which the daemon's work is still counted: what it put off until later is its work too."""


def measure(case: Case, kind: type[Daemon], port: int, table: Table, seconds: float) -> list[dict[str, Any]]:
    """Run it; a row of figures for each phase.

    Returns:
        `phase`, `cpu` and `wall` (seconds), `first` (seconds to the first octet at a receiver), `load_cpu` (of the
        generator), `memory` and `resident` (octets, peak and now), and of churn `p50_ms`, `p99_ms`, `max_ms`.

    Raises:
        WrongResultError: a receiver does not hold what it is to.
        TooSlowError: it takes longer than `seconds`.
        RuntimeError: the daemon does not start, or ended.
    """
    processors = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        daemon = kind(folder, port, case.peers())
        try:
            daemon.start(processors[0])
            with Generator(port, processors[-1], seconds, daemon.hold_time) as generator:
                return list(_phases(case, daemon, generator, table))
        except RuntimeError as error:
            output = (folder / "output").read_text(errors="replace") if (folder / "output").exists() else ""
            raise RuntimeError(f"{error} {output[-500:]}".strip()) from error
        finally:
            daemon.stop()


def _phases(case: Case, daemon: Daemon, generator: Generator, table: Table) -> Iterator[dict[str, Any]]:
    views = {
        "nothing": table.hidden,
        "runner-up": table.runner_up,
        "echo": [table.best] * case.senders,
    }[daemon.to_source]
    files = [*table.senders, table.best, *views]
    best = case.senders
    generator.tell("table " + " ".join(str(path) for path in files))
    copier = daemon.name == "copier"
    for number in range(case.senders):
        generator.tell(f"connect 1 {'copier' if copier else 'plain'} {best + 1 + number} 0")
    half = case.receivers // 2 if case.variant else 0
    plain = "copier" if copier else "plain"
    small = case.frozen
    generator.tell(f"connect {case.receivers - half - small} {plain} {best} 0")
    if half:
        generator.tell(f"connect {half} {case.variant} {best} 0")
    if small:
        generator.tell(f"connect {small} {plain} {best} 1")
    time.sleep(QUIET)
    idle = daemon.memory()["resident"]

    def phase(name: str, line: str) -> dict[str, Any]:
        before = daemon.cpu()
        figures = generator.tell(line)
        time.sleep(SETTLED)
        cpu = daemon.cpu() - before
        generator.tell("check")
        return {"phase": name, "cpu": cpu, "idle": idle, **daemon.memory(), **figures}

    yield phase(first_phase(case), "send " + " ".join(f"{number}:{number}" for number in range(case.senders)))
    if case.workload == "join":
        yield phase("join 1", f"join 1 plain {best}")
        yield phase(f"join {JOINERS}", f"join {JOINERS} plain {best}")
    if case.rate:
        yield phase("churn", f"churn 0 {case.rate} {case.seconds} {case.frozen}")
    if case.workload == "leave":
        yield phase("leave", "leave 0 -1")
