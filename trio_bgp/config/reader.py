"""TOML to settings. Every problem is found at once and told with file, line, key, what was found, what is accepted."""

import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import tomli

from trio_bgp.config.keys import (
    BGP_PORT,
    CONTROL_KEYS,
    FAMILY_KEYS,
    GROUP_KEYS,
    LOG_KEYS,
    PEER_KEYS,
    RECORD_KEYS,
    SPEAKER_KEYS,
    STATION_KEYS,
    Key,
    UnacceptableError,
)
from trio_bgp.config.lines import KeyPath, line_of, locate
from trio_bgp.config.problems import ConfigError, Problem, did_you_mean, dotted, nearest, printable, shown
from trio_bgp.settings import (
    BmpSettings,
    BmpStationSettings,
    ControlSettings,
    Endpoint,
    LogSettings,
    NextHop,
    PeerSettings,
    RecordSettings,
    Role,
    Settings,
    SpeakerSettings,
    TcpAo,
)
from trio_bgp.wire.nlri import READ, Framing
from trio_bgp.wire.numbers import FAMILIES, Family, family, family_name

__all__ = ["load_settings", "parse_settings"]

TABLES: Final = ("speaker", "groups", "peers", "log", "control", "record", "bmp", "families")
MAXIMUM_OCTETS: Final = 16 * 1024 * 1024
"""Of a file: enough for tens of thousands of peers, and an end to reading /dev/zero."""
CONNECT_KEYS: Final = ("port", "local_address", "connect_retry_time")
"""About our own connection attempts, which a range never makes."""
TOML: Final = "TOML 1.0"
_SETTING: Final = {key.name: key.setting for key in GROUP_KEYS.values() if key.setting}
_AT_LINE: Final = re.compile(r"\(at line (\d+), column \d+\)$")


@attrs.frozen
class _Value:
    """An accepted value and where it is from: a peer's may be its group's."""

    value: Any
    path: KeyPath


_Values = dict[str, _Value]


def load_settings(path: Path) -> Settings:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong.
    """
    name = printable(str(path))
    try:
        with path.open("rb") as file:
            octets = file.read(MAXIMUM_OCTETS + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problem = Problem(name, 0, "", f"nothing to read ({reason})", "a readable file")
        raise ConfigError([problem]) from None
    if len(octets) > MAXIMUM_OCTETS:
        raise ConfigError([Problem(name, 0, "", "a larger file", f"at most {MAXIMUM_OCTETS} octets")])
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(name, line, "", f"the octet 0x{octets[error.start]:02x}", "UTF-8 text")]) from None
    return parse_settings(text, name)


def parse_settings(text: str, filename: str) -> Settings:
    """Read a configuration.

    Args:
        text: TOML.
        filename: for messages.

    Raises:
        ConfigError: something in it is wrong.
    """
    # Raised outside of `except`: tomli's error holds the whole text, passwords included.
    document, problem = _parse(text, filename)
    if problem is not None:
        raise ConfigError([problem])
    return _Reader(document, locate(text), filename).read()


def _parse(text: str, filename: str) -> tuple[dict[str, Any], Problem | None]:
    try:
        text.encode()
        return tomli.loads(text), None
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        return {}, Problem(filename, line, "", "a surrogate", "text that UTF-8 can express")
    except tomli.TOMLDecodeError as error:
        # The line as an attribute came with tomli 2.2; in the message it always was.
        message = printable(str(error))
        match = _AT_LINE.search(message)
        line = int(match[1]) if match else max(1, len(text.splitlines()))
        return {}, Problem(filename, line, "", f"a syntax error: {message}", TOML)
    except ValueError:
        return {}, Problem(filename, 0, "", "a number of thousands of digits", TOML)
    except RecursionError:
        return {}, Problem(filename, 0, "", "arrays or tables nested too deeply", TOML)


class _Reader:
    """Checks one document; collects problems instead of stopping at the first."""

    def __init__(self, document: dict[str, Any], lines: dict[KeyPath, int], filename: str) -> None:
        self.document = document
        self.lines = lines
        self.filename = filename
        self.problems: list[Problem] = []
        self.declared: dict[str, Family] = {}
        self.framing: dict[Family, Framing] = {}

    def read(self) -> Settings:
        for key in self.document:
            if key not in TABLES:
                self.unknown((key,), TABLES)
        self.families()
        speaker = self.table(("speaker",), self.document.get("speaker", {}), SPEAKER_KEYS)
        self.require(("speaker",), self.document.get("speaker", {}), SPEAKER_KEYS, "local_as", "bgp_identifier")
        log = self.table(("log",), self.document.get("log", {}), LOG_KEYS)
        control = self.table(("control",), self.document.get("control", {}), CONTROL_KEYS)
        record = self.table(("record",), self.document.get("record", {}), RECORD_KEYS)
        peers = self.peers(self.groups())
        self.unique(peers, "name")
        self.unique(peers, "address")
        self.unique(peers, "range")
        stations = self.stations({peer["name"].value for _, peer in peers if "name" in peer})
        for path, peer in peers:
            self.fits_speaker(path, peer, speaker)
            self.secrets(peer)
        if self.problems:
            raise ConfigError(sorted(self.problems, key=lambda problem: problem.line))
        return Settings(
            speaker=SpeakerSettings(**_settings(speaker), framing=self.framing),
            peers=tuple(PeerSettings(**_settings(peer)) for _, peer in peers),
            log=LogSettings(**_settings(log)),
            control=ControlSettings(**_settings(control)),
            record=RecordSettings(**_settings(record)),
            bmp=BmpSettings(stations=tuple(BmpStationSettings(**_settings(station)) for station in stations)),
        )

    def families(self) -> None:
        """The address families that the file declares by their framing rule alone."""
        tables = self.document.get("families", {})
        if not isinstance(tables, dict):
            self.problem(("families",), tables, "tables [families.NAME]")
            return
        for name, table in tables.items():
            path = ("families", name)
            if name in FAMILIES:
                self.problem(path, None, "another name", "the name of a family that is known")
            values = self.table(path, table, FAMILY_KEYS)
            self.require(path, table, FAMILY_KEYS, *FAMILY_KEYS)
            if len(values) < len(FAMILY_KEYS):
                continue
            declared = family(values["afi"].value, values["safi"].value)
            if declared in READ or declared in self.framing:
                known = "declared twice" if declared in self.framing else f"read as {family_name(declared)}"
                self.problem(path, None, "another afi and safi", f"a family that is {known}")
                continue
            self.declared[name] = declared
            self.framing[declared] = values["nlri_length"].value

    def groups(self) -> dict[str, _Values]:
        tables = self.document.get("groups", {})
        if not isinstance(tables, dict):
            self.problem(("groups",), tables, "tables [groups.NAME]")
            return {}
        return {name: self.table(("groups", name), table, GROUP_KEYS) for name, table in tables.items()}

    def peers(self, groups: Mapping[str, _Values]) -> list[tuple[KeyPath, _Values]]:
        tables = self.document.get("peers", [])
        if not isinstance(tables, list):
            self.problem(("peers",), tables, "tables [[peers]], with two brackets on each side")
            return []
        return [(("peers", index), self.peer(("peers", index), table, groups)) for index, table in enumerate(tables)]

    def peer(self, path: KeyPath, table: object, groups: Mapping[str, _Values]) -> _Values:
        """The accepted values of a peer, those of its group included."""
        own = self.table(path, table, PEER_KEYS)
        if not isinstance(table, dict):
            return own
        self.require(path, table, PEER_KEYS, "name")
        group = own.pop("group", None)
        shared: Mapping[str, _Value] = {}
        if group is not None and group.value in groups:
            shared = groups[group.value]
        elif group is not None:
            self.problem(group.path, group.value, PEER_KEYS["group"].accepted + did_you_mean(group.value, groups))
        # With a wrong group nobody knows what it would have given; a wrong value of the group is told there.
        if "group" not in table or (group is not None and group.value in groups and not self.has_as(group.value)):
            self.require(path, table, PEER_KEYS, "peer_as")
        if "address" in table and "range" in table:
            self.problem((*path, "range"), None, "one of the two", "a range beside an address")
        elif "address" not in table and "range" not in table:
            self.problem((*path, "address"), None, f"{PEER_KEYS['address'].accepted}, or a range", "nothing")
        if "range" in table:
            self.never_connects(path, own)
        return {**shared, **own}

    def stations(self, names: Collection[str]) -> list[_Values]:
        """The accepted values of the BMP stations.

        Args:
            names: of the peers.
        """
        table = self.document.get("bmp", {})
        if not isinstance(table, dict) or not isinstance(table.get("stations", []), list):
            wrong: KeyPath = ("bmp",) if not isinstance(table, dict) else ("bmp", "stations")
            self.problem(wrong, None, "tables [[bmp.stations]], with two brackets on each side", "something else")
            return []
        for key in table:
            if key != "stations":
                self.unknown(("bmp", key), ("stations",))
        found: list[tuple[KeyPath, _Values]] = []
        for index, each in enumerate(table.get("stations", [])):
            path: KeyPath = ("bmp", "stations", index)
            values = self.table(path, each, STATION_KEYS)
            self.require(path, each, STATION_KEYS, "address")
            found.append((path, values))
            for position, name in enumerate(values["peers"].value if "peers" in values else ()):
                if name not in names:
                    accepted = "the name of a peer or range" + did_you_mean(name, names)
                    self.problem((*path, "peers", position), name, accepted)
        self.unique(found, "address")
        return [values for _, values in found]

    def has_as(self, group: str) -> bool:
        """Whether a group says something of its peers' AS number, right or wrong."""
        table = self.document["groups"][group]
        return not isinstance(table, dict) or "peer_as" in table

    def never_connects(self, path: KeyPath, own: _Values) -> None:
        """A range's own keys must not ask for what it cannot do; those of its group are for the group's peers."""
        for key in CONNECT_KEYS:
            if key in own:
                self.problem((*path, key), None, f"no {key} beside a range, which only waits", "one")
        if "passive" in own and not own["passive"].value:
            self.problem((*path, "passive"), False, "true beside a range, which only waits")

    def unique(self, peers: Iterable[tuple[KeyPath, _Values]], key: str) -> None:
        seen: dict[object, KeyPath] = {}
        for path, peer in peers:
            if key in peer:
                first = seen.setdefault(peer[key].value, path)
                if first != path:
                    other = f"{dotted(first)} in line {line_of(self.lines, (*first, key))}"
                    found = f'"{peer[key].value}", which {other} has too'
                    self.problem((*path, key), None, f"another {key}", found)

    def fits_speaker(self, path: KeyPath, peer: _Values, speaker: _Values) -> None:
        """A peer against what the daemon is and where it listens."""
        role = peer["role"].value if "role" in peer else Role.RS_CLIENT
        if "local_as" in speaker and "peer_as" in peer:
            ours = peer["peer_as"].value == speaker["local_as"].value
            if ours and not role.internal:
                found = f"{peer['peer_as'].value}, our own AS number"
                self.problem(
                    peer["peer_as"].path, None, f'another one, or role "rr-client" or "ibgp" for {found}', found
                )
            elif role.internal and not ours:
                own = speaker["local_as"].value
                self.problem(
                    peer["peer_as"].path, peer["peer_as"].value, f'{own}, as local_as: the role is "{role.value}"'
                )
        if role.internal and "bgp_role" in peer:
            self.problem(peer["bgp_role"].path, None, f'no bgp_role for role "{role.value}": it is between ASes', "one")
        third_party = "next_hop" in peer and peer["next_hop"].value is NextHop.THIRD_PARTY
        if third_party and "next_hop_subnet" not in peer:
            accepted = "a next_hop_subnet beside it: the prefix that the peer shares with the next hops"
            self.problem(peer["next_hop"].path, "third-party", accepted)
        at = peer.get("address") or peer.get("range")
        if at is None:
            return
        version = at.value.version
        local = peer.get("local_address")
        if local is not None and "address" in peer and local.value.version != version:
            self.problem(local.path, None, f"an IPv{version} address", f'"{local.value}" for a peer at {at.value}')
        raw = self.document.get("speaker")
        if not isinstance(raw, dict) or ("listen" in raw and "listen" not in speaker):
            return  # wrong, and told already
        listen: tuple[Endpoint, ...] = speaker["listen"].value if "listen" in speaker else ()
        if "range" in peer or ("passive" in peer and peer["passive"].value):
            if all(endpoint.address.version != version for endpoint in listen):
                found = f'"{at.value}" that has to connect to us, but nothing listens for IPv{version}'
                self.problem(at.path, None, f"an IPv{version} address in speaker.listen, or not passive", found)
        elif Endpoint(at.value, peer["port"].value if "port" in peer else BGP_PORT) in listen:
            self.problem(at.path, None, "another address or port", f'"{at.value}", where we listen ourselves')

    def secrets(self, peer: _Values) -> None:
        """Put what files have in place of their names."""
        file = peer.pop("md5_password_file", None)
        if file is not None:
            if "md5_password" in peer:
                self.problem(file.path, None, "one of the two", "a file beside md5_password")
            password = self.secret(file.path, file.value)
            if password is not None:
                peer["md5_password"] = _Value(password, file.path)
        ao = peer.pop("tcp_ao", None)
        if ao is not None:
            if "md5_password" in peer:
                self.problem(ao.path, None, "one of the two", "TCP-AO beside TCP-MD5")
            key_id, algorithm, name = ao.value
            password = self.secret(ao.path, name)
            if password is not None:
                peer["tcp_ao"] = _Value(TcpAo(key_id, algorithm, password), ao.path)

    def secret(self, path: KeyPath, name: str) -> str | None:
        """The first line of a file that only its owner can read; None if that is not what it is."""
        accepted = "a file with a password of 1 to 80 octets that only its owner can read (chmod 600)"
        try:
            with (Path(self.filename).parent / name).open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                octets = file.read(1024).partition(b"\n")[0].rstrip(b"\r")
            text = octets.decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            self.problem(path, None, accepted, f"{printable(name)}: {reason}")
            return None
        if mode & 0o077:
            self.problem(path, None, accepted, f"{printable(name)} with mode {mode:04o}")
            return None
        if not 1 <= len(octets) <= 80:
            self.problem(path, None, accepted, f"{printable(name)} with a password of {len(octets)} octets")
            return None
        return text

    def table(self, path: KeyPath, table: object, keys: Mapping[str, Key]) -> _Values:
        """The accepted values of a table."""
        if not isinstance(table, dict):
            self.problem(path, table, "a table")
            return {}
        values: _Values = {}
        for name, raw in table.items():
            if name not in keys:
                self.unknown((*path, name), list(keys))
                continue
            here = (*path, name)
            before = len(self.problems)
            value = self.array(here, raw, keys[name]) if keys[name].array else self.value(here, raw, keys[name])
            if len(self.problems) == before:
                values[name] = _Value(value, here)
        return values

    def array(self, path: KeyPath, raw: object, key: Key) -> tuple[object, ...]:
        """The accepted elements of an array."""
        if not isinstance(raw, list) or not (raw or key.empty):
            self.problem(path, raw, key.accepted)
            return ()
        elements: list[object] = []
        for index, each in enumerate(raw):
            element = self.value((*path, index), each, key)
            if element is not None and element in elements:
                self.problem((*path, index), None, "each once", f"{shown(each)} again")
            elements.append(element)
        return tuple(elements)

    def value(self, path: KeyPath, raw: object, key: Key) -> object:
        """The accepted value, None if it is not accepted."""
        if key.name == "families" and isinstance(raw, str) and raw in self.declared:
            return self.declared[raw]
        try:
            return key.convert(raw)
        except UnacceptableError as unacceptable:
            found = unacceptable.found
            if found is None and key.secret:
                found = "a value that is not shown"
            self.problem(path, raw, key.accepted + unacceptable.hint, found)
            return None

    def require(self, path: KeyPath, table: object, keys: Mapping[str, Key], *names: str) -> None:
        if isinstance(table, dict):
            for name in names:
                if name not in table:
                    self.problem((*path, name), None, keys[name].accepted, "nothing")

    def unknown(self, path: KeyPath, names: Sequence[str]) -> None:
        near = nearest(path[-1], names)
        accepted = f"{near}, the nearest known key" if near else ", ".join(names)
        self.problem(path, None, accepted, "an unknown key")

    def problem(self, path: KeyPath, value: object, accepted: str, found: str | None = None) -> None:
        """Remember a problem; `found` in place of the value where there is none or it must not be shown."""
        found = shown(value) if found is None else found
        self.problems.append(Problem(self.filename, line_of(self.lines, path), dotted(path), found, accepted))


def _settings(values: _Values) -> dict[str, Any]:
    return {_SETTING.get(name, name): each.value for name, each in values.items()}
