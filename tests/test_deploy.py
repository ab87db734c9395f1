"""What `deploy/` has agrees with the daemon and the docs."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.harness.lab import lab, peer_settings
from trio_bgp.control.metrics import render
from trio_bgp.control.snapshot import Snapshot

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"


def test_the_unit_is_the_one_in_the_docs() -> None:
    """One text in two places."""
    page = (ROOT / "docs" / "how-to" / "route-server.md").read_text()
    (unit,) = re.findall(r"^```ini\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert (DEPLOY / "trio-bgp.service").read_text() == unit


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing, where it is installed."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    unit = tmp_path / "trio-bgp.service"
    unit.write_text(re.sub(r"/opt/\S+/trio-bgp run", "/bin/true run", (DEPLOY / "trio-bgp.service").read_text()))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "trio-bgp.service" not in done.stderr


async def test_the_dashboard_asks_for_metrics_there_are() -> None:
    """Every metric named in the dashboard, with every label, is one that a running daemon exports."""
    text = (DEPLOY / "grafana-dashboard.json").read_text()
    board = json.loads(text)
    assert len(board["panels"]) >= 8
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(expressions) >= 8
    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        for number in (1, 2):
            await the_lab.join(number)
        page = (await render(Snapshot(the_lab.speaker))).decode()
    given: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page):
        assert family.documentation
        for name in (family.name, f"{family.name}_total"):
            given[name] = {label for sample in family.samples for label in sample.labels}
    for expression in expressions:
        asked = re.findall(r"\b(trio_bgp_[a-z_]+)(?:\{([^}]*)\})?", expression)
        assert asked, expression
        for name, selector in asked:
            assert name in given, name
            labels = set(re.findall(r"(\w+)\s*[=!]~?", selector)) - {"instance", "job"}
            assert labels <= given[name] or not given[name], expression


def test_the_container_installs_and_runs_what_there_is() -> None:
    """It copies what is there, runs without root and has a health check that the command line knows."""
    text = (DEPLOY / "Containerfile").read_text()
    for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split())
    assert re.search(r"^USER trio-bgp$", text, re.MULTILINE)
    assert '"trio-bgp", "show", "status"' in text
