"""One family's routes, and what a change to them is in the terms the forwarder needs.

A table maps NLRI keys (without path identifier) to an entry of candidates (`trio_bgp.rib.decision`). Of what a peer
announced or withdrew, most prefixes are *simple*: nobody else has a path to them, so every receiver that may have the
path gets exactly what was said. The rest is *contended*: what it means depends on who asks (`trio_bgp.rib.export`).
"""

from collections.abc import Iterable, Sequence

import attrs

from trio_bgp.rib.decision import Entry, candidates, make_entry
from trio_bgp.rib.path import Lane, Path, Source
from trio_bgp.wire.numbers import Family

__all__ = ["Changes", "Table"]


@attrs.define(eq=False)
class Changes:
    """What an announcement or a withdrawal changed, when it is not simple for all prefixes."""

    simple: list[bytes] = attrs.Factory(list)
    """Prefixes of which every receiver but the source gets the announced path, if it may, or the withdrawal."""
    contended: list[tuple[bytes, Entry | None, Entry | None]] = attrs.Factory(list)
    """Further prefixes, each with its entry before and after."""


class Table:
    """The candidates for every prefix of one family.

    Args:
        family: the address family, for counting.

    Attributes:
        routes: the entry of each prefix.
        present: the audience bits of the receivers there are; who is not there need not be told apart.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self.routes: dict[bytes, Entry] = {}
        self.present = 0

    def __len__(self) -> int:
        return len(self.routes)

    def announce(self, path: Path, nlris: Sequence[bytes]) -> Changes | None:
        """Apply an announcement of `nlris` with `path`; None: all of it is simple.

        A prefix announced again with the path it has is told again only if that spares taking a message apart.
        """
        routes = self.routes
        lane = path.lane
        if routes.keys().isdisjoint(nlris):
            # Nearly always while a table is loaded.
            before = len(routes)
            for nlri in nlris:
                routes[nlri] = path
            self._count(path, len(routes) - before)
            return None
        audience = path.audience
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
            elif old.__class__ is Path and old.lane is lane and old.audience == audience:
                routes[nlri] = path
                replaced += 1
                self._unuse(old)
            else:
                if changes is None:
                    changes = Changes(list(nlris[:position]))
                self._announce_contended(nlri, old, path, changes)
                continue
            if changes is not None:
                changes.simple.append(nlri)
        if not fresh and not replaced and changes is None:
            return Changes()
        path.uses += replaced
        self._count(path, fresh)
        return changes

    def _count(self, path: Path, fresh: int) -> None:
        """Note that `fresh` prefixes more have the path, and so its source."""
        path.uses += fresh
        prefixes = path.source.prefixes
        prefixes[self.family] = prefixes.get(self.family, 0) + fresh

    def withdraw(self, lane: Lane, nlris: Sequence[bytes]) -> Changes | None:
        """Apply a withdrawal of the lane's paths to `nlris`; None: all of it is simple."""
        routes = self.routes
        present = self.present
        get = routes.get
        gone = 0
        changes: Changes | None = None
        for position, nlri in enumerate(nlris):
            old = get(nlri)
            if old is not None and old.__class__ is Path and old.lane is lane:
                del routes[nlri]
                gone += 1
                if old.audience & present == present:
                    if changes is not None:
                        changes.simple.append(nlri)
                else:
                    if changes is None:
                        changes = Changes(list(nlris[:position]))
                    changes.contended.append((nlri, old, None))
                self._unuse(old)
                continue
            if changes is None:
                changes = Changes(list(nlris[:position]))
            if old is not None and old.__class__ is not Path:
                gone += self._withdraw_contended(nlri, old, lane, changes)  # type: ignore[arg-type]
        if gone:
            lane.source.prefixes[self.family] -= gone
        return changes

    def lanes_of(self, source: Source, nlris: Iterable[bytes]) -> dict[Lane, list[bytes]]:
        """Those of `nlris` for which `source` has a path, by lane."""
        get = self.routes.get
        found: dict[Lane, list[bytes]] = {}
        for nlri in nlris:
            entry = get(nlri)
            if entry is None:
                continue
            for path in (entry,) if isinstance(entry, Path) else entry:
                if path.source is source:
                    found.setdefault(path.lane, []).append(nlri)
        return found

    def _announce_contended(self, nlri: bytes, old: Entry, path: Path, changes: Changes) -> None:
        """Apply `path` to a prefix that has other paths, or a path for other receivers."""
        lane = path.lane
        own: Path | None = None
        others = []
        for candidate in candidates(old):
            if candidate.lane is lane:
                own = candidate
            else:
                others.append(candidate)
        if own is path:
            return
        entry = make_entry([*others, path])
        if entry is None:
            raise AssertionError("an entry of at least one path")
        self.routes[nlri] = entry
        changes.contended.append((nlri, old, entry))
        path.uses += 1
        if own is None:
            prefixes = lane.source.prefixes
            prefixes[self.family] = prefixes.get(self.family, 0) + 1
        else:
            self._unuse(own)

    def _withdraw_contended(self, nlri: bytes, old: tuple[Path, ...], lane: Lane, changes: Changes) -> int:
        """Take the lane's path out of several; returns how many paths the source lost, 0 or 1."""
        own = next((path for path in old if path.lane is lane), None)
        if own is None:
            return 0
        entry = make_entry(path for path in old if path is not own)
        if entry is None:
            raise AssertionError("another path is left")
        self.routes[nlri] = entry
        changes.contended.append((nlri, old, entry))
        self._unuse(own)
        return 1

    def _unuse(self, path: Path) -> None:
        path.uses -= 1
        if not path.uses:
            self.forget(path)

    def forget(self, path: Path) -> None:
        """No prefix has this path (any more). It may be announced again any time, as a new one."""
        path.lane.paths -= 1
        store = path.source.paths.get(self.family)
        if store is not None and store.get(path.key) is path:
            del store[path.key]
