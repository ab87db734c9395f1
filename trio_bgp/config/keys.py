"""Every key of a configuration as data: its name, what it accepts, and how its value becomes a setting."""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, TypeVar

import attrs

from trio_bgp.config.problems import did_you_mean, shown
from trio_bgp.settings import (
    AddPathSettings,
    BgpRole,
    Compression,
    Endpoint,
    LogFormat,
    MaxPrefixesAction,
    MonitoredRib,
    NextHop,
    NextHopCheck,
    Policy,
    Role,
)
from trio_bgp.wire.nlri import Framing
from trio_bgp.wire.numbers import AS_TRANS, FAMILIES, Family

__all__ = [
    "BGP_PORT",
    "CONTROL_KEYS",
    "FAMILY_KEYS",
    "GROUP_KEYS",
    "LOG_KEYS",
    "PEER_KEYS",
    "RECORD_KEYS",
    "SPEAKER_KEYS",
    "STATION_KEYS",
    "Key",
    "UnacceptableError",
]

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
BGP_PORT: Final = 179

Choice = TypeVar("Choice", bound=Enum)


class UnacceptableError(Exception):
    """A value that a key does not accept.

    Attributes:
        found: what to say of the value instead of showing it.
        hint: added to what is accepted.
    """

    def __init__(self, found: str | None = None, hint: str = "") -> None:
        super().__init__(found or "")
        self.found = found
        self.hint = hint


@attrs.frozen
class Key:
    """A key and what it accepts."""

    name: str
    accepted: str
    """For messages and the reference: of the value, or of each element of the array."""
    convert: Callable[[object], object]
    """From what TOML gives to the setting; raises `UnacceptableError`."""
    array: bool = False
    """The value is an array without repetitions; `convert` is for its elements."""
    empty: bool = False
    """The array may be empty."""
    secret: bool = False
    """The value is never shown."""
    setting: str = ""
    """The setting's name where it is not the key's."""


def _whole(lowest: int, highest: int) -> Callable[[object], int]:
    def convert(value: object) -> int:
        if type(value) is not int or not lowest <= value <= highest:
            raise UnacceptableError
        return value

    return convert


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise UnacceptableError
    return value


def _as_number(value: object) -> int:
    number = _whole(1, 0xFFFFFFFF)(value)
    if number == AS_TRANS:
        raise UnacceptableError(f"{number}, which stands for AS numbers that do not fit two octets (RFC 6793)")
    return number


def _hold_time(value: object) -> int:
    if value in (1, 2):
        raise UnacceptableError
    return _whole(0, 0xFFFF)(value)


def _seconds(value: object) -> float:
    # A comparison with NaN is false, so `nan` is refused too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 86400:
        raise UnacceptableError
    return float(value)


def _duration(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 86400:
        raise UnacceptableError
    return float(value)


def _path(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value.encode()) <= 100 or "\0" in value:
        raise UnacceptableError
    return value


def _file(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value.encode()) <= 4096 or "\0" in value:
        raise UnacceptableError
    return value


def _pattern(value: object) -> str:
    """A path in which strftime has only directives that give the same everywhere and fit a file name."""
    path = _file(value)
    if not re.fullmatch(r"(?:[^%]|%[YymdHMSjs%])*", path) or path.endswith("/"):
        raise UnacceptableError
    return path


def _or_zero(lowest: int, highest: int) -> Callable[[object], int]:
    def convert(value: object) -> int:
        return 0 if type(value) is int and value == 0 else _whole(lowest, highest)(value)

    return convert


def _table_of(value: object, *names: str) -> dict[str, Any]:
    """A table with keys of these names only."""
    if not isinstance(value, dict):
        raise UnacceptableError
    for name in value:
        if name not in names:
            raise UnacceptableError(f"a table with the unknown key {shown(name)}", did_you_mean(name, names))
    return value


def _tcp_ao(value: object) -> tuple[int, str, str]:
    """Key identifier, algorithm, and the file that has the password."""
    value = _table_of(value, "key_id", "algorithm", "password_file")
    if len(value) != 3:
        raise UnacceptableError
    if value["algorithm"] not in ("hmac-sha1-96", "aes-128-cmac-96"):
        raise UnacceptableError
    return _whole(0, 255)(value["key_id"]), str(value["algorithm"]), _file(value["password_file"])


def _name(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 64:
        raise UnacceptableError
    if not all(character.isalnum() or character in ".:_-" for character in value):
        raise UnacceptableError
    return value


def _group(value: object) -> str:
    if not isinstance(value, str):
        raise UnacceptableError
    return value


def _hostname(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value.encode()) <= 64:
        raise UnacceptableError
    if not value.isprintable() or " " in value:
        raise UnacceptableError
    return value


def _password(value: object) -> str:
    if not isinstance(value, str):
        raise UnacceptableError
    octets = len(value.encode())
    if not 1 <= octets <= 80:
        raise UnacceptableError(f"a string of {octets} octets")
    return value


def _ttl_security(value: object) -> int | None:
    if isinstance(value, bool):
        return 1 if value else None
    return _whole(1, 254)(value)


def _identifier(value: object) -> int:
    if not isinstance(value, str):
        raise UnacceptableError
    try:
        number = int(IPv4Address(value))
    except ValueError:
        raise UnacceptableError from None
    if number == 0:
        raise UnacceptableError
    return number


def _any_address(value: str) -> IPv4Address | IPv6Address:
    """An address in the one form that connections are looked up by."""
    try:
        address = ip_address(value)
    except ValueError:
        raise UnacceptableError from None
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            raise UnacceptableError(hint=f', here "{address.ipv4_mapped}"')
        if address.scope_id is not None:
            raise UnacceptableError(hint=", without a zone")
    return address


def _address(value: object) -> IPv4Address | IPv6Address:
    if not isinstance(value, str):
        raise UnacceptableError
    address = _any_address(value)
    if address.is_unspecified or address.is_multicast:
        raise UnacceptableError(hint=" of one host")
    return address


def _address_of(version: int) -> Callable[[object], IPv4Address | IPv6Address]:
    def convert(value: object) -> IPv4Address | IPv6Address:
        address = _address(value)
        if address.version != version:
            raise UnacceptableError
        return address

    return convert


def _range(value: object) -> IPv4Network | IPv6Network:
    if not isinstance(value, str):
        raise UnacceptableError
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        raise UnacceptableError from None
    _any_address(str(network.network_address))  # refuses what a connection can never come from
    if str(network.network_address) != str(ip_address(value.partition("/")[0])):
        raise UnacceptableError(f"{shown(value)}, which has host bits set", f', here "{network}"')
    return network


def _endpoint(value: object) -> Endpoint:
    if not isinstance(value, str):
        raise UnacceptableError
    host, port = value, str(BGP_PORT)
    if value.startswith("["):
        host, bracket, rest = value[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UnacceptableError
        port = rest[1:] if rest else port
    elif value.count(":") == 1:
        host, _, port = value.partition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 0xFFFF):
        raise UnacceptableError
    address = _any_address(host)
    if value.startswith("[") and address.version == 4:
        raise UnacceptableError
    return Endpoint(address, int(port))


def _station(value: object) -> Endpoint:
    endpoint = _endpoint(value)
    text = str(value)
    if not endpoint.port or ("]:" not in text and text.count(":") != 1):
        raise UnacceptableError
    _address(str(endpoint.address))
    return endpoint


def _interval(value: object) -> float:
    return 0.0 if value == 0 and not isinstance(value, bool) else _seconds(value)


def _family(value: object) -> Family:
    if isinstance(value, str) and value in FAMILIES:
        return FAMILIES[value]
    raise UnacceptableError(hint=did_you_mean(value, FAMILIES))


def _add_path(value: object) -> AddPathSettings:
    value = _table_of(value, "send", "receive")
    if not value:
        raise UnacceptableError
    send = value.get("send", False)
    if send == "all":
        send = AddPathSettings.ALL
    elif send is False:
        send = 0
    elif type(send) is not int or not 1 <= send <= 255:
        raise UnacceptableError(f"send = {shown(send)}", did_you_mean(send, ["all"]))
    receive = value.get("receive", False)
    if not isinstance(receive, bool):
        raise UnacceptableError(f"receive = {shown(receive)}")
    return AddPathSettings(send, receive)


def _bgp_role(value: object) -> BgpRole:
    names = {role.name.lower().replace("_", "-"): role for role in BgpRole}
    if not isinstance(value, str) or value not in names:
        raise UnacceptableError(hint=did_you_mean(value, names))
    return names[value]


def _level(value: object) -> str:
    if not isinstance(value, str) or value not in LOG_LEVELS:
        raise UnacceptableError(hint=did_you_mean(value, LOG_LEVELS))
    return value


def _one_of(choices: type[Choice]) -> Callable[[object], Choice]:
    def convert(value: object) -> Choice:
        for choice in choices:
            if choice.value == value:
                return choice
        raise UnacceptableError(hint=did_you_mean(value, (str(choice.value) for choice in choices)))

    return convert


def _by_name(*keys: Key) -> Mapping[str, Key]:
    return {key.name: key for key in keys}


def _strings(values: Iterable[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)


AS_NUMBER: Final = "an AS number from 1 to 4294967295, but not 23456"
ADDRESS: Final = 'an IPv4 or IPv6 address, as in "192.0.2.1" or "2001:db8::1"'
BOOLEAN: Final = "true or false"
PREFIX: Final = 'a prefix without host bits, as in "192.0.2.0/24" or "2001:db8::/64"'
NAME: Final = "1 to 64 letters, digits, or any of . : _ -"

SPEAKER_KEYS: Final = _by_name(
    Key("local_as", AS_NUMBER, _as_number),
    Key("bgp_identifier", 'an IPv4 address other than "0.0.0.0", as in "192.0.2.1"', _identifier),
    Key(
        "listen",
        'an array of addresses with ports, as in ["127.0.0.1:1790", "[::1]:1790"]',
        _endpoint,
        array=True,
        empty=True,
    ),
    Key("hostname", "1 to 64 octets without spaces", _hostname),
    Key("restart_time", "0 to 4095 seconds", _whole(0, 4095)),
    Key("graceful_shutdown_time", "0 to 3600 seconds", _whole(0, 3600)),
    Key("cluster_id", 'an IPv4 address other than "0.0.0.0", as in "192.0.2.1"', _identifier),
)
GROUP_KEYS: Final = _by_name(
    Key("peer_as", AS_NUMBER, _as_number),
    Key("role", _strings(role.value for role in Role), _one_of(Role)),
    Key("families", "an array of names of address families", _family, array=True),
    Key("port", "1 to 65535", _whole(1, 0xFFFF)),
    Key("local_address", ADDRESS, _address),
    Key("passive", BOOLEAN, _boolean),
    Key("hold_time", "0, or 3 to 65535", _hold_time),
    Key("connect_retry_time", "1 to 86400 seconds", _seconds),
    Key("extended_message", BOOLEAN, _boolean),
    Key("max_prefixes", "1 to 4294967295", _whole(1, 0xFFFFFFFF)),
    Key("max_prefixes_action", _strings(each.value for each in MaxPrefixesAction), _one_of(MaxPrefixesAction)),
    Key("max_prefixes_restart_time", "0 to 86400 seconds", _duration),
    Key("max_peers", "1 to 65535", _whole(1, 0xFFFF)),
    Key("enforce_first_as", BOOLEAN, _boolean),
    Key("next_hop_check", _strings(check.value for check in NextHopCheck), _one_of(NextHopCheck)),
    Key("md5_password", "a string of 1 to 80 octets", _password, secret=True),
    Key("md5_password_file", "a path of 1 to 4096 octets", _file),
    Key(
        "tcp_ao",
        '{key_id = 0 to 255, algorithm = "hmac-sha1-96" or "aes-128-cmac-96", password_file = a path}',
        _tcp_ao,
    ),
    Key("ttl_security", "true (one hop), false, or 1 to 254 hops", _ttl_security),
    Key("queue_limit", "65536 to 1099511627776 octets", _whole(1 << 16, 1 << 40)),
    Key("add_path", '{send = "all", or 1 to 255 paths, receive = true or false}', _add_path),
    Key("extended_next_hop", BOOLEAN, _boolean),
    Key("next_hop", _strings(each.value for each in NextHop), _one_of(NextHop)),
    Key("next_hop_subnet", PREFIX, _range),
    Key("next_hop_ipv4", 'an IPv4 address, as in "192.0.2.1"', _address_of(4)),
    Key("next_hop_ipv6", 'an IPv6 address, as in "2001:db8::1"', _address_of(6)),
    Key("import", _strings(each.value for each in Policy), _one_of(Policy), setting="import_policy"),
    Key("export", _strings(each.value for each in Policy), _one_of(Policy), setting="export_policy"),
    Key("reject_as_set", BOOLEAN, _boolean),
    Key("reject_martians", BOOLEAN, _boolean),
    Key("graceful_restart", BOOLEAN, _boolean),
    Key("long_lived_stale_time", "0 to 16777215 seconds", _whole(0, 0xFFFFFF)),
    Key("bgp_role_strict", BOOLEAN, _boolean),
    Key("bgp_role", '"provider", "customer", "peer", "rs", "rs-client"', _bgp_role),
)
"""The keys of `[groups.NAME]`."""
PEER_KEYS: Final = _by_name(
    Key("name", NAME, _name),
    Key("address", ADDRESS, _address),
    Key("range", PREFIX, _range),
    Key("group", "the NAME of a [groups.NAME]", _group),
    *GROUP_KEYS.values(),
)
"""The keys of `[[peers]]`."""
LOG_KEYS: Final = _by_name(
    Key("level", _strings(LOG_LEVELS), _level),
    Key("format", _strings(form.value for form in LogFormat), _one_of(LogFormat)),
)
CONTROL_KEYS: Final = _by_name(
    Key("socket", "a path of 1 to 100 octets", _path),
    Key(
        "listen",
        'an array of addresses with ports, as in ["127.0.0.1:8179"]',
        _endpoint,
        array=True,
        empty=True,
    ),
    Key("rate_limit", "0 to 86400 questions a second", _duration),
)
"""The keys of `[control]`."""
PATTERN: Final = 'a path with %Y, %m, %d, %H, %M, %S and the like, as in "updates.%Y%m%d.%H%M.mrt"'
RECORD_KEYS: Final = _by_name(
    Key("updates", PATTERN, _pattern),
    Key("tables", PATTERN, _pattern),
    Key("rotate_seconds", "0, or 10 to 86400 seconds", _or_zero(10, 86400)),
    Key("rotate_octets", "0, or 65536 to 1099511627776 octets", _or_zero(1 << 16, 1 << 40)),
    Key("table_interval", "10 to 86400 seconds", _whole(10, 86400)),
    Key("compression", _strings(each.value for each in Compression), _one_of(Compression)),
    Key("sent", BOOLEAN, _boolean),
    Key("queue_limit", "65536 to 1099511627776 octets", _whole(1 << 16, 1 << 40)),
)
"""The keys of `[record]`."""
STATION_KEYS: Final = _by_name(
    Key("address", 'an address with a port, as in "192.0.2.1:5000" or "[2001:db8::1]:5000"', _station),
    Key("monitor", _strings(rib.value for rib in MonitoredRib), _one_of(MonitoredRib), array=True),
    Key("peers", "names of peers or ranges", _name, array=True),
    Key("statistics_interval", "0, or 1 to 86400 seconds", _interval),
    Key("connect_retry_time", "1 to 86400 seconds", _seconds),
    Key("queue_limit", "1048576 to 1099511627776 octets", _whole(1 << 20, 1 << 40)),
)
"""The keys of `[[bmp.stations]]`."""
FAMILY_KEYS: Final = _by_name(
    Key("afi", "1 to 65535", _whole(1, 0xFFFF)),
    Key("safi", "1 to 255", _whole(1, 0xFF)),
    Key("nlri_length", _strings(framing.value for framing in Framing), _one_of(Framing)),
)
"""The keys of `[families.NAME]`."""
