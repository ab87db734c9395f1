"""What receivers of each view hold after random announcements and withdrawals, against a naive model."""

import random
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rib.test_decision import block, decide, make_path, make_source
from trio_bgp.rib.export import ALL_PATHS, Told, View, compare, exports
from trio_bgp.rib.path import Lane, Path, PathIdentifiers, PathStore, Source
from trio_bgp.rib.table import Table
from trio_bgp.wire.numbers import IPV4_UNICAST

QUICK = settings(derandomize=True, max_examples=100, deadline=None)
A, B, C = b"\x08\x0a", b"\x08\x0b", b"\x08\x0c"
PREFIXES = (A, B, C)
AUDIENCES = (1, 2)
KINDS = {
    "best": (False, 1),
    "limit 2": (True, 2),
    "all": (True, ALL_PATHS),
}


@attrs.define(eq=False)
class Receiver:
    """Somebody who believes what it is told.

    Attributes:
        view: how it sees the table.
        source: as whom it announces; None: it never does.
        held: by prefix, its paths by lane (by None where a prefix has one path).
    """

    view: View
    source: Source | None
    held: dict[bytes, dict[Lane | None, Path]] = attrs.Factory(dict)

    def told(self, nlri: bytes, path: Path | None, lane: Lane | None) -> None:
        """Take one announcement, or with `path` None one withdrawal."""
        key = lane if self.view.add_path else None
        assert key is not None or not self.view.add_path, "which path is meant?"
        paths = self.held.setdefault(nlri, {})
        if path is None:
            paths.pop(key, None)
        else:
            assert path.source is not self.source, "its own path"
            assert path.audience & self.view.audience, "a path that is not for it"
            paths[key] = path


class Network:
    """A table, sources, and receivers of every kind; the model is `announced`."""

    def __init__(self, kind: str) -> None:
        add_path, limit = KINDS[kind]
        self.table = Table(IPV4_UNICAST)
        self.table.present = 1 | 2
        identifiers = PathIdentifiers()
        self.sources = [make_source(number, external=number != 3) for number in (1, 2, 3)]
        self.lanes = []
        for source in self.sources:
            source.paths[IPV4_UNICAST] = PathStore()
            self.lanes += [identifiers.lane(source, number) for number in ((None,) if source.address == 1 else (1, 2))]
        self.views = [View(audience, add_path, limit) for audience in AUDIENCES]
        self.receivers = [Receiver(view, source) for view in self.views for source in (None, *self.sources)]
        self.announced: dict[tuple[bytes, Lane], Path] = {}

    def intern(self, lane: Lane, audience: int, rng: random.Random) -> Path:
        """One of a few paths, the same object for the same attributes while it is in use."""
        attributes: dict[str, Any] = {
            "path": [rng.choice([65001, 65002]), *[9] * rng.choice([0, 0, 1])],
            "med": rng.choice([None, 1, 2]),
            "local_pref": None if lane.source.external else rng.choice([None, 200]),
        }
        octets = block(**attributes)
        store = lane.source.paths[IPV4_UNICAST]
        key = (lane.received, audience, octets)
        path = store.get(key)
        if path is None:
            path = store[key] = make_path(lane.source, lane=lane, audience=audience, **attributes)
            path.key = key
        return path

    def announce(self, lane: Lane, path: Path, nlris: list[bytes]) -> None:
        """Apply and tell."""
        changes = self.table.announce(path, nlris)
        for nlri in nlris:
            self.announced[nlri, lane] = path
        self.tell(lane, path, nlris, None if changes is None else (changes.simple, changes.contended))

    def withdraw(self, lane: Lane, nlris: list[bytes]) -> None:
        """Apply and tell."""
        changes = self.table.withdraw(lane, nlris)
        for nlri in nlris:
            self.announced.pop((nlri, lane), None)
        self.tell(lane, None, nlris, None if changes is None else (changes.simple, changes.contended))

    def tell(self, lane: Lane, path: Path | None, nlris: list[bytes], changes: tuple[list[bytes], list] | None) -> None:  # type: ignore[type-arg]
        """Do as the documentation of `Told` and `Difference` says."""
        for view in self.views:
            told = Told(list(nlris if changes is None else changes[0]))
            if changes is not None:
                compare(view, lane, path, changes[1], told)
            if path is not None and not path.audience & view.audience:
                told.everyone = []
                assert not told.only
            for receiver in self.receivers:
                if receiver.view != view:
                    continue
                for each in told.differences:
                    if receiver.source is each.only if each.only else receiver.source not in each.excluded:
                        for nlri in each.nlris:
                            receiver.told(nlri, each.path, each.lane)
                if receiver.source is lane.source:
                    assert receiver.source not in told.only
                    continue
                more = told.only.get(receiver.source, []) if receiver.source else []
                for nlri in [*told.everyone, *more]:
                    receiver.told(nlri, path, lane)

    def expected(self, receiver: Receiver, nlri: bytes) -> list[Path]:
        """The model: the most preferred paths of others that it may have, one by one."""
        left = [
            path
            for (prefix, _), path in self.announced.items()
            if prefix == nlri and path.source is not receiver.source and path.audience & receiver.view.audience
        ]
        found: list[Path] = []
        while left and len(found) < receiver.view.limit:
            best = decide(left)
            assert best is not None
            found.append(best)
            left.remove(best)
        return found

    def check(self) -> None:
        """Everybody holds what it should; counts are right."""
        for nlri in PREFIXES:
            for receiver in self.receivers:
                expected = self.expected(receiver, nlri)
                assert set(receiver.held.get(nlri, {}).values()) == set(expected)
                assert set(exports(self.table.routes.get(nlri), receiver.source, receiver.view)) == set(expected)
        for source in self.sources:
            own = [path for path in self.announced.values() if path.source is source]
            assert source.prefixes.get(IPV4_UNICAST, 0) == len(own)
            assert set(source.paths[IPV4_UNICAST].values()) == set(own)
            for path in set(own):
                assert path.uses == own.count(path)
        assert set(self.table.routes) == {nlri for nlri, _ in self.announced}


@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(st.integers(0, 1 << 32))
def test_receivers_hold_what_the_model_says(kind: str, seed: int) -> None:
    """After each step, for every view and whether or not the receiver is a source itself."""
    rng = random.Random(seed)
    network = Network(kind)
    for _ in range(14):
        lane = rng.choice(network.lanes)
        nlris = rng.sample(PREFIXES, rng.choice([1, 1, 2, 3]))
        if rng.random() < 0.65:
            network.announce(lane, network.intern(lane, rng.choice([3, 3, 3, 1, 2, 0]), rng), nlris)
        else:
            network.withdraw(lane, nlris)
        network.check()


def two() -> tuple[Path, Path, Table]:
    """Two paths to one prefix, the first one better, and a table."""
    sources = [make_source(1), make_source(2)]
    return make_path(sources[0]), make_path(sources[1], path=(65002, 9)), Table(IPV4_UNICAST)


def test_a_better_path_is_for_everybody_but_its_source() -> None:
    """Who sent the former best gets the new one, who sent the new one keeps the former."""
    better, worse, table = two()
    table.announce(worse, [A])
    changes = table.announce(better, [A])
    assert changes is not None
    told = Told(changes.simple)
    compare(View(1), better.lane, better, changes.contended, told)
    assert told.everyone == [A]
    assert told.differences == []


def test_a_worse_path_is_for_the_source_of_the_best_alone() -> None:
    """RFC 7947, section 2.3: it has nothing else."""
    better, worse, table = two()
    table.announce(better, [A])
    changes = table.announce(worse, [A])
    assert changes is not None
    told = Told(changes.simple)
    compare(View(1), worse.lane, worse, changes.contended, told)
    assert told.everyone == []
    assert told.only == {better.source: [A]}
    assert told.differences == []


def test_the_end_of_the_best_path_is_the_next_ones_announcement() -> None:
    """Nobody is told of a withdrawal who gets the successor; the successor's source loses what it had."""
    better, worse, table = two()
    table.announce(better, [A])
    table.announce(worse, [A])
    changes = table.withdraw(better.lane, [A])
    assert changes is not None
    told = Told(changes.simple)
    compare(View(1), better.lane, None, changes.contended, told)
    assert told.everyone == []
    assert {(each.path, each.only) for each in told.differences} == {(worse, None)}
    assert told.only == {worse.source: [A]}


def test_exports_with_all_paths_leaves_out_ones_own_only() -> None:
    """RFC 7911: everything others have; without ADD-PATH the best of it."""
    better, worse, table = two()
    table.announce(better, [A])
    table.announce(worse, [A])
    entry = table.routes[A]
    assert exports(entry, None, View(1, add_path=True, limit=ALL_PATHS)) == [better, worse]
    assert exports(entry, better.source, View(1, add_path=True, limit=ALL_PATHS)) == [worse]
    assert exports(entry, None, View(1, add_path=True, limit=1)) == [better]
    assert exports(entry, worse.source, View(1)) == [better]
    assert exports(entry, None, View(0)) == []
    assert exports(None, None, View(1)) == []
