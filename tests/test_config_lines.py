"""Where keys stand in a text; and that no text whatsoever raises anything but ConfigError."""

from typing import Any

import tomli
from hypothesis import example, given
from hypothesis import strategies as st

from tests.test_config import PEER
from trio_bgp.config import ConfigError, parse_settings
from trio_bgp.config.keys import LOG_KEYS, PEER_KEYS, SPEAKER_KEYS
from trio_bgp.config.lines import KeyPath, line_of, locate
from trio_bgp.settings import Settings

LAYOUT = r"""
a = 1 # b = 2
"q.\u00e9"."r" = [ # [x]
  1, "]", '''
  x = 1
''',
  [2,
   3], \"\"\"]\"\"\"\"\", ''',''''', 1979-05-27 07:32:00,
]
s = \"\"\"
[not.a.table]
\\\" k = 1 \"\"\"
t = {u = {v = 1}, w.x = "}", 'y' = [
  1]}

[b.c] # comment
d.e.f = 1
d.e.g = true
[[b.l]]
k = 1
[[b.l]]
[b.l.m]
k = 1
[[b.l.n]]
[[b.l.n]]
k = ''
"""


def test_every_key_has_its_line() -> None:
    """Comments, strings over lines, dotted and quoted keys, inline tables, arrays of tables."""
    text = LAYOUT.replace('\\"', '"')
    tomli.loads(text)
    assert locate(text) == {
        ("a",): 2,
        ("q.é",): 3,
        ("q.é", "r"): 3,
        ("q.é", "r", 0): 4,
        ("q.é", "r", 1): 4,
        ("q.é", "r", 2): 4,
        ("q.é", "r", 3): 7,
        ("q.é", "r", 3, 0): 7,
        ("q.é", "r", 3, 1): 8,
        ("q.é", "r", 4): 8,
        ("q.é", "r", 5): 8,
        ("q.é", "r", 6): 8,
        ("s",): 10,
        ("t",): 13,
        ("t", "u"): 13,
        ("t", "u", "v"): 13,
        ("t", "w"): 13,
        ("t", "w", "x"): 13,
        ("t", "y"): 13,
        ("t", "y", 0): 14,
        ("b",): 16,
        ("b", "c"): 16,
        ("b", "c", "d"): 17,
        ("b", "c", "d", "e"): 17,
        ("b", "c", "d", "e", "f"): 17,
        ("b", "c", "d", "e", "g"): 18,
        ("b", "l"): 19,
        ("b", "l", 0): 19,
        ("b", "l", 0, "k"): 20,
        ("b", "l", 1): 21,
        ("b", "l", 1, "m"): 22,
        ("b", "l", 1, "m", "k"): 23,
        ("b", "l", 1, "n"): 24,
        ("b", "l", 1, "n", 0): 24,
        ("b", "l", 1, "n", 1): 25,
        ("b", "l", 1, "n", 1, "k"): 26,
    }


def test_what_has_no_line_is_where_what_is_around_it_is() -> None:
    """A missing key is told in its table's line, a missing table in line 1."""
    lines: dict[KeyPath, int] = {("peers", 0): 5}
    assert line_of(lines, ("peers", 0, "name")) == 5
    assert line_of(lines, ("speaker", "local_as")) == 1


def settings_or_error(text: str) -> Settings | ConfigError:
    """What a text comes to; anything else is raised."""
    try:
        return parse_settings(text, "c.toml")
    except ConfigError as error:
        return error


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *("[speaker]\n", "[[peers]]\n", "[peers]\n", "[groups.a]\n", "[log]\n", "[[", "]]", "[", "]", "{", "}"),
            *(
                "local_as",
                "peers",
                "name",
                "address",
                "range",
                "listen",
                "families",
                "group",
                "md5_password",
                "add_path",
            ),
            *('"', "'", '"""', "'''", "\\", "\n", "\r\n", "\r", " ", "\t", "#", ",", ".", " = ", "=", "\0", "\u2028"),
            *("1", "65000", "-1", "1.5", "true", "nan", "1979-05-27", '"127.0.0.1:179"', '["ipv4-unicast"]', "0x", "_"),
            *('"10.0.0.0/8"', '"::1"', '"a"', '"\\u0041"', '"\\ud800"', "a.b", '"x y"', "{a = [1, {b = 2}]}"),
        ]
    ),
    max_size=40,
).map("".join)


@given(st.one_of(st.text(), FRAGMENTS, FRAGMENTS.map(lambda text: PEER + text)))
@example("[[peers]]\n[peers]")
@example("a.b.c = 1\n[a]\n[[a.b]]")
def test_no_text_raises_anything_but_config_error(text: str) -> None:
    """Whatever the text is, it is settings or a ConfigError; and finding lines in it never fails."""
    locate(text)
    outcome = settings_or_error(text)
    if isinstance(outcome, ConfigError):
        assert all(str(problem).isprintable() for problem in outcome.problems)
        assert str(outcome).count("\n") == len(outcome.problems) - 1


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.dates(),
        st.sampled_from([65001, 23456, "127.0.0.1", "::/0", "rs-client", "ipv4-unicast", "off"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*PEER_KEYS, "a b", ""]), inner),
    max_leaves=8,
)


def toml(value: object) -> str:
    """A value as TOML, everything inline."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return '"' + "".join(f"\\U{ord(each):08x}" for each in value) + '"'
        case list():
            return "[\n" + ",\n".join(toml(each) for each in value) + "]"
        case dict():
            return "{" + ", ".join(f"{toml(key)} = {toml(each)}" for key, each in value.items()) + "}"
        case _:
            return str(value)


def paths(value: object, path: KeyPath = ()) -> list[KeyPath]:
    """The paths of everything inside a value."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, each in children:
        found += [(*path, key), *paths(each, (*path, key))]
    return found


@given(st.dictionaries(st.sampled_from([*SPEAKER_KEYS, *PEER_KEYS, *LOG_KEYS, "x.y"]), VALUES))
def test_no_value_of_any_key_raises_anything_but_config_error(values: dict[str, object]) -> None:
    """Every key with every kind of value, in every table; and everything in the document has a line."""
    body = "".join(f"{toml(key)} = {toml(value)}\n" for key, value in values.items())
    text = "".join(f"{table}\n{body}" for table in ("[speaker]", "[groups.a]", "[[peers]]", "[[peers]]", "[log]"))
    assert set(paths(tomli.loads(text))) <= set(locate(text))
    settings_or_error(text)
