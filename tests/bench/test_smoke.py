"""The guard that counts work: what is above a limit, or has none, is told; the limits fit what is counted."""

import json
import os
import sys
from pathlib import Path

import pytest

from bench.smoke import LIMITS, PREFIXES, RECEIVERS, allowed, count_core, count_variant, excesses, main
from bench.table import made


def test_more_than_allowed_and_without_limit_are_told() -> None:
    """Less is not: it is for whoever made it so to lower the limit."""
    found = excesses(
        {"core x: calls": 11, "core y: calls": 10, "core z: calls": 1}, {"core x: calls": 10, "core y: calls": 10}
    )
    assert found == ["core x: calls: 11, at most 10 are allowed", "core z: calls: has no limit"]


def test_slack_is_small_where_counts_are_the_same_each_time() -> None:
    """Two in a hundred, and a few."""
    assert allowed("core a table: calls", 1000) == 1025
    assert allowed("daemon a table: reads", 1000) == 1255


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the limits are CPython 3.11's")
@pytest.mark.skipif("PYTHONPATH" in os.environ, reason="perhaps the compiled build, which calls less")
def test_double_work_is_found(tmp_path: Path) -> None:
    """Each table fed twice is more than the limits allow, once is not."""
    senders = [path.read_bytes() for path in made(PREFIXES, 2, tmp_path).senders]
    limits = json.loads(LIMITS.read_text())
    # Memory blocks are for a process of its own: here whatever measures the tests keeps some, too.
    counts = {name: value for name, value in count_core(senders).items() if "blocks" not in name}
    assert excesses(counts, limits) == []
    assert counts["core a table: queue entries"] * RECEIVERS < 100
    twice = count_core([octets * 2 for octets in senders])
    assert any("core a table: calls" in line for line in excesses(twice, limits))


@pytest.mark.skipif("PYTHONPATH" in os.environ, reason="perhaps the compiled build, whose calls are not seen")
def test_a_variant_is_paid_once_whoever_shares_it(tmp_path: Path) -> None:
    """Writing UPDATEs anew for 2-octet AS numbers is work; for 40 receivers more it is not more work."""
    (table,) = made(2000, 1, tmp_path).senders
    octets = table.read_bytes()
    alike, one, ten, fifty = (count_variant(octets, *case) for case in ((10, 0), (10, 1), (10, 5), (50, 25)))
    assert one > 1.3 * alike
    assert ten <= one + 5 * 10
    assert fifty - ten <= 1.1 * (count_variant(octets, 50, 0) - alike) + 10


def test_the_command_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    """As argparse does."""
    with pytest.raises(SystemExit):
        main(["--fast"])
    assert "unrecognized" in capsys.readouterr().err
