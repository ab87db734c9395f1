"""The sample table against the numbers counted in real ones."""

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.decoder import V4, Update, attributes_of
from trio_bgp.cli.sample_table import FULL_TABLE_2010, MODERN, Profile, make_prefixes, make_routes, messages
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST, Family

PREFIXES = 60_000
ASN = 65001


def octets_of(seed: int, profile: Profile, family: Family = IPV4_UNICAST, count: int = PREFIXES) -> list[bytes]:
    """A table as whole messages."""
    rng = random.Random(seed)
    next_hop = bytes((192, 0, 2, 1)) if family == IPV4_UNICAST else bytes(15) + b"\1"
    prefixes = make_prefixes(rng, family, count)
    routes = make_routes(rng, family, prefixes, asn=ASN, next_hop=next_hop, profile=profile)
    return [message for route in routes for message in messages(route)]


class Measured:
    """The statistics of the JSON files, counted in octets by the tests' own decoder."""

    def __init__(self, table: list[bytes]) -> None:
        self.sizes = sorted(map(len, table))
        self.per_set: Counter[tuple[Any, ...]] = Counter()
        self.path_lengths: list[int] = []
        self.communities: list[int] = []
        self.large: list[int] = []
        self.prefix_lengths: Counter[int] = Counter()
        self.kinds: Counter[int] = Counter()
        self.routes: list[tuple[Any, bytes]] = []
        for message in table:
            found = Update(message)
            assert not found.withdrawn
            for route, held in found.announced.items():
                values = {kind: value for _, kind, value in held}
                self.routes.append(route)
                self.per_set[held] += 1
                assert values[2][0] == 2, "one AS_SEQUENCE"
                self.path_lengths.append(values[2][1])
                self.communities.append(len(values.get(8, b"")) // 4)
                self.large.append(len(values.get(32, b"")) // 12)
                self.prefix_lengths[route[1][0]] += 1
                self.kinds.update(list(values))
        for each in (self.path_lengths, self.communities, self.large):
            each.sort()

    def share(self, kind: int) -> float:
        """Of the routes, the share with an attribute."""
        return self.kinds[kind] / len(self.routes)


def at(ordered: list[int], share: float) -> int:
    """A quantile."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def mean(values: list[int]) -> float:
    """The arithmetic mean."""
    return sum(values) / len(values)


@pytest.fixture(scope="module")
def statistics(shared: Path) -> Callable[[str], dict[str, Any]]:
    """What was counted in a real table, by its name."""

    def load(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((shared / "replay" / f"{name}.json").read_text())["statistics"]
        return found

    return load


@pytest.mark.shared
def test_the_shape_is_that_of_a_whole_table(statistics: Callable[[str], dict[str, Any]]) -> None:
    """Prefixes per attribute set, UPDATE sizes, path and prefix lengths are those of rrc06's table of 2010."""
    real = statistics("rrc06-2010-full-table")
    made = Measured(octets_of(1, FULL_TABLE_2010))
    sets, expected = sorted(made.per_set.values()), real["prefixes_per_attribute_set"]
    assert mean(sets) == pytest.approx(expected["mean"], rel=0.08)
    assert [at(sets, share) for share in (0.5, 0.9)] == [expected["p50"], expected["p90"]]
    assert at(sets, 0.99) == pytest.approx(expected["p99"], rel=0.1)
    assert sum(size == 1 for size in sets) / len(sets) == pytest.approx(expected["share_of_sets_with_one_prefix"], 0.02)
    expected = real["update_size_octets"]
    assert mean(made.sizes) == pytest.approx(expected["mean"], rel=0.08)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        assert at(made.sizes, share) == pytest.approx(expected[name], rel=0.1), name
    expected = real["as_path_length"]
    assert mean(made.path_lengths) == pytest.approx(expected["mean"], rel=0.08)
    assert [at(made.path_lengths, share) for share in (0.5, 0.9)] == [expected["p50"], expected["p90"]]
    assert at(made.path_lengths, 0.99) == pytest.approx(expected["p99"], abs=1)
    assert made.share(6) == pytest.approx(real["share_of_routes_with_attribute_type"]["6"], abs=0.03)
    assert made.share(7) == pytest.approx(real["share_of_routes_with_attribute_type"]["7"], abs=0.03)
    assert not made.kinds[8]
    lengths = real["prefix_length_v4"]
    for bits in (16, 19, 20, 22, 24):
        expected_share = lengths[str(bits)] / real["announced"]
        assert made.prefix_lengths[bits] / PREFIXES == pytest.approx(expected_share, abs=0.02), bits


@pytest.mark.shared
def test_a_modern_table_has_todays_attributes(statistics: Callable[[str], dict[str, Any]]) -> None:
    """Communities and MED are as frequent as in RouteViews 2014, large communities as in RIS 2019."""
    made = Measured(octets_of(2, MODERN))
    real = statistics("rv-2014-rib4-part")
    expected = real["communities_per_route"]
    assert mean(made.communities) == pytest.approx(expected["mean"], rel=0.15)
    assert sum(map(bool, made.communities)) / PREFIXES == pytest.approx(expected["share_with_any"], abs=0.06)
    assert at(made.communities, 0.9) == pytest.approx(expected["p90"], abs=1)
    assert at(made.communities, 0.99) == pytest.approx(expected["p99"], abs=2)
    assert made.share(4) == pytest.approx(real["share_of_routes_with_attribute_type"]["4"], abs=0.06)
    expected = statistics("ris-2019-updates")["large_communities_per_route"]
    assert sum(map(bool, made.large)) / PREFIXES == pytest.approx(expected["share_with_any"], abs=0.04)


@pytest.mark.shared
def test_ipv6_is_that_of_2019(statistics: Callable[[str], dict[str, Any]]) -> None:
    """IPv6 prefixes have the lengths, and come in the small numbers, of RIS 2019."""
    made = Measured(octets_of(3, MODERN, IPV6_UNICAST, 20_000))
    real = statistics("ris-2019-updates")
    total = sum(real["prefix_length_v6"].values())
    for bits in (31, 32, 36, 39, 48):
        share = made.prefix_lengths[bits] / 20_000
        assert share == pytest.approx(real["prefix_length_v6"][str(bits)] / total, abs=0.02), bits
    assert at(sorted(made.per_set.values()), 0.9) <= 2


@pytest.mark.parametrize("family", [IPV4_UNICAST, IPV6_UNICAST])
def test_the_seed_decides_everything(family: Family) -> None:
    """The same seed gives the same octets, another seed others."""
    assert octets_of(7, MODERN, family, 2000) == octets_of(7, MODERN, family, 2000)
    assert octets_of(7, MODERN, family, 2000) != octets_of(8, MODERN, family, 2000)


@pytest.mark.parametrize("count", [0, 1, 7, 500])
@pytest.mark.parametrize("family", [IPV4_UNICAST, IPV6_UNICAST])
def test_each_prefix_is_announced_once(family: Family, count: int) -> None:
    """A table of n prefixes has exactly n different ones, in messages of at most 4096 octets."""
    table = octets_of(5, MODERN, family, count)
    routes = [route for message in table for route in Update(message).announced]
    assert len(routes) == len(set(routes)) == count
    assert all(len(message) <= 4096 for message in table)


def test_paths_begin_with_the_sender_and_do_not_loop() -> None:
    """Every AS_PATH begins with the announcing AS, and no AS comes back after another one."""
    for message in octets_of(6, MODERN, IPV4_UNICAST, 5000):
        for held in Update(message).announced.values():
            value = next(value for _, kind, value in held if kind == 2)
            path = [int.from_bytes(value[2 + 4 * i : 6 + 4 * i], "big") for i in range(value[1])]
            assert path[0] == ASN
            runs = [number for i, number in enumerate(path) if not i or path[i - 1] != number]
            assert len(runs) == len(set(runs))


def test_attributes_are_in_the_order_of_their_types() -> None:
    """What the route server forwards unchanged is orderly to begin with (RFC 4271, appendix F.4)."""
    for message in octets_of(4, MODERN, IPV4_UNICAST, 1000):
        size = int.from_bytes(message[21:23], "big")
        kinds = [kind for _, kind, _ in attributes_of(message[23 : 23 + size])]
        assert kinds == sorted(kinds)
        assert {family for family, _ in Update(message).announced} == {V4}
