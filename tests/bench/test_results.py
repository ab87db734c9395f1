"""What was measured is kept run by run, and put together as medians."""

from pathlib import Path

from bench.results import Results, medians
from bench.workloads import Case
from tests.bench.rows import row

CASE = Case("load", 10)


def test_a_run_is_in_the_file_as_soon_as_it_is_added(tmp_path: Path) -> None:
    """Who reads the file anew finds it."""
    results = Results(tmp_path / "runs.jsonl")
    results.add([row(CASE, "BIRD", "load")])
    assert Results(tmp_path / "runs.jsonl").has(CASE, "BIRD", 0, "BIRD 1")


def test_a_line_that_is_not_whole_is_left_out(tmp_path: Path) -> None:
    """An interrupted write costs that run only."""
    path = tmp_path / "runs.jsonl"
    Results(path).add([row(CASE, "BIRD", "load", 0), row(CASE, "BIRD", "load", 1)])
    path.write_text(path.read_text()[:-20])
    found = Results(path)
    assert found.has(CASE, "BIRD", 0, "BIRD 1")
    assert not found.has(CASE, "BIRD", 1, "BIRD 1")


def test_a_run_of_another_version_or_case_does_not_count(tmp_path: Path) -> None:
    """It has to be done again."""
    results = Results(tmp_path / "runs.jsonl")
    results.add([row(CASE, "BIRD", "load")])
    assert not results.has(CASE, "BIRD", 0, "BIRD 2")
    assert not results.has(Case("load", 11), "BIRD", 0, "BIRD 1")


def test_what_failed_is_forgotten_and_the_rest_kept(tmp_path: Path) -> None:
    """So that it is tried again when the benchmark goes on; what is said of other workloads stays."""
    results = Results(tmp_path / "runs.jsonl")
    results.add(
        [row(CASE, "BIRD", "load"), row(CASE, "FRR", "load", failure="wrong"), row(CASE, "X", "load", refused="no")]
    )
    results.add([row(Case("leave", 10), "copier", "load", refused="it knows no routes")])
    results.forget_failures(["load"])
    assert [each["daemon"] for each in Results(tmp_path / "runs.jsonl").rows] == ["BIRD", "copier"]


def test_median_and_spread() -> None:
    """Spread is the distance of the extremes in terms of the median."""
    (found,) = medians([row(CASE, "BIRD", "load", run, cpu=cpu) for run, cpu in enumerate((1.0, 4.0, 2.0))])
    assert (found.values["cpu"], found.spread, found.runs) == (2.0, 1.5, 3)


def test_phases_and_daemons_are_kept_apart() -> None:
    """Each has medians of its own."""
    rows = [row(CASE, "BIRD", "load"), row(CASE, "BIRD", "leave"), row(CASE, "FRR", "load")]
    assert [(each.daemon, each.phase) for each in medians(rows)] == [
        ("BIRD", "load"),
        ("BIRD", "leave"),
        ("FRR", "load"),
    ]


def test_one_wrong_result_is_not_made_up_for_by_right_ones() -> None:
    """Then there are no figures."""
    (found,) = medians([row(CASE, "BIRD", "load"), row(CASE, "BIRD", "load", 1, failure="one route is missing")])
    assert (found.failure, found.wrong, found.values) == ("one route is missing", True, {})


def test_figures_count_where_another_run_was_not_tried() -> None:
    """Unless none was tried."""
    (found,) = medians([row(CASE, "BIRD", "load", refused="too long"), row(CASE, "BIRD", "load", cpu=3.0)])
    assert (found.failure, found.values["cpu"]) == ("", 3.0)
    (found,) = medians([row(CASE, "BIRD", "load", refused="too long")])
    assert (found.failure, found.wrong) == ("too long", False)


def test_only_the_last_state_of_a_daemon_counts() -> None:
    """What changed since is not mixed with it."""
    rows = [row(CASE, "trio-bgp", "load", cpu=9.0), row(CASE, "trio-bgp", "load", cpu=2.0, state="2")]
    (found,) = medians(rows)
    assert (found.values["cpu"], found.runs) == (2.0, 1)
