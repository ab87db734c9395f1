"""The configuration's reference and example file against the schema, both ways."""

import enum
import re
from pathlib import Path

import attrs
import pytest
import tomli

from tests.test_config import PEER
from trio_bgp.config import ConfigError, load_settings, parse_settings
from trio_bgp.config.keys import (
    CONTROL_KEYS,
    FAMILY_KEYS,
    GROUP_KEYS,
    LOG_KEYS,
    PEER_KEYS,
    RECORD_KEYS,
    SPEAKER_KEYS,
    STATION_KEYS,
    Key,
)
from trio_bgp.settings import (
    AddPathSettings,
    BmpStationSettings,
    ControlSettings,
    LogSettings,
    PeerSettings,
    RecordSettings,
    SpeakerSettings,
)
from trio_bgp.wire.numbers import FAMILIES, IPV4_UNICAST, IPV6_UNICAST, family_name

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "config.example.toml"
REFERENCE = ROOT / "docs" / "reference" / "configuration.md"


def section_keys() -> dict[str, set[str]]:
    """The supported keys of each kind of table."""
    tables = {
        "speaker": SPEAKER_KEYS,
        "peers": PEER_KEYS,
        "groups": GROUP_KEYS,
        "log": LOG_KEYS,
        "control": CONTROL_KEYS,
        "record": RECORD_KEYS,
        "bmp": STATION_KEYS,
    }
    return {name: set(keys) for name, keys in tables.items()}


def default_of(name: str, kind: type[attrs.AttrsInstance]) -> object:
    """The default of a key's setting as TOML would give it; NOTHING for a required one, None for none."""
    key = PEER_KEYS.get(name)
    field = attrs.fields_dict(kind).get((key.setting if key else "") or name)
    value = None if field is None else field.default
    if name == "families" and isinstance(value, tuple):
        return [family_name(family) for family in value]
    if name == "monitor" and isinstance(value, tuple):
        (value,) = value
    if name == "ttl_security":
        return False
    if name == "add_path":
        assert value == AddPathSettings()
        return None
    return value.value if isinstance(value, enum.Enum) and value is not attrs.NOTHING else value


def plain(value: object) -> str:
    """A default as the reference writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value).removesuffix(".0")


KINDS: list[tuple[str, dict[str, Key], type[attrs.AttrsInstance]]] = [
    ("[speaker]", dict(SPEAKER_KEYS), SpeakerSettings),
    ("[[peers]]", dict(PEER_KEYS), PeerSettings),
    ("[log]", dict(LOG_KEYS), LogSettings),
    ("[control]", dict(CONTROL_KEYS), ControlSettings),
    ("[record]", dict(RECORD_KEYS), RecordSettings),
    ("[[bmp.stations]]", dict(STATION_KEYS), BmpStationSettings),
]


@pytest.mark.parametrize(("heading", "keys", "kind"), KINDS, ids=[each[0] for each in KINDS])
def test_the_reference_has_every_key_and_no_other(
    heading: str, keys: dict[str, Key], kind: type[attrs.AttrsInstance]
) -> None:
    """The tables of the reference name the schema's keys with what it accepts and the settings' defaults."""
    section = REFERENCE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| .+ \|$", section, re.MULTILINE)
    assert [(name, accepted) for name, accepted, _ in rows] == [(key.name, key.accepted) for key in keys.values()]
    for name, _, default in rows:
        expected = default_of(name, kind)
        if default == "required":
            assert expected is attrs.NOTHING, name
        elif default == "both":
            assert expected == [family_name(IPV4_UNICAST), family_name(IPV6_UNICAST)]
        elif default.startswith("`"):
            assert default.strip("`") == plain(expected), name
        else:
            assert expected in (None, ()), name


def test_the_reference_names_every_family_and_how_to_declare_others() -> None:
    """All names that `families` takes, and the keys of a declared family."""
    text = REFERENCE.read_text()
    section = text.split("\n### Address families\n")[1].split("\n## ")[0]
    assert set(re.findall(r"`([a-z0-9-]+)`", section)) == set(FAMILIES)
    section = text.split("\n## [families.NAME]\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| required \| .+ \|$", section, re.MULTILINE)
    assert rows == [(key.name, key.accepted) for key in FAMILY_KEYS.values()]


def test_the_configurations_in_the_reference_are_right() -> None:
    """Every TOML block loads."""
    blocks = re.findall(r"^```toml\n(.*?)^```$", REFERENCE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        assert parse_settings(block, "reference").peers


def test_the_messages_in_the_reference_are_what_is_said() -> None:
    """The console block's problems come out word for word."""
    (block,) = re.findall(r"^```console\n\$ [^\n]*\n(.*?)^```$", REFERENCE.read_text(), re.MULTILINE | re.DOTALL)
    with pytest.raises(ConfigError) as caught:
        parse_settings(PEER + "hold_time = 2\npasive = true\n", "config.toml")
    assert str(caught.value) == block.rstrip("\n")


def test_the_example_works_as_shipped_without_privileges() -> None:
    """It loads, listens on high ports of the loopback, and waits for its peers."""
    settings = load_settings(EXAMPLE)
    assert settings.speaker.listen
    assert all(endpoint.address.is_loopback and endpoint.port >= 1024 for endpoint in settings.speaker.listen)
    assert all(peer.passive for peer in settings.peers)
    assert any(peer.range for peer in settings.peers)


def test_the_example_has_every_key_with_a_comment_and_no_other() -> None:
    """Keys in use and keys commented out together are the schema's; with all in use the file is right too."""
    lines = EXAMPLE.read_text().splitlines()
    seen: dict[str, set[str]] = {}
    first: dict[tuple[str, str], int] = {}
    table = ""
    for number, line in enumerate(lines):
        if match := re.match(r"(?:# )?\[+(\w+)", line):
            table = match[1]
        elif match := re.match(r"(?:# )?(\w+) = ", line):
            seen.setdefault(table, set()).add(match[1])
            first.setdefault((table if table != "groups" else "peers", match[1]), number)
    keys = section_keys()
    assert seen["speaker"] == keys["speaker"]
    assert seen["log"] == keys["log"]
    assert seen["control"] == keys["control"]
    assert seen["record"] == keys["record"]
    assert seen["bmp"] == keys["bmp"]
    assert seen["peers"] | seen["groups"] == keys["peers"]
    assert seen["groups"] <= keys["groups"]
    for name, number in first.items():
        assert lines[number - 1].startswith("# "), f"{name} has no comment"
    assert seen["families"] == set(FAMILY_KEYS)
    # Of three ways to give a key only one can be used.
    others = ("# md5_password_file = ", "# tcp_ao = ")
    in_use = "\n".join(line if line.startswith(others) else re.sub(r"^# (\w+ = |\[)", r"\1", line) for line in lines)
    assert in_use != EXAMPLE.read_text().rstrip("\n")
    parse_settings(in_use, "example in full")


def test_the_defaults_in_the_example_are_the_settings() -> None:
    """Where a comment tells a default, it is the one of the settings."""
    text = EXAMPLE.read_text()
    told = re.findall(r"[Dd]efault (\d+|true|false|\"\w+\")(?=[.;,])(?:.*\n)(?:#.*\n)*?(?:# )?(\w+) = ", text)
    assert len(told) >= 6
    for default, name in told:
        kinds = [kind for _, keys, kind in KINDS if name in keys and name != "queue_limit"]
        expected = default_of(name, kinds[0] if kinds else PeerSettings)
        assert tomli.loads(f"x = {default}")["x"] == expected, name
