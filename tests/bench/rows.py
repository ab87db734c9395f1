"""Rows as `bench.results` keeps them, made by hand."""

from typing import Any

import attrs

from bench.workloads import Case


def row(case: Case, daemon: str, phase: str, run: int = 0, *, state: str = "1", **figures: Any) -> dict[str, Any]:
    """One phase of one run; figures that are not given are 1."""
    given = {
        "cpu": 1.0,
        "wall": 1.0,
        "load_cpu": 0.1,
        "memory": 2**20,
        "messages": 100,
        "prefixes": 1000,
        "octets": 1e4,
    }
    refused = {"refused", "failure"} & set(figures)
    return {
        "case": attrs.asdict(case),
        "daemon": daemon,
        "run": run,
        "fingerprint": f"{daemon} {state}",
        "at": "2026-01-01T00:00:00+00:00",
        "phase": phase,
        **({} if refused else given),
        **figures,
    }
