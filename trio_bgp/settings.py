"""What an operator may choose, as frozen values.

Nothing here reads TOML or opens a socket: `trio_bgp.config` makes these values from a file, programs and tests make
them directly. All times are seconds, all sizes octets.
"""

import enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

import attrs

from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST, Family

__all__ = [
    "Endpoint",
    "LogFormat",
    "LogSettings",
    "NextHopCheck",
    "PeerSettings",
    "Role",
    "Settings",
    "SpeakerSettings",
]

DEFAULT_HOLD_TIME: Final = 90
DEFAULT_CONNECT_RETRY_TIME: Final = 30.0
DEFAULT_QUEUE_LIMIT: Final = 8 * 1024 * 1024


class Role(enum.Enum):
    """What a peer is to us; it decides which routes it gets and how they are rewritten."""

    RS_CLIENT = "rs-client"
    """A route-server client (RFC 7947): attributes pass untouched."""


class NextHopCheck(enum.Enum):
    """How strictly the next hop of a received route is held against the peer that sent it (RFC 7948, section 4.8)."""

    OFF = "off"
    """Any next hop is taken."""
    STRICT = "strict"
    """The next hop must be the peer's own session address."""


@attrs.frozen
class Endpoint:
    """A local address and TCP port to listen on."""

    address: IPv4Address | IPv6Address
    port: int = 179

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


@attrs.frozen(kw_only=True)
class PeerSettings:
    """One configured peer, or one listen range from which peers come (exactly one of `address` and `range`)."""

    name: str
    address: IPv4Address | IPv6Address | None = None
    range: IPv4Network | IPv6Network | None = None
    """Connections from any address inside are accepted as peers named `name/address`."""
    peer_as: int
    role: Role = Role.RS_CLIENT
    families: tuple[Family, ...] = (IPV4_UNICAST, IPV6_UNICAST)
    port: int = 179
    """The TCP port we connect to."""
    local_address: IPv4Address | IPv6Address | None = None
    """The source address of our connections; None lets the kernel choose."""
    passive: bool = False
    """Only wait for the peer to connect. Always so for a range."""
    hold_time: int = DEFAULT_HOLD_TIME
    """Offered in the OPEN; 0, or at least 3 (RFC 4271, section 4.2)."""
    connect_retry_time: float = DEFAULT_CONNECT_RETRY_TIME
    """The ConnectRetryTimer; the first retries come sooner, doubling up to it, with jitter."""
    extended_message: bool = True
    """Offer messages of up to 65,535 octets (RFC 8654)."""
    max_prefixes: int | None = None
    """More prefixes than this in one family end the session with Cease/1 (RFC 4486)."""
    enforce_first_as: bool = True
    """The leftmost AS of AS_PATH must be the peer's (RFC 4271, section 6.3)."""
    next_hop_check: NextHopCheck = NextHopCheck.OFF
    md5_password: str | None = attrs.field(default=None, repr=False)
    """TCP-MD5 key (RFC 2385)."""
    ttl_security: int | None = None
    """GTSM (RFC 5082): the number of hops the peer may be away, 1 for a directly connected one."""
    queue_limit: int = DEFAULT_QUEUE_LIMIT
    """Octets that may wait for this peer before it is fed from the RIB instead."""


@attrs.frozen(kw_only=True)
class SpeakerSettings:
    """The daemon itself."""

    local_as: int
    bgp_identifier: int
    """As the 32-bit number; `str(IPv4Address(n))` shows it the usual way."""
    listen: tuple[Endpoint, ...] = ()
    hostname: str | None = None
    """Offered in the FQDN capability when given."""


class LogFormat(enum.Enum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


@attrs.frozen
class LogSettings:
    """What is logged, to standard error."""

    level: str = "info"
    """`debug`, `info`, `warning` or `error`."""
    format: LogFormat = LogFormat.TEXT


@attrs.frozen(kw_only=True)
class Settings:
    """A whole configuration."""

    speaker: SpeakerSettings
    peers: tuple[PeerSettings, ...] = ()
    log: LogSettings = LogSettings()
