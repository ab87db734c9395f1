"""What all tests share."""

import os
from pathlib import Path

import pytest

from trio_bgp.passthrough.pool import BufferPool

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def _poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Freed slabs read as bad markers, so that a use after free is seen."""
    monkeypatch.setattr(BufferPool, "poison", True)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with other projects' vectors and real tables; required in CI, skipped without it elsewhere."""
    if not SHARED.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{SHARED} is missing")
        pytest.skip(f"{SHARED} is missing: its vectors and tables are not run")
    return SHARED
