"""What was promised, as ratios of figures of one run of the benchmark, and whether it was kept."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import attrs

from bench.results import Median

NOISE = 1.25
"""What two slopes that should be equal may differ by."""
FROZEN = 2.0
"""p99 of the others with frozen receivers in terms of p99 without; nothing was promised but that they do not suffer."""

__all__ = ["Goal", "goals", "per_receiver"]

OURS = ("trio-bgp", "trio-bgp compiled")
MIB = 2**20
RECEIVERS = 10
"""With how many memory is compared."""


@attrs.frozen
class Goal:
    """One promise.

    Args:
        what: in words.
        daemon: of ours.
        other: what it is compared with; empty if with the limit itself.
        measured: the figure, or the ratio of ours to the other's; None if a part of it was not measured.
        limit: what it may be at most.
        detail: the figures it was made from.
    """

    what: str
    daemon: str
    other: str
    measured: float | None
    limit: float
    detail: str = ""

    @property
    def met(self) -> bool:
        """Whether it was kept."""
        return self.measured is not None and self.measured <= self.limit

    def verdict(self) -> str:
        """In words: by how much it was missed."""
        if self.measured is None:
            return "not measured"
        if self.met:
            return "met"
        return f"missed: {self.measured / self.limit:.3g} times the limit"


class Rows:
    """Medians by what they are of."""

    def __init__(self, medians: Sequence[Median]) -> None:
        self.medians = [each for each in medians if not each.failure]
        loads = [each.case.prefixes for each in self.medians if each.case.workload == "load"]
        self.prefixes = max((each for each in set(loads) if each <= 200_000), default=0)

    def find(
        self,
        daemon: str,
        workload: str,
        phase: str,
        *,
        receivers: int | None = None,
        variant: str = "",
        frozen: int = 0,
        prefixes: int = 0,
    ) -> Median | None:
        """The one; of the workload load, the one with so many prefixes, or else with the usual table."""
        for each in self.medians:
            case = each.case
            if (
                (each.daemon, case.workload, each.phase, case.variant, case.frozen)
                == (daemon, workload, phase, variant, frozen)
                and receivers in (None, case.receivers)
                and (workload != "load" or case.prefixes == (prefixes or self.prefixes))
            ):
                return each
        return None

    def tables(self, daemon: str) -> list[int]:
        """Of how many prefixes it was given tables to pass on to 10 receivers, from the usual one on."""
        loads = [each.case for each in self.medians if (each.daemon, each.case.workload) == (daemon, "load")]
        sizes = {case.prefixes for case in loads if case.receivers == RECEIVERS and case.prefixes >= self.prefixes}
        return sorted(sizes) or [self.prefixes]

    def value(
        self, daemon: str, workload: str, phase: str, metric: str, receivers: int | None = None, prefixes: int = 0
    ) -> float | None:
        """A figure of it."""
        found = self.find(daemon, workload, phase, receivers=receivers, prefixes=prefixes)
        return None if found is None else found.values.get(metric)


def per_receiver(
    medians: Sequence[Median], daemon: str, metric: str, prefixes: int, variant: str | None = None
) -> float | None:
    """What one more receiver adds to a figure of the load: the slope of the line that fits best; None without two.

    Args:
        medians: of all.
        daemon: its name.
        metric: "cpu" (seconds) or "memory" (octets).
        prefixes: of the table.
        variant: of the workload mixed with that variant instead of load.
    """
    workload = "load" if variant is None else "mixed"
    points = [
        (each.case.receivers, each.values[metric])
        for each in medians
        if not each.failure
        and (each.daemon, each.case.workload, each.phase) == (daemon, workload, "load")
        and each.case.prefixes == prefixes
        and each.case.variant == (variant or "")
    ]
    if len({receivers for receivers, _ in points}) < 2:
        return None
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def goals(medians: Sequence[Median]) -> list[Goal]:
    """All, for each of our daemons that was measured."""
    rows = Rows(medians)
    measured = {each.daemon for each in rows.medians}
    return [goal for daemon in OURS if daemon in measured for goal in _goals_of(daemon, rows)]


def _ratio(ours: float | None, other: float | None) -> float | None:
    return None if ours is None or not other or other <= 0 else ours / other


def _compared(
    what: str,
    daemon: str,
    other: str,
    limit: float,
    value: Callable[[str], float | None],
    unit: str,
    scale: float = 1.0,
) -> Goal:
    ours, theirs = value(daemon), value(other)
    detail = "" if ours is None or theirs is None else f"{ours * scale:.3g} {unit} to {theirs * scale:.3g} {unit}"
    return Goal(what, daemon, other, _ratio(ours, theirs), limit, detail)


def _goals_of(daemon: str, rows: Rows) -> Iterator[Goal]:
    def cpu(workload: str, phase: str, receivers: int | None = None) -> Callable[[str], float | None]:
        return lambda name: rows.value(name, workload, phase, "cpu", receivers)

    for prefixes in rows.tables("BIRD"):
        yield from _load(daemon, rows, prefixes)
    yield _compared("(b) CPU, 4 senders", daemon, "BIRD", 1.0, cpu("paths", "paths"), "s")
    for phase, what in (("join 1", "(c) CPU, late joiner"), ("join 50", "(c) CPU, 50 late joiners")):
        yield _compared(what, daemon, "BIRD", 1.0, cpu("join", phase), "s")
    for metric, limit in (("p50_ms", 0.5), ("p99_ms", 2.0)):
        name = metric.removesuffix("_ms")
        ours = rows.value(daemon, "churn", "churn", metric)
        yield Goal(f"(d) {name} in ms at 10 receivers", daemon, "", ours, limit)
        yield _compared(
            f"(d) {name} at 10 receivers",
            *(daemon, "BIRD", 3.0, lambda each, key=metric: rows.value(each, "churn", "churn", key), "ms"),
        )
    yield _compared("(e) CPU, the sender leaves", daemon, "BIRD", 2.0, cpu("leave", "leave"), "s")
    for prefixes in rows.tables("BIRD"):
        yield _compared(
            f"memory with {prefixes:,} prefixes, peak",
            *(daemon, "BIRD", 2.0),
            partial(rows.value, workload="load", phase="load", metric="memory", receivers=RECEIVERS, prefixes=prefixes),
            *("MiB", 1 / MIB),
        )
    for other in ("BIRD", "FRR", "OpenBGPD"):
        yield _compared("memory of one more path", daemon, other, 1.0, lambda name: path_memory(rows, name), "octets")
    for other in ("BIRD", "FRR", "OpenBGPD"):
        yield _compared(
            "memory of one more receiver",
            *(
                daemon,
                other,
                1.0,
                lambda name: per_receiver(rows.medians, name, "memory", rows.prefixes),
                "KiB",
                1 / 1024,
            ),
        )
    yield from _mixed(daemon, rows)
    still, stuck = (rows.find(daemon, "frozen", "churn", frozen=count) for count in (0, 5))
    if still is not None and stuck is not None:
        one, other_one = still.values["p99_ms"], stuck.values["p99_ms"]
        yield Goal(
            *(
                "p99 of the others when 5 of 50 are frozen",
                daemon,
                f"{daemon}, none frozen",
                _ratio(other_one, one),
                FROZEN,
            ),
            f"{other_one:.2f} ms to {one:.2f} ms",
        )


def _load(daemon: str, rows: Rows, prefixes: int) -> Iterator[Goal]:
    """Of workload a, with such a table."""
    table = f", {prefixes:,} prefixes"

    def cpu(receivers: int) -> Callable[[str], float | None]:
        return lambda name: rows.value(name, "load", "load", "cpu", receivers, prefixes)

    for other in ("BIRD", "FRR"):
        yield _compared(f"(a) CPU at 50 receivers{table}", daemon, other, 0.1, cpu(50), "s")
    yield _compared(f"(a) CPU at 1 receiver{table}", daemon, "BIRD", 1.0, cpu(1), "s")
    yield _compared(
        f"(a) CPU of one more receiver{table}",
        *(daemon, "copier", 2.0, lambda name: per_receiver(rows.medians, name, "cpu", prefixes), "ms", 1e3),
    )


def path_memory(rows: Rows, daemon: str) -> float | None:
    """Octets of one more path to a prefix: what three further senders of the same prefixes add to the peak."""
    one = rows.find(daemon, "load", "load", receivers=10)
    four = rows.find(daemon, "paths", "paths")
    if one is None or four is None or four.case.prefixes != one.case.prefixes:
        return None
    paths = (four.case.senders - 1) * four.values["prefixes"]
    return (four.values["memory"] - one.values["memory"]) / paths


def _mixed(daemon: str, rows: Rows) -> Iterator[Goal]:
    """Of issue B: a variant costs once, whoever shares it."""
    prefixes = 0
    for variant in ("as2", "add-path", "internal"):
        for receivers in (10, 50):
            all_alike = rows.find(daemon, "mixed", "load", receivers=receivers)
            mixed = rows.find(daemon, "mixed", "load", receivers=receivers, variant=variant)
            if all_alike is None or mixed is None:
                continue
            prefixes = mixed.case.prefixes
            ours, theirs = mixed.values["cpu"], all_alike.values["cpu"]
            yield Goal(
                *(
                    f"CPU, half of {receivers} receivers {variant}",
                    daemon,
                    f"{daemon}, all alike",
                    _ratio(ours, theirs),
                    2.0,
                ),
                f"{ours:.3g} s to {theirs:.3g} s",
            )
        ours_slope = per_receiver(rows.medians, daemon, "cpu", prefixes, variant)
        theirs_slope = per_receiver(rows.medians, daemon, "cpu", prefixes, "")
        if ours_slope is not None and theirs_slope is not None:
            yield Goal(
                *(f"CPU of one more receiver, half {variant}", daemon, f"{daemon}, all alike"),
                *(_ratio(ours_slope, theirs_slope), NOISE, f"{ours_slope * 1e3:.3g} ms to {theirs_slope * 1e3:.3g} ms"),
            )
