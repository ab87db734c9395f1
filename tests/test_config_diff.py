"""What a reload does: each setting of a peer is one for which its session is reset, or one for which it is not."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import attrs
import pytest

from trio_bgp.config.diff import WITH_RESET, WITHOUT_RESET, compare
from trio_bgp.settings import (
    AddPathSettings,
    BgpRole,
    ControlSettings,
    LogFormat,
    LogSettings,
    MaxPrefixesAction,
    NextHop,
    NextHopCheck,
    PeerSettings,
    Policy,
    Role,
    Settings,
    SpeakerSettings,
    TcpAo,
)
from trio_bgp.wire.numbers import IPV4_UNICAST

SPEAKER = SpeakerSettings(local_as=65000, bgp_identifier=1)
PEER = PeerSettings(name="one", address=IPv4Address("192.0.2.1"), peer_as=65001)
RESET: dict[str, Any] = {
    "address": IPv4Address("192.0.2.9"),
    "peer_as": 65009,
    "role": Role.EBGP,
    "families": (IPV4_UNICAST,),
    "hold_time": 30,
    "extended_message": False,
    "md5_password": "secret",
    "tcp_ao": TcpAo(1, "hmac-sha1-96", "secret"),
    "ttl_security": 1,
    "add_path": AddPathSettings(send=2),
    "extended_next_hop": True,
    "next_hop": NextHop.SELF,
    "next_hop_subnet": IPv4Network("192.0.2.0/24"),
    "next_hop_ipv4": IPv4Address("192.0.2.9"),
    "next_hop_ipv6": None,
    "import_policy": Policy.NONE,
    "export_policy": Policy.NONE,
    "graceful_restart": False,
    "long_lived_stale_time": 60,
    "bgp_role": BgpRole.RS,
    "bgp_role_strict": True,
    "range": None,
}
KEPT: dict[str, Any] = {
    "port": 1790,
    "local_address": IPv4Address("192.0.2.254"),
    "passive": True,
    "connect_retry_time": 5.0,
    "max_prefixes": 7,
    "max_prefixes_action": MaxPrefixesAction.WARN,
    "max_prefixes_restart_time": 60.0,
    "max_peers": 7,
    "enforce_first_as": False,
    "next_hop_check": NextHopCheck.STRICT,
    "queue_limit": 1 << 20,
    "reject_as_set": True,
    "reject_martians": True,
}


def configuration(*peers: PeerSettings) -> Settings:
    """With these peers."""
    return Settings(speaker=SPEAKER, peers=peers)


def test_every_setting_of_a_peer_is_in_one_of_the_two() -> None:
    """A new one has to be thought about."""
    names = {field.name for field in attrs.fields(PeerSettings)} - {"name"}
    assert names == WITH_RESET | WITHOUT_RESET
    assert not WITH_RESET & WITHOUT_RESET
    assert RESET.keys() == WITH_RESET
    assert KEPT.keys() == WITHOUT_RESET


@pytest.mark.parametrize("name", sorted(RESET.keys() | KEPT.keys()))
def test_the_diff_says_whether_the_session_is_reset(name: str) -> None:
    """One setting at a time."""
    value: Any = (RESET | KEPT)[name]
    before = PEER
    if value is None:
        # Settings that such a peer cannot have: from another value to none.
        other: Any = IPv4Network("192.0.2.0/24") if name == "range" else IPv4Address("192.0.2.8")
        before = attrs.evolve(PEER, **{name: other})
    found = compare(configuration(before), configuration(attrs.evolve(before, **{name: value})))
    (change,) = found.peers
    assert (change.kind, change.keys, change.reset) == ("changed", (name,), name in RESET)
    end = "its session is reset" if name in RESET else "its session goes on"
    assert found.lines() == [f"changed one: {name} ({end})"]
    assert found.needs_restart == ()


def test_one_that_needs_it_is_enough() -> None:
    """Several at once."""
    changed = attrs.evolve(PEER, max_prefixes=5, hold_time=30)
    assert compare(configuration(PEER), configuration(changed)).peers[0].reset


def test_what_needs_a_restart_is_said() -> None:
    """The daemon itself, and another TCP-AO key of a peer that has one; the log does not."""
    old = configuration(attrs.evolve(PEER, tcp_ao=TcpAo(1, "hmac-sha1-96", "secret")))
    new = attrs.evolve(
        old,
        speaker=attrs.evolve(SPEAKER, local_as=65009),
        control=ControlSettings(rate_limit=5.0),
        log=LogSettings("debug", LogFormat.JSON),
        peers=(attrs.evolve(PEER, tcp_ao=TcpAo(2, "hmac-sha1-96", "secret")),),
    )
    found = compare(old, new)
    assert found.needs_restart == ("speaker.local_as", "control.rate_limit", "peers.one.tcp_ao")
    assert found.log == ("log.level", "log.format")
    assert found.lines() == [
        "changed one: tcp_ao (its session is reset)",
        "changed log.level",
        "changed log.format",
        "speaker.local_as differs: needs a restart",
        "control.rate_limit differs: needs a restart",
        "peers.one.tcp_ao differs: needs a restart",
    ]
