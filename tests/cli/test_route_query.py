"""Routes in an operator's words."""

from typing import Any

import pytest

from trio_bgp.cli.route_query import ROUTE_WORDS, TAIL_WORDS, WordsError, parse_words


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", {}),
        ("10.0.0.0/8", {"prefix": "10.0.0.0/8"}),
        ("10.0.0.0/8 or-longer from as1", {"prefix": "10.0.0.0/8", "match": "longer", "from": ["as1"]}),
        ("from as1 10.0.0.0/8 longer-prefixes", {"prefix": "10.0.0.0/8", "match": "longer", "from": ["as1"]}),
        ("for 2001:db8::1 to as2", {"prefix": "2001:db8::1", "match": "longest", "to": "as2"}),
        ("in 10.0.0.0/8 count", {"prefix": "10.0.0.0/8", "match": "longer", "count": True}),
        ("protocol as1 export as2", {"from": ["as1"], "to": "as2"}),
        ("noexport as2 family ipv6-unicast all", {"withheld": "as2", "family": "ipv6-unicast", "all": True}),
        ("primary limit 5", {"primary": True, "limit": "5"}),
        ("for 10.1.1.1 longest-match", {"prefix": "10.1.1.1", "match": "longest"}),
    ],
)
def test_what_a_bird_user_types_is_understood(line: str, expected: dict[str, Any]) -> None:
    """Words in any order."""
    assert parse_words(line.split(), ROUTE_WORDS) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "found 'nonsense'; accepted: PREFIX, longest-match"),
        ("10.0.0.0/8 11.0.0.0/8", "found '11.0.0.0/8'"),
        ("from", "'from' needs a value behind it"),
        ("from to as1", "'from' needs a value"),
        ("for", "needs a prefix behind it"),
        ("10.0.0.0/8 or-longer longest-match", "'longest-match' contradicts"),
        ("or-longer", "a prefix is missing"),
        ("announced", "found 'announced'"),
    ],
)
def test_what_means_nothing_is_said(line: str, message: str) -> None:
    """What was found, and what is accepted."""
    with pytest.raises(WordsError, match=message):
        parse_words(line.split(), ROUTE_WORDS)


def test_tail_takes_several_peers_and_a_kind() -> None:
    """Words of its own."""
    found = parse_words(["from", "a", "from", "b", "withdrawn"], TAIL_WORDS)
    assert found == {"from": ["a", "b"], "kind": "withdrawn"}
    with pytest.raises(WordsError, match="found 'to'"):
        parse_words(["to", "a"], TAIL_WORDS)
