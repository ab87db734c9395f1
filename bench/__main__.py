"""`python -m bench`: measure, and write a report."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.daemons import ADDRESS, AS, Bird, CompiledTrioBgp, Copier, Daemon, TrioBgp
from bench.table import SHARED, first_peer

HERE = Path(__file__).resolve().parent
TABLE = "rrc06-2010-full-table"
FIRST_PORT = 20100
VARIANTS = ("as2", "add-path", "internal")
"""Kinds of receivers that cannot have the octets as they came."""


def build(name: str) -> Path:
    """Compile one of the C programs with the system's compiler."""
    target = HERE / "build" / name
    source = HERE / f"{name}.c"
    target.parent.mkdir(exist_ok=True)
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["cc", "-O2", "-Wall", "-o", str(target), str(source)], check=True)
    return target


def measure(kind: type[Daemon], port: int, receivers: int, table: Path, variant: str = "") -> dict[str, float]:
    """One run: start the daemon, all sessions up, the table from one sender to all receivers.

    Raises:
        RuntimeError: the run failed, or a receiver did not end with exactly the sender's routes.
    """
    processors = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(build("copier"), folder)
        daemon = kind(folder, port, receivers + 1, variant)
        daemon.start(processors[0])
        command = [str(build("generator")), str(port), ADDRESS, str(table), str(receivers)]
        if daemon.copier or variant:
            command.append("copier" if daemon.copier else variant)
        load = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(load.pid, {processors[-1]})
        try:
            if load.stdin is None or load.stdout is None:
                raise RuntimeError("no pipes")
            ready = load.stdout.readline()
            if ready != "READY\n":
                raise RuntimeError(f"{daemon.name}: {ready}")
            time.sleep(1.0)
            before = daemon.cpu()
            load.stdin.write("go\n")
            load.stdin.flush()
            line = load.stdout.readline()
            if not line.startswith("DONE "):
                raise RuntimeError(f"{daemon.name}, {receivers} receivers: {line}")
            time.sleep(0.5)
            result = {key: float(value) for key, _, value in (part.partition("=") for part in line.split()[1:])}
            result["cpu"] = daemon.cpu() - before
            result["memory"] = daemon.memory()
            return result
        finally:
            if load.stdin is not None:
                load.stdin.close()
            load.wait()
            daemon.stop()


def report(rows: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        (
            f"One sender announces {facts['prefixes']:,} prefixes in {facts['updates']:,} UPDATEs ({facts['table']}, "
            f"first peer) to N receivers. Medians of {facts['runs']} alternating runs; the daemon on one "
            "processor, the load on "
            "the other."
        ),
        "",
        *(f"- {version}" for version in facts["versions"]),
        "",
        "| receivers | half of them | daemon | CPU s | wall s | peak memory MiB | CPU / BIRD |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        lines.append(
            f"| {row['receivers']} | {row['variant']} | {row['daemon']} | {row['cpu']:.2f} | {row['wall']:.2f} | "
            f"{row['memory'] / 2**20:.0f} | {ratio} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--receivers", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--mixed", type=int, nargs="*", default=[10, 50], help="receivers when half are different")
    parser.add_argument("--daemons", nargs="+", default=["trio-bgp", "trio-bgp compiled", "BIRD", "copier"])
    parser.add_argument("--output", type=Path, default=HERE / "out")
    arguments = parser.parse_args()
    if not SHARED.is_dir():
        print(f"{SHARED} is missing: the benchmark announces a real table from there", file=sys.stderr)
        return 1
    kinds: list[type[Daemon]] = [
        kind for kind in (TrioBgp, CompiledTrioBgp, Bird, Copier) if kind.name in arguments.daemons
    ]
    missing = [kind.name for kind in kinds if not kind.version()]
    if missing:
        print(f"not installed: {', '.join(missing)} (.ci/install-daemons)", file=sys.stderr)
        return 1
    arguments.output.mkdir(parents=True, exist_ok=True)
    table, updates, prefixes = first_peer(TABLE, arguments.output, AS)
    rows: list[dict[str, Any]] = []
    port = FIRST_PORT
    cases = [(receivers, "") for receivers in arguments.receivers]
    cases += [(receivers, variant) for receivers in arguments.mixed for variant in ("", *VARIANTS)]
    for receivers, variant in dict.fromkeys(cases):
        able = [kind for kind in kinds if not (variant and kind.copier)]
        results: dict[str, list[dict[str, float]]] = {kind.name: [] for kind in able}
        for _ in range(arguments.runs):
            for kind in able:
                port += 1
                results[kind.name].append(measure(kind, port, receivers, table, variant))
                print(f"{kind.name} {receivers} {variant}: {results[kind.name][-1]}", file=sys.stderr)
        medians = {
            name: {key: statistics.median(each[key] for each in runs) for key in runs[0]}
            for name, runs in results.items()
        }
        bird = medians.get("BIRD")
        for name, median in medians.items():
            ratio = median["cpu"] / bird["cpu"] if bird is not None and bird["cpu"] and name != "BIRD" else None
            rows.append({**median, "receivers": receivers, "daemon": name, "ratio": ratio, "variant": variant})
    facts = {
        "table": TABLE,
        "updates": updates,
        "prefixes": prefixes,
        "runs": arguments.runs,
        "versions": [kind.version() for kind in kinds],
    }
    text = report(rows, facts)
    (arguments.output / "report.md").write_text(text)
    (arguments.output / "report.json").write_text(json.dumps({"facts": facts, "rows": rows}, indent=1) + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
