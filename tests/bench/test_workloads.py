"""What is run, by whom, and in which order."""

from pathlib import Path

import attrs
import pytest

from bench.__main__ import parse, plan
from bench.daemons import AS, DAEMONS, FIRST_AS, Peer
from bench.results import Results
from bench.workloads import JOINERS, WORKLOADS, Case, Selection, cases, refusal

PRINTS = {name: f"{name} 1" for name in DAEMONS}


def planned(tmp_path: Path, *arguments: str, prints: dict[str, str] = PRINTS) -> list[tuple[str, str, int]]:
    """Workload, daemon and number of each run of a command line."""
    found = plan(parse(arguments), prints, Results(tmp_path / "runs.jsonl"))
    return [(each.case.workload, each.daemon, each.run) for each in found]


def test_daemons_alternate(tmp_path: Path) -> None:
    """So that what disturbs the machine for a while disturbs all alike."""
    found = planned(tmp_path, "--workloads", "leave", "--daemons", "BIRD", "trio-bgp", "--runs", "2")
    assert found == [("leave", "BIRD", 0), ("leave", "trio-bgp", 0), ("leave", "BIRD", 1), ("leave", "trio-bgp", 1)]


def test_what_is_there_is_not_run_again(tmp_path: Path) -> None:
    """Unless the daemon is another one now."""
    row = {"case": attrs.asdict(Case("leave", 10)), "daemon": "BIRD", "run": 0, "fingerprint": "BIRD 1", "cpu": 1.0}
    Results(tmp_path / "runs.jsonl").add([row])
    arguments = ("--workloads", "leave", "--daemons", "BIRD", "--runs", "2")
    assert planned(tmp_path, *arguments) == [("leave", "BIRD", 1)]
    assert len(planned(tmp_path, *arguments, prints={"BIRD": "BIRD 2"})) == 2


def test_a_daemon_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    """The others run."""
    found = planned(tmp_path, "--workloads", "leave", "--runs", "1", prints=PRINTS | {"BIRD": ""})
    assert [daemon for _, daemon, _ in found] == ["trio-bgp", "trio-bgp compiled"]


def test_daemons_that_are_named_run_all_that_is_asked_for(tmp_path: Path) -> None:
    """Also those that the quick benchmark has in few workloads."""
    assert planned(tmp_path, "--workloads", "leave", "--runs", "1", "--daemons", "FRR") == [("leave", "FRR", 0)]


def test_why_something_is_not_run_is_kept(tmp_path: Path) -> None:
    """What would take too long, and what a daemon cannot do."""
    planned(tmp_path, "--workloads", "load", "leave", "--receivers", "50", "--daemons", "GoBGP", "copier")
    reasons = {
        (row["case"]["workload"], row["daemon"]): row["refused"] for row in Results(tmp_path / "runs.jsonl").rows
    }
    assert reasons["load", "GoBGP"].startswith("a run would take about")
    assert reasons["leave", "copier"] == "it knows no routes"


def test_a_long_run_is_done_once(tmp_path: Path) -> None:
    """GoBGP's, if nothing else is asked for."""
    slow = ("--full", "--workloads", "leave", "--daemons", "GoBGP", "BIRD", "--limit", "900")
    assert [daemon for _, daemon, _ in planned(tmp_path, *slow)] == ["GoBGP", "BIRD", "BIRD", "BIRD"]
    found = planned(tmp_path, *slow, "--once", "900")
    assert sorted(daemon for _, daemon, _ in found) == ["BIRD"] * 3 + ["GoBGP"] * 3


def test_the_cases_of_a_workload_alternate(tmp_path: Path) -> None:
    """What is compared is measured side by side: a busy while on the machine concerns all of it."""
    found = planned(tmp_path, "--workloads", "mixed", "leave", "--daemons", "trio-bgp", "BIRD", "--runs", "2")
    mixed = [(daemon, run) for workload, daemon, run in found if workload == "mixed"]
    assert [run for _, run in mixed] == [0] * 20 + [1] * 20
    both = ["trio-bgp", "BIRD"] * 8
    assert [daemon for daemon, _ in mixed] == [*both, *["trio-bgp"] * 4] * 2
    assert [workload for workload, _, _ in found] == ["mixed"] * 40 + ["leave"] * 4


def test_the_quick_benchmark_has_all_daemons_where_goals_need_them() -> None:
    """CPU of 10 and 50 receivers, memory of paths."""
    selection = Selection(("load", "paths", "churn"), (1, 10, 50), (200_000,), list(DAEMONS), everywhere=False)
    names = {(case.workload, case.receivers): daemons for case, daemons in cases(selection) if case.prefixes == 200_000}
    assert names["load", 50] == names["load", 10] == names["paths", 10] == list(DAEMONS)
    assert names["load", 1] == names["churn", 10] == ["trio-bgp", "trio-bgp compiled", "BIRD", "copier"]


def test_the_full_benchmark_has_every_workload() -> None:
    """And receivers and prefixes as asked for."""
    selection = Selection(WORKLOADS, (1, 200), (200_000, 1_000_000), list(DAEMONS), everywhere=True)
    found = [case for case, _ in cases(selection)]
    assert {case.workload for case in found} == set(WORKLOADS)
    assert Case("load", 200, "made:1000000") in found
    assert len(found) == len(set(found))


def test_half_of_the_receivers_are_a_variant() -> None:
    """The later ones, and no sender."""
    peers = Case("mixed", 5, variant="as2").peers()
    assert [peer.variant for peer in peers] == ["plain"] * 4 + ["as2"] * 2


def test_late_joiners_are_configured_from_the_beginning() -> None:
    """One, and fifty."""
    assert len(Case("join", 10).peers()) == 1 + 10 + 1 + JOINERS


def test_peers_have_addresses_and_numbers_of_their_own() -> None:
    """Also beyond the 250 of the first network."""
    peers = [Peer(index) for index in range(600)]
    assert len({peer.address for peer in peers}) == len({peer.asn for peer in peers}) == 600
    assert (peers[250].address, peers[250].asn) == ("127.0.2.1", FIRST_AS + 250)
    assert (Peer(3, "as2").asn, Peer(3, "internal").asn) == (60003, AS)


@pytest.mark.parametrize("name", DAEMONS)
def test_each_daemon_can_run_the_load(name: str) -> None:
    """Whatever else it lacks."""
    assert refusal(Case("load", 10), DAEMONS[name]) == ""


def test_a_variant_that_a_daemon_lacks_is_refused() -> None:
    """With its reason."""
    assert "ADD-PATH" in refusal(Case("mixed", 10, variant="add-path"), DAEMONS["GoBGP"])
    assert refusal(Case("mixed", 10, variant="as2"), DAEMONS["GoBGP"]) == ""
    assert refusal(Case("mixed", 10), DAEMONS["copier"]) == "it changes nothing"
