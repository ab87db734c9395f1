"""`trio-bgp demo`: a route server at work, with speakers of its own, everything in memory."""

import argparse
import random
import sys
from ipaddress import IPv4Address, ip_address
from typing import Final

import trio
import trio.testing

from trio_bgp.cli.embedded import EmbeddedSpeaker
from trio_bgp.cli.sample_table import SampleRoute, make_prefixes, make_routes, messages
from trio_bgp.passthrough.mask import describe
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.runtime.transport import StreamTransport
from trio_bgp.settings import PeerSettings, Settings, SpeakerSettings
from trio_bgp.wire.as_path import decode_as_path, format_as_path
from trio_bgp.wire.nlri import format_nlri
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST, Family
from trio_bgp.wire.update import pack_ipv4_withdrawal, pack_mp_withdrawal

__all__ = ["Demo", "add_parser", "run"]

LOCAL_AS: Final = 65000
SENDERS: Final = 4
SHARE_IPV6: Final = 0.1
SHARE_OVERLAP: Final = 0.3
"""Of each sender's prefixes, how many another sender announces too."""
SLICES: Final = 40

Key = tuple[Family, bytes]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="watch a route server forward a realistic table",
        description="Run a whole route server in memory, with four senders that announce a realistic table made from a "
        "seed, receivers, a late joiner, changes, and a sender that leaves. It ends by itself and checks that every "
        "receiver holds exactly what it should: exit status 1 if not.",
    )
    parser.add_argument("--seed", type=int, default=1, help="another seed is another table (default: %(default)s)")
    parser.add_argument(
        "--prefixes", type=int, default=20000, metavar="N", help="prefixes of all senders together (%(default)s)"
    )
    parser.add_argument("--receivers", type=int, default=8, metavar="N", help="receiving peers (%(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="about how long to run (%(default)s)")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 if every receiver ended with exactly the expected routes, else 1."""
    if arguments.prefixes < 100 or arguments.receivers < 1 or arguments.seconds <= 0:
        print("trio-bgp demo: at least 100 prefixes, 1 receiver and a positive time are needed", file=sys.stderr)
        return 2
    demo = Demo(arguments.seed, arguments.prefixes, arguments.receivers, arguments.seconds)
    try:
        trio.run(demo.run)
    except KeyboardInterrupt:
        return 130
    return 0 if demo.correct else 1


class Demo:
    """One demonstration.

    Args:
        seed: of the table and all that happens.
        prefixes: how many, all senders together.
        receivers: how many, besides the late joiner.
        seconds: how long it is to take, about.
    """

    def __init__(self, seed: int, prefixes: int, receivers: int, seconds: float) -> None:
        self.rng = random.Random(seed)
        self.seconds = seconds
        self.correct = False
        self.receivers: list[EmbeddedSpeaker] = []
        self.senders: list[EmbeddedSpeaker] = []
        self.announced: list[dict[Key, SampleRoute]] = [{} for _ in range(SENDERS)]
        self._routes = self._make_routes(prefixes)
        count = SENDERS + receivers + 1
        peers = tuple(
            PeerSettings(
                name=f"as{65001 + index}",
                address=IPv4Address(f"192.0.2.{index + 1}") if index < 250 else ip_address(f"2001:db8::{index:x}"),
                peer_as=65001 + index,
                passive=True,
                hold_time=0,
            )
            for index in range(count)
        )
        self._settings = Settings(speaker=SpeakerSettings(local_as=LOCAL_AS, bgp_identifier=0x0AFF0001), peers=peers)
        self.speaker = Speaker(self._settings, rng=random.Random(seed))
        self._late = count - 1
        self._terminal = sys.stdout.isatty()
        self._phase = ""
        self._started = 0.0
        self._drawn = 0

    async def run(self) -> None:
        """Run it to its end."""
        self._started = trio.current_time()
        print(
            f"A route server (AS {LOCAL_AS}) with {SENDERS} senders and {self._late - SENDERS} receivers, in memory.\n"
            f"The senders announce {sum(len(r.nlris) for routes in self._routes for r in routes)} routes made from a "
            f"seed, {SHARE_OVERLAP:.0%} of them with a second path."
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: self.speaker.run(task_status=task_status))
            for index in range(self._late):
                await self._connect(nursery, index)
            nursery.start_soon(self._show)
            await self._announce(self.seconds * 0.4)
            await self._change(self.seconds * 0.25)
            self._phase = "a late joiner gets the whole table"
            await self._connect(nursery, self._late)
            await trio.sleep(self.seconds * 0.1)
            self._phase = "a sender leaves, its routes go"
            await self.senders[0].leave()
            self.announced[0].clear()
            await trio.sleep(self.seconds * 0.15)
            await self._settle()
            self._summary()
            nursery.cancel_scope.cancel()

    def _make_routes(self, prefixes: int) -> list[list[SampleRoute]]:
        """Each sender's routes; neighbours share some prefixes."""
        found: list[list[SampleRoute]] = [[] for _ in range(SENDERS)]
        for family, share in ((IPV4_UNICAST, 1 - SHARE_IPV6), (IPV6_UNICAST, SHARE_IPV6)):
            each = round(prefixes * share / SENDERS)
            pool = make_prefixes(self.rng, family, each * SENDERS)
            for index in range(SENDERS):
                own = pool[index * each : (index + 1) * each]
                following = (index + 1) % SENDERS
                more = pool[following * each : following * each + round(each * SHARE_OVERLAP)]
                next_hop = (
                    bytes((192, 0, 2, index + 1))
                    if family == IPV4_UNICAST
                    else b"\x20\x01\x0d\xb8" + bytes(11) + bytes((index + 1,))
                )
                found[index] += make_routes(self.rng, family, own + more, asn=65001 + index, next_hop=next_hop)
        return found

    async def _connect(self, nursery: trio.Nursery, index: int) -> None:
        ours, theirs = trio.testing.memory_stream_pair()
        peer = self._settings.peers[index]
        client = EmbeddedSpeaker(peer.name, peer.peer_as, 0x0A000001 + index, ours)
        (self.senders if index < SENDERS else self.receivers).append(client)
        self.speaker.accept(StreamTransport(theirs, peer_address=str(peer.address)))
        nursery.start_soon(client.run)
        await client.established.wait()

    async def _announce(self, seconds: float) -> None:
        self._phase = "the senders announce their tables"
        for part in range(SLICES):
            for index, sender in enumerate(self.senders):
                routes = self._routes[index]
                chosen = routes[part * len(routes) // SLICES : (part + 1) * len(routes) // SLICES]
                await self._say(index, sender, chosen)
            await trio.sleep(seconds / SLICES)

    async def _change(self, seconds: float) -> None:
        self._phase = "routes change: withdrawals and new paths"
        for _ in range(SLICES):
            for index, sender in enumerate(self.senders):
                route = self.rng.choice(self._routes[index])
                if self.rng.random() < 0.4:
                    await sender.say(self._withdrawal(index, route))
                else:
                    again = make_routes(self.rng, route.family, route.nlris, asn=sender.asn, next_hop=route.next_hop)
                    await self._say(index, sender, list(again))
            await trio.sleep(seconds / SLICES)

    async def _say(self, index: int, sender: EmbeddedSpeaker, routes: list[SampleRoute]) -> None:
        octets = b""
        for route in routes:
            octets += b"".join(messages(route))
            self.announced[index].update(((route.family, nlri), route) for nlri in route.nlris)
        if octets:
            await sender.say(octets)

    def _withdrawal(self, index: int, route: SampleRoute) -> bytes:
        for nlri in route.nlris:
            self.announced[index].pop((route.family, nlri), None)
        if route.family == IPV4_UNICAST:
            return b"".join(pack_ipv4_withdrawal(route.nlris, 4096))
        return b"".join(pack_mp_withdrawal(route.family, route.nlris, 4096))

    async def _settle(self) -> None:
        """Wait until nothing moves any more."""
        before = -1
        while (now := sum(receiver.updates for receiver in self.receivers)) != before:
            before = now
            await trio.sleep(0.2)

    def expected(self) -> dict[Key, tuple[int, ...]]:
        """For each route the AS path a receiver should hold: shortest AS_PATH, then ORIGIN, then lowest sender.

        All senders are of different ASes, so MULTI_EXIT_DISC is never compared.
        """
        best: dict[Key, tuple[int, int, int, SampleRoute]] = {}
        for index, routes in enumerate(self.announced):
            for key, route in routes.items():
                candidate = (route.path_length, route.origin, index, route)
                if key not in best or candidate[:3] < best[key][:3]:
                    best[key] = candidate
        return {key: _as_path(route) for key, (_, _, _, route) in best.items()}

    async def _show(self) -> None:
        while True:
            await trio.sleep(0.25 if self._terminal else 1.0)
            lines = self._status()
            if self._terminal:
                back = f"\x1b[{self._drawn}F" if self._drawn else ""
                print(back + "\n".join(f"{line}\x1b[K" for line in lines), flush=True)
                self._drawn = len(lines)
            else:
                print(f"{lines[0]}; {lines[1]}", flush=True)

    def _status(self) -> list[str]:
        found = self.speaker.forwarder.statistics()
        elapsed = trio.current_time() - self._started
        lines = [
            f"{elapsed:5.1f} s  {self._phase}",
            (
                f"sessions {found.members:3}  in {found.messages_in:7,} UPDATEs  out "
                f"{found.messages_unchanged + found.messages_repacked:9,}  unchanged {found.share_unchanged:6.1%}  "
                f"prefixes {found.prefixes:7,}  paths {found.paths:7,}"
            ),
        ]
        if self._terminal:
            lines += self._latest()
        return lines

    def _latest(self) -> list[str]:
        """The last route each sender announced, in words."""
        lines = []
        for index, routes in enumerate(self.announced):
            if not routes:
                lines.append(f"  as{65001 + index}: gone")
                continue
            family, nlri = next(reversed(routes))
            path = format_as_path([(2, _as_path(routes[family, nlri]))])
            others = len(self.speaker.forwarder.members) - 1
            lines.append(f"  as{65001 + index} -> {others} peers: {format_nlri(family, nlri)} path {path}"[:100])
        return lines

    def _summary(self) -> None:
        found = self.speaker.forwarder.statistics()
        expected = self.expected()
        wrong = [receiver.name for receiver in self.receivers if _held(receiver) != expected]
        self.correct = not wrong
        mask = describe(self.speaker.forwarder.members[0].mask)
        print(
            f"\nUPDATEs received {found.messages_in:,}, sent {found.messages_unchanged + found.messages_repacked:,} "
            f"to {len(self.receivers)} receivers and {SENDERS} senders, all of one group:\n  {mask}\n"
            f"  {found.messages_unchanged:,} forwarded unchanged, as the octets that came in "
            f"({found.share_unchanged:.1%})\n"
            f"  {found.messages_repacked:,} written anew: runner-up paths, withdrawals of the sender that left\n"
            f"  {found.messages_replayed:,} more told those who joined late what there was\n"
            f"  {found.messages_withheld:,} received UPDATEs withheld: they changed nothing for anybody\n"
            f"Octets in {found.octets_in:,}, out {found.octets_out:,}."
        )
        if wrong:
            print(f"WRONG: {', '.join(wrong)} do not hold the expected {len(expected):,} routes.")
        else:
            print(f"Every one of {len(self.receivers)} receivers holds exactly the expected {len(expected):,} routes.")


def _as_path(route: SampleRoute) -> tuple[int, ...]:
    # ORIGIN has 4 octets, the header of AS_PATH 3: the generator writes them first.
    value = route.attributes[7 : 7 + route.attributes[6]]
    return tuple(number for _, numbers in decode_as_path(value, asn4=True) for number in numbers)


def _held(receiver: EmbeddedSpeaker) -> dict[Key, tuple[int, ...]]:
    return {
        key: tuple(number for _, numbers in decode_as_path(value, asn4=True) for number in numbers)
        for key, value in receiver.table.items()
    }
