"""`python -m bench`: measure, and write a report."""

import argparse
import datetime
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from bench.build import ROOT
from bench.daemons import DAEMONS, listens
from bench.generator import TooSlowError, WrongResultError
from bench.report import write
from bench.results import Results
from bench.run import measure
from bench.table import SHARED
from bench.workloads import WORKLOADS, Case, Selection, cases, estimate, first_phase, refusal, table_of

FIRST_PORT = 20100
PORTS = 8000
QUICK = ("load", "paths", "join", "churn", "leave")
ONCE_SECONDS = 40.0
"""A run that is estimated to take longer is done once, if nothing else is asked for."""
LIMIT = 100.0
"""Likewise, and not at all: GoBGP with a large table takes a quarter of an hour."""
TABLES = ROOT / "bench" / "build" / "tables"


@attrs.frozen
class Plan:
    """One run that is to be done."""

    case: Case
    daemon: str
    run: int
    seconds: float


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="all workloads, receivers and tables, on all daemons")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, metavar="NAME", help=", ".join(WORKLOADS))
    parser.add_argument("--daemons", nargs="+", choices=DAEMONS, metavar="NAME", help=", ".join(DAEMONS))
    parser.add_argument("--receivers", type=int, nargs="+", help="of the workload load; 1 10 50, or up to 200 if full")
    parser.add_argument("--prefixes", type=int, nargs="+", help="of the workload load; 200000, also 1000000 if full")
    parser.add_argument("--runs", type=int, default=3, help="of each case")
    parser.add_argument(
        "--once", type=float, default=ONCE_SECONDS, metavar="SECONDS", help="runs that take longer are done once"
    )
    parser.add_argument(
        "--limit", type=float, default=LIMIT, metavar="SECONDS", help="runs that take longer are not done"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "out", help="the folder of results and report")
    parser.add_argument("--resume", action="store_true", help="keep what was measured with the same versions")
    parser.add_argument("--report-only", action="store_true", help="write the report from what was measured")
    parser.add_argument("--plan", action="store_true", help="say what would be run, and how long it would take")
    found = parser.parse_args(arguments)
    found.everywhere = found.full or bool(found.daemons)
    found.workloads = found.workloads or (WORKLOADS if found.full else QUICK)
    found.daemons = found.daemons or list(DAEMONS)
    found.receivers = found.receivers or ([1, 4, 10, 50, 100, 200] if found.full else [1, 10, 50])
    found.prefixes = found.prefixes or ([200_000, 1_000_000] if found.full else [200_000])
    return found


def plan(arguments: argparse.Namespace, fingerprints: dict[str, str], results: Results) -> list[Plan]:
    """All runs in their order; what is there already or cannot be is left out, and noted why.

    Daemons alternate, and so do the cases of a workload, which are compared with each other: a while in which the
    machine is busy is to concern all of them alike.
    """
    names = [name for name in arguments.daemons if fingerprints[name]]
    selection = Selection(arguments.workloads, arguments.receivers, arguments.prefixes, names, arguments.everywhere)
    found: dict[str, list[Plan]] = {}
    for case, daemons in cases(selection):
        able = []
        for name in daemons:
            seconds = estimate(case, DAEMONS[name])
            reason = refusal(case, DAEMONS[name])
            if not reason and seconds > arguments.limit:
                reason = f"a run would take about {seconds:.0f} s"
            if not reason:
                able.append((name, seconds))
            elif not results.has(case, name, 0, fingerprints[name]):
                results.add([_row(case, name, 0, fingerprints[name]) | {"refused": reason, "phase": first_phase(case)}])
        for run in range(arguments.runs):
            for name, seconds in able:
                if results.has(case, name, run, fingerprints[name]) or (run and seconds > arguments.once):
                    continue
                found.setdefault(case.workload, []).append(Plan(case, name, run, seconds))
    return [each for plans in found.values() for each in sorted(plans, key=lambda each: each.run)]


def _row(case: Case, daemon: str, run: int, fingerprint: str) -> dict[str, object]:
    return {
        "case": attrs.asdict(case),
        "daemon": daemon,
        "run": run,
        "fingerprint": fingerprint,
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def execute(plans: list[Plan], results: Results, fingerprints: dict[str, str], limit: float) -> int:
    """Do the runs; how many failed."""
    failed = 0
    given_up: set[tuple[Case, str]] = set()
    left = sum(each.seconds for each in plans)
    for number, each in enumerate(plans):
        if (each.case, each.daemon) in given_up:
            left -= each.seconds
            continue
        row = _row(each.case, each.daemon, each.run, fingerprints[each.daemon])
        kind = DAEMONS[each.daemon]
        begun = time.monotonic()
        try:
            table = table_of(each.case, TABLES)
            counts = {"messages": table.messages, "prefixes": table.prefixes, "octets": table.octets}
            # Another port each time: connections that are over keep the last one for a while.
            ports = (FIRST_PORT + (int(time.time()) + number + more) % PORTS for more in range(PORTS))
            port = next(port for port in ports if not listens(port))
            rows = [row | counts | figures for figures in measure(each.case, kind, port, table, limit)]
            said = ", ".join(f"{each['phase']} {each['cpu']:.2f} s" for each in rows)
        except (RuntimeError, TooSlowError, WrongResultError) as error:
            said = f"FAILED: {error}"
            kind_of = "refused" if isinstance(error, TooSlowError) else "failure"
            rows = [row | {kind_of: str(error), "phase": first_phase(each.case)}]
            failed += kind_of == "failure"
            given_up.add((each.case, each.daemon))
        results.add(rows)
        left -= each.seconds
        took = time.monotonic() - begun
        print(
            f"[{number + 1}/{len(plans)}, about {left / 60:.0f} min left] {each.daemon}, {each.case.describe()}: {said}"
            f" ({took:.0f} s)",
            flush=True,
        )
    return failed


def main() -> int:
    """Run the benchmark; 1 if a result was wrong."""
    arguments = parse()
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "runs.jsonl"
    if path.exists() and not (arguments.resume or arguments.report_only or arguments.plan):
        path.replace(path.with_suffix(".before.jsonl"))
    results = Results(path)
    if arguments.resume and not arguments.plan:
        results.forget_failures(arguments.workloads)
    if arguments.report_only:
        print(write(results.rows, arguments.output))
        return 0
    if "real" in arguments.workloads and not SHARED.is_dir():
        print(f"{SHARED} is missing: the workload real is left out", file=sys.stderr)
        arguments.workloads = [name for name in arguments.workloads if name != "real"]
    fingerprints = {name: DAEMONS[name].fingerprint() if DAEMONS[name].version() else "" for name in arguments.daemons}
    absent = [name for name, found in fingerprints.items() if not found]
    if absent:
        print(f"not there, or not for this user: {', '.join(absent)} (.ci/install-daemons)", file=sys.stderr)
    plans = plan(arguments, fingerprints, Results(Path(os.devnull)) if arguments.plan else results)
    minutes = sum(each.seconds for each in plans) / 60
    if arguments.plan:
        for each in plans:
            print(f"{each.daemon}, {each.case.describe()}, run {each.run + 1}: about {each.seconds:.0f} s")
    print(f"{len(plans)} runs, about {minutes:.0f} minutes", flush=True)
    if arguments.plan:
        return 0
    failed = execute(plans, results, fingerprints, arguments.limit)
    write(results.rows, arguments.output)
    print(f"{arguments.output / 'report.md'}: {len(results.rows)} rows, {failed} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
