"""The cost model finds the constants from which the samples were made."""

from typing import Any

import pytest

from bench.model import fit, least_squares
from bench.results import medians
from bench.workloads import CHURN_SECONDS, Case
from tests.bench.rows import row
from trio_bgp.passthrough.pool import LARGE_SLAB

MESSAGE, PREFIX, RUN, COPY, MEGABYTE = 5e-6, 1e-6, 40e-6, 8e-6, 200e-6


def test_exact_samples_give_exact_constants() -> None:
    """With no noise there is no error."""
    rows = [[1.0, 0.0], [0.0, 2.0], [3.0, 1.0], [1.0, 1.0]]
    assert least_squares(rows, [2 * a + 0.5 * b for a, b in rows]) == pytest.approx([2.0, 0.5])


def test_nothing_costs_less_than_nothing() -> None:
    """A constant that would be negative is 0, and the others make the best of it."""
    # Without the bound the first would be -1.
    assert least_squares([[1.0, 1.0], [0.0, 1.0], [2.0, 1.0]], [1.0, 2.0, 0.0]) == pytest.approx([0.0, 1.0])


def test_columns_that_depend_on_each_other_are_not_used_together() -> None:
    """One of them explains it all."""
    first, second = least_squares([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]], [2.0, 4.0, 6.0])
    assert first + 2 * second == pytest.approx(2.0)


def test_constants_of_a_daemon() -> None:
    """Loads of several shapes and churn determine all five."""
    rows = []
    for messages, prefixes in ((10_000, 10_000), (10_000, 100_000), (50_000, 200_000)):
        octets = 60 * messages + 4 * prefixes
        for receivers in (1, 20, 100):
            runs = octets / LARGE_SLAB
            cpu = messages * MESSAGE + prefixes * PREFIX + runs * (RUN + COPY * receivers)
            cpu += octets / 1e6 * receivers * MEGABYTE
            counts: dict[str, Any] = {"messages": messages, "prefixes": prefixes, "octets": octets}
            rows.append(
                row(Case("growth", receivers, f"made:{prefixes}/{messages}"), "trio-bgp", "load", cpu=cpu, **counts)
            )
    for receivers in (1, 20):
        count = 2000 * CHURN_SECONDS
        cpu = count * (MESSAGE + PREFIX + RUN + COPY * receivers) + count * 58 / 1e6 * receivers * MEGABYTE
        rows.append(row(Case("growth", receivers, rate=2000), "trio-bgp", "churn", cpu=cpu))
    # What the model is not about must not matter.
    rows.append(row(Case("paths", 10, senders=4), "trio-bgp", "paths", cpu=99.0))
    model = fit(medians(rows), "trio-bgp")
    assert model is not None
    assert model.constants == pytest.approx((MESSAGE, PREFIX, RUN, COPY, MEGABYTE), rel=1e-3)
    assert max(map(abs, model.errors)) < 1e-6
    assert model.predict(messages=2, prefixes=3, runs=1, octets=1e6, receivers=4) == pytest.approx(
        2 * MESSAGE + 3 * PREFIX + RUN + 4 * COPY + 4 * MEGABYTE
    )


def test_too_few_samples_make_no_model() -> None:
    """One sample does not determine five constants."""
    assert fit(medians([row(Case("load", 10), "trio-bgp", "load")]), "trio-bgp") is None
