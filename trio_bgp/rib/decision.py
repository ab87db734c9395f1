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

__all__ = ["Entry", "MedEntry", "best", "candidates", "choose", "eligible", "make_entry", "ranked"]


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
    # Once through, however many they are: a peer with path identifiers may have thousands of paths to one prefix.
    precedence = -1
    med_of: dict[int, int] = {}
    for path in ordered:
        of_path = path.precedence
        if of_path != precedence:
            precedence = of_path
            med_of = {}
        if med_of.setdefault(path.neighbor_as, path.med) != path.med:
            return MedEntry(ordered)
    return tuple(ordered)


def candidates(entry: Entry | None) -> tuple[Path, ...]:
    """All paths of an entry."""
    if entry is None:
        return ()
    return (entry,) if isinstance(entry, Path) else entry


def eligible(entry: Entry | None, audience: int) -> tuple[Path, ...]:
    """The candidates that receivers of a class may have, in the entry's order and of its class.

    Args:
        entry: what the prefix has in the table.
        audience: the class's bit.
    """
    if entry is None:
        return ()
    if isinstance(entry, Path):
        return (entry,) if entry.audience & audience else ()
    for path in entry:
        if not path.audience & audience:
            left = [path for path in entry if path.audience & audience]
            return MedEntry(left) if entry.__class__ is MedEntry else tuple(left)
    return entry


def choose(entry: Entry | None, receiver: Source | None, audience: int = ~0) -> Path | None:
    """`export(T, n)`: the best candidate that is not the receiver's own and that it may have.

    Args:
        entry: what the prefix has in the table.
        receiver: the receiver as a source; None for a receiver that has no path to this prefix.
        audience: the bit of the receiver's class.
    """
    if entry is None:
        return None
    if isinstance(entry, Path):
        return None if entry.source is receiver or not entry.audience & audience else entry
    if entry.__class__ is MedEntry:
        return best(path for path in entry if path.source is not receiver and path.audience & audience)
    for path in entry:
        if path.source is not receiver and path.audience & audience:
            return path
    return None


def ranked(entry: Entry | None, receiver: Source | None, audience: int, limit: int) -> list[Path]:
    """The `limit` most preferred candidates for an ADD-PATH receiver, best first. Arguments as for `choose`."""
    left = [path for path in eligible(entry, audience) if path.source is not receiver]
    if entry.__class__ is not MedEntry or len(left) <= 1:
        return left[:limit]
    if limit >= len(left):
        return left
    found: list[Path] = []
    while left and len(found) < limit:
        path = best(left)
        if path is None:
            break
        found.append(path)
        left.remove(path)
    return found
