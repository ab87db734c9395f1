"""What `deploy/` has agrees with the daemon and the docs."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

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


def test_the_dashboard_asks_for_metrics_there_are() -> None:
    """Every metric named in the dashboard is one that the daemon exports."""
    text = (DEPLOY / "grafana-dashboard.json").read_text()
    board = json.loads(text)
    assert len(board["panels"]) >= 8
    asked = set(re.findall(r"\btrio_bgp_[a-z_]+", text))
    source = (ROOT / "trio_bgp" / "control" / "metrics.py").read_text()
    keys = re.findall(r'\("(updates_\w+)", "', source)
    given = set(re.findall(r'"(trio_bgp_[a-z_]+)"', source)) | {f"trio_bgp_{key}" for key in keys}
    given |= {f"{name}_total" for name in given}
    assert asked <= given, asked - given


def test_the_container_installs_and_runs_what_there_is() -> None:
    """It copies what is there, runs without root and has a health check that the command line knows."""
    text = (DEPLOY / "Containerfile").read_text()
    for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / name).exists() for name in line.split())
    assert re.search(r"^USER trio-bgp$", text, re.MULTILINE)
    assert '"trio-bgp", "show", "status"' in text
