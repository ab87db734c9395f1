"""Routes in an operator's words: `10.0.0.0/8 or-longer from as65001`, as BIRD and FRR taught to type them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["ROUTE_WORDS", "TAIL_WORDS", "WordsError", "parse_words"]

FLAGS: Final[Mapping[str, tuple[str, Any]]] = {
    "longest-match": ("match", "longest"),
    "or-longer": ("match", "longer"),
    "longer-prefixes": ("match", "longer"),
    "exact": ("match", "exact"),
    "primary": ("primary", True),
    "count": ("count", True),
    "all": ("all", True),
    "announced": ("kind", "announced"),
    "withdrawn": ("kind", "withdrawn"),
}
"""Words that stand alone: what they set."""
NAMES: Final[Mapping[str, str]] = {
    "from": "from",
    "protocol": "from",
    "to": "to",
    "export": "to",
    "noexport": "withheld",
    "family": "family",
    "limit": "limit",
}
"""Words before a name."""
PREFIXED: Final[Mapping[str, str]] = {"for": "longest", "in": "longer"}
"""Words before a prefix: how it is to match."""
SEVERAL: Final = ("from",)

ROUTE_WORDS: Final = (
    *("longest-match", "or-longer", "longer-prefixes", "exact", "for", "in"),
    *("from", "to", "protocol", "export", "noexport", "family", "primary", "limit", "count", "all"),
)
"""What `show route` takes."""
TAIL_WORDS: Final = ("or-longer", "longer-prefixes", "exact", "in", "from", "family", "announced", "withdrawn")
"""What `tail` takes."""


class WordsError(ValueError):
    """They mean nothing; the message says what was found and what is accepted."""


def parse_words(words: Sequence[str], accepted: Sequence[str]) -> dict[str, Any]:
    """What the words ask for: `prefix`, `match`, `from` (a list), `to`, `withheld`, `family`, `limit` and so on.

    Raises:
        WordsError: see there.
    """
    found: dict[str, Any] = {}

    def note(key: str, value: Any, word: str) -> None:
        if key in SEVERAL:
            found.setdefault(key, []).append(value)
        elif key in found and found[key] != value:
            raise WordsError(f"{word!r} contradicts what is before it")
        else:
            found[key] = value

    left = iter(words)
    for word in left:
        if word in accepted and word in FLAGS:
            note(*FLAGS[word], word)
            continue
        if word in accepted:
            value = next(left, None)
            if value is None or value in accepted:
                raise WordsError(f"{word!r} needs {'a prefix' if word in PREFIXED else 'a value'} behind it")
            if word in PREFIXED:
                note("match", PREFIXED[word], word)
                note("prefix", value, value)
            else:
                note(NAMES[word], value, word)
        elif "prefix" not in found and (any(mark in word for mark in ".:/") or (word.isalnum() and word[0].isdigit())):
            found["prefix"] = word
        else:
            raise WordsError(f"found {word!r}; accepted: PREFIX, {', '.join(accepted)}")
    if "match" in found and "prefix" not in found:
        raise WordsError("a prefix is missing")
    return found
