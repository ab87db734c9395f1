"""The report: what was measured as Markdown, JSON and plots."""

import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from bench import plots
from bench.daemons import DAEMONS
from bench.goals import MIB, Goal, goals, per_receiver
from bench.model import COLUMNS, Model, fit
from bench.results import Median, medians

__all__ = ["Section", "render", "sections", "write"]

OURS = ("trio-bgp", "trio-bgp compiled")
CHURN = ("churn", "frozen")
TITLES = {
    "load": "(a) One sender, its table to N receivers",
    "paths": "(b) Several senders of the same prefixes with different paths",
    "join": "(c) Late joiners, with 10 receivers that have the table",
    "churn": "(d) Churn: UPDATEs at a steady rate to 10 receivers, after a table",
    "leave": "(e) The sender leaves: until all of 10 receivers have all withdrawals",
    "real": "(f) Recorded tables",
    "mixed": "(g) Half of the receivers cannot have the octets as they came",
    "frozen": "(h) A tenth of the receivers reads nothing, while UPDATEs come",
    "growth": "(i) Other sizes and shapes, for the cost model",
}
METHOD = """\
Each daemon in turn as a transparent route server on the loopback, on one processor, the load on another. CPU is user
and system time of all its processes until all receivers held exactly what they were to, and 0.3 s longer. Memory is the
largest resident size of all its processes. Figures are medians of alternating runs, ± half of the distance of the
extremes."""
SHOWN = {
    "load": "load",
    "real": "load",
    "mixed": "load",
    "paths": "paths",
    "churn": "churn",
    "frozen": "churn",
    "leave": "leave",
}
"""The phase that a workload is about; all phases but the first of the others."""


@attrs.frozen
class Section:
    """One table of the report."""

    workload: str
    rows: list[Median]

    @property
    def title(self) -> str:
        """Its heading."""
        return TITLES[self.workload]


def sections(found: Sequence[Median]) -> list[Section]:
    """The tables: of each workload the phases it is about, and what could not be run."""
    made = []
    for workload in TITLES:
        rows = [
            each
            for each in found
            if each.case.workload == workload
            and (each.failure or each.phase == SHOWN.get(workload, each.phase))
            and (each.failure or workload != "join" or each.phase != "load")
        ]
        order = list(DAEMONS)
        rows.sort(key=lambda each: (_case_key(each), order.index(each.daemon) if each.daemon in order else 99))
        if rows:
            made.append(Section(workload, rows))
    return made


def _case_key(each: Median) -> tuple[Any, ...]:
    case = each.case
    return (case.table.startswith("made"), case.prefixes, case.table, case.senders, case.rate, case.receivers,
            case.frozen, case.variant, each.phase)  # fmt: skip


def _setting(each: Median) -> str:
    """What tells this row's case from the others of its workload."""
    case = each.case
    name = case.table
    if name.startswith("made:"):
        count, _, per_message = name.removeprefix("made:").partition("/")
        name = f"{int(count):,}" + (f", {per_message} a message" if per_message not in ("", "0") else "")
    words = [name, f"{case.senders} to {case.receivers}"]
    if each.case.workload == "mixed":
        words.append(f"half {case.variant}" if case.variant else "all alike")
    if case.workload == "frozen":
        words.append(f"{case.frozen} frozen")
    if case.workload == "join" and not each.failure:
        words.append(each.phase.replace("join", "joining:"))
    if case.rate and case.workload == "growth":
        words.append(f"{case.rate}/s")
    return "; ".join(words)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows), ""]


def _rows_of(section: Section) -> list[str]:
    churn = section.workload in CHURN
    head = [
        "prefixes; senders to receivers",
        "daemon",
        "CPU s",
        "wall s",
        "peak MiB",
        "load CPU s",
        "CPU / BIRD",
        "runs",
    ]
    if churn:
        head[3:4] = ["p50 ms", "p99 ms", "max ms"]
    lines = []
    for each in section.rows:
        if each.failure:
            word = "**wrong**" if each.wrong else "not run"
            text = each.failure.replace("|", "/").replace("\n", " ")
            lines.append([_setting(each), each.daemon, f"{word}: {text}", *[""] * (len(head) - 3)])
            continue
        values = each.values
        bird = next(
            (
                o
                for o in section.rows
                if (o.case, o.phase, o.daemon) == (each.case, each.phase, "BIRD") and not o.failure
            ),
            None,
        )
        ratio = f"{values['cpu'] / bird.values['cpu']:.2f}" if bird and bird is not each and bird.values["cpu"] else ""
        times = [f"{values[key]:.2f}" for key in ("p50_ms", "p99_ms", "max_ms")] if churn else [f"{values['wall']:.2f}"]
        lines.append(
            [
                *(_setting(each), each.daemon, f"{values['cpu']:.3f}", *times, f"{values['memory'] / MIB:.0f}"),
                *(
                    f"{values['load_cpu']:.2f}",
                    ratio,
                    str(each.runs) + (f" (±{50 * each.spread:.0f} %)" if each.runs > 1 else ""),
                ),
            ]
        )
    return _table(head, lines)


def _goals_table(found: Sequence[Goal]) -> list[str]:
    def row(goal: Goal) -> list[str]:
        measured = "" if goal.measured is None else f"{goal.measured:.3g}"
        limit = f"{goal.limit:g}" + (f" x {goal.other}" if goal.other else "")
        return [goal.what, goal.daemon, limit, measured, goal.detail, goal.verdict()]

    met = sum(goal.met for goal in found)
    known = sum(goal.measured is not None for goal in found)
    return [
        "## Goals",
        "",
        f"{met} of {known} that were measured are met; {len(found) - known} were not measured.",
        "",
        *_table(["goal", "daemon", "at most", "measured", "figures", "verdict"], map(row, found)),
    ]


def _receiver_table(found: Sequence[Median]) -> list[str]:
    prefixes = sorted({each.case.prefixes for each in found if each.case.workload == "load"})
    lines = []
    for count in prefixes:
        for daemon in DAEMONS:
            cpu, memory = (per_receiver(found, daemon, metric, count) for metric in ("cpu", "memory"))
            if cpu is not None and memory is not None:
                lines.append([f"{count:,}", daemon, f"{1e3 * cpu:.2f}", f"{memory / 1024:.1f}"])
    if not lines:
        return []
    return ["One more receiver costs:", "", *_table(["prefixes", "daemon", "CPU ms", "memory KiB"], lines)]


def _errors(model: Model) -> str:
    percents = [100 * abs(each) for each in model.errors]
    return f"median {statistics.median(percents):.0f} %, at most {max(percents):.0f} %, {len(percents)} samples"


def _model_text(models: dict[str, Model]) -> list[str]:
    if not models:
        return []
    lines = [
        "## Cost model",
        "",
        "Microseconds of CPU, least squares of the relative errors over all loads and churns:",
        "",
    ]
    rows = [
        [name, *(f"{1e6 * each:.3g}" for each in model.constants), _errors(model)] for name, model in models.items()
    ]
    lines += _table(["daemon", *(f"a {name}" for name in COLUMNS), "errors"], rows)
    for daemon, model in models.items():
        seconds = model.predict(messages=180_000, prefixes=1_000_000, runs=70, octets=17e6, receivers=1000)
        lines.append(
            f"{daemon}: a table of 1,000,000 prefixes in 180,000 UPDATEs (17 MB) to 1,000 receivers: {seconds:.1f} s. "
        )
    return [*lines, ""]


def render(rows: Sequence[dict[str, Any]], image: Callable[[str], str] = lambda _: "") -> tuple[str, dict[str, Any]]:
    """The report.

    Args:
        rows: as in `Results`.
        image: the file name of a section's plot; empty if there is none.

    Returns:
        Markdown, and the same for programs.
    """
    found = medians(rows)
    reached = goals(found)
    models = {name: model for name in OURS if (model := fit(found, name)) is not None}
    versions: dict[str, str] = {}
    for row in rows:
        versions[row["daemon"]] = row["fingerprint"]
    lines = [
        "# Benchmark",
        "",
        METHOD,
        "",
        f"- {platform.system()} {platform.release()}, {os.cpu_count()} processors, {_processor()}",
        *(f"- {daemon}: {version}" for daemon, version in versions.items()),
        f"- measured from {rows[0]['at']} to {rows[-1]['at']}" if rows else "- nothing was measured",
        "",
        *_goals_table(reached),
    ]
    for section in sections(found):
        lines += [f"## {section.title}", "", *_rows_of(section)]
        if section.workload == "load":
            lines += _receiver_table(found)
        name = image(section.workload)
        if name:
            lines += [f"![{section.title}]({name})", ""]
    lines += _model_text(models)
    data = {
        "versions": versions,
        "goals": [{**attrs.asdict(goal), "verdict": goal.verdict()} for goal in reached],
        "models": {name: {"columns": COLUMNS, **attrs.asdict(model)} for name, model in models.items()},
        "rows": [attrs.asdict(each) for each in found],
    }
    return "\n".join(lines), data


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write(rows: Sequence[dict[str, Any]], folder: Path) -> str:
    """Write `report.md`, `report.json` and the plots; the Markdown."""
    made = plots.draw(sections(medians(rows)), folder)
    text, data = render(rows, lambda workload: made.get(workload, ""))
    (folder / "report.md").write_text(text)
    (folder / "report.json").write_text(json.dumps(data, indent=1) + "\n")
    return text
