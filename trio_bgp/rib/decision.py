"""The decision process of RFC 4271 section 9.1.2.2, deterministic: MED counts between paths of one neighbouring AS.

What a prefix has in the table is an `Entry`, in one of three forms, the first being by far the most frequent:

* a `Path`: the only candidate;
* a tuple of paths, best first: no two of them have MEDs to compare, so one order holds for every subset;
* a `MedEntry`: paths in no order. Which one is best of a subset may depend on who else is in it: a path can lose to a
  lower MED of its own neighbouring AS and win once that one is taken away.
"""

from collections.abc import Iterable
from operator import attrgetter

from trio_bgp.rib.path import Path, Source

__all__ = ["Entry", "MedEntry", "best", "candidates", "choose", "make_entry"]


class MedEntry(tuple[Path, ...]):
    """Candidates among which MED decides somewhere: every question is answered by elimination."""

    __slots__ = ()


Entry = Path | tuple[Path, ...]

_by_rank = attrgetter("rank")


def best(paths: Iterable[Path]) -> Path | None:
    """The most preferred path of any set, whatever its order; None for the empty set.

    RFC 4271, 9.1.2.2: by what precedes MED, then by MED within each neighbouring AS, then by what follows.
    """
    remaining = list(paths)
    if len(remaining) < 2:
        return remaining[0] if remaining else None
    precedence = min(path.precedence for path in remaining)
    lowest: dict[int, int] = {}
    remaining = [path for path in remaining if path.precedence == precedence]
    for path in remaining:
        med = lowest.get(path.neighbor_as)
        if med is None or path.med < med:
            lowest[path.neighbor_as] = path.med
    return min((path for path in remaining if path.med == lowest[path.neighbor_as]), key=_by_rank)


def make_entry(paths: Iterable[Path]) -> Entry | None:
    """The entry for these candidates; None if there are none."""
    ordered = sorted(paths, key=_by_rank)
    if len(ordered) < 2:
        return ordered[0] if ordered else None
    for position, path in enumerate(ordered):
        for other in ordered[position + 1 :]:
            if other.precedence != path.precedence:
                break
            if other.med != path.med and other.neighbor_as == path.neighbor_as:
                return MedEntry(ordered)
    return tuple(ordered)


def candidates(entry: Entry | None) -> tuple[Path, ...]:
    """All paths of an entry."""
    if entry is None:
        return ()
    return (entry,) if isinstance(entry, Path) else entry


def choose(entry: Entry | None, receiver: Source | None) -> Path | None:
    """`export(T, n)`: the best candidate that is not the receiver's own.

    Args:
        entry: what the prefix has in the table.
        receiver: the receiver as a source; None for a receiver that has no path to this prefix.
    """
    if entry is None:
        return None
    if isinstance(entry, Path):
        return None if entry.source is receiver else entry
    if entry.__class__ is MedEntry:
        return best(path for path in entry if path.source is not receiver)
    for path in entry:
        if path.source is not receiver:
            return path
    return None
