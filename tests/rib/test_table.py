"""Tables: what an announcement or a withdrawal changes, and what is simple about it."""

from tests.rib.test_decision import make_path, make_source
from trio_bgp.rib.decision import candidates
from trio_bgp.rib.path import Path, PathIdentifiers, PathStore, Source
from trio_bgp.rib.table import Changes, Table
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST

A, B, C = b"\x08\x0a", b"\x08\x0b", b"\x08\x0c"


def fresh(number: int, **changes: bool) -> Source:
    """A source with a place for its paths."""
    source = make_source(number, **changes)
    source.paths[IPV4_UNICAST] = PathStore()
    return source


def intern(path: Path) -> Path:
    """Note the path with its source, as the forwarder does."""
    path.source.paths[IPV4_UNICAST][path.key] = path
    return path


def test_first_announcements_are_simple() -> None:
    """Nobody else has a path: everybody gets what was said."""
    table, one = Table(IPV4_UNICAST), fresh(1)
    path = intern(make_path(one))
    assert table.announce(path, [A, B]) is None
    assert table.routes == {A: path, B: path}
    assert len(table) == 2
    assert one.prefixes == {IPV4_UNICAST: 2}
    assert path.uses == 2


def test_a_replacement_by_the_same_lane_is_simple_and_forgets_the_old_path() -> None:
    """RFC 4271, section 3.1: implicit withdrawal; a path no prefix has is forgotten."""
    table, one = Table(IPV4_UNICAST), fresh(1)
    old, new = intern(make_path(one)), intern(make_path(one, med=1))
    table.announce(old, [A, B])
    assert table.announce(new, [A]) is None
    assert (old.uses, new.uses) == (1, 1)
    assert old in one.paths[IPV4_UNICAST].values()
    assert table.announce(new, [B]) is None
    assert list(one.paths[IPV4_UNICAST].values()) == [new]
    assert one.prefixes == {IPV4_UNICAST: 2}
    assert new.lane.paths == 1


def test_a_repetition_changes_nothing() -> None:
    """The same path again is no news, and counts once; with something new beside it the message need not be cut."""
    table, one = Table(IPV4_UNICAST), fresh(1)
    path = intern(make_path(one))
    table.announce(path, [A])
    repeated = table.announce(path, [A])
    assert isinstance(repeated, Changes)
    assert (repeated.simple, repeated.contended) == ([], [])
    assert table.announce(path, [A, B]) is None
    assert path.uses == 2
    assert one.prefixes == {IPV4_UNICAST: 2}


def test_one_prefix_twice_in_an_announcement_counts_once() -> None:
    """A sender may repeat itself."""
    table, one = Table(IPV4_UNICAST), fresh(1)
    path = intern(make_path(one))
    assert table.announce(path, [A, A]) is None
    assert path.uses == 1
    assert one.prefixes == {IPV4_UNICAST: 1}
    changes = table.withdraw(path.lane, [A, A])
    assert changes is not None
    assert (changes.simple, changes.contended) == ([A], [])
    assert table.routes == {}
    assert one.prefixes == {IPV4_UNICAST: 0}


def test_a_prefix_of_two_sources_is_contended() -> None:
    """Both candidates stay, with the entry before and after."""
    table, one, two = Table(IPV4_UNICAST), fresh(1), fresh(2)
    first, second = intern(make_path(one)), intern(make_path(two, path=(65002, 1)))
    table.announce(first, [A])
    changes = table.announce(second, [B, A, C])
    assert changes is not None
    assert changes.simple == [B, C]
    assert [(each.nlris, each.old, each.new) for each in changes.contended] == [([A], first, (first, second))]
    assert candidates(table.routes[A]) == (first, second)
    assert (one.prefixes, two.prefixes) == ({IPV4_UNICAST: 1}, {IPV4_UNICAST: 3})
    assert (first.uses, second.uses) == (1, 3)


def test_a_contended_replacement_and_withdrawal_keep_the_others() -> None:
    """Only the lane's own path is replaced or goes; the last one left is an entry by itself."""
    table, one, two = Table(IPV4_UNICAST), fresh(1), fresh(2)
    first, second = intern(make_path(one)), intern(make_path(two, path=(65002, 1)))
    better = intern(make_path(two, path=()))
    table.announce(first, [A])
    table.announce(second, [A])
    changes = table.announce(better, [A])
    assert changes is not None
    assert [(each.nlris, each.old, each.new) for each in changes.contended] == [([A], (first, second), (better, first))]
    assert two.prefixes == {IPV4_UNICAST: 1}
    assert list(two.paths[IPV4_UNICAST].values()) == [better]
    repeated = table.announce(better, [A])
    assert repeated is not None
    assert repeated.contended == []
    changes = table.withdraw(better.lane, [A])
    assert changes is not None
    assert [(each.nlris, each.old, each.new) for each in changes.contended] == [([A], (better, first), first)]
    assert table.routes == {A: first}
    assert (better.uses, two.prefixes) == (0, {IPV4_UNICAST: 0})
    assert table.withdraw(first.lane, [A]) is None


def test_a_withdrawal_of_what_is_not_there_is_nothing() -> None:
    """Neither an unknown prefix nor another's path."""
    table, one, two, three = Table(IPV4_UNICAST), fresh(1), fresh(2), fresh(3)
    path = intern(make_path(one))
    table.announce(path, [A, B])
    table.announce(intern(make_path(two)), [B])
    stranger = make_path(three).lane
    changes = table.withdraw(stranger, [A, B, C])
    assert changes is not None
    assert (changes.simple, changes.contended) == ([], [])
    assert set(table.routes) == {A, B}
    assert three.prefixes.get(IPV4_UNICAST, 0) == 0


def test_a_change_of_audience_is_contended() -> None:
    """Who could have the old path and not the new one has to be told."""
    table, one = Table(IPV4_UNICAST), fresh(1)
    old, new = intern(make_path(one, audience=3)), intern(make_path(one, audience=1, med=1))
    table.announce(old, [A])
    changes = table.announce(new, [A])
    assert changes is not None
    assert [(each.nlris, each.old, each.new) for each in changes.contended] == [([A], old, new)]
    assert table.routes == {A: new}
    assert (old.uses, new.uses, one.prefixes) == (0, 1, {IPV4_UNICAST: 1})


def test_a_withdrawal_of_what_not_all_present_had_is_contended() -> None:
    """A receiver is not told of the end of a path that it never had."""
    table, one = Table(IPV4_UNICAST), fresh(1)
    table.present = 3
    some, every = intern(make_path(one, audience=1)), intern(make_path(one, audience=7, med=1))
    table.announce(some, [A])
    table.announce(every, [B])
    changes = table.withdraw(some.lane, [A, B])
    assert changes is not None
    assert changes.simple == [B]
    assert [(each.nlris, each.old, each.new) for each in changes.contended] == [([A], some, None)]
    table.present = 1
    table.announce(intern(make_path(one, audience=1)), [A])
    assert table.withdraw(some.lane, [A]) is None


def test_lanes_of_one_source_are_candidates_side_by_side() -> None:
    """RFC 7911, section 2: prefix and identifier together name a path."""
    table, one = Table(IPV4_UNICAST), fresh(1)
    identifiers = PathIdentifiers()
    lanes = [identifiers.lane(one, number) for number in (4, 5)]
    first, second = (intern(make_path(one, lane=lane, med=lane.path_id)) for lane in lanes)
    table.announce(first, [A])
    changes = table.announce(second, [A, B])
    assert changes is not None
    assert changes.simple == [B]
    assert set(candidates(table.routes[A])) == {first, second}
    assert one.prefixes == {IPV4_UNICAST: 3}
    assert table.lanes_of(one, [A, B, C]) == {lanes[0]: [A], lanes[1]: [A, B]}
    assert table.lanes_of(fresh(2), [A, B, C]) == {}
    table.withdraw(lanes[0], [A, B])
    assert table.routes == {A: second, B: second}
    assert one.prefixes == {IPV4_UNICAST: 2}


def test_families_are_counted_apart() -> None:
    """A limit is for one family."""
    one = fresh(1)
    one.paths[IPV6_UNICAST] = PathStore()
    Table(IPV4_UNICAST).announce(make_path(one), [A, B])
    Table(IPV6_UNICAST).announce(make_path(one), [C])
    assert one.prefixes == {IPV4_UNICAST: 2, IPV6_UNICAST: 1}


def test_identifiers_are_the_received_ones_where_they_are_free() -> None:
    """RFC 7911, section 2: unique among all lanes, the same for as long as the lane lives, free afterwards."""
    identifiers = PathIdentifiers()
    one, two = fresh(1), fresh(2)
    plain = identifiers.lane(one, None)
    taken = identifiers.lane(one, 7)
    assert taken.path_id == 7
    assert identifiers.lane(one, 7) is taken
    other = identifiers.lane(two, 7)
    assert other.path_id not in (plain.path_id, 7, 0)
    assert identifiers.lane(two, 0).path_id != 0
    assert identifiers.find(7) is taken
    identifiers.release(one)
    assert identifiers.find(7) is None
    assert one.lanes == {}
    assert identifiers.find(other.path_id) is other
    assert identifiers.lane(fresh(3), 7).path_id == 7


def test_identifiers_without_paths_can_be_freed() -> None:
    """A peer may use ever new identifiers; those with a path stay."""
    identifiers = PathIdentifiers()
    table, one = Table(IPV4_UNICAST), fresh(1)
    plain = identifiers.lane(one, None)
    used, unused = identifiers.lane(one, 8), identifiers.lane(one, 9)
    table.announce(intern(make_path(one, lane=used)), [A])
    identifiers.release_unused(one)
    assert identifiers.find(8) is used
    assert identifiers.find(9) is None
    assert set(one.lanes.values()) == {plain, used}
    table.withdraw(used, [A])
    identifiers.release_unused(one)
    assert set(one.lanes.values()) == {plain}
    assert unused.path_id == 9
