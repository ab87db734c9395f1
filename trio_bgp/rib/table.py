"""One family's routes and what a change to them means for the receivers.

A table maps NLRI octets (without path identifier) to an entry of candidates (`trio_bgp.rib.decision`). Applying what a
peer announced or withdrew answers the forwarder's question in the terms it needs: for the usual message "everybody but
the source gets exactly this", for the rest a list of differences, each with its receivers.
"""

from collections.abc import Iterable, Sequence

import attrs

from trio_bgp.rib.decision import Entry, MedEntry, best, candidates, choose, make_entry
from trio_bgp.rib.path import Path, Source
from trio_bgp.wire.numbers import Family

__all__ = ["Changes", "Difference", "Table"]


@attrs.define(eq=False)
class Difference:
    """A prefix whose choice changed for some receivers to something other than the announced path."""

    nlri: bytes
    choice: Path | None
    """What those receivers should now hold; None: nothing."""
    only: Source | None
    """The one receiver concerned, or None for all except those in `excluded`."""
    excluded: tuple[Source, ...] = ()


@attrs.define(eq=False)
class Changes:
    """What is to be told when not simply everybody but the source is told everything."""

    everyone: list[bytes] = attrs.Factory(list)
    """Prefixes of which everybody but the source gets the announced path (or the withdrawal)."""
    only: dict[Source, list[bytes]] = attrs.Factory(dict)
    """Further prefixes of which just this receiver gets the announced path (or the withdrawal)."""
    differences: list[Difference] = attrs.Factory(list)
    """All else, to be told before the announced path is."""


class Table:
    """The candidates for every prefix of one family.

    Args:
        family: the address family, for counting.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self.routes: dict[bytes, Entry] = {}

    def __len__(self) -> int:
        return len(self.routes)

    def announce(self, path: Path, nlris: Sequence[bytes]) -> Changes | None:
        """Apply an announcement of `nlris` with `path`; None: everybody but the source gets all of them.

        A prefix announced again with the path it has is told again only if that spares taking a message apart.
        """
        routes = self.routes
        source = path.source
        get = routes.get
        fresh = 0
        replaced = 0
        changes: Changes | None = None
        for position, nlri in enumerate(nlris):
            old = get(nlri)
            if old is None:
                routes[nlri] = path
                fresh += 1
            elif old is path:
                pass
            elif old.__class__ is Path and old.source is source:
                routes[nlri] = path
                replaced += 1
                self._unuse(old)
            else:
                if changes is None:
                    changes = Changes(list(nlris[:position]))
                self._announce_contended(nlri, old, path, changes)
                continue
            if changes is not None:
                changes.everyone.append(nlri)
        if not fresh and not replaced and changes is None:
            return Changes()
        path.uses += fresh + replaced
        if fresh:
            source.prefixes[self.family] = source.prefixes.get(self.family, 0) + fresh
        return changes

    def withdraw(self, source: Source, nlris: Sequence[bytes]) -> Changes | None:
        """Apply a withdrawal by `source`; None: everybody but the source is told of all of them."""
        routes = self.routes
        get = routes.get
        gone = 0
        changes: Changes | None = None
        for position, nlri in enumerate(nlris):
            old = get(nlri)
            if old is not None and old.__class__ is Path and old.source is source:
                del routes[nlri]
                gone += 1
                self._unuse(old)
                if changes is not None:
                    changes.everyone.append(nlri)
                continue
            if changes is None:
                changes = Changes(list(nlris[:position]))
            if old is not None and old.__class__ is not Path:
                gone += self._withdraw_contended(nlri, old, source, changes)  # type: ignore[arg-type]
        if gone:
            source.prefixes[self.family] -= gone
        return changes

    def prefixes_of(self, source: Source, nlris: Iterable[bytes]) -> list[bytes]:
        """Those of `nlris` for which `source` has a path."""
        get = self.routes.get
        found = []
        for nlri in nlris:
            entry = get(nlri)
            if entry.__class__ is Path:
                if entry.source is source:
                    found.append(nlri)
            elif entry is not None and any(path.source is source for path in candidates(entry)):
                found.append(nlri)
        return found

    def choice(self, nlri: bytes, receiver: Source | None) -> Path | None:
        """What `receiver` should hold of a prefix."""
        return choose(self.routes.get(nlri), receiver)

    def _announce_contended(self, nlri: bytes, old: Entry, path: Path, changes: Changes) -> None:
        """Apply `path` to a prefix that others announce too."""
        source = path.source
        own: Path | None = None
        others = []
        for candidate in candidates(old):
            if candidate.source is source:
                own = candidate
            else:
                others.append(candidate)
        if own is path:
            return
        entry = make_entry([*others, path])
        if entry is None:
            raise AssertionError("an entry of at least one path")
        self.routes[nlri] = entry
        self._compare(nlri, old, entry, source, path, changes)
        path.uses += 1
        if own is None:
            source.prefixes[self.family] = source.prefixes.get(self.family, 0) + 1
        else:
            self._unuse(own)

    def _withdraw_contended(self, nlri: bytes, old: tuple[Path, ...], source: Source, changes: Changes) -> int:
        """Take the source's path out of several; returns how many prefixes the source lost, 0 or 1."""
        own = next((path for path in old if path.source is source), None)
        if own is None:
            return 0
        entry = make_entry(path for path in old if path is not own)
        if entry is None:
            raise AssertionError("somebody else's path is left")
        self.routes[nlri] = entry
        self._compare(nlri, old, entry, source, None, changes)
        self._unuse(own)
        return 1

    def _compare(
        self, nlri: bytes, old: Entry, new: Entry, source: Source, path: Path | None, changes: Changes
    ) -> None:
        """Find whose choice changed when the entry went from `old` to `new` because of `source`.

        For the source itself nothing ever changes: its own paths are not among what it may have. Receivers without a
        path to this prefix hold the best of all; so do, in an ordered entry, those whose path is not the best one.
        """
        if old.__class__ is MedEntry or new.__class__ is MedEntry:
            before, after = best(candidates(old)), best(candidates(new))
            special = {each.source for each in candidates(old)} | {each.source for each in candidates(new)}
            special.discard(source)
        else:
            before, after = candidates(old)[0], candidates(new)[0]
            if after is path:
                # Nobody else's own path is before this one, so it is the choice of all others.
                changes.everyone.append(nlri)
                return
            special = {before.source, after.source}
            special.discard(source)
        if before is not after:
            changes.differences.append(Difference(nlri, after, None, (source, *special)))
        for receiver in special:
            choice = choose(new, receiver)
            if choice is not choose(old, receiver):
                if choice is path:
                    changes.only.setdefault(receiver, []).append(nlri)
                else:
                    changes.differences.append(Difference(nlri, choice, receiver))

    def _unuse(self, path: Path) -> None:
        path.uses -= 1
        if not path.uses:
            self._forget(path)

    def _forget(self, path: Path) -> None:
        """No prefix has this path any more. It may be announced again any time, as a new one."""
        store = path.source.paths.get(self.family)
        if store is not None and store.get(path.key) is path:
            del store[path.key]
