"""TOML to settings. Every problem is found at once and told with file, line, key, what was found, what is accepted."""

import difflib
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Final

import attrs
import tomli

from trio_bgp.config.lines import KeyPath, line_of, locate
from trio_bgp.settings import (
    Endpoint,
    LogFormat,
    LogSettings,
    NextHopCheck,
    PeerSettings,
    Role,
    Settings,
    SpeakerSettings,
)
from trio_bgp.wire.numbers import FAMILIES, IPV4_UNICAST, IPV6_UNICAST, Family, family_name

__all__ = ["ConfigError", "Problem", "load_settings", "parse_settings"]

SUPPORTED_FAMILIES: Final = (IPV4_UNICAST, IPV6_UNICAST)
LATER_ROLES: Final = ("rr-client", "ibgp", "ebgp")
SECRET_KEYS: Final = frozenset({"md5_password"})


@attrs.frozen
class Problem:
    """One thing that is wrong with a configuration."""

    file: str
    line: int
    key: str
    found: str
    accepted: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        key = f"{self.key}: " if self.key else ""
        return f"{where}{key}found {self.found}; accepted: {self.accepted}"


class ConfigError(Exception):
    """A configuration that cannot be used.

    Attributes:
        problems: all that is wrong, in the order of the file.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class _WrongError(Exception):
    """A value that is not accepted."""

    def __init__(self, accepted: str, found: str | None = None) -> None:
        super().__init__(accepted)
        self.accepted = accepted
        self.found = found


Check = Callable[[Any], object]


def _integer(lowest: int, highest: int) -> Check:
    def check(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise _WrongError(f"a whole number from {lowest} to {highest}")
        return value

    return check


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _WrongError("true or false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _WrongError("a text that is not empty")
    return value


def _name(value: Any) -> str:
    text = _text(value)
    if not text.isprintable() or any(character.isspace() for character in text):
        raise _WrongError("a name without spaces")
    return text


def _hold_time(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not (value == 0 or 3 <= value <= 65535):
        raise _WrongError("0, or from 3 to 65535 seconds")
    return value


def _seconds(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 1 <= value <= 86400:
        raise _WrongError("from 1 to 86400 seconds")
    return float(value)


def _identifier(value: Any) -> int:
    try:
        number = int(IPv4Address(value)) if isinstance(value, str) else 0
    except ValueError:
        number = 0
    if not number:
        raise _WrongError('an IPv4 address other than 0.0.0.0, as in "10.255.0.1"')
    return number


def _address(value: Any) -> IPv4Address | IPv6Address:
    try:
        return ip_address(_text(value))
    except ValueError:
        raise _WrongError('an IPv4 or IPv6 address, as in "192.0.2.1" or "2001:db8::1"') from None


def _network(value: Any) -> IPv4Network | IPv6Network:
    try:
        return ip_network(_text(value))
    except ValueError as error:
        raise _WrongError(f'a prefix without host bits, as in "192.0.2.0/24" ({error})') from None


def _listen(value: Any) -> tuple[Endpoint, ...]:
    accepted = 'a list of addresses with ports, as in ["127.0.0.1:1790", "[::1]:1790"]'
    if not isinstance(value, list):
        raise _WrongError(accepted)
    endpoints = []
    for item in value:
        host, colon, port = item.rpartition(":") if isinstance(item, str) else ("", "", "")
        try:
            if not (colon and port.isascii() and port.isdigit() and int(port) <= 65535):
                raise ValueError
            bracketed = host.startswith("[") and host.endswith("]")
            address = ip_address(host[1:-1] if bracketed else host)
            if bracketed != (address.version == 6):
                raise ValueError
        except ValueError:
            raise _WrongError(accepted, repr(item)) from None
        endpoints.append(Endpoint(address, int(port)))
    return tuple(endpoints)


def _families(value: Any) -> tuple[Family, ...]:
    supported = ", ".join(f'"{family_name(family)}"' for family in SUPPORTED_FAMILIES)
    if not isinstance(value, list) or not value:
        raise _WrongError(f"a list of one or more of {supported}")
    families: list[Family] = []
    for item in value:
        family = FAMILIES.get(item) if isinstance(item, str) else None
        if family is None:
            raise _WrongError(f"{supported}{_nearest(str(item), FAMILIES)}", repr(item))
        if family not in SUPPORTED_FAMILIES:
            raise _WrongError(f"{supported}; other families are not supported yet", repr(item))
        if family not in families:
            families.append(family)
    return tuple(families)


def _role(value: Any) -> Role:
    if value in LATER_ROLES:
        raise _WrongError('"rs-client"; other roles are not supported yet')
    if value != Role.RS_CLIENT.value:
        raise _WrongError('"rs-client"')
    return Role.RS_CLIENT


def _add_path(value: Any) -> None:
    raise _WrongError("nothing: ADD-PATH is not supported yet, leave the key out")


def _next_hop_check(value: Any) -> NextHopCheck:
    try:
        return NextHopCheck(value)
    except ValueError:
        raise _WrongError(" or ".join(f'"{check.value}"' for check in NextHopCheck)) from None


def _password(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value.encode()) <= 80:
        raise _WrongError("a text of 1 to 80 octets")
    return value


def _ttl_security(value: Any) -> int | None:
    if isinstance(value, bool):
        return 1 if value else None
    if not isinstance(value, int) or not 1 <= value <= 254:
        raise _WrongError("true (one hop), false, or a number of hops from 1 to 254")
    return value


def _level(value: Any) -> str:
    levels = ("debug", "info", "warning", "error")
    if value not in levels:
        raise _WrongError(", ".join(f'"{level}"' for level in levels))
    return str(value)


def _format(value: Any) -> LogFormat:
    try:
        return LogFormat(value)
    except ValueError:
        raise _WrongError(" or ".join(f'"{form.value}"' for form in LogFormat)) from None


_as_number: Final = _integer(1, 4294967295)

SPEAKER_KEYS: Final[Mapping[str, Check]] = {
    "local_as": _as_number,
    "bgp_identifier": _identifier,
    "listen": _listen,
    "hostname": _name,
}
SHARED_KEYS: Final[Mapping[str, Check]] = {
    "role": _role,
    "families": _families,
    "hold_time": _hold_time,
    "passive": _boolean,
    "port": _integer(1, 65535),
    "local_address": _address,
    "connect_retry_time": _seconds,
    "add_path": _add_path,
    "extended_message": _boolean,
    "max_prefixes": _integer(1, 4294967295),
    "enforce_first_as": _boolean,
    "next_hop_check": _next_hop_check,
    "md5_password": _password,
    "ttl_security": _ttl_security,
    "queue_limit": _integer(65536, 1 << 40),
    "peer_as": _as_number,
}
"""Keys of a peer that a group may set for all of its peers."""
PEER_KEYS: Final[Mapping[str, Check]] = {
    **SHARED_KEYS,
    "name": _name,
    "address": _address,
    "range": _network,
    "group": _name,
}
LOG_KEYS: Final[Mapping[str, Check]] = {"level": _level, "format": _format}
TABLES: Final = ("speaker", "groups", "peers", "log")


def load_settings(path: Path) -> Settings:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem(str(path), 0, "", error.strerror or "an error", "a readable file")]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(str(path), 0, "", f"octets that are no UTF-8 ({error})", "UTF-8 text")]) from None
    return parse_settings(text, str(path))


def parse_settings(text: str, filename: str) -> Settings:
    """Read a configuration.

    Args:
        text: TOML.
        filename: for messages.

    Raises:
        ConfigError: something in it is wrong.
    """
    try:
        document = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        line = getattr(error, "lineno", 0) or 0
        message = str(getattr(error, "msg", error))
        raise ConfigError([Problem(filename, line, "", message[:1].lower() + message[1:], "TOML 1.0")]) from None
    except RecursionError:
        raise ConfigError([Problem(filename, 0, "", "values nested too deeply", "TOML 1.0")]) from None
    return _Reader(document, locate(text), filename).read()


def _nearest(found: str, names: Mapping[str, object] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(found, list(names), 1, 0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


class _Reader:
    """Checks one document; collects problems instead of stopping at the first."""

    def __init__(self, document: dict[str, Any], lines: dict[KeyPath, int], filename: str) -> None:
        self.document = document
        self.lines = lines
        self.filename = filename
        self.problems: list[Problem] = []

    def read(self) -> Settings:
        for key in self.document:
            if key not in TABLES:
                self.unknown((key,), key, TABLES)
        speaker = self.values(("speaker",), self.document.get("speaker"), SPEAKER_KEYS)
        for required in ("local_as", "bgp_identifier"):
            self.require(("speaker",), speaker, required)
        log = self.values(("log",), self.document.get("log", {}), LOG_KEYS)
        groups = self.groups()
        peers = self.peers(groups)
        if self.problems:
            raise ConfigError(sorted(self.problems, key=lambda problem: problem.line))
        return Settings(
            speaker=SpeakerSettings(**_without_none(speaker)),
            peers=tuple(PeerSettings(**_without_none(peer)) for peer in peers),
            log=LogSettings(**log),
        )

    def groups(self) -> dict[str, dict[str, Any]]:
        tables = self.document.get("groups", {})
        if not isinstance(tables, dict):
            self.problem(("groups",), tables, "tables [groups.NAME]")
            return {}
        return {name: self.values(("groups", name), table, SHARED_KEYS) for name, table in tables.items()}

    def peers(self, groups: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        tables = self.document.get("peers", [])
        if not isinstance(tables, list):
            self.problem(("peers",), tables, "tables [[peers]]")
            return []
        peers = []
        for index, table in enumerate(tables):
            path: KeyPath = ("peers", index)
            if not isinstance(table, dict):
                self.problem(path, table, "a table [[peers]]")
                continue
            own = self.values(path, table, PEER_KEYS)
            group = own.pop("group", None)
            if group is not None and group not in groups:
                self.problem((*path, "group"), group, f"a group of this file{_nearest(group, groups)}")
            peer = {**groups.get(group, {}), **own}
            if self.complete(path, table, peer):
                peers.append(peer)
        self.unique(peers)
        return peers

    def complete(self, path: KeyPath, table: dict[str, Any], peer: dict[str, Any]) -> bool:
        self.require(path, peer, "name", table)
        self.require(path, peer, "peer_as", table)
        if ("address" in table) == ("range" in table):
            found = "both address and range" if "address" in table else "neither address nor range"
            self.problem(path, None, "one of them", found)
        local = peer.get("local_address")
        remote = peer.get("address") or peer.get("range")
        if local is not None and remote is not None and local.version != remote.version:
            self.problem((*path, "local_address"), str(local), "an address of the same family as the peer's")
        return "name" in peer and "peer_as" in peer

    def unique(self, peers: list[dict[str, Any]]) -> None:
        for key in ("name", "address", "range"):
            seen: dict[object, int] = {}
            for index, peer in enumerate(peers):
                value = peer.get(key)
                if value is None:
                    continue
                if value in seen:
                    other = peers[seen[value]].get("name")
                    self.problem(("peers", index, key), str(value), f"a {key} that peer {other!r} does not have too")
                seen.setdefault(value, index)

    def values(self, path: KeyPath, table: Any, keys: Mapping[str, Check]) -> dict[str, Any]:
        """The accepted values of a table."""
        if table is None:
            self.problem(path, None, f"a table [{_dotted(path)}]", "none")
            return {}
        if not isinstance(table, dict):
            self.problem(path, table, f"a table [{_dotted(path)}]")
            return {}
        accepted: dict[str, Any] = {}
        for key, value in table.items():
            check = keys.get(key)
            if check is None:
                self.unknown((*path, key), key, keys)
                continue
            try:
                accepted[key] = check(value)
            except _WrongError as wrong:
                self.problem((*path, key), value, wrong.accepted, wrong.found)
        return accepted

    def require(self, path: KeyPath, values: dict[str, Any], key: str, table: dict[str, Any] | None = None) -> None:
        raw = self.document.get("speaker") if table is None else table
        if key not in values and isinstance(raw, dict) and key not in raw:
            self.problem(path, None, "a value for it", f"no {key}")

    def unknown(self, path: KeyPath, key: str, names: Mapping[str, object] | tuple[str, ...]) -> None:
        nearest = _nearest(key, names)
        self.problem(path, None, ", ".join(sorted(names)) + nearest, "an unknown key")

    def problem(self, path: KeyPath, value: Any, accepted: str, found: str | None = None) -> None:
        if found is None:
            found = "a value (not shown)" if path and path[-1] in SECRET_KEYS else _shown(value)
        self.problems.append(Problem(self.filename, line_of(self.lines, path), _dotted(path), found, accepted))


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
