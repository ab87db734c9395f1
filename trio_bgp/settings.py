"""What an operator may choose, as frozen values.

Nothing here reads TOML or opens a socket: `trio_bgp.config` makes these values from a file, programs and tests make
them directly. All times are seconds, all sizes octets.
"""

import enum
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import ClassVar, Final

import attrs

from trio_bgp.wire.nlri import Framing
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST, Family

__all__ = [
    "AddPathSettings",
    "BgpRole",
    "BmpSettings",
    "BmpStationSettings",
    "Compression",
    "ControlSettings",
    "Endpoint",
    "LogFormat",
    "LogSettings",
    "MaxPrefixesAction",
    "MonitoredRib",
    "NextHop",
    "NextHopCheck",
    "PeerSettings",
    "Policy",
    "RecordSettings",
    "Role",
    "Settings",
    "SpeakerSettings",
    "TcpAo",
]

DEFAULT_HOLD_TIME: Final = 90
DEFAULT_CONNECT_RETRY_TIME: Final = 30.0
DEFAULT_QUEUE_LIMIT: Final = 8 * 1024 * 1024
DEFAULT_BMP_QUEUE_LIMIT: Final = 64 * 1024 * 1024


class Role(enum.Enum):
    """What a peer is to us; it decides which routes it gets and how they are rewritten."""

    RS_CLIENT = "rs-client"
    """A route-server client (RFC 7947): attributes pass untouched."""
    RR_CLIENT = "rr-client"
    """An internal peer whose routes are reflected to all internal peers (RFC 4456)."""
    IBGP = "ibgp"
    """An internal peer that is no client: it gets clients' and external routes (RFC 4456)."""
    EBGP = "ebgp"
    """An ordinary external peer: our AS is prepended, the next hop is set (RFC 4271)."""

    @property
    def internal(self) -> bool:
        """The peer is in our AS."""
        return self in (Role.RR_CLIENT, Role.IBGP)


class NextHopCheck(enum.Enum):
    """How strictly the next hop of a received route is held against the peer that sent it (RFC 7948, section 4.8)."""

    OFF = "off"
    """Any next hop is taken."""
    STRICT = "strict"
    """The next hop must be the peer's own session address."""


class Policy(enum.Enum):
    """What an external peer that is no route-server client may send or get (RFC 8212)."""

    NONE = "none"
    """Nothing."""
    ACCEPT = "accept"
    """Everything."""


class NextHop(enum.Enum):
    """Which next hop goes to a peer where the protocol lets us choose (RFC 4271, section 5.1.3)."""

    SELF = "self"
    """Our address."""
    UNCHANGED = "unchanged"
    """The received one."""
    THIRD_PARTY = "third-party"
    """The received one if it is in `next_hop_subnet`, which the peer shares, else ours."""


class BgpRole(enum.Enum):
    """Our role on an external session (RFC 9234), by the value on the wire."""

    PROVIDER = 0
    RS = 1
    RS_CLIENT = 2
    CUSTOMER = 3
    PEER = 4

    @property
    def other(self) -> "BgpRole":
        """What the peer must be."""
        return {
            BgpRole.PROVIDER: BgpRole.CUSTOMER,
            BgpRole.CUSTOMER: BgpRole.PROVIDER,
            BgpRole.RS: BgpRole.RS_CLIENT,
            BgpRole.RS_CLIENT: BgpRole.RS,
            BgpRole.PEER: BgpRole.PEER,
        }[self]


class MaxPrefixesAction(enum.Enum):
    """What happens when a peer has more prefixes than its limit."""

    RESTART = "restart"
    """The session ends with Cease/1, and may come up again after `max_prefixes_restart_time`."""
    STOP = "stop"
    """The session ends with Cease/1 and stays down."""
    DROP = "drop"
    """Further prefixes are not taken."""
    WARN = "warn"
    """The log says so."""


@attrs.frozen
class AddPathSettings:
    """ADD-PATH (RFC 7911) for all of a peer's families."""

    send: int = 0
    """Paths to a prefix that the peer gets at most; 0: no ADD-PATH towards it. `ALL` for no limit."""
    receive: bool = False
    """The peer may send us several paths to a prefix."""

    ALL: ClassVar[int] = 0xFFFFFFFF


@attrs.frozen
class TcpAo:
    """A TCP-AO master key (RFC 5925), the same in both directions."""

    key_id: int
    """SendID and RecvID, 0 to 255."""
    algorithm: str
    """`hmac-sha1-96` or `aes-128-cmac-96` (RFC 5926)."""
    password: str = attrs.field(repr=False)


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
    """0: whichever the peer says; only for programs."""
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
    max_prefixes_action: MaxPrefixesAction = MaxPrefixesAction.RESTART
    """What happens then instead."""
    max_prefixes_restart_time: float = 0.0
    """Seconds for which no session is made after that, and none taken."""
    max_peers: int = 1000
    """How many peers a range may have at the same time."""
    enforce_first_as: bool = True
    """The leftmost AS of AS_PATH must be the peer's (RFC 4271, section 6.3)."""
    next_hop_check: NextHopCheck = NextHopCheck.OFF
    md5_password: str | None = attrs.field(default=None, repr=False)
    """TCP-MD5 key (RFC 2385)."""
    tcp_ao: TcpAo | None = None
    """TCP-AO key (RFC 5925), where the kernel has it; not beside TCP-MD5."""
    ttl_security: int | None = None
    """GTSM (RFC 5082): the number of hops the peer may be away, 1 for a directly connected one."""
    queue_limit: int = DEFAULT_QUEUE_LIMIT
    """Octets that may wait for this peer before it is fed from the RIB instead."""
    add_path: AddPathSettings = AddPathSettings()
    extended_next_hop: bool = False
    """Offer IPv6 next hops for IPv4 routes (RFC 8950)."""
    next_hop: NextHop | None = None
    """None: `SELF` towards an external peer, `UNCHANGED` towards others. Route-server clients get it as it came."""
    next_hop_subnet: IPv4Network | IPv6Network | None = None
    """For `NextHop.THIRD_PARTY`."""
    next_hop_ipv4: IPv4Address | None = None
    """Our address as next hop; None: that of the session, if it is IPv4."""
    next_hop_ipv6: IPv6Address | None = None
    """Our address as next hop; None: that of the session, if it is IPv6."""
    import_policy: Policy | None = None
    """None: `NONE` for `Role.EBGP` (RFC 8212), `ACCEPT` for others."""
    export_policy: Policy | None = None
    """Likewise, towards the peer."""
    reject_as_set: bool = False
    """Treat routes with AS_SET or AS_CONFED_SET as withdrawn (RFC 9774)."""
    reject_martians: bool = False
    """Refuse prefixes that are not for global routing (RFC 6890)."""
    graceful_restart: bool = True
    """Keep the peer's routes while it restarts, as long as it asks for (RFC 4724)."""
    long_lived_stale_time: int = 0
    """Seconds, at most, for which its routes are kept after that, marked stale (RFC 9494); 0: not offered."""
    bgp_role_strict: bool = False
    """Refuse a peer that does not say its BGP Role (RFC 9234, section 4.2)."""
    bgp_role: BgpRole | None = None
    """Our role towards this peer (RFC 9234): offered, checked, and ONLY_TO_CUSTOMER obeyed."""

    @property
    def imports(self) -> bool:
        """Whether anything is taken from the peer."""
        policy = self.import_policy or (Policy.NONE if self.role is Role.EBGP else Policy.ACCEPT)
        return policy is Policy.ACCEPT

    @property
    def exports(self) -> bool:
        """Whether anything is sent to the peer."""
        policy = self.export_policy or (Policy.NONE if self.role is Role.EBGP else Policy.ACCEPT)
        return policy is Policy.ACCEPT


@attrs.frozen(kw_only=True)
class SpeakerSettings:
    """The daemon itself."""

    local_as: int
    bgp_identifier: int
    """As the 32-bit number; `str(IPv4Address(n))` shows it the usual way."""
    listen: tuple[Endpoint, ...] = ()
    hostname: str | None = None
    """Offered in the FQDN capability when given."""
    restart_time: int = 0
    """Seconds within which we promise to be back when we restart (RFC 4724), at most 4095; 0: no promise."""
    restarting: bool = False
    """We have just been restarted: say so, and tell nobody anything before all peers have told us all they have."""
    graceful_shutdown_time: int = 0
    """Seconds for which our routes are marked GRACEFUL_SHUTDOWN (RFC 8326) before a stop."""
    cluster_id: int | None = None
    """For route reflection (RFC 4456), as the 32-bit number; None: the BGP Identifier."""
    framing: Mapping[Family, Framing] = attrs.field(factory=dict)
    """How to tell NLRI apart in families this program does not know."""


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
class ControlSettings:
    """How the daemon is asked and told while it runs."""

    socket: str | None = None
    """Path of the Unix socket for commands; None: none."""
    listen: tuple[Endpoint, ...] = ()
    """Addresses of the looking glass, over HTTP: it only shows."""
    rate_limit: float = 50.0
    """Questions a second that one client may ask the looking glass in the long run; 0: any number."""


class Compression(enum.Enum):
    """How recordings are compressed."""

    NONE = "none"
    GZIP = "gzip"
    BZ2 = "bz2"
    XZ = "xz"

    @property
    def suffix(self) -> str:
        """What a file's name ends with."""
        return {"none": "", "gzip": ".gz", "bz2": ".bz2", "xz": ".xz"}[self.value]


@attrs.frozen(kw_only=True)
class RecordSettings:
    """What is recorded as MRT. Times in file names, and when files begin, are UTC."""

    updates: str | None = None
    """Path of the files with messages and state changes, with directives of strftime; None: none."""
    tables: str | None = None
    """Path of the files with all routes, likewise."""
    rotate_seconds: int = 900
    """A file of updates ends at each multiple of so many seconds; 0: not because of time."""
    rotate_octets: int = 0
    """And with so many octets, before compression; 0: not because of its size."""
    table_interval: int = 7200
    """All routes are dumped at each multiple of so many seconds."""
    compression: Compression = Compression.NONE
    sent: bool = False
    """Record what is sent, too."""
    queue_limit: int = 64 * 1024 * 1024
    """Octets that may wait to be written; what is more is lost, and counted."""


class MonitoredRib(enum.Enum):
    """What a BMP station may be told."""

    ADJ_RIB_IN_PRE = "adj-rib-in-pre"
    """The UPDATEs that peers sent, as they came (RFC 7854)."""
    ADJ_RIB_IN_POST = "adj-rib-in-post"
    """The routes that were taken of them, as they are kept (RFC 7854)."""
    ADJ_RIB_OUT = "adj-rib-out"
    """What peers are sent (RFC 8671)."""
    LOC_RIB = "loc-rib"
    """The best path to each prefix (RFC 9069)."""


@attrs.frozen(kw_only=True)
class BmpStationSettings:
    """A BMP station that we connect to."""

    address: Endpoint
    monitor: tuple[MonitoredRib, ...] = (MonitoredRib.ADJ_RIB_IN_PRE,)
    peers: tuple[str, ...] = ()
    """Names of the peers, or ranges, that it is told of; none: all of them."""
    statistics_interval: float = 60.0
    """Seconds between Statistics Reports; 0: none."""
    connect_retry_time: float = DEFAULT_CONNECT_RETRY_TIME
    """The longest time between attempts to connect; the first retries come sooner, doubling up to it, with jitter."""
    queue_limit: int = DEFAULT_BMP_QUEUE_LIMIT
    """Octets that may wait for the station; with more its connection is closed and begun anew."""


@attrs.frozen(kw_only=True)
class BmpSettings:
    """Monitoring by BMP."""

    stations: tuple[BmpStationSettings, ...] = ()


@attrs.frozen(kw_only=True)
class Settings:
    """A whole configuration."""

    speaker: SpeakerSettings
    peers: tuple[PeerSettings, ...] = ()
    log: LogSettings = LogSettings()
    control: ControlSettings = ControlSettings()
    record: RecordSettings = RecordSettings()
    bmp: BmpSettings = BmpSettings()


@attrs.frozen
class PeerChange:
    """What a new configuration says of a peer."""

    kind: str
    """`added`, `removed` or `changed`."""
    name: str
    settings: PeerSettings
    """As it is to be; of a removed one as it was."""
    keys: tuple[str, ...] = ()
    """The settings that changed."""
    reset: bool = False
    """Its session has to end for that."""
