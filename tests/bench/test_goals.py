"""Promises are ratios of figures, and a missed one says by how much."""

from typing import Any

import pytest

from bench.goals import Goal, goals, per_receiver
from bench.results import medians
from bench.workloads import Case
from tests.bench.rows import row

MIXED = ("", "as2", "add-path", "internal")
TABLE = ", 200,000 prefixes"


def only(rows: list[dict[str, Any]], what: str, other: str = "") -> Goal:
    """The goal of that name."""
    (found,) = [each for each in goals(medians(rows)) if each.what == what and other in ("", each.other)]
    return found


def test_a_ratio_at_the_limit_is_met_and_one_above_is_missed_by_its_factor() -> None:
    """A tenth of BIRD's is met; a fifth of FRR's is missed by a factor of two."""
    case = Case("load", 50)
    rows = [
        row(case, "trio-bgp", "load", cpu=0.5),
        row(case, "BIRD", "load", cpu=5.0),
        row(case, "FRR", "load", cpu=2.5),
    ]
    met = only(rows, f"(a) CPU at 50 receivers{TABLE}", "BIRD")
    assert met.measured == pytest.approx(0.1)
    assert met.verdict() == "met"
    missed = only(rows, f"(a) CPU at 50 receivers{TABLE}", "FRR")
    assert missed.measured == pytest.approx(0.2)
    assert missed.verdict() == "missed: 2 times the limit"


def test_what_was_not_measured_is_said_to_be_so() -> None:
    """Without the other daemon's figure, or ours, there is no verdict."""
    rows = [row(Case("load", 50), "trio-bgp", "load")]
    assert only(rows, f"(a) CPU at 50 receivers{TABLE}", "BIRD").verdict() == "not measured"
    assert only(rows, "(d) p50 in ms at 10 receivers").verdict() == "not measured"


def test_a_wrong_result_is_no_figure() -> None:
    """A run that ended with wrong routes is compared with nothing."""
    case = Case("load", 50)
    rows = [row(case, "trio-bgp", "load"), row(case, "BIRD", "load", failure="a route is missing")]
    assert only(rows, f"(a) CPU at 50 receivers{TABLE}", "BIRD").measured is None


def test_a_daemon_that_was_not_measured_promised_nothing() -> None:
    """Only those of ours that ran have goals."""
    found = goals(medians([row(Case("load", 50), "trio-bgp compiled", "load"), row(Case("load", 50), "BIRD", "load")]))
    assert {each.daemon for each in found} == {"trio-bgp compiled"}


def test_one_more_receiver_is_the_slope() -> None:
    """Over all receiver counts of the usual table, and of no other."""
    rows = [row(Case("load", count), "trio-bgp", "load", cpu=0.4 + 0.002 * count) for count in (1, 10, 50)]
    rows += [row(Case("load", count), "copier", "load", cpu=0.004 * count) for count in (1, 10, 50)]
    rows.append(row(Case("load", 100, "made:1000000"), "trio-bgp", "load", cpu=50.0))  # another table
    assert per_receiver(medians(rows), "trio-bgp", "cpu", 200_000) == pytest.approx(0.002)
    assert only(rows, f"(a) CPU of one more receiver{TABLE}").measured == pytest.approx(0.5)


def test_each_size_of_table_has_goals_of_its_own() -> None:
    """CPU and memory are compared with BIRD's of the same table; smaller ones than the usual are not judged."""
    rows = []
    for table, cpu, memory in (("made:20000", 9.0, 9), ("made:200000", 0.6, 3), ("made:1000000", 0.5, 1)):
        case = Case("load", 10, table)
        rows += [row(case, "trio-bgp", "load", memory=memory), row(case, "BIRD", "load", memory=2)]
        case = Case("load", 1, table)
        rows += [row(case, "trio-bgp", "load", cpu=cpu), row(case, "BIRD", "load", cpu=1.0)]
    for prefixes, less, more in (("200,000", 0.6, 1.5), ("1,000,000", 0.5, 0.5)):
        assert only(rows, f"(a) CPU at 1 receiver, {prefixes} prefixes").measured == pytest.approx(less)
        assert only(rows, f"memory with {prefixes} prefixes, peak").measured == pytest.approx(more)
    assert not [each for each in goals(medians(rows)) if " 20,000 prefixes" in each.what]


def test_one_more_path_is_what_further_senders_add() -> None:
    """Three further senders of 200,000 prefixes are 600,000 paths."""
    paths = Case("paths", 10, senders=4)
    rows = []
    for daemon, each in (("trio-bgp", 100), ("BIRD", 50)):
        rows.append(row(Case("load", 10), daemon, "load", memory=1_000_000, prefixes=200_000))
        rows.append(row(paths, daemon, "paths", memory=1_000_000 + each * 600_000, prefixes=200_000))
    found = only(rows, "memory of one more path", "BIRD")
    assert (found.measured, found.detail) == (2.0, "100 octets to 50 octets")


def test_delay_is_compared_with_milliseconds_and_with_bird() -> None:
    """Both limits of the delay have a verdict of their own."""
    case = Case("churn", 10, rate=2000)
    rows = [row(case, "trio-bgp", "churn", p50_ms=0.6, p99_ms=1.0), row(case, "BIRD", "churn", p50_ms=0.3, p99_ms=0.2)]
    assert only(rows, "(d) p50 in ms at 10 receivers").verdict() == "missed: 1.2 times the limit"
    assert only(rows, "(d) p50 at 10 receivers").measured == pytest.approx(2.0)
    assert only(rows, "(d) p99 at 10 receivers").verdict() == "missed: 1.67 times the limit"


def test_a_variant_is_compared_with_receivers_that_are_all_alike() -> None:
    """The whole cost at each count, and the slope between the counts."""
    rows = [
        row(Case("mixed", count, variant=variant), "trio-bgp", "load", cpu=(2.5 if variant else 1.0) + 0.01 * count)
        for count in (10, 50)
        for variant in MIXED
    ]
    assert only(rows, "CPU, half of 10 receivers as2").measured == pytest.approx(2.6 / 1.1)
    assert only(rows, "CPU of one more receiver, half as2").verdict() == "met"


def test_frozen_receivers_are_compared_with_none() -> None:
    """p99 with five frozen, in terms of p99 with none."""
    rows = [
        row(Case("frozen", 50, frozen=count, rate=1000), "trio-bgp", "churn", p50_ms=0.5, p99_ms=p99)
        for count, p99 in ((0, 1.0), (5, 1.5))
    ]
    assert only(rows, "p99 of the others when 5 of 50 are frozen").measured == pytest.approx(1.5)
