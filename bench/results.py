"""What was measured: a line of JSON for each phase of each run, added at once, and medians of them."""

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from bench.workloads import Case

__all__ = ["Median", "Results", "medians"]

METRICS = (
    *("cpu", "wall", "first", "load_cpu", "memory", "resident", "idle", "p50_ms", "p99_ms", "max_ms", "late_ms"),
    *("messages", "prefixes", "octets"),
)


@attrs.frozen
class Median:
    """The runs of one daemon in one phase of one case.

    Args:
        case: as it was run.
        phase: name.
        daemon: name.
        values: the median of each figure.
        spread: (largest - smallest) CPU seconds / their median.
        runs: how many.
        failure: why there are no figures; empty if there are.
        wrong: it is because a result was wrong.
    """

    case: Case
    phase: str
    daemon: str
    values: dict[str, float]
    spread: float
    runs: int
    failure: str = ""
    wrong: bool = False


class Results:
    """The runs in a file.

    Args:
        path: of JSON lines; read if it is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            # A line that is not whole is of a run that was interrupted while it was written.
            for line in path.read_text().splitlines():
                try:
                    self.rows.append(json.loads(line))
                except ValueError:
                    continue

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Keep the phases of a run, in the file too."""
        with self.path.open("a") as file:
            for row in rows:
                self.rows.append(row)
                file.write(json.dumps(row) + "\n")

    def has(self, case: Case, daemon: str, run: int, fingerprint: str) -> bool:
        """Whether that run is there, with a daemon as it is now."""
        wanted = (attrs.asdict(case), daemon, run, fingerprint)
        return any((row["case"], row["daemon"], row["run"], row["fingerprint"]) == wanted for row in self.rows)

    def forget_failures(self, workloads: Sequence[str]) -> None:
        """Drop what has no figures in these workloads, in the file too: it is to be done again."""
        self.rows = [row for row in self.rows if "cpu" in row or row["case"]["workload"] not in workloads]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in self.rows))


def medians(rows: Iterable[dict[str, Any]]) -> list[Median]:
    """The rows of each case, phase and daemon together, in the order in which they came first.

    Where a daemon has rows of several states of it (`fingerprint`), the last state's count.
    """
    latest: dict[tuple[Case, str], str] = {}
    groups: dict[tuple[Case, str, str], list[dict[str, Any]]] = {}
    rows = list(rows)
    for row in rows:
        latest[Case(**row["case"]), row["daemon"]] = row["fingerprint"]
    for row in rows:
        case = Case(**row["case"])
        if latest[case, row["daemon"]] == row["fingerprint"]:
            groups.setdefault((case, row["phase"], row["daemon"]), []).append(row)
    found = []
    for (case, phase, daemon), group in groups.items():
        # One wrong result makes the others worthless; one that was not tried does not.
        failures = [row["failure"] for row in group if "failure" in row]
        reasons = [row["refused"] for row in group if "refused" in row]
        if failures or len(reasons) == len(group):
            found.append(
                Median(case, phase, daemon, {}, 0.0, len(group), "".join(failures[:1]) or reasons[0], bool(failures))
            )
            continue
        group = [row for row in group if "cpu" in row]
        values = {
            key: statistics.median(row[key] for row in group) for key in METRICS if all(key in row for row in group)
        }
        costs = [row["cpu"] for row in group]
        spread = (max(costs) - min(costs)) / values["cpu"] if values["cpu"] else 0.0
        found.append(Median(case, phase, daemon, values, spread, len(group)))
    return found
