"""The oracle for mixed networks: any role, width of AS numbers, length, ADD-PATH in any direction, many families.

The model says what a receiver should hold by the RFCs' rules, route by route, without any of the daemon's ideas of
groups, messages and variants; the decoder reads what was sent.
"""

import random
import struct
from ipaddress import IPv6Address
from typing import Any

import attrs
import pytest

from tests.harness import decoder
from tests.harness.decoder import BGP_LS, EVPN, OPAQUE, V4, V6, VPN4, Attribute, Family, Route
from tests.harness.lab import LOCAL_AS, Lab, lab, peer_settings
from tests.harness.speaker import ScriptedSpeaker
from trio_bgp.settings import AddPathSettings, BgpRole, PeerSettings, Policy, Role
from trio_bgp.wire.nlri import Framing
from trio_bgp.wire.numbers import BGP_LS as BGP_LS_FAMILY
from trio_bgp.wire.numbers import EVPN as EVPN_FAMILY
from trio_bgp.wire.numbers import IPV4_FLOWSPEC, IPV4_LABELLED, IPV4_UNICAST, IPV6_UNICAST, VPNV4
from trio_bgp.wire.numbers import family as make_family

OUR_ID = 0x0AFF0001
OUR_V6 = bytes.fromhex("20010db8") + bytes(11) + b"\xff"
PEERS = 6
OPAQUE_FAMILY = make_family(*OPAQUE)
NO_EXPORT, NO_ADVERTISE = b"\xff\xff\xff\x01", b"\xff\xff\xff\x02"
RD = bytes((0, 0, 0xFD, 0xE8, 0, 0, 0, 1))
MAC = bytes.fromhex("020000000001")
LABELLED4, FLOW4 = (1, 4), (1, 133)
EXTENDED_NEXT_HOP = b"\x05\x06\x00\x01\x00\x01\x00\x02"
"""RFC 8950: IPv4 unicast may have an IPv6 next hop."""


def evpn_mac(number: int) -> bytes:
    """What tells a MAC/IP advertisement route from others: type, RD, tag, MAC, no IP."""
    return b"\x02" + RD + bytes(4) + b"\x30" + MAC[:5] + bytes((number,)) + b"\x00"


ROUTES: dict[Family, list[bytes]] = {
    V4: [bytes((24, 10, 0, n)) for n in range(4)] + [b"\x08\x0b", b"\x00"],
    V6: [bytes((48, 0x20, 0x01, 0x0D, 0xB8, 0, n)) for n in range(3)],
    VPN4: [bytes((88,)) + RD + bytes((10, 1, n)) for n in range(3)],
    EVPN: [evpn_mac(n) for n in range(2)],
    OPAQUE: [b"\x00\x02ab", b"\x00\x00", b"\x00\x03xyz"],
    LABELLED4: [bytes((24, 10, 2, n)) for n in range(2)] + [b"\x00"],
    FLOW4: [b"\x03\x01\x08\x0a", b"\xf3\x20" + b"\x01\x08\x0a" + bytes(797)],
    BGP_LS: [b"\x00\x01\x00\x02ab", b"\x00\x01\x10\x04" + bytes(4100)],
}
"""The last of BGP-LS is longer than the messages of who has not negotiated extended ones."""


FAMILIES: list[tuple[Family, ...]] = [
    (V4, V6),
    (V4,),
    (V4, V6, VPN4, LABELLED4),
    (V4, V6, VPN4, EVPN, OPAQUE),
    (EVPN, OPAQUE, V4, FLOW4),
    (V4, LABELLED4, FLOW4, BGP_LS),
    tuple(ROUTES),
]
"""What a peer may offer."""
BGP_ROLES: dict[Role, list[BgpRole | None]] = {
    Role.RS_CLIENT: [None, None, None, BgpRole.RS],
    Role.EBGP: [None, None, *BgpRole],
    Role.RR_CLIENT: [None],
    Role.IBGP: [None],
}
"""What we may be to a peer."""


def nlri_of(family: Family, route: bytes, besides: bytes) -> bytes:
    """The NLRI on the wire."""
    if family in (VPN4, LABELLED4):
        return bytes((route[0] + 8 * len(besides),)) + besides + route[1:]
    if family == EVPN:
        body = route[1:9] + besides[:10] + route[9:] + besides[10:]
        return bytes((2, len(body))) + body
    return route


@attrs.frozen
class Path:
    """A path in the model, in the terms of the RFCs."""

    peer: int
    identifier: int
    """The path identifier it was announced with; 0 without ADD-PATH."""
    as_path: tuple[int, ...]
    next_hop: bytes
    besides: bytes
    local_pref: int | None
    origin: int
    med: int | None
    originator: int | None
    clusters: tuple[bytes, ...]
    communities: bytes
    aggregator: int | None
    others: tuple[Attribute, ...]


@attrs.frozen
class PeerModel:
    """What the model knows of a peer."""

    number: int
    role: Role
    asn: int
    asn4: bool
    families: tuple[Family, ...]
    send: int
    """Paths it gets at most; 0: one, without path identifiers."""
    receive: bool
    """Its own announcements have path identifiers."""
    extended: bool
    """It has negotiated messages of up to 65,535 octets."""
    ipv6_next_hops: bool
    """It has negotiated IPv6 next hops for IPv4 routes."""
    bgp_role: BgpRole | None
    """Our role towards it (RFC 9234)."""

    @property
    def internal(self) -> bool:
        """In our AS."""
        return self.role in (Role.RR_CLIENT, Role.IBGP)

    @property
    def identifier(self) -> int:
        """Its BGP Identifier."""
        return 0x0A000000 + self.number


def otc(path: Path) -> int | None:
    """ONLY_TO_CUSTOMER."""
    return next((int.from_bytes(value, "big") for _, kind, value in path.others if kind == 35), None)


def taken(path: Path, peer: PeerModel) -> Path | None:
    """A path as it is kept, or None if it is a leak (RFC 9234, section 5)."""
    asn = otc(path)
    if asn is None and peer.bgp_role in (BgpRole.CUSTOMER, BgpRole.PEER, BgpRole.RS_CLIENT):
        return attrs.evolve(path, others=(*path.others, (0xC0, 35, peer.asn.to_bytes(4, "big"))))
    if asn is not None and peer.bgp_role in (BgpRole.PROVIDER, BgpRole.RS):
        return None
    if asn not in (None, peer.asn) and peer.bgp_role is BgpRole.PEER:
        return None
    return path


def may_have(path: Path, family: Family, source: PeerModel, receiver: PeerModel) -> bool:
    """RFC 4456 section 6, RFC 1997, RFC 7947 section 2.2.4, RFC 8950 section 4."""
    if family == V4 and len(path.next_hop) > 4 and not receiver.ipv6_next_hops and receiver.role is not Role.EBGP:
        return False  # an EBGP peer gets our next hop
    if otc(path) is not None and receiver.bgp_role in (BgpRole.CUSTOMER, BgpRole.PEER, BgpRole.RS_CLIENT):
        return False  # RFC 9234, section 5
    if source.role is Role.IBGP and receiver.role is Role.IBGP:
        return False
    if source.role is Role.RS_CLIENT and receiver.role is Role.RS_CLIENT:
        return True
    found = [path.communities[at : at + 4] for at in range(0, len(path.communities), 4)]
    if NO_ADVERTISE in found:
        return False
    return receiver.internal or NO_EXPORT not in found


def decide(paths: list[Path], peers: dict[int, PeerModel]) -> Path:
    """RFC 4271 section 9.1.2.2 and RFC 4456 section 9, step by step."""
    left = list(paths)

    def keep(key: Any) -> None:
        least = min(key(path) for path in left)
        left[:] = [path for path in left if key(path) == least]

    keep(lambda p: -(100 if p.local_pref is None else p.local_pref))
    keep(lambda p: len(p.as_path))
    keep(lambda p: p.origin)

    def neighbor(path: Path) -> int:
        return path.as_path[0] if path.as_path else 0

    left = [p for p in left if not any(neighbor(o) == neighbor(p) and (o.med or 0) < (p.med or 0) for o in left)]
    keep(lambda p: peers[p.peer].internal)
    keep(lambda p: peers[p.peer].identifier if p.originator is None else p.originator)
    keep(lambda p: len(p.clusters))
    keep(lambda p: p.peer)
    keep(lambda p: p.identifier)
    return left[0]


def old_style(as_path: tuple[int, ...]) -> list[Attribute]:
    """AS_PATH with 2-octet AS numbers, and AS4_PATH if needed (RFC 6793)."""
    numbers = [asn if asn < 65536 else 23456 for asn in as_path]
    value = struct.pack(f">BB{len(numbers)}H", 2, len(numbers), *numbers) if numbers else b""
    found: list[Attribute] = [(0x40, 2, value)]
    if any(asn > 65535 for asn in as_path):
        found.append((0xC0, 17, struct.pack(f">BB{len(as_path)}I", 2, len(as_path), *as_path)))
    return found


def new_style(as_path: tuple[int, ...]) -> list[Attribute]:
    """AS_PATH with 4-octet AS numbers."""
    return [(0x40, 2, struct.pack(f">BB{len(as_path)}I", 2, len(as_path), *as_path) if as_path else b"")]


def encode(path: Path, *, asn4: bool) -> list[Attribute]:
    """All attributes but the next hop, as a speaker with AS numbers of that width says them."""
    found: list[Attribute] = [(0x40, 1, bytes((path.origin,)))]
    found += new_style(path.as_path) if asn4 else old_style(path.as_path)
    if path.med is not None:
        found.append((0x80, 4, path.med.to_bytes(4, "big")))
    if path.local_pref is not None:
        found.append((0x40, 5, path.local_pref.to_bytes(4, "big")))
    if path.aggregator is not None:
        address = b"\x0a\x01\x01\x01"
        if asn4:
            found.append((0xC0, 7, path.aggregator.to_bytes(4, "big") + address))
        else:
            small = path.aggregator if path.aggregator < 65536 else 23456
            found.append((0xC0, 7, small.to_bytes(2, "big") + address))
            if path.aggregator > 65535:
                found.append((0xC0, 18, path.aggregator.to_bytes(4, "big") + address))
    if path.communities:
        found.append((0xC0, 8, path.communities))
    if path.originator is not None:
        found.append((0x80, 9, path.originator.to_bytes(4, "big")))
    if path.clusters:
        found.append((0x80, 10, b"".join(path.clusters)))
    return found + list(path.others)


def told(path: Path, family: Family, source: PeerModel, receiver: PeerModel) -> tuple[Attribute, ...]:
    """The attributes with which a receiver should hold a path, sorted."""
    hop = path.next_hop
    others = list(path.others)
    changes: dict[str, Any] = {}
    if receiver.role is not Role.RS_CLIENT or source.internal:
        if family != OPAQUE and len(hop) == 32:
            hop = hop[:16]
        others = []
        for flags, kind, value in path.others:
            if kind != 200:
                others.append((flags, kind, value))
            elif flags & 0x40:
                others.append((flags | 0x20, kind, value))
        if receiver.internal:
            changes["local_pref"] = 100 if path.local_pref is None else path.local_pref
            if source.internal:
                changes["originator"] = source.identifier if path.originator is None else path.originator
                changes["clusters"] = (OUR_ID.to_bytes(4, "big"), *path.clusters)
        else:
            changes = {
                "as_path": (LOCAL_AS, *path.as_path),
                "local_pref": None,
                "med": None,
                "originator": None,
                "clusters": (),
            }
            if receiver.role is Role.EBGP and family == V4:
                hop = bytes((127, 0, 0, 1))
            elif receiver.role is Role.EBGP and family == V6:
                hop = OUR_V6
    if otc(path) is None and receiver.bgp_role in (BgpRole.PROVIDER, BgpRole.PEER, BgpRole.RS):
        others.append((0xC0, 35, LOCAL_AS.to_bytes(4, "big")))
    changed = attrs.evolve(path, others=tuple(others), **changes)
    found = encode(changed, asn4=receiver.asn4)
    found.append((0x40, 3, hop) if family == V4 and len(hop) == 4 else (0, 0, hop))
    if path.besides:
        found.append((0, 1, path.besides))
    return tuple(sorted(found))


def fits(attributes: tuple[Attribute, ...], family: Family, route: bytes, receiver: PeerModel) -> bool:
    """Whether a message with this route alone is not too long for the receiver (RFC 8654, section 4)."""
    block = b"".join(decoder.attribute(*each) for each in attributes if each[1] and each[0])
    besides, hop = (next((v for f, k, v in attributes if (f, k) == (0, kind)), None) for kind in (1, 0))
    nlri = (bytes(4) if receiver.send else b"") + nlri_of(family, route, besides or b"")
    if hop is None:
        size = len(decoder.update(b"", block, nlri))
    else:
        size = len(decoder.update(b"", block + decoder.attribute(0x80, 14, bytes(5) + hop + nlri)))
    return size <= (65535 if receiver.extended else 4096)


class Run:
    """One random schedule."""

    def __init__(self, rng: random.Random, the_lab: Lab, peers: dict[int, PeerModel]) -> None:
        self.rng = rng
        self.lab = the_lab
        self.peers = peers
        self.clients: dict[int, ScriptedSpeaker] = {}
        self.announced: dict[int, dict[tuple[Family, bytes, int], Path]] = {}

    async def step(self) -> None:
        """One random operation."""
        absent = [number for number in self.peers if number not in self.clients]
        if absent and (len(self.clients) < 2 or self.rng.random() < 0.15):
            await self.join(self.rng.choice(absent))
            return
        number = self.rng.choice(list(self.clients))
        client = self.clients[number]
        action = self.rng.choices(
            ["announce", "withdraw", "leave", "refresh", "freeze", "thaw", "settle"], [45, 18, 3, 3, 4, 8, 10]
        )[0]
        if action == "announce":
            peer = self.peers[number]
            await client.say(self.mixture(peer) if self.rng.random() < 0.2 else self.announcement(peer))
        elif action == "withdraw":
            await client.say(self.withdrawal(self.peers[number]))
        elif action == "leave":
            await client.cut()
            await self.lab.settle()
            del self.clients[number]
            del self.announced[number]
        elif action == "refresh":
            afi, safi = self.rng.choice(client.families)
            await client.say(decoder.message(decoder.REFRESH, struct.pack(">HBB", afi, 0, safi)))
        elif action == "freeze":
            client.freeze()
        elif action == "thaw":
            client.thawed.set()
        else:
            await self.lab.settle()

    async def join(self, number: int) -> None:
        """A peer connects."""
        peer = self.peers[number]
        client = await self.lab.join(number, **self.options(peer))
        await client.established.wait()
        self.clients[number] = client
        self.announced[number] = {}

    def options(self, peer: PeerModel) -> dict[str, Any]:
        """How the peer's `ScriptedSpeaker` is to be made."""
        return {
            "asn": peer.asn,
            "families": peer.families,
            "asn4": peer.asn4,
            "extended": peer.extended,
            "extra": (EXTENDED_NEXT_HOP,) if peer.ipv6_next_hops else (),
            "enhanced_refresh": self.rng.random() < 0.5,
            "add_path": 3,
            "receives_add_path": bool(peer.send),
        }

    def routes(self, peer: PeerModel) -> tuple[Family, list[bytes]]:
        """Some routes of one family."""
        family = self.rng.choice(peer.families)
        pool = [route for route in ROUTES[family] if peer.extended or len(route) < 4000]
        return family, self.rng.sample(pool, min(len(pool), self.rng.choice([1, 1, 1, 2, 3])))

    def random_path(self, peer: PeerModel, family: Family, identifier: int) -> Path:
        """A path as this peer may announce it."""
        rng = self.rng
        tail = [
            rng.choice([rng.randrange(1, 65000), rng.randrange(70000, 400000)]) for _ in range(rng.choice([0, 1, 2]))
        ]
        as_path = [*([] if peer.internal and rng.random() < 0.4 else [rng.choice([65101, 65102, 4200000001])]), *tail]
        hop = {
            V4: bytes((192, 0, 2, peer.number)),
            V6: bytes(15) + bytes((peer.number,)) + (b"\xfe\x80" + bytes(14) if rng.random() < 0.3 else b""),
            VPN4: bytes(8) + bytes((192, 0, 2, peer.number)),
            EVPN: bytes((192, 0, 2, peer.number)),
            OPAQUE: bytes((7, 7)) + bytes(range(30)) * (rng.random() < 0.3),
            LABELLED4: bytes((192, 0, 2, peer.number)),
            FLOW4: b"",
            BGP_LS: bytes((192, 0, 2, peer.number)),
        }[family]
        if family == V4 and peer.ipv6_next_hops and rng.random() < 0.3:
            hop = bytes(15) + bytes((peer.number,)) + (b"\xfe\x80" + bytes(14) if rng.random() < 0.3 else b"")
        communities = b"".join(rng.sample([NO_EXPORT, NO_ADVERTISE, b"\xfd\xe8\0\1"], 1)) if rng.random() < 0.4 else b""
        others: list[Attribute] = []
        if rng.random() < 0.3:
            others.append((0xC0, 32, rng.randbytes(12)))
        if rng.random() < 0.3:
            long = [rng.randrange(3000, 4100), 9000] if peer.extended else []
            others.append((rng.choice([0x80, 0xC0, 0xE0]), 200, rng.randbytes(rng.choice([1, 5, 300, *long]))))
        if not peer.internal and rng.random() < 0.2:
            others.append((0xC0, 35, rng.choice([peer.asn, 64999]).to_bytes(4, "big")))
        besides = b""
        if family in (VPN4, LABELLED4):
            besides = rng.choice([b"\x00\x10\x01", b"\x00\x20\x01", b"\x00\x30\x00\x00\x20\x01"])
        elif family == EVPN:
            besides = rng.choice([bytes(10), b"\x00" * 9 + b"\x07"]) + rng.choice(
                [b"\x00\x10\x01", b"\x00\x10\x00\x00\x20\x01"]
            )
        return Path(
            peer=peer.number,
            identifier=identifier,
            as_path=tuple(as_path),
            next_hop=hop,
            besides=besides,
            local_pref=rng.choice([None, 50, 100, 200]) if peer.internal else None,
            origin=rng.choice([0, 0, 2]),
            med=rng.choice([None, 0, 5, 10]),
            originator=rng.choice([None, None, 0x0B000001]) if peer.internal else None,
            clusters=rng.choice([(), (b"\x09\x09\x09\x09",)]) if peer.internal else (),
            communities=communities,
            aggregator=rng.choice([None, None, 65010, 4200000009]),
            others=tuple(others),
        )

    def announcement(self, peer: PeerModel) -> bytes:
        """An announcement, noted in the model."""
        family, routes = self.routes(peer)
        identifier = self.rng.randrange(1, 4) if peer.receive else 0
        path = self.random_path(peer, family, identifier)
        self.note(peer, family, routes, path)
        front = struct.pack(">I", identifier) if peer.receive else b""
        octets = b"".join(front + nlri_of(family, route, path.besides) for route in routes)
        block = [decoder.attribute(*each) for each in encode(path, asn4=peer.asn4)]
        if self.rng.random() < 0.2:
            block.reverse()
        if family == V4 and len(path.next_hop) == 4:
            return decoder.update(b"", b"".join(block) + decoder.attribute(0x40, 3, path.next_hop), octets)
        reach = struct.pack(">HBB", *family, len(path.next_hop)) + path.next_hop + b"\0" + octets
        return decoder.update(b"", decoder.attribute(0x80, 14, reach) + b"".join(block))

    def note(self, peer: PeerModel, family: Family, routes: list[bytes], path: Path) -> None:
        """The peer has announced these routes."""
        kept = taken(path, peer)
        for route in routes:
            if kept is None:
                self.announced[peer.number].pop((family, route, path.identifier), None)
            else:
                self.announced[peer.number][family, route, path.identifier] = kept

    def withdrawal(self, peer: PeerModel) -> bytes:
        """A withdrawal, perhaps of what was never announced, noted in the model."""
        family, routes = self.routes(peer)
        identifier = self.rng.randrange(1, 4) if peer.receive else 0
        for route in routes:
            self.announced[peer.number].pop((family, route, identifier), None)
        front = struct.pack(">I", identifier) if peer.receive else b""
        nothing = {VPN4: b"\x80\0\0", LABELLED4: b"\x80\0\0", EVPN: bytes(13)}.get(family, b"")
        octets = b"".join(front + nlri_of(family, route, nothing) for route in routes)
        if family == V4:
            return decoder.update(octets)
        return decoder.update(b"", decoder.attribute(0x80, 15, struct.pack(">HB", *family) + octets))

    def mixture(self, peer: PeerModel) -> bytes:
        """An UPDATE that withdraws and announces IPv4 prefixes and routes of other families, all of it noted."""
        others = [family for family in peer.families if family != V4]
        if V4 not in peer.families or not others:
            return self.announcement(peer)
        identifier = self.rng.randrange(1, 4) if peer.receive else 0
        front = struct.pack(">I", identifier) if peer.receive else b""
        fields: list[bytes] = []
        paths: list[Path] = []
        mine = self.announced[peer.number]
        announcing = [V4, self.rng.choice(others)]
        for family in (V4, self.rng.choice(others)):
            routes = [route for route in self.rng.sample(ROUTES[family], 2) if len(route) < 4000]
            for route in routes:
                mine.pop((family, route, identifier), None)
            nothing = {VPN4: b"\x80\0\0", LABELLED4: b"\x80\0\0", EVPN: bytes(13)}.get(family, b"")
            octets = b"".join(front + nlri_of(family, route, nothing) for route in routes)
            fields.append(octets if family == V4 else struct.pack(">HB", *family) + octets)
        for family in announcing:
            path = self.random_path(peer, family, identifier)
            if paths:
                path = attrs.evolve(paths[0], next_hop=path.next_hop, besides=path.besides)
            else:
                path = attrs.evolve(path, next_hop=bytes((192, 0, 2, peer.number)))
            paths.append(path)
            routes = [route for route in self.rng.sample(ROUTES[family], 2) if len(route) < 800]
            self.note(peer, family, routes, path)
            octets = b"".join(front + nlri_of(family, route, path.besides) for route in routes)
            reach = struct.pack(">HBB", *family, len(path.next_hop)) + path.next_hop + b"\0"
            fields.append(octets if family == V4 else reach + octets)
        block = [decoder.attribute(*each) for each in encode(paths[0], asn4=peer.asn4)]
        block.append(decoder.attribute(0x40, 3, paths[0].next_hop))
        block.append(decoder.attribute(0x80, 15, fields[1]))
        block.append(decoder.attribute(0x80, 14, fields[3]))
        self.rng.shuffle(block)
        return decoder.update(fields[0], b"".join(block), fields[2])

    def expected(self, receiver: PeerModel, family: Family, route: bytes) -> list[tuple[Attribute, ...]]:
        """With which attributes the receiver should hold a route, best path first."""
        left = [
            path
            for number, paths in self.announced.items()
            if number != receiver.number
            for (its_family, its_route, _), path in paths.items()
            if (its_family, its_route) == (family, route) and may_have(path, family, self.peers[number], receiver)
        ]
        found: list[tuple[Attribute, ...]] = []
        while left and len(found) < max(1, receiver.send):
            best = decide(left, self.peers)
            left.remove(best)
            found.append(told(best, family, self.peers[best.peer], receiver))
        return [each for each in found if fits(each, family, route, receiver)]

    async def compare(self) -> None:
        """Let everybody read, then compare."""
        for client in self.clients.values():
            client.thawed.set()
        await self.lab.settle()
        for number, client in self.clients.items():
            assert not client.notifications, client.notifications
            receiver = self.peers[number]
            held: dict[Route, list[tuple[Attribute, ...]]] = {}
            for (family, nlri), attributes in client.table.items():
                route = nlri[4:] if receiver.send else nlri
                held.setdefault((family, route), []).append(tuple(sorted(attributes)))
                kinds = {kind for _, kind, _ in attributes}
                assert receiver.internal or not kinds & {5, 9, 10}
                assert not receiver.asn4 or not kinds & {17, 18}
            for family in receiver.families:
                for route in ROUTES[family]:
                    expected = sorted(self.expected(receiver, family, route))
                    assert sorted(held.pop((family, route), [])) == expected, f"{receiver}, {family}, {route.hex()}"
            assert not held
            assert set(client.families) <= set(client.end_of_rib)


def random_peers(rng: random.Random, *, bgp_roles: bool = True) -> dict[int, PeerModel]:
    """Peers of any kind; with `bgp_roles` some of whose routes are refused as leaks."""
    peers = {}
    for number in range(1, PEERS + 1):
        role = rng.choice([Role.RS_CLIENT, Role.RS_CLIENT, Role.RR_CLIENT, Role.IBGP, Role.EBGP])
        asn = LOCAL_AS if role in (Role.RR_CLIENT, Role.IBGP) else rng.choice([65000, 4200000000]) + number
        peers[number] = PeerModel(
            number=number,
            role=role,
            asn=asn,
            asn4=asn > 65535 or rng.random() < 0.7,
            families=rng.choice(FAMILIES),
            send=rng.choice([0, 0, 1, 2, AddPathSettings.ALL]),
            receive=rng.random() < 0.4,
            extended=rng.random() < 0.5,
            ipv6_next_hops=rng.random() < 0.4,
            bgp_role=rng.choice(BGP_ROLES[role]) if bgp_roles else None,
        )
    return peers


def settings_of(peer: PeerModel, queue_limit: int) -> PeerSettings:
    """The daemon's settings for a peer of the model."""
    return peer_settings(
        peer.number,
        peer_as=peer.asn,
        role=peer.role,
        families=(
            *(IPV4_UNICAST, IPV6_UNICAST, VPNV4, EVPN_FAMILY, OPAQUE_FAMILY),
            *(IPV4_LABELLED, IPV4_FLOWSPEC, BGP_LS_FAMILY),
        ),
        extended_next_hop=peer.ipv6_next_hops,
        bgp_role=peer.bgp_role,
        add_path=AddPathSettings(send=peer.send, receive=peer.receive),
        import_policy=Policy.ACCEPT,
        export_policy=Policy.ACCEPT,
        queue_limit=queue_limit,
        next_hop_ipv6=IPv6Address(OUR_V6),
    )


@pytest.mark.parametrize("queue_limit", [1 << 23, 400], ids=["roomy", "tight"])
@pytest.mark.parametrize("seed", range(40))
async def test_every_receiver_holds_what_its_role_and_capabilities_allow(
    seed: int, queue_limit: int, autojump_clock: object
) -> None:
    """In any mix of peers each holds export(T, n), with the attributes the RFCs give it."""
    rng = random.Random(seed)
    peers = random_peers(rng)
    settings = [settings_of(peer, queue_limit) for peer in peers.values()]
    async with lab(*settings, seed=seed, framing={OPAQUE_FAMILY: Framing.U16}) as the_lab:
        run = Run(rng, the_lab, peers)
        for _ in range(3):
            for _ in range(40):
                await run.step()
            await run.compare()
