"""One family's routes, and what a change to them is in the terms the forwarder needs.

A table maps NLRI keys (without path identifier) to an entry of candidates (`trio_bgp.rib.decision`). Of what a peer
announced or withdrew, most prefixes are *simple*: nobody else has a path to them, so every receiver that may have the
path gets exactly what was said. The rest is *contended*: what it means depends on who asks (`trio_bgp.rib.export`).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import attrs

from trio_bgp.rib.decision import Entry, candidates, make_entry
from trio_bgp.rib.path import Lane, Path, Source
from trio_bgp.wire.numbers import Family

__all__ = ["Changes", "Contended", "Table"]


class Contended(NamedTuple):
    """Prefixes of one announcement or withdrawal that have the same entry before and the same after."""

    old: Entry | None
    new: Entry | None
    own: Path | None
    """The lane's path in `old`, which is not in `new`."""
    nlris: list[bytes]


@attrs.define(eq=False)
class Changes:
    """What an announcement or a withdrawal changed, when it is not simple for all prefixes."""

    simple: list[bytes] = attrs.Factory(list)
    """Prefixes of which every receiver but the source gets the announced path, if it may, or the withdrawal."""
    contended: list[Contended] = attrs.Factory(list)
    """All others."""


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
        transitions: dict[Entry, Contended] = {}
        transition: Contended | None = None  # the last one: prefixes announced together often had the same entry
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
                self._unuse(old, 1)
            else:
                if changes is None:
                    changes = Changes(list(nlris[:position]))
                if transition is None or transition.old is not old:
                    transition = transitions.get(old)
                    if transition is None:
                        transition = transitions[old] = _with(old, path)
                        if transition.own is not path:
                            changes.contended.append(transition)
                if transition.new is not None and transition.own is not path:
                    routes[nlri] = transition.new
                    transition.nlris.append(nlri)
                continue
            if changes is not None:
                changes.simple.append(nlri)
        if changes is None:
            if not fresh and not replaced:
                return Changes()
        else:
            for _, _, own, moved in changes.contended:
                if own is None:
                    fresh += len(moved)
                else:
                    replaced += len(moved)
                    self._unuse(own, len(moved))
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
        transitions: dict[Entry, Contended] = {}
        transition: Contended | None = None
        for position, nlri in enumerate(nlris):
            old = get(nlri)
            if old is not None and old.__class__ is Path and old.lane is lane and old.audience & present == present:
                del routes[nlri]
                gone += 1
                self._unuse(old, 1)
                if changes is not None:
                    changes.simple.append(nlri)
                continue
            if changes is None:
                changes = Changes(list(nlris[:position]))
            if old is None:
                continue
            if transition is None or transition.old is not old:
                transition = transitions.get(old)
                if transition is None:
                    transition = transitions[old] = _without(old, lane)
                    if transition.own is not None:
                        changes.contended.append(transition)
            if transition.own is None:
                continue
            transition.nlris.append(nlri)
            if transition.new is None:
                del routes[nlri]
            else:
                routes[nlri] = transition.new
        if changes is not None:
            for _, _, own, moved in changes.contended:
                gone += len(moved)
                if own is not None:
                    self._unuse(own, len(moved))
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

    def _unuse(self, path: Path, count: int) -> None:
        path.uses -= count
        if not path.uses:
            self.forget(path)

    def forget(self, path: Path) -> None:
        """No prefix has this path (any more). It may be announced again any time, as a new one."""
        path.lane.paths -= 1
        store = path.source.paths.get(self.family)
        if store is not None and store.get(path.key) is path:
            del store[path.key]


def _with(old: Entry, path: Path) -> Contended:
    """What a prefix with the entry `old` has when `path` is announced for it."""
    lane = path.lane
    own: Path | None = None
    paths = [path]
    for candidate in candidates(old):
        if candidate.lane is lane:
            own = candidate
        else:
            paths.append(candidate)
    return Contended(old, old if own is path else make_entry(paths), own, [])


def _without(old: Entry, lane: Lane) -> Contended:
    """What a prefix with the entry `old` has when the lane's path, if there is one, is withdrawn."""
    own: Path | None = None
    paths = []
    for candidate in candidates(old):
        if candidate.lane is lane:
            own = candidate
        else:
            paths.append(candidate)
    return Contended(old, old if own is None else make_entry(paths), own, [])
