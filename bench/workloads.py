"""What is measured: cases, each a life of a daemon in phases.

load      one sender announces a table to N receivers
paths     several senders announce the same prefixes with different paths, and receive as well
join      a table is loaded; one more receiver joins; then fifty at once
churn     a table is loaded; UPDATEs come at a steady rate, and how long each takes to each receiver is taken
leave     a table is loaded; its sender ends its session
real      as load, with a recorded table
mixed     as load, half of the receivers without 4-octet AS numbers, with ADD-PATH, or internal (`""`: none, to compare)
frozen    as churn, while a tenth of the receivers read nothing (and while all do, to compare)
growth    load and paths in other sizes and shapes, of trio-bgp only, for the cost model
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from bench.daemons.base import Daemon, Peer
from bench.table import REAL, Table, made, real

__all__ = [
    "COMPARED",
    "JOINERS",
    "WORKLOADS",
    "Case",
    "Selection",
    "cases",
    "estimate",
    "first_phase",
    "refusal",
    "table_of",
]

WORKLOADS = ("load", "paths", "join", "churn", "leave", "real", "mixed", "frozen", "growth")
JOINERS = 50
CHURN_RATE, CHURN_SECONDS = 2000, 10.0
FROZEN_SECONDS = 60.0
FROZEN_RATE = 1000
SMALL = 20_000
OURS = ("trio-bgp", "trio-bgp compiled")
COMPARED = ("trio-bgp", "trio-bgp compiled", "BIRD")


@attrs.frozen
class Case:
    """One life of a daemon.

    Args:
        workload: one of `WORKLOADS`.
        receivers: how many, the senders not counted.
        table: "made:PREFIXES" or "made:PREFIXES/PER_MESSAGE", or the name of a recorded one.
        senders: how many announce it.
        variant: what the second half of the receivers is; "" as the others.
        frozen: how many receivers stop reading.
        rate: UPDATEs a second, where they are sent one by one.
    """

    workload: str
    receivers: int
    table: str = "made:200000"
    senders: int = 1
    variant: str = ""
    frozen: int = 0
    rate: int = 0

    @property
    def seconds(self) -> float:
        """How long UPDATEs come at `rate`."""
        return FROZEN_SECONDS if self.workload == "frozen" else CHURN_SECONDS

    @property
    def prefixes(self) -> int:
        """About how many the table has."""
        if not self.table.startswith("made:"):
            return 330_000
        return int(self.table.removeprefix("made:").partition("/")[0])

    def peers(self) -> list[Peer]:
        """All that will connect, in their order."""
        late = 1 + JOINERS if self.workload == "join" else 0
        count = self.senders + self.receivers
        plain = count - (self.receivers // 2 if self.variant else 0)
        return [Peer(index, "plain" if index < plain else self.variant) for index in range(count)] + [
            Peer(index) for index in range(count, count + late)
        ]

    def describe(self) -> str:
        """For messages."""
        words = [self.workload, self.table, f"{self.senders} to {self.receivers}"]
        words += [f"half {self.variant}"] if self.variant else []
        words += [f"{self.frozen} frozen"] if self.frozen else []
        words += [f"{self.rate}/s"] if self.rate else []
        return " ".join(words)


@attrs.frozen
class Selection:
    """What of all is to be run.

    Args:
        workloads: names out of `WORKLOADS`.
        receivers: of load, each.
        prefixes: of load, each.
        daemons: names; the first three are in all workloads, the others in those of `everywhere`, and in load with 10
            and 50 receivers.
        everywhere: all daemons in all workloads.
    """

    workloads: Sequence[str]
    receivers: Sequence[int]
    prefixes: Sequence[int]
    daemons: Sequence[str]
    everywhere: bool


def cases(selection: Selection) -> Iterator[tuple[Case, list[str]]]:
    """The cases with the daemons that are to run each."""
    few = [name for name in selection.daemons if name in (*COMPARED, "copier")]
    for workload in selection.workloads:
        for case in _cases_of(workload, selection):
            daemons = selection.daemons if selection.everywhere else few
            if workload == "load" and case.receivers in (10, 50) and case.prefixes <= min(selection.prefixes):
                daemons = selection.daemons
            if workload == "paths":
                daemons = selection.daemons  # what a path costs in memory is compared with all
            if workload == "growth" or (workload == "mixed" and case.receivers > 50):
                daemons = [name for name in daemons if name in OURS]
            yield case, list(daemons)


def _cases_of(workload: str, selection: Selection) -> Iterator[Case]:
    smallest = f"made:{min(selection.prefixes)}"
    if workload == "load":
        # The smaller one is what GoBGP can do in a time that fits.
        yield Case("load", 10, f"made:{SMALL}")
        for prefixes in selection.prefixes:
            for receivers in selection.receivers:
                yield Case("load", receivers, f"made:{prefixes}")
    elif workload == "paths":
        yield Case("paths", 10, smallest, senders=4)
    elif workload == "churn":
        yield Case("churn", 10, smallest, rate=CHURN_RATE)
    elif workload in ("join", "leave"):
        yield Case(workload, 10, smallest)
    elif workload == "real":
        for name in REAL if selection.everywhere else REAL[:1]:
            yield Case("real", 10, name)
    elif workload == "mixed":
        # With 200 what one more receiver costs is more than what a busy machine adds.
        for receivers in (10, 50, 200):
            for variant in ("", "as2", "add-path", "internal"):
                yield Case("mixed", receivers, smallest, variant=variant)
    elif workload == "frozen":
        for frozen in (0, 5):
            yield Case("frozen", 50, smallest, frozen=frozen, rate=FROZEN_RATE)
    else:
        for prefixes, each in ((50_000, 0), (100_000, 0), (50_000, 1), (200_000, 100)):
            for receivers in (1, 20, 100):
                yield Case("growth", receivers, f"made:{prefixes}/{each}")
        for senders in (2, 4, 8):
            yield Case("growth", 10, "made:50000", senders=senders)
        for rate in (500, 2000):
            for receivers in (1, 20):
                yield Case("growth", receivers, "made:50000", rate=rate)


def table_of(case: Case, folder: Path) -> Table:
    """Its table; made if it is not there yet."""
    if not case.table.startswith("made:"):
        return real(case.table, folder)
    prefixes, _, each = case.table.removeprefix("made:").partition("/")
    return made(int(prefixes), case.senders, folder, per_message=int(each or 0))


def refusal(case: Case, kind: type[Daemon]) -> str:
    """Why a daemon cannot run a case; empty if it can."""
    if case.variant and case.variant not in kind.variants:
        return kind.lacks.get(f"{case.workload} {case.variant}", kind.lacks.get(case.workload, "it has none of these"))
    return kind.lacks.get(case.workload, "")


def first_phase(case: Case) -> str:
    """The name of the phase that every run of it begins with."""
    return "paths" if case.senders > 1 else "load"


def estimate(case: Case, kind: type[Daemon]) -> float:
    """About how many seconds a run takes."""
    each, copy = kind.pace
    receivers = case.receivers + (JOINERS if case.workload == "join" else 0)
    if case.workload == "join" and kind.name == "BIRD":
        receivers *= 4  # it tells each of many at once in small pieces
    moved = case.prefixes * case.senders * (each + copy * receivers)
    if case.workload == "leave":
        moved *= 2
    return 2.5 + moved + (case.seconds + 1 if case.rate else 0)
