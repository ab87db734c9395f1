"""Families beyond unicast: what GoBGP and ExaBGP make of them arrives as it was sent."""

import json
import signal
import socket
from collections import Counter
from pathlib import Path
from typing import Any, Self

import pytest

from tests.harness import decoder
from tests.harness.decoder import Family
from tests.interop.daemons import RS_ADDRESS, RS_AS, ExaBgp, GoBgp, TrioBgp, peer, wait_for
from tests.interop.raw import RawSpeaker

pytestmark = pytest.mark.interop

DECLARED = """
[families.flows-of-frames]
afi = 25
safi = 134
nlri_length = "flowspec"
"""

GOBGP: dict[str, tuple[str, str, list[str]]] = {
    "l2vpn-evpn": (
        "l2vpn-evpn",
        "evpn",
        [
            "macadv aa:bb:cc:dd:ee:01 10.0.0.1 etag 100 label 100 rd 65000:1 rt 65000:1 encap vxlan",
            "macadv aa:bb:cc:dd:ee:02 2001:db8::2 etag 100 label 100 rd 65000:1 rt 65000:1 default-gateway",
            "multicast 10.0.0.2 etag 100 rd 65000:1 rt 65000:1 encap vxlan pmsi ingress-repl 100 10.0.0.2",
            "prefix 10.1.0.0/24 gw 10.0.0.5 etag 5 label 77 rd 65000:1 rt 65000:1 router-mac aa:bb:cc:dd:ee:03",
            "prefix 2001:db8:1::/48 etag 5 label 77 rd 65000:1 rt 65000:1",
            "a-d esi lacp aa:bb:cc:dd:ee:03 10 etag 9 label 5 rd 65000:1 rt 65000:1",
            "esi 10.0.0.3 esi arbitrary 11:11:11:11:11:11:11:11:11 rd 65000:2 rt 65000:1",
        ],
    ),
    "l3vpn-ipv4-unicast": (
        "vpnv4-unicast",
        "vpnv4",
        [
            "10.2.0.0/24 label 10 rd 65000:1 rt 65000:1 nexthop 192.0.2.1 med 7 community 65000:9",
            "10.2.0.0/24 label 11 rd 192.0.2.9:2 rt 65000:2 rt 65000:3 nexthop 192.0.2.1",
            "0.0.0.0/0 label 12 rd 65000:1 rt 65000:1 nexthop 192.0.2.2",
        ],
    ),
    "l3vpn-ipv6-unicast": (
        "vpnv6-unicast",
        "vpnv6",
        [
            "2001:db8:2::/64 label 10 rd 65000:1 rt 65000:1 nexthop 2001:db8::1",
            "2001:db8:2::1/128 label 10 rd 65000:1 rt 65000:1 nexthop 2001:db8::1",
        ],
    ),
    "ipv4-labelled-unicast": (
        "ipv4-labelled-unicast",
        "ipv4-mpls",
        ["10.3.0.0/24 100/200 nexthop 192.0.2.1", "10.3.1.1/32 16 nexthop 192.0.2.1"],
    ),
    "ipv6-labelled-unicast": (
        "ipv6-labelled-unicast",
        "ipv6-mpls",
        ["2001:db8:3::/64 100 nexthop 2001:db8::1", "2001:db8:3::1/128 101 nexthop 2001:db8::1"],
    ),
    "ipv4-flowspec": (
        "ipv4-flowspec",
        "ipv4-flowspec",
        [
            "match destination 10.0.0.0/24 source 20.0.0.0/8 destination-port >=80&<=90 then rate-limit 100",
            "match destination 10.0.1.0/24 fragment is-fragment then discard",
            f"match destination 10.0.2.0/24 port {' '.join(f'=={port}' for port in range(5000, 5070))} then mark 10",
        ],
    ),
    "ipv6-flowspec": (
        "ipv6-flowspec",
        "ipv6-flowspec",
        ["match destination 2001:db8::/32 protocol ==udp then discard"],
    ),
    "l3vpn-ipv4-flowspec": (
        "vpnv4-flowspec",
        "ipv4-l3vpn-flowspec",
        ["rd 65000:1 match destination 10.0.0.0/24 then redirect 65000:5 rt 65000:1"],
    ),
    "l3vpn-ipv6-flowspec": (
        "vpnv6-flowspec",
        "ipv6-l3vpn-flowspec",
        ["rd 65000:1 match destination 2001:db8::/32 then discard rt 65000:1"],
    ),
    "l2vpn-flowspec": (
        "flows-of-frames",
        "l2vpn-flowspec",
        ["rd 65000:1 match destination-mac aa:bb:cc:dd:ee:ff ether-type ==ipv4 then discard rt 65000:1"],
    ),
    "ipv4-mup": (
        "ipv4-mup",
        "mup-ipv4",
        [
            "t1st 192.168.0.1/32 rd 100:100 rt 10:10 teid 12345 qfi 9 endpoint 10.0.0.1",
        ],
    ),
}
"""By GoBGP's name of a family: ours, that of its command, and routes."""

Held = dict[str, list[Any]]


def shown(gobgp: GoBgp, direction: str, family: str) -> Held:
    """What a GoBGP has told the route server (`adj-out`) or heard from it (`adj-in`): NLRI and attributes by prefix."""
    found: Held = {}
    for prefix, paths in gobgp.adjacent(direction, family).items():
        for path in paths:
            for each in path["attrs"]:
                # Which other NLRI were in the same message.
                each.pop("value") if each["type"] == 14 else None
        found[prefix] = [
            {"nlri": path["nlri"], "attrs": sorted(path["attrs"], key=lambda each: int(each["type"]))} for path in paths
        ]
    return found


def without(held: Held, *types: int) -> Held:
    """The same without some attributes, which were there."""
    found: Held = {}
    for prefix, paths in held.items():
        for path in paths:
            assert set(types) <= {each["type"] for each in path["attrs"]}
        found[prefix] = [
            {**path, "attrs": [each for each in path["attrs"] if each["type"] not in types]} for path in paths
        ]
    return found


@pytest.mark.parametrize("role", ["rs-client", "rr-client"])
def test_gobgp_holds_what_gobgp_sent(role: str, tmp_path: Path) -> None:
    """In eleven families a GoBGP holds exactly what another sent, but for what reflection adds; withdrawals work."""
    port = 18600
    asn = RS_AS if role == "rr-client" else 0
    families = f"families = {json.dumps([ours for ours, _, _ in GOBGP.values()])}"
    added = (9, 10) if role == "rr-client" else ()
    with (
        TrioBgp(tmp_path, port, [peer(n, role, families) for n in (43, 44)], extra=DECLARED),
        GoBgp(43, tmp_path, port, asn=asn, families=tuple(GOBGP)) as sender,
        GoBgp(44, tmp_path, port, asn=asn, families=tuple(GOBGP)) as receiver,
    ):
        for _, command, routes in GOBGP.values():
            for route in routes:
                sender.gobgp("global", "rib", "add", "-a", command, *route.split())
        for _, command, routes in GOBGP.values():
            sent = wait_for(
                lambda c=command: shown(sender, "adj-out", c),  # type: ignore[misc]
                lambda held, r=routes: len(held) == len(r),  # type: ignore[misc]
            )
            wait_for(
                lambda c=command: without(shown(receiver, "adj-in", c), *added),  # type: ignore[misc]
                lambda held, s=sent: held == s,  # type: ignore[misc]
            )
        left = dict(GOBGP)
        for name, (_, command, routes) in GOBGP.items():
            for route in routes:
                sender.gobgp("global", "rib", "del", "-a", command, *route.split())
            wait_for(lambda c=command: shown(receiver, "adj-in", c), lambda held: held == {})  # type: ignore[misc]
            del left[name]
            for _, other, routes_left in left.values():
                assert len(shown(receiver, "adj-in", other)) == len(routes_left)


@pytest.mark.parametrize("role", ["rs-client", "rr-client"])
def test_route_target_constraint(role: str, tmp_path: Path) -> None:
    """A GoBGP's VRF asks for its route target through us: only then another GoBGP sends VPN routes of that target."""
    port = 18610
    asn = RS_AS if role == "rr-client" else 0
    names = ("rtc", "l3vpn-ipv4-unicast")
    families = 'families = ["rt-constrain", "vpnv4-unicast"]'
    with (
        TrioBgp(tmp_path, port, [peer(n, role, families) for n in (45, 46)]),
        GoBgp(45, tmp_path, port, asn=asn, families=names) as sender,
        GoBgp(46, tmp_path, port, asn=asn, families=names) as receiver,
    ):
        for n in (1, 2):
            route = f"10.{n}.0.0/24 label 10 rd 65000:{n} rt 65000:{n} nexthop 192.0.2.1"
            sender.gobgp("global", "rib", "add", "-a", "vpnv4", *route.split())
        receiver.gobgp(*["vrf", "add", "blue", "rd", "65000:1", "rt", "both", "65000:1"])
        wait_for(lambda: list(shown(sender, "adj-in", "rtc")), lambda held: held == [f"{receiver.asn}:65000:1"])
        wait_for(lambda: list(shown(receiver, "adj-in", "vpnv4")), lambda held: held == ["65000:1:10.1.0.0/24"])
        receiver.gobgp(*["vrf", "del", "blue"])
        wait_for(lambda: shown(sender, "adj-in", "rtc"), lambda held: held == {})


EXABGP_FAMILIES: dict[str, tuple[str, Family]] = {
    "ipv4 unicast": ("ipv4-unicast", (1, 1)),
    "ipv4 multicast": ("ipv4-multicast", (1, 2)),
    "ipv4 nlri-mpls": ("ipv4-labelled-unicast", (1, 4)),
    "ipv4 mpls-vpn": ("vpnv4-unicast", (1, 128)),
    "ipv4 flow": ("ipv4-flowspec", (1, 133)),
    "ipv4 flow-vpn": ("vpnv4-flowspec", (1, 134)),
    "ipv6 unicast": ("ipv6-unicast", (2, 1)),
    "ipv6 nlri-mpls": ("ipv6-labelled-unicast", (2, 4)),
    "ipv6 mpls-vpn": ("vpnv6-unicast", (2, 128)),
    "ipv6 flow": ("ipv6-flowspec", (2, 133)),
    "ipv6 flow-vpn": ("vpnv6-flowspec", (2, 134)),
    "l2vpn vpls": ("l2vpn-vpls", (25, 65)),
    "l2vpn evpn": ("l2vpn-evpn", (25, 70)),
    "bgp-ls bgp-ls": ("bgp-ls", (16388, 71)),
    "bgp-ls bgp-ls-vpn": ("bgp-ls-vpn", (16388, 72)),
}
"""All that ExaBGP 4.2 negotiates, by its names."""
# It can announce nothing in these: what its configuration calls multicast it says in IPv4 unicast.
SILENT = {(1, 2), (25, 70), (16388, 71), (16388, 72)}
EXABGP_ROUTES = """
static {
  route 10.0.4.0/24 next-hop 192.0.2.9 med 7 community [ 65009:1 65009:2 ] large-community [ 65009:1:2 ];
  route 10.0.5.0/24 next-hop 192.0.2.9 as-path [ 65009 4200000001 ] aggregator ( 65009:192.0.2.9 );
  route 10.0.6.0/24 next-hop 192.0.2.9 attribute [ 0x99 0xc0 0x01020304 ];
  route 224.1.0.0/24 next-hop 192.0.2.9;
  route 10.2.0.0/24 next-hop 192.0.2.9 label 800000;
  route 10.2.1.0/24 next-hop 192.0.2.9 label [ 16 17 18 ];
  route 10.3.0.0/24 rd 65009:1 label 16 next-hop 192.0.2.9 extended-community [ target:65009:1 ];
  route 10.3.0.0/24 rd 65009:2 label [ 17 18 ] next-hop 192.0.2.9 extended-community [ target:65009:2 ];
  route 2001:db8:4::/48 next-hop 2001:db8:ffff::9 med 7 community [ 65009:1 ];
  route 2001:db8:2::/48 next-hop 2001:db8:ffff::9 label 16;
  route 2001:db8:3::/48 rd 65009:1 label 16 next-hop 2001:db8:ffff::9 extended-community [ target:65009:1 ];
}
l2vpn {
  vpls endpoint 5 base 10702 offset 1 size 8 next-hop 192.0.2.9 rd 192.0.2.9:123 extended-community [ target:65009:6 ];
}
flow {
  route a { match { destination 10.4.0.0/24; destination-port >=80&<=90; } then { rate-limit 9600; } }
  route b { match { destination 10.4.1.0/24; port [ PORTS ]; } then { discard; } }
  route c { rd 65009:1; match { destination 10.4.0.0/24; } then { redirect 65009:5; } }
  route d { match { destination 2001:db8:5::/48; next-header udp; } then { mark 10; } }
  route e { rd 65009:1; match { destination 2001:db8:5::/48; } then { discard; } }
}
""".replace("PORTS", " ".join(f"={port}" for port in range(5000, 5100)))


class ExaBgpOfAll(ExaBgp):
    """An ExaBGP that tells two neighbors the same in every family: the route server and a listener at 127.0.9.9."""

    def spawn(self, *arguments: str, **environment: str) -> None:
        """Start, but with a configuration of its own."""
        families = " ".join(f"{name};" for name in EXABGP_FAMILIES)
        text = ""
        for address, port in ((RS_ADDRESS, self.port), ("127.0.9.9", self.port + 9)):
            text += f"""neighbor {address} {{
router-id 10.0.0.9; local-address {self.address}; local-as {self.asn}; peer-as {RS_AS}; connect {port};
family {{ {families} }}
{EXABGP_ROUTES}
}}
"""
        (self.folder / "conf").write_text(text)
        super().spawn(*arguments, **environment)


class RawListener(RawSpeaker):
    """A speaker of octets that waits for one connection."""

    def __init__(self, address: str, asn: int, port: int, families: tuple[Family, ...]) -> None:
        super().__init__(address, asn, 0, families=families)
        self._socket.close()
        self._listener = socket.create_server((address, port))
        self._listener.settimeout(30)

    def __enter__(self) -> Self:
        return self

    def accept(self) -> None:
        """Take the connection and wait for the session."""
        self._socket, _ = self._listener.accept()
        self._listener.close()
        self._socket.settimeout(None)
        self._socket.sendall(self._open)
        self._thread.start()
        wait_for(lambda: self.kinds(decoder.KEEPALIVE), bool)


def said(speaker: RawSpeaker) -> list[bytes]:
    """The UPDATEs heard but for End-of-RIB."""
    return [each for each in speaker.kinds(decoder.UPDATE) if len(each) not in (23, 29, 30)]


def fields(whole: bytes) -> tuple[dict[Family, bytes], dict[Family, bytes]]:
    """What an UPDATE announces and withdraws: the NLRI of each family."""
    middle = 21 + int.from_bytes(whole[19:21], "big")
    end = middle + 2 + int.from_bytes(whole[middle : middle + 2], "big")
    announced, withdrawn = {(1, 1): whole[end:]}, {(1, 1): whole[21:middle]}
    for _, kind, value in decoder.attributes_of(whole[middle + 2 : end]):
        if kind == 14:
            announced[int.from_bytes(value[:2], "big"), value[2]] = value[5 + value[3] :]
        elif kind == 15:
            withdrawn[int.from_bytes(value[:2], "big"), value[2]] = value[3:]
    return announced, withdrawn


def keys(field: dict[Family, bytes]) -> list[tuple[Family, bytes]]:
    """Each NLRI of a field, without its labels."""
    found = []
    for (afi, safi), octets in field.items():
        at = 0
        while at < len(octets):
            if safi == 65:
                start, size = at + 2, int.from_bytes(octets[at : at + 2], "big")
            elif safi in (133, 134):
                long = octets[at] >= 0xF0
                start = at + 1 + long
                size = int.from_bytes(octets[at:start], "big") & 0xFFF
            else:
                start, size = at + 1, (octets[at] + 7) // 8
            nlri = octets[start : start + size]
            assert len(nlri) == size
            at = start + size
            if safi in (4, 128):
                while not nlri[2] & 1 and nlri[:3] != b"\x80\0\0":
                    nlri = nlri[3:]
                nlri = nlri[3:]
            found.append(((afi, safi), nlri))
    return found


def test_exabgp_octets(tmp_path: Path) -> None:
    """What ExaBGP says in eleven families arrives octet for octet, and is withdrawn when it is gone."""
    port = 18630
    families = tuple(family for _, family in EXABGP_FAMILIES.values())
    offered = f"families = {json.dumps([name for name, _ in EXABGP_FAMILIES.values()])}"
    with (
        TrioBgp(tmp_path, port, [peer(n, "rs-client", offered) for n in (2, 9)]),
        RawSpeaker("127.0.2.1", RS_AS + 2, port, families=families) as receiver,
        RawListener("127.0.9.9", RS_AS, port + 9, families) as direct,
        ExaBgpOfAll(9, tmp_path, port, []) as exabgp,
    ):
        direct.accept()
        announced = wait_for(
            lambda: [key for whole in said(direct) for key in keys(fields(whole)[0])], lambda found: len(found) >= 17
        )
        assert {family for family, _ in announced} == {*families} - SILENT
        wait_for(lambda: Counter(said(receiver)), lambda heard: heard == Counter(said(direct)))
        before = len(said(receiver))
        exabgp.stop(signal.SIGKILL)
        withdrawn = wait_for(
            lambda: [key for whole in said(receiver)[before:] for key in keys(fields(whole)[1])],
            lambda found: len(found) >= len(announced),
        )
        assert sorted(withdrawn) == sorted(announced)
