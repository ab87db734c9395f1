"""A cost model of trio-bgp: CPU seconds as a sum of counts times constants, fitted to what was measured.

A run is what comes with one read of a sender's connection and goes out with one write to each receiver. UPDATEs that
come one by one are a run each; of a table that comes as fast as it is taken, a run is as large as a slab.
"""

import itertools
from collections.abc import Sequence

import attrs

from bench.results import Median
from bench.workloads import CHURN_SECONDS
from trio_bgp.passthrough.pool import LARGE_SLAB

__all__ = ["COLUMNS", "Model", "fit", "least_squares", "samples"]

COLUMNS = ("message", "prefix", "run", "run and receiver", "MB and receiver")
"""What costs; the last is the kernel's work, as the copier has it too."""


@attrs.frozen
class Model:
    """What each of `COLUMNS` costs in seconds, and how good that is.

    Args:
        constants: seconds, by column.
        errors: (predicted - measured) / measured of each sample.
    """

    constants: tuple[float, ...]
    errors: tuple[float, ...]

    def predict(self, *, messages: float, prefixes: float, runs: float, octets: float, receivers: float) -> float:
        """CPU seconds."""
        counts = (messages, prefixes, runs, runs * receivers, octets / 1e6 * receivers)
        return sum(constant * count for constant, count in zip(self.constants, counts, strict=True))


def samples(medians: Sequence[Median], daemon: str) -> list[tuple[tuple[float, ...], float]]:
    """Counts and CPU seconds of what the model is to explain: one sender's tables and churn, all receivers alike."""
    found: list[tuple[tuple[float, ...], float]] = []
    for each in medians:
        case = each.case
        if each.failure or each.daemon != daemon or case.senders > 1 or case.variant or case.frozen:
            continue
        if each.phase == "load":
            messages, prefixes, octets = (each.values[key] for key in ("messages", "prefixes", "octets"))
            runs = octets / LARGE_SLAB
        elif each.phase == "churn":
            messages = prefixes = runs = case.rate * CHURN_SECONDS
            octets = messages * 58
        else:
            continue
        receivers = case.receivers
        found.append(((messages, prefixes, runs, runs * receivers, octets / 1e6 * receivers), each.values["cpu"]))
    return found


def fit(medians: Sequence[Median], daemon: str) -> Model | None:
    """The model of a daemon; None if less was measured than it has constants."""
    found = samples(medians, daemon)
    if len(found) <= len(COLUMNS):
        return None
    # Relative errors are what is made small: divided by what was measured, each sample counts the same.
    rows = [[count / seconds for count in counts] for counts, seconds in found]
    constants = least_squares(rows, [1.0] * len(rows))
    errors = tuple(sum(c * x for c, x in zip(constants, row, strict=True)) - 1 for row in rows)
    return Model(tuple(constants), errors)


def least_squares(rows: Sequence[Sequence[float]], wanted: Sequence[float]) -> list[float]:
    """Constants, none negative, that make the squared errors smallest: the best of all choices of those that are 0."""
    width = len(rows[0])
    best: tuple[float, list[float]] | None = None
    for size in range(1, width + 1):
        for chosen in itertools.combinations(range(width), size):
            part = _solve([[row[column] for column in chosen] for row in rows], wanted)
            if part is None or min(part) < 0:
                continue
            constants = [0.0] * width
            for column, value in zip(chosen, part, strict=True):
                constants[column] = value
            error = sum(
                (sum(c * x for c, x in zip(constants, row, strict=True)) - y) ** 2
                for row, y in zip(rows, wanted, strict=True)
            )
            if best is None or error < best[0]:
                best = error, constants
    return [0.0] * width if best is None else best[1]


def _solve(rows: Sequence[Sequence[float]], wanted: Sequence[float]) -> list[float] | None:
    """The least squares of these columns by their normal equations; None if the columns depend on each other."""
    width = len(rows[0])
    scale = [max(abs(row[column]) for row in rows) or 1.0 for column in range(width)]
    scaled = [[row[column] / scale[column] for column in range(width)] for row in rows]
    matrix = [
        [sum(row[i] * row[j] for row in scaled) for j in range(width)]
        + [sum(row[i] * y for row, y in zip(scaled, wanted, strict=True))]
        for i in range(width)
    ]
    for i in range(width):
        pivot = max(range(i, width), key=lambda each: abs(matrix[each][i]))
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        if abs(matrix[i][i]) < 1e-9:
            return None
        for other in range(width):
            if other != i:
                factor = matrix[other][i] / matrix[i][i]
                matrix[other] = [a - factor * b for a, b in zip(matrix[other], matrix[i], strict=True)]
    return [matrix[i][width] / matrix[i][i] / scale[i] for i in range(width)]
