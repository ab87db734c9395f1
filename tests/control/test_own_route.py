"""Routes of our own: from JSON to attributes, and what is wrong in a sentence."""

from typing import Any

import pytest

from trio_bgp.control.own_route import parse_own_route
from trio_bgp.control.request import Refused
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST

PLAIN: dict[str, Any] = {"prefix": "203.0.113.0/24", "next_hop": "192.0.2.9"}
BLOCK = bytes.fromhex("40010100 400200")


def block_of(**more: Any) -> bytes:
    """The path attributes of one route."""
    ((route,), _) = parse_own_route(PLAIN | more)
    return route.attributes


def test_a_route_of_each_ip_version() -> None:
    """IPv4 with NEXT_HOP, IPv6 with the next hop for MP_REACH_NLRI."""
    ((four,), seconds) = parse_own_route(PLAIN)
    assert (four.family, four.key, four.next_hop, seconds) == (IPV4_UNICAST, b"\x18\xcb\x00\x71", None, None)
    assert four.attributes == BLOCK + bytes.fromhex("400304c0000209")
    wanted = {"prefixes": ["2001:db8::/32", "2001:db9::/32"], "next_hop": "2001:db8::9", "seconds": 5}
    ((six, other), seconds) = parse_own_route(wanted)
    assert (six.family, six.key, seconds) == (IPV6_UNICAST, bytes.fromhex("2020010db8"), 5.0)
    assert six.next_hop == bytes.fromhex("20010db8000000000000000000000009")
    assert six.attributes == other.attributes == BLOCK


@pytest.mark.parametrize(
    ("more", "octets"),
    [
        ({"as_path": "64999 4200000000"}, "02020000fde7fa56ea00"),
        ({"origin": "incomplete"}, "40010102"),
        ({"med": 5}, "80040400000005"),
        ({"local_pref": 200}, "400504000000c8"),
        ({"communities": ["65000:1", "blackhole"]}, "c00808fde80001ffff029a"),
        ({"large_communities": ["65000:1:2"]}, "c0200c0000fde80000000100000002"),
        ({"extended_communities": ["rt:65000:7"]}, "c010080002fde800000007"),
        ({"extended_communities": ["ro:10.0.0.1:7"]}, "c0100801030a0000010007"),
        ({"extended_communities": ["rt:4200000000:7"]}, "c010080202fa56ea000007"),
        ({"extended_communities": ["generic:0x43000000:0x1"]}, "c010084300000000000001"),
        ({"attributes": "c0630199"}, "c0630199"),
    ],
)
def test_each_attribute_has_its_octets(more: dict[str, Any], octets: str) -> None:
    """Written out by hand."""
    assert bytes.fromhex(octets) in block_of(**more)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"prefix": "10.0.0.1/8"}, "prefix is '10.0.0.1/8'; accepted: one without host bits"),
        ({"prefixes": []}, "1 to 10000"),
        ({"next_hop": "2001:db8::1"}, "accepted: an IPv4 address"),
        ({"next_hop": "0.0.0.0"}, "the address of a host"),
        ({"next_hop": 7.5}, "next_hop is 7.5; accepted: an address"),
        ({"as_path": "1 x"}, "as_path is 'x'"),
        ({"as_path": "0"}, "as_path is '0'"),
        ({"as_path": "1 " * 256}, "up to 255"),
        ({"origin": "bgp"}, "accepted: igp, egp, incomplete"),
        ({"med": -1}, "med is -1; accepted: 0 to 4294967295"),
        ({"med": "many"}, "med is 'many'"),
        ({"communities": ["65536:1"]}, "communities is '65536:1'"),
        ({"communities": "1:1"}, "an array"),
        ({"large_communities": ["1:2"]}, "accepted: N:N:N"),
        ({"extended_communities": ["xx:1:2"]}, "accepted: rt:N:N"),
        ({"attributes": "zz"}, "octets in hex"),
        ({"attributes": "c063"}, "attributes: "),
        ({"attributes": "40010100"}, "attributes: "),
        ({"attributes": "400304c0000201"}, "attributes: "),
        ({"seconds": 0}, "seconds is 0"),
        ({"seconds": "nan"}, "seconds is 'nan'"),
        ({"colour": "red"}, "there is no 'colour'; there are prefix"),
    ],
)
def test_what_is_wrong_is_said(more: dict[str, Any], text: str) -> None:
    """Status 400 with what was found and what is accepted."""
    with pytest.raises(Refused) as caught:
        parse_own_route(PLAIN | more)
    assert caught.value.status == 400
    assert text in str(caught.value)


def test_what_is_missing_is_said() -> None:
    """A prefix and a next hop are needed."""
    for wanted in ({"next_hop": "192.0.2.9"}, {"prefix": "10.0.0.0/8"}):
        with pytest.raises(Refused, match=r"accepted: (1 to|an address)"):
            parse_own_route(wanted)
