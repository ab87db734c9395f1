"""The oracle: after any sequence of operations each receiver holds what a naive computation says it should."""

import random
from typing import Any

import attrs
import pytest

from tests.harness import decoder
from tests.harness.decoder import V4, V6, Attribute, Route
from tests.harness.lab import Lab, address_of, lab, peer_settings
from tests.harness.speaker import ScriptedSpeaker

PEERS = 6
V4_PREFIXES = [bytes((24, 10, 0, n)) for n in range(6)] + [
    b"\x08\x0b",
    b"\x20\x0a\x00\x00\x01",
    b"\x00",
    b"\x14\x0a\x10\xf0",
]
V6_PREFIXES = [bytes((48, 0x20, 0x01, 0x0D, 0xB8, 0, n)) for n in range(4)] + [b"\x40" + bytes(8)]
ROUTES: list[Route] = [(V4, prefix) for prefix in V4_PREFIXES] + [(V6, prefix) for prefix in V6_PREFIXES]


@attrs.frozen
class Candidate:
    """A path in the model: what the decision process looks at, and what receivers are to hold."""

    peer: int
    length: int
    origin: int
    neighbor: int
    med: int
    held: tuple[Attribute, ...]


def decide(candidates: list[Candidate]) -> Candidate | None:
    """RFC 4271 section 9.1.2.2 step by step, for external paths."""
    left = list(candidates)
    if not left:
        return None
    left = [c for c in left if c.length == min(each.length for each in left)]
    left = [c for c in left if c.origin == min(each.origin for each in left)]
    left = [c for c in left if not any(o.neighbor == c.neighbor and o.med < c.med for o in left)]
    return min(left, key=lambda c: c.peer)  # identifiers and addresses are in the order of the numbers


class Model:
    """What everybody announced and should hold."""

    def __init__(self) -> None:
        self.announced: dict[int, dict[Route, Candidate]] = {}

    def export(self, receiver: int, families: tuple[decoder.Family, ...]) -> dict[Route, tuple[Attribute, ...]]:
        """The naive `export(T, n)` for all n."""
        table = {}
        for route in ROUTES:
            candidates = [
                routes[route] for peer, routes in self.announced.items() if peer != receiver and route in routes
            ]
            chosen = decide(candidates)
            if chosen is not None and route[0] in families:
                table[route] = chosen.held
        return table


def random_path(rng: random.Random, peer: int, family: decoder.Family) -> tuple[bytes, bytes, dict[str, Any]]:
    """Attributes without next hop, the next hop, and what the model needs."""
    neighbor = rng.choice([65101, 65102, 65103])
    path = [neighbor] + [rng.randrange(1, 400000) for _ in range(rng.choice([0, 1, 1, 2]))]
    origin = rng.choice([0, 0, 2])
    med = rng.choice([None, 0, 5, 10])
    parts = [decoder.attribute(0x40, 1, bytes((origin,))), decoder.as_path(*path)]
    if med is not None:
        parts.append(decoder.attribute(0x80, 4, med.to_bytes(4, "big")))
    if rng.random() < 0.4:
        parts.append(decoder.attribute(0xC0, 8, rng.randbytes(4 * rng.randrange(1, 4))))
    if rng.random() < 0.2:
        parts.append(decoder.attribute(0xC0, 32, rng.randbytes(12)))
    if rng.random() < 0.2:
        parts.append(decoder.attribute(rng.choice([0x80, 0xC0, 0xE0]), 200, rng.randbytes(rng.choice([1, 5, 300]))))
    if rng.random() < 0.3:
        parts.reverse()
    next_hop = bytes((192, 0, 2, peer)) if family == V4 else bytes(15) + bytes((peer,))
    return b"".join(parts), next_hop, {"length": len(path), "origin": origin, "neighbor": neighbor, "med": med or 0}


class Run:
    """One random schedule."""

    def __init__(self, seed: int, the_lab: Lab) -> None:
        self.rng = random.Random(seed)
        self.lab = the_lab
        self.model = Model()
        self.clients: dict[int, ScriptedSpeaker] = {}

    async def step(self) -> None:
        """One random operation."""
        absent = [n for n in range(1, PEERS + 1) if n not in self.clients]
        if absent and (len(self.clients) < 2 or self.rng.random() < 0.1):
            await self.join(self.rng.choice(absent))
            return
        peer = self.rng.choice(list(self.clients))
        client = self.clients[peer]
        action = self.rng.choices(
            ["announce", "withdraw", "mixed", "repeat", "leave", "refresh", "freeze", "thaw", "settle"],
            [40, 15, 5, 5, 3, 3, 4, 8, 10],
        )[0]
        if action == "announce":
            await self.say(client, self.announcement(peer))
        elif action == "withdraw":
            await self.say(client, self.withdrawal(peer))
        elif action == "mixed":
            await self.say(client, self.mixed(peer))
        elif action == "repeat":
            octets = self.announcement(peer)
            await self.say(client, octets + octets)
        elif action == "leave":
            await self.leave(peer, client)
        elif action == "refresh":
            afi, safi = self.rng.choice(client.families)
            await self.say(client, decoder.message(decoder.REFRESH, bytes((0, afi, 0, safi))))
        elif action == "freeze":
            client.freeze()
        elif action == "thaw":
            client.thawed.set()
        else:
            await self.lab.settle()

    async def say(self, client: ScriptedSpeaker, octets: bytes) -> None:
        """Send, sometimes in pieces."""
        if self.rng.random() < 0.3:
            cut = self.rng.randrange(len(octets))
            await client.say(octets[:cut])
            if self.rng.random() < 0.5:
                await self.lab.settle()
            octets = octets[cut:]
        await client.say(octets)

    async def join(self, number: int) -> None:
        """A peer connects; some take long messages, some one family only, some read only when asked."""
        families = self.rng.choice([(V4, V6), (V4, V6), (V4,), (V6,)])
        client = await self.lab.join(
            number,
            families=families,
            extended=self.rng.random() < 0.5,
            enhanced_refresh=self.rng.random() < 0.5,
            wait=self.rng.random() < 0.7,
        )
        await client.established.wait()
        self.clients[number] = client
        self.model.announced[number] = {}

    async def leave(self, peer: int, client: ScriptedSpeaker) -> None:
        """A peer is gone, perhaps in the middle of a message."""
        if self.rng.random() < 0.5:
            octets = decoder.announce([(V4, b"\x18\x0a\x00\x00")], decoder.as_path(65101), b"\1\2\3\4")
            await client.say(octets[: self.rng.randrange(1, len(octets))])
        await client.cut()
        await self.lab.settle()
        del self.clients[peer]
        del self.model.announced[peer]

    def routes(self, peer: int) -> list[Route]:
        """Some routes of one family."""
        family = self.rng.choice(self.clients[peer].families)
        pool = [route for route in ROUTES if route[0] == family]
        return self.rng.sample(pool, self.rng.choice([1, 1, 1, 2, 3, len(pool)]))

    def announcement(self, peer: int) -> bytes:
        """An announcement, noted in the model."""
        routes = self.routes(peer)
        attributes, next_hop, facts = random_path(self.rng, peer, routes[0][0])
        octets = decoder.announce(routes, attributes, next_hop)
        held = decoder.Update(octets).announced
        for route in routes:
            self.model.announced[peer][route] = Candidate(peer=peer, held=held[route], **facts)
        return octets

    def withdrawal(self, peer: int) -> bytes:
        """A withdrawal, perhaps of what was never announced, noted in the model."""
        routes = self.routes(peer)
        for route in routes:
            self.model.announced[peer].pop(route, None)
        return decoder.withdraw(routes)

    def mixed(self, peer: int) -> bytes:
        """Withdrawn routes, MP_REACH_NLRI and NLRI in one UPDATE."""
        if V4 not in self.clients[peer].families:
            return self.announcement(peer)
        gone = self.rng.sample(V4_PREFIXES, 2)
        new = self.rng.sample(V4_PREFIXES, 2)
        attributes, next_hop, facts = random_path(self.rng, peer, V4)
        for prefix in gone:
            self.model.announced[peer].pop((V4, prefix), None)
        attributes += decoder.attribute(0x40, 3, next_hop)
        plain = tuple(decoder.attributes_of(attributes))
        others = tuple(each for each in plain if each[1] != 3)  # NEXT_HOP goes with the NLRI field
        for prefix in new:
            self.model.announced[peer][V4, prefix] = Candidate(peer=peer, held=plain, **facts)
        if V6 in self.clients[peer].families:
            hop = bytes(16)
            prefix = self.rng.choice(V6_PREFIXES)
            attributes += decoder.attribute(0x80, 14, b"\0\2\1\x10" + hop + b"\0" + prefix)
            self.model.announced[peer][V6, prefix] = Candidate(peer=peer, held=((0, 0, hop), *others), **facts)
        return decoder.update(b"".join(gone), attributes, b"".join(new))

    async def compare(self) -> None:
        """Let everybody read, then compare."""
        for client in self.clients.values():
            client.thawed.set()
        await self.lab.settle()
        for number, client in self.clients.items():
            assert not client.notifications, client.notifications
            expected = self.model.export(number, client.families)
            assert set(client.table) == set(expected), f"peer {number} at {address_of(number)}"
            for route, held in expected.items():
                assert client.table[route] == held, f"peer {number}, {route}"
            assert set(client.families) <= set(client.end_of_rib)


@pytest.mark.parametrize("queue_limit", [1 << 23, 400], ids=["roomy", "tight"])
@pytest.mark.parametrize("seed", range(40))
async def test_every_receiver_holds_the_best_of_the_others(seed: int, queue_limit: int, autojump_clock: object) -> None:
    """Whatever happens in whatever order, export(T, n) is what T holds in the end."""
    peers = [peer_settings(number, queue_limit=queue_limit) for number in range(1, PEERS + 1)]
    async with lab(*peers, seed=seed) as the_lab:
        run = Run(seed, the_lab)
        for _ in range(3):
            for _ in range(40):
                await run.step()
            await run.compare()
