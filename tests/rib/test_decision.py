"""The decision process against RFC 4271 section 9.1.2.2 and RFC 4456 section 9, step by step."""

import itertools
import random
import struct
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness import decoder
from trio_bgp.rib.decision import MedEntry, best, candidates, choose, eligible, make_entry, ranked
from trio_bgp.rib.path import KEPT_NUMBERS, Lane, Path, PathIdentifiers, Source
from trio_bgp.wire.attributes import AttributeContext, parse_attributes

QUICK = settings(derandomize=True, max_examples=150, deadline=None)


def make_source(number: int, *, external: bool = True, identifier: int | None = None) -> Source:
    """Peer `number`; its BGP Identifier and address are its number unless told otherwise."""
    return Source(
        name=f"s{number}",
        peer_as=65000 + number if external else 65000,
        bgp_identifier=number if identifier is None else identifier,
        address=number,
        external=external,
    )


def block(
    *,
    path: Sequence[int] = (65001,),
    origin: int = 0,
    med: int | None = None,
    local_pref: int | None = None,
    originator: int | None = None,
    clusters: int = 0,
    as_set: Sequence[int] = (),
) -> bytes:
    """An attribute block; `clusters` is the length of CLUSTER_LIST, `as_set` ends AS_PATH."""
    value = struct.pack(f">BB{len(path)}I", 2, len(path), *path) if path else b""
    if as_set:
        value += struct.pack(f">BB{len(as_set)}I", 1, len(as_set), *as_set)
    found = decoder.attribute(0x40, 1, bytes((origin,))) + decoder.attribute(0x40, 2, value)
    found += decoder.attribute(0x40, 3, b"\xc0\0\2\1")
    if med is not None:
        found += decoder.attribute(0x80, 4, struct.pack(">I", med))
    if local_pref is not None:
        found += decoder.attribute(0x40, 5, struct.pack(">I", local_pref))
    if originator is not None:
        found += decoder.attribute(0x80, 9, struct.pack(">I", originator))
    if clusters:
        found += decoder.attribute(0x80, 10, bytes((9,)) * 4 * clusters)
    return found


def make_path(
    source: Source, *, lane: Lane | None = None, audience: int = ~0, stale: bool = False, **attributes: Any
) -> Path:
    """A path of `source` with the attributes that `block` takes."""
    octets = block(**attributes)
    parsed = parse_attributes(octets, AttributeContext(external=source.external))
    assert parsed.treat_as_withdraw is None
    lane = lane or source.lanes.setdefault(None, Lane(source, None, 1))
    return Path(lane, octets, octets, None, parsed, audience=audience, stale=stale)


def decide(paths: Iterable[Path]) -> Path | None:
    """RFC 4271 9.1.2.2 a to g with RFC 4456 section 9 and RFC 9494 4.3, from the octets, one rule after the other."""
    left = list(paths)
    if not left:
        return None
    facts = {path: {kind: value for _, kind, value in decoder.attributes_of(path.attributes)} for path in left}

    def number(path: Path, kind: int, default: int) -> int:
        value = facts[path].get(kind)
        return default if value is None else int.from_bytes(value, "big")

    def length(path: Path) -> int:
        value, total = facts[path][2], 0
        while value:
            total += value[1] if value[0] == 2 else 1
            value = value[2 + 4 * value[1] :]
        return total

    def neighbor(path: Path) -> bytes:
        return facts[path][2][2:6]

    def keep(key: Any) -> None:
        least = min(key(path) for path in left)
        left[:] = [path for path in left if key(path) == least]

    keep(lambda path: b"\xff\xff\x00\x06" in facts[path].get(8, b"") or path.precedence >> 64)
    keep(lambda path: -100 if path.source.external else -number(path, 5, 100))
    keep(length)
    keep(lambda path: number(path, 1, 0))
    left[:] = [
        path
        for path in left
        if not any(neighbor(other) == neighbor(path) and number(other, 4, 0) < number(path, 4, 0) for other in left)
    ]
    keep(lambda path: not path.source.external)
    keep(
        lambda path: path.source.bgp_identifier if path.source.external else number(path, 9, path.source.bgp_identifier)
    )
    keep(lambda path: 0 if path.source.external else len(facts[path].get(10, b"")))
    keep(lambda path: path.source.address)
    keep(lambda path: path.lane.received or 0)
    return left[0]


IN = make_source(5, external=False)
STEPS: dict[str, tuple[Path, Path]] = {
    "not stale before LOCAL_PREF": (
        make_path(IN, local_pref=1, path=(1, 2, 3)),
        make_path(make_source(6, external=False), local_pref=999, stale=True),
    ),
    "higher LOCAL_PREF before a shorter path": (
        make_path(IN, local_pref=101, path=(1, 2, 3)),
        make_path(make_source(6, external=False), local_pref=100, path=()),
    ),
    "100 where LOCAL_PREF is missing": (
        make_path(IN, path=(1,)),
        make_path(make_source(1, external=False), local_pref=99, path=(1,)),
    ),
    "shorter AS_PATH before ORIGIN": (
        make_path(make_source(2), path=(1, 2), origin=2),
        make_path(make_source(1), path=(1, 2, 3), origin=0),
    ),
    "an AS_SET counts one": (
        make_path(make_source(2), path=(1,), as_set=(7, 8, 9)),
        make_path(make_source(1), path=(1, 2, 3)),
    ),
    "lower ORIGIN before MED": (
        make_path(make_source(2), origin=0, med=9),
        make_path(make_source(1), origin=1, med=0),
    ),
    "lower MED of one neighbour before external": (
        make_path(IN, med=1),
        make_path(make_source(1), med=2),
    ),
    "a missing MED is 0": (make_path(make_source(2)), make_path(make_source(1), med=1)),
    "MED of two neighbours does not count": (
        make_path(make_source(1), path=(65001,), med=9),
        make_path(make_source(2), path=(65002,), med=0),
    ),
    "external before internal": (
        make_path(make_source(9)),
        make_path(make_source(1, external=False)),
    ),
    "lower identifier before CLUSTER_LIST": (
        make_path(make_source(3, external=False), clusters=2),
        make_path(make_source(4, external=False), clusters=1),
    ),
    "ORIGINATOR_ID in place of the identifier": (
        make_path(make_source(4, external=False), originator=1, clusters=1),
        make_path(make_source(3, external=False), originator=2, clusters=1),
    ),
    "shorter CLUSTER_LIST before the address": (
        make_path(make_source(4, external=False), originator=1, clusters=1),
        make_path(make_source(3, external=False), originator=1, clusters=2),
    ),
    "lower address": (make_path(make_source(3, identifier=7)), make_path(make_source(4, identifier=7))),
    "lower address as a number": (
        make_path(make_source(200, identifier=7)),
        make_path(make_source(1 << 120, identifier=7)),
    ),
}


@pytest.mark.parametrize(("winner", "loser"), STEPS.values(), ids=STEPS.keys())
def test_each_step_decides_before_those_after_it(winner: Path, loser: Path) -> None:
    """The winner is worse in what is looked at later, and the order in which paths are given does not matter."""
    for paths in ((winner, loser), (loser, winner)):
        assert best(paths) is winner
        assert choose(make_entry(paths), None) is winner
        assert decide(paths) is winner


def test_best_of_nothing_and_of_one() -> None:
    """No path, no choice; one path, no question."""
    only = make_path(make_source(1))
    assert best([]) is None
    assert best([only]) is only
    assert make_entry([]) is None
    assert make_entry([only]) is only
    assert candidates(None) == ()
    assert candidates(only) == (only,)


def test_entries_have_the_simplest_form() -> None:
    """Only MEDs that differ, of one neighbour and between paths equal till then, ask for elimination."""
    one, two, three = make_source(1), make_source(2), make_source(3)
    plain = make_entry([make_path(two, med=1), make_path(one, med=1)])
    assert plain.__class__ is tuple
    assert [path.source for path in candidates(plain)] == [one, two]
    assert make_entry([make_path(one, med=1), make_path(two, med=2)]).__class__ is MedEntry
    assert make_entry([make_path(one, med=1, path=(1,)), make_path(two, med=2, path=(2,))]).__class__ is tuple
    assert make_entry([make_path(one, med=1), make_path(two, med=2, origin=1)]).__class__ is tuple
    apart = [make_path(one, path=(1,), med=5), make_path(two, path=(2,)), make_path(three, path=(1,), med=4)]
    assert make_entry(apart).__class__ is MedEntry


def test_a_path_can_win_by_the_loss_of_another() -> None:
    """MED is no order: without the path that beats it by MED the first of another neighbour's would lose to it."""
    one = make_path(make_source(1), path=(1,), med=9)
    two = make_path(make_source(2), path=(2,), med=0)
    three = make_path(make_source(3), path=(1,), med=5)
    entry = make_entry([one, two, three])
    assert choose(entry, None) is two
    assert choose(entry, three.source) is one
    assert choose(entry, two.source) is three
    assert ranked(entry, None, ~0, 3) in ([two, three, one], [*candidates(entry)])
    assert ranked(entry, None, ~0, 2) == [two, three]
    assert ranked(entry, None, ~0, 1) == [two]
    assert ranked(entry, three.source, ~0, 1) == [one]


def test_nobody_is_given_its_own_path() -> None:
    """The source of the only path gets nothing, that of the best the next; also with several lanes."""
    identifiers = PathIdentifiers()
    one, two = make_source(1), make_source(2)
    own = [make_path(one, lane=identifiers.lane(one, number)) for number in (1, 2)]
    other = make_path(two, path=(1, 2))
    entry = make_entry([*own, other])
    assert choose(own[0], one) is None
    assert choose(entry, one) is other
    assert choose(entry, two) is own[0]
    assert ranked(entry, one, ~0, 9) == [other]
    assert ranked(entry, two, ~0, 9) == own


def test_an_audience_sees_its_paths_only() -> None:
    """A better path for others hides nothing."""
    first = make_path(make_source(1), audience=1)
    second = make_path(make_source(2), audience=3)
    entry = make_entry([first, second])
    assert choose(entry, None, 1) is first
    assert choose(entry, None, 2) is second
    assert choose(entry, None, 4) is None
    assert choose(first, None, 2) is None
    assert eligible(entry, 2) == (second,)
    assert eligible(entry, 1) == (first, second)
    assert eligible(first, 2) == ()
    assert eligible(None, 1) == ()
    assert ranked(entry, None, 2, 9) == [second]


def test_what_an_audience_sees_of_a_med_entry_is_decided_by_elimination() -> None:
    """A path that beats another by MED does not if the audience may not have it."""
    one = make_path(make_source(1), path=(1,), med=9, audience=3)
    two = make_path(make_source(2), path=(2,), audience=3)
    three = make_path(make_source(3), path=(1,), med=5, audience=1)
    entry = make_entry([one, two, three])
    assert choose(entry, None, 1) is two
    assert choose(entry, None, 2) is one
    assert choose(eligible(entry, 2), None) is one
    assert choose(eligible(entry, 1), None) is two


def random_paths(rng: random.Random, count: int) -> list[Path]:
    """Paths of different sources that are alike in many ways."""
    found = []
    for number in rng.sample(range(1, 20), count):
        external = rng.random() < 0.6
        source = make_source(number, external=external, identifier=rng.choice([None, 7]))
        found.append(
            make_path(
                source,
                path=[rng.choice([1, 2]), *[9] * rng.choice([0, 0, 0, 1])],
                origin=rng.choice([0, 0, 0, 1]),
                med=rng.choice([None, 0, 1, 2]),
                local_pref=None if external else rng.choice([None, 100, 100, 101]),
                originator=None if external else rng.choice([None, 1, 7]),
                clusters=0 if external else rng.choice([0, 0, 1]),
                audience=rng.choice([1, 2, 3, 3]),
            )
        )
    return found


@QUICK
@given(st.integers(0, 1 << 32), st.integers(1, 6))
def test_decisions_are_the_rfcs_whatever_the_order(seed: int, count: int) -> None:
    """`best`, `choose` and `ranked` agree with the rules applied one by one, for every audience and receiver."""
    rng = random.Random(seed)
    paths = random_paths(rng, count)
    entry = make_entry(paths)
    rng.shuffle(paths)
    again = make_entry(paths)
    assert best(paths) is decide(paths)
    assert candidates(again) == candidates(entry)
    assert again.__class__ is entry.__class__
    for audience, receiver in itertools.product((1, 2), (None, *(path.source for path in paths))):
        left = [path for path in paths if path.audience & audience and path.source is not receiver]
        assert choose(entry, receiver, audience) is decide(left)
        order = []
        while left:
            winner = decide(left)
            assert winner is not None
            order.append(winner)
            left.remove(winner)
        for limit in (1, 2, 3):
            found = ranked(entry, receiver, audience, limit)
            assert set(found) == set(order[:limit])


def test_paths_share_the_numbers_they_have_in_common() -> None:
    """The same object for all paths of a lane; as many different ones as a peer can send are not kept for ever."""
    lane = PathIdentifiers().lane(make_source(1, external=False), None)

    def made(local_pref: int) -> Path:
        octets = block(local_pref=local_pref)
        return Path(lane, octets, octets, None, parse_attributes(octets, AttributeContext(external=False)))

    first, second = made(1), made(1)
    assert first.seen is second.seen
    assert lane.ranks[first.precedence] is lane.ranks[second.precedence]
    paths = [made(number) for number in range(2 * KEPT_NUMBERS)]
    assert len(lane.ranks) <= KEPT_NUMBERS
    assert [path.precedence >> 32 for path in paths] == [0xFFFFFFFF - number for number in range(2 * KEPT_NUMBERS)]
    assert sorted(paths, key=lambda path: path.rank) == paths[::-1]
