"""A picture for each table, with matplotlib (the extra `bench`); none if it is not there."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.results import Median

if TYPE_CHECKING:
    from bench.report import Section

__all__ = ["draw"]

COLOURS = {
    "trio-bgp": "#1b7837",
    "trio-bgp compiled": "#7fbf7b",
    "BIRD": "#2166ac",
    "FRR": "#b2182b",
    "GoBGP": "#f4a582",
    "OpenBGPD": "#d8b365",
    "copier": "#888888",
}


def draw(sections: Sequence["Section"], folder: Path) -> dict[str, str]:
    """Write `WORKLOAD.png` into the folder for each section that has figures; their names, by workload."""
    try:
        import matplotlib as mpl
    except ImportError:
        return {}
    mpl.use("Agg")
    from matplotlib import pyplot

    made = {}
    for section in sections:
        rows = [each for each in section.rows if not each.failure]
        if not rows:
            continue
        figure, axes = pyplot.subplots(figsize=(9, 4.5))
        if section.workload == "load":
            _lines(axes, rows)
        elif section.workload in ("churn", "frozen"):
            _bars(axes, rows, "p99_ms", "p99 in ms (p50: line)", "p50_ms")
        else:
            _bars(axes, rows, "cpu", "CPU seconds")
        axes.set_title(section.title, fontsize=10)
        axes.grid(visible=True, alpha=0.3)
        figure.tight_layout()
        made[section.workload] = f"{section.workload}.png"
        figure.savefig(folder / made[section.workload], dpi=110)
        pyplot.close(figure)
    return made


def _lines(axes: Any, rows: Sequence[Median]) -> None:
    """CPU against receivers, a line for each daemon and table."""
    curves: dict[tuple[str, int], list[tuple[int, float]]] = {}
    for each in rows:
        curves.setdefault((each.daemon, each.case.prefixes), []).append((each.case.receivers, each.values["cpu"]))
    curves = {key: points for key, points in curves.items() if len(points) > 1} or curves
    most = max(prefixes for _, prefixes in curves)
    for (daemon, prefixes), points in curves.items():
        points.sort()
        axes.plot(
            *([x for x, _ in points], [y for _, y in points]),
            marker="o",
            linestyle="-" if prefixes == most else "--",
            color=COLOURS.get(daemon),
            label=f"{daemon}, {prefixes:,}",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("receivers")
    axes.set_ylabel("CPU seconds")
    axes.legend(fontsize=7)


def _bars(axes: Any, rows: Sequence[Median], metric: str, label: str, mark: str = "") -> None:
    """A bar for each row, those of a case side by side."""
    cases = list(dict.fromkeys((each.case, each.phase) for each in rows))
    daemons = list(dict.fromkeys(each.daemon for each in rows))
    width = 0.8 / len(daemons)
    for number, daemon in enumerate(daemons):
        own = [each for each in rows if each.daemon == daemon]
        places = [cases.index((each.case, each.phase)) + (number - (len(daemons) - 1) / 2) * width for each in own]
        axes.bar(places, [each.values[metric] for each in own], width, color=COLOURS.get(daemon), label=daemon)
        if mark:
            axes.scatter(places, [each.values[mark] for each in own], marker="_", color="black", zorder=3)
    names = [_name(case, phase) for case, phase in cases]
    axes.set_xticks(range(len(cases)), names, fontsize=6, rotation=20 if len(cases) > 4 else 0)
    axes.set_ylabel(label)
    axes.set_yscale("log")
    axes.legend(fontsize=7)


def _name(case: Any, phase: str) -> str:
    words = [phase, case.table.removeprefix("made:"), f"{case.senders}→{case.receivers}", case.variant]
    words += [f"{case.frozen} frozen"] if case.frozen else []
    return "\n".join(word for word in words if word)
