"""What receivers of one class should hold, and what a change to a contended prefix means for them.

A `View` is the part of an export context that chooses among paths: which ones the class may have, and how many of them
a receiver gets (one; or with ADD-PATH several, or all). Everything here is about one family.
"""

from collections.abc import Iterable, Sequence

import attrs

from trio_bgp.rib.decision import Entry, MedEntry, best, choose, eligible, ranked
from trio_bgp.rib.path import Lane, Path, Source
from trio_bgp.rib.table import Contended

__all__ = ["ALL_PATHS", "Difference", "Told", "View", "compare", "exports"]

ALL_PATHS = 0xFFFFFFFF
"""`View.limit` of a receiver that gets every path."""


@attrs.frozen(cache_hash=True)
class View:
    """How a class of receivers sees a table."""

    audience: int
    """The bit that a path's `audience` must have; 0: they get nothing."""
    add_path: bool = False
    """NLRI towards them carry path identifiers (RFC 7911)."""
    limit: int = 1
    """Paths to a prefix at most."""


@attrs.frozen
class Difference:
    """Prefixes whose choice changed for some receivers to something other than the announced path."""

    nlris: Sequence[bytes]
    path: Path | None
    """What those receivers should now hold; None: no longer `lane`'s path."""
    lane: Lane | None
    """Whose path it is, where a receiver can hold several."""
    only: Source | None
    """The one receiver concerned, or None for all except those in `excluded`."""
    excluded: tuple[Source, ...] = ()


@attrs.define(eq=False)
class Told:
    """What is to be told to the receivers of a view."""

    everyone: list[bytes]
    """Prefixes of which everybody but the source gets the announced path (or the withdrawal)."""
    only: dict[Source, list[bytes]] = attrs.Factory(dict)
    """Further prefixes of which just this receiver gets the announced path (or the withdrawal)."""
    differences: list[Difference] = attrs.Factory(list)
    """All else, to be told before the announced path is."""


def exports(entry: Entry | None, receiver: Source | None, view: View) -> list[Path]:
    """The paths to one prefix that a receiver should hold, best first."""
    if not view.add_path:
        path = choose(entry, receiver, view.audience)
        return [] if path is None else [path]
    return ranked(entry, receiver, view.audience, view.limit)


def compare(view: View, lane: Lane, path: Path | None, contended: Iterable[Contended], told: Told) -> None:
    """Add to `told` what contended prefixes mean for the receivers of `view`.

    For the source itself nothing ever changes: its own paths are not among what it may have.

    Args:
        view: whose view of the table.
        lane: what the announcement or withdrawal was about.
        path: the announced path; None for a withdrawal.
        contended: the prefixes, by their entries before and after.
        told: added to.
    """
    audience = view.audience
    if path is not None and not path.audience & audience:
        path = None
        announced = False
    else:
        announced = True
    for old, new, _, nlris in contended:
        before = eligible(old, audience)
        after = eligible(new, audience)
        if not before and not after:
            continue
        if not view.add_path:
            _compare_best(nlris, before, after, lane.source, path, told, announced=announced)
        elif view.limit == ALL_PATHS:
            if path is not None:
                told.everyone += nlris
            elif any(each.lane is lane for each in before):
                if announced:
                    told.everyone += nlris
                else:
                    told.differences.append(Difference(nlris, None, lane, None, (lane.source,)))
        else:
            _compare_ranked(nlris, before, after, lane.source, view, told)


def _compare_best(
    nlris: list[bytes],
    old: tuple[Path, ...],
    new: tuple[Path, ...],
    source: Source,
    path: Path | None,
    told: Told,
    *,
    announced: bool,
) -> None:
    """For receivers of one path.

    Those without a path of their own to this prefix hold the best of all; so do, in an ordered entry, those whose path
    is not the best one.

    Args:
        nlris: prefixes that have these candidates.
        old: the candidates they may have, before.
        new: and after.
        source: who caused the change.
        path: the announced path; None if there is none for this class.
        told: added to.
        announced: `path` is None because of a withdrawal, or is not; False if there was a path for others.
    """
    if old.__class__ is MedEntry or new.__class__ is MedEntry:
        before, after = best(old), best(new)
        special = {each.source for each in old} | {each.source for each in new}
    else:
        before = old[0] if old else None
        after = new[0] if new else None
        if after is path and announced:
            # Nobody else's own path is before this one, so it is the choice of all others; or nothing is left.
            told.everyone += nlris
            return
        special = set()
        if before is not None:
            special.add(before.source)
        if after is not None:
            special.add(after.source)
    special.discard(source)
    if before is not after:
        told.differences.append(Difference(nlris, after, None, None, (source, *special)))
    for receiver in special:
        choice = choose(new, receiver)
        if choice is not choose(old, receiver):
            if choice is path and announced:
                told.only.setdefault(receiver, []).extend(nlris)
            else:
                told.differences.append(Difference(nlris, choice, None, receiver))


def _compare_ranked(
    nlris: list[bytes], old: tuple[Path, ...], new: tuple[Path, ...], source: Source, view: View, told: Told
) -> None:
    """For receivers of several, but not all paths."""
    special = {each.source for each in old} | {each.source for each in new}
    special.discard(source)
    excluded = (source, *special)
    for receiver in (None, *special):
        before = ranked(old, receiver, view.audience, view.limit)
        after = ranked(new, receiver, view.audience, view.limit)
        if receiver is None:
            # Nobody who has a path to this prefix is meant: the source's own paths count here.
            left_out: tuple[Source, ...] = excluded
        else:
            left_out = ()
        lanes = {path.lane for path in after}
        for path in before:
            if path.lane not in lanes:
                told.differences.append(Difference(nlris, None, path.lane, receiver, left_out))
        for path in after:
            if path not in before:
                told.differences.append(Difference(nlris, path, path.lane, receiver, left_out))
