"""The report shows what was measured, what was wrong, and what was not run and why."""

import json
from pathlib import Path
from typing import Any

from bench.report import render, write
from bench.workloads import Case
from tests.bench.rows import row

LOAD = Case("load", 50)


def lines(rows: list[dict[str, Any]], *words: str) -> list[str]:
    """Lines of the report with all the words."""
    return [line for line in render(rows)[0].splitlines() if all(word in line for word in words)]


def test_a_row_has_its_figures_and_its_ratio_to_bird() -> None:
    """CPU, wall, memory, the load's CPU, the ratio, the runs."""
    rows = [
        row(LOAD, "trio-bgp", "load", cpu=0.5, wall=0.75, memory=80 * 2**20),
        row(LOAD, "BIRD", "load", cpu=5.0),
    ]
    assert lines(rows, "1 to 50", "| trio-bgp |") == [
        "| 200,000; 1 to 50 | trio-bgp | 0.500 | 0.75 | 80 | 0.10 | 0.10 | 1 |"
    ]
    assert len(lines(rows, "1 to 50", "| BIRD |")) == 1


def test_a_wrong_result_is_shown_instead_of_figures() -> None:
    """And what was wrong, without breaking the table."""
    rows = [row(LOAD, "trio-bgp", "load"), row(LOAD, "FRR", "load", failure="peer 3 holds 1 route | 2 to hold")]
    (found,) = lines(rows, "| FRR |")
    assert "**wrong**: peer 3 holds 1 route / 2 to hold" in found


def test_what_a_daemon_cannot_do_is_said() -> None:
    """No hole is left where it would be."""
    assert (
        len(
            lines(
                [row(Case("leave", 10), "copier", "load", refused="it knows no routes")],
                "copier",
                "not run: it knows no routes",
            )
        )
        == 1
    )


def test_joiners_are_rows_of_their_own_and_the_load_before_is_not_shown() -> None:
    """One and fifty; the load is in a table of its own."""
    case = Case("join", 10)
    rows = [row(case, "BIRD", phase) for phase in ("load", "join 1", "join 50")]
    assert [line.split("|")[1].strip() for line in lines(rows, "| BIRD |")] == [
        "200,000; 1 to 10; joining: 1",
        "200,000; 1 to 10; joining: 50",
    ]


def test_churn_shows_delays() -> None:
    """p50, p99 and the longest, instead of wall seconds."""
    rows = [row(Case("churn", 10, rate=2000), "BIRD", "churn", p50_ms=0.25, p99_ms=1.5, max_ms=7.0)]
    assert "| BIRD | 1.000 | 0.25 | 1.50 | 7.00 |" in lines(rows, "| BIRD |")[0]


def test_versions_are_named() -> None:
    """Each daemon's."""
    assert lines([row(LOAD, "BIRD", "load", state="2.0.12")], "- BIRD:") == ["- BIRD: BIRD 2.0.12"]


def test_nothing_measured_is_a_report_too(tmp_path: Path) -> None:
    """It says so."""
    assert "nothing was measured" in write([], tmp_path)


def test_the_same_for_programs(tmp_path: Path) -> None:
    """JSON has the rows and the verdicts."""
    write([row(LOAD, "trio-bgp", "load", cpu=0.5), row(LOAD, "BIRD", "load", cpu=5.0)], tmp_path)
    data = json.loads((tmp_path / "report.json").read_text())
    assert [each["values"]["cpu"] for each in data["rows"]] == [0.5, 5.0]
    assert [each["verdict"] for each in data["goals"] if each["measured"] is not None] == ["met"]
