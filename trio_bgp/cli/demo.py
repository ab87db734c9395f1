"""`trio-bgp demo`: a route server at work, with speakers of its own, everything in memory."""

import argparse
import random
import shutil
import sys
from ipaddress import IPv4Address, ip_address
from typing import Final

import trio
import trio.testing

from trio_bgp.cli.embedded import EmbeddedSpeaker, Held
from trio_bgp.cli.sample_table import SampleRoute, make_prefixes, make_routes, messages
from trio_bgp.runtime.session.transport import StreamTransport
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.runtime.statistics import ForwarderStatistics, GroupStatistics
from trio_bgp.settings import AddPathSettings, PeerSettings, Role, Settings, SpeakerSettings
from trio_bgp.wire.as_path import format_as_path
from trio_bgp.wire.attribute_block import narrow
from trio_bgp.wire.nlri import format_nlri
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST, Family, SegmentType
from trio_bgp.wire.update import pack_ipv4_withdrawal, pack_mp_withdrawal

__all__ = ["Demo", "add_parser", "run"]

LOCAL_AS: Final = 65000
SENDERS: Final = 4
SHARE_IPV6: Final = 0.1
SHARE_OVERLAP: Final = 0.3
"""Of each sender's prefixes, how many another sender announces too."""
SLICES: Final = 40
SESSION_SECONDS: Final = 10.0
"""How long a session may take to come up."""
SAMPLE_SECONDS: Final = 0.15
"""After this long everybody who is to get a message has it."""
QUIET_SECONDS: Final = 0.3
STOP_SECONDS: Final = 5.0

OLD: Final = PeerSettings(
    name="old-router", address=IPv4Address("198.51.100.1"), peer_as=64901, passive=True, hold_time=0
)
"""Has no 4-octet AS numbers."""
COLLECTOR: Final = PeerSettings(
    name="collector",
    address=IPv4Address("198.51.100.2"),
    peer_as=64902,
    passive=True,
    hold_time=0,
    add_path=AddPathSettings(send=AddPathSettings.ALL),
)
"""Gets all paths."""
INTERNAL: Final = PeerSettings(
    name="core-router",
    address=IPv4Address("198.51.100.3"),
    peer_as=LOCAL_AS,
    role=Role.RR_CLIENT,
    passive=True,
    hold_time=0,
)
"""In our AS."""
OTHERS: Final = (OLD, COLLECTOR, INTERNAL)
"""Receivers that cannot have the octets as they came."""
DEFAULT_LOCAL_PREF: Final = b"\x40\x05\x04\0\0\0\x64"

Key = tuple[Family, bytes]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="watch a route server forward a realistic table",
        description="Run a whole route server in memory, with four senders that announce a realistic table made from a "
        "seed, receivers, a late joiner, changes, and a sender that leaves. It ends by itself and checks that every "
        "peer holds exactly what it should, attributes octet for octet: exit status 1 if not.",
    )
    parser.add_argument("--seed", type=int, default=1, help="another seed is another table (default: %(default)s)")
    parser.add_argument(
        "--prefixes", type=int, default=20000, metavar="N", help="prefixes of all senders together (%(default)s)"
    )
    parser.add_argument("--receivers", type=int, default=8, metavar="N", help="receiving peers (%(default)s)")
    parser.add_argument(
        "--duration",
        "--seconds",
        dest="seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="about how long to run, in seconds (%(default)s)",
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; 0 if every peer ended with exactly the expected routes, else 1."""
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
        self.others: list[EmbeddedSpeaker] = []
        self.announced: list[dict[Key, SampleRoute]] = [{} for _ in range(SENDERS)]
        self._routes = self._make_routes(prefixes)
        count = SENDERS + receivers + 1
        clients = tuple(
            PeerSettings(
                name=f"as{65001 + index}",
                address=IPv4Address(f"192.0.2.{index + 1}") if index < 250 else ip_address(f"2001:db8::{index:x}"),
                peer_as=65001 + index,
                passive=True,
                hold_time=0,
            )
            for index in range(count)
        )
        self._settings = Settings(
            speaker=SpeakerSettings(local_as=LOCAL_AS, bgp_identifier=0x0AFF0001), peers=clients + OTHERS
        )
        self.speaker = Speaker(self._settings, rng=random.Random(seed))
        self._late = count - 1
        self._terminal = sys.stdout.isatty()
        self._phase = ""
        self._started = 0.0
        self._drawn = 0
        self._watched: dict[bytes, int] = {}
        self._samples: dict[int, tuple[float, SampleRoute, bytes]] = {}
        self._told: dict[int, str] = {}

    async def run(self) -> None:
        """Run it to its end."""
        self._started = trio.current_time()
        print(
            f"A route server (AS {LOCAL_AS}) with {SENDERS} senders and {self._late - SENDERS} receivers, in memory;\n"
            "and with a router without 4-octet AS numbers, an ADD-PATH collector and an internal router.\n"
            f"The senders announce {sum(len(r.nlris) for routes in self._routes for r in routes)} routes made from a "
            f"seed, {SHARE_OVERLAP:.0%} of them with a second path."
        )
        async with trio.open_nursery() as nursery:
            stopped = trio.Event()
            await nursery.start(self._run_speaker, stopped)
            for index in range(self._late):
                await self._connect(nursery, index)
            for index in range(self._late + 1, len(self._settings.peers)):
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
            found = self.speaker.forwarder.statistics()
            wrong = self._wrong()
            self.speaker.shutdown("the demo is over")
            with trio.move_on_after(STOP_SECONDS):
                await stopped.wait()
            self._summary(found, wrong)
            nursery.cancel_scope.cancel()

    async def _run_speaker(self, stopped: trio.Event, task_status: trio.TaskStatus[object]) -> None:
        await self.speaker.run(task_status=task_status)
        stopped.set()

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
        client = EmbeddedSpeaker(
            peer.name,
            peer.peer_as,
            0x0A000001 + index,
            ours,
            self._watched,
            asn4=peer is not OLD,
            add_path=peer is COLLECTOR,
        )
        if index > self._late:
            self.others.append(client)
        else:
            (self.senders if index < SENDERS else self.receivers).append(client)
        self.speaker.accept(StreamTransport(theirs, peer_address=str(peer.address)))
        nursery.start_soon(client.run)
        with trio.fail_after(SESSION_SECONDS):
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
            octets += self._sampled(index, route, messages(route))
            self.announced[index].update(((route.family, nlri), route) for nlri in route.nlris)
        if octets:
            await sender.say(octets)

    def _sampled(self, index: int, route: SampleRoute, octets: list[bytes]) -> bytes:
        """The messages joined; now and then one of a sender's is watched on its way."""
        if index not in self._samples and octets[0] not in self._watched:
            self._samples[index] = (trio.current_time(), route, octets[0])
            self._watched[octets[0]] = 0
        return b"".join(octets)

    def _withdrawal(self, index: int, route: SampleRoute) -> bytes:
        for nlri in route.nlris:
            self.announced[index].pop((route.family, nlri), None)
        if route.family == IPV4_UNICAST:
            return b"".join(pack_ipv4_withdrawal(route.nlris, 4096))
        return b"".join(pack_mp_withdrawal(route.family, route.nlris, 4096))

    def _clients(self) -> tuple[EmbeddedSpeaker, ...]:
        return (*self.senders, *self.receivers, *self.others)

    async def _settle(self) -> None:
        """Wait until nothing moves any more."""
        before = -1
        while (now := sum(client.updates for client in self._clients())) != before:
            before = now
            await trio.sleep(QUIET_SECONDS)

    def expected(self, receiver: int | None = None) -> dict[Key, Held]:
        """For each route what should be held: shortest AS_PATH, then ORIGIN, then lowest sender.

        All senders are of different ASes, so MULTI_EXIT_DISC is never compared.

        Args:
            receiver: the sender that holds it: its own routes do not count. None for anybody else.
        """
        best: dict[Key, tuple[int, int, int, SampleRoute]] = {}
        for index, routes in enumerate(self.announced):
            if index == receiver:
                continue
            for key, route in routes.items():
                candidate = (route.path_length, route.origin, index, route)
                if key not in best or candidate[:3] < best[key][:3]:
                    best[key] = candidate
        return {key: _held(route) for key, (_, _, _, route) in best.items()}

    def _expected_of_others(self, client: EmbeddedSpeaker) -> dict[Key, Held]:
        """What a receiver should hold that reads routes in another way."""
        plain = self.expected()
        if client.name == OLD.name:
            return {key: (hop, narrow(attributes)) for key, (hop, attributes) in plain.items()}
        return {key: (hop, attributes + DEFAULT_LOCAL_PREF) for key, (hop, attributes) in plain.items()}

    def _wrong(self) -> list[str]:
        """What is not as it should be, peer by peer."""
        wrong = []
        plain = self.expected()
        for index, client in enumerate(self._clients()):
            if client.closed:
                if index != 0:
                    wrong.append(f"{client.name}: its session ended")
                continue
            if client.name == COLLECTOR.name:
                wrong += self._wrong_paths(client)
                continue
            expected = plain
            if index < SENDERS:
                expected = self.expected(index)
            elif client in self.others:
                expected = self._expected_of_others(client)
            differing = sum(client.table.get(key) != held for key, held in expected.items())
            surplus = len(client.table.keys() - expected.keys())
            if differing or surplus:
                wrong.append(f"{client.name}: {differing:,} routes missing or different, {surplus:,} too many")
            if client.end_of_rib != {IPV4_UNICAST, IPV6_UNICAST}:
                wrong.append(f"{client.name}: End-of-RIB is missing")
        return wrong

    def _wrong_paths(self, client: EmbeddedSpeaker) -> list[str]:
        """Whether a receiver of all paths has each sender's path to each prefix."""
        held: dict[Key, list[Held]] = {}
        for (family, nlri), route in client.table.items():
            held.setdefault((family, nlri[4:]), []).append(route)
        expected: dict[Key, list[Held]] = {}
        for routes in self.announced:
            for key, announced in routes.items():
                expected.setdefault(key, []).append(_held(announced))
        differing = sum(sorted(held.get(key, ())) != sorted(expected.get(key, ())) for key in held | expected)
        return [f"{client.name}: {differing:,} prefixes whose paths are not the senders'"] if differing else []

    async def _show(self) -> None:
        while True:
            await trio.sleep(0.25 if self._terminal else 1.0)
            self._tell_samples()
            lines = self._status()
            if self._terminal:
                # A line that wraps would put the next drawing in the wrong place.
                width = shutil.get_terminal_size().columns - 1
                back = f"\x1b[{self._drawn}F" if self._drawn else ""
                print(back + "\n".join(f"{line[:width]}\x1b[K" for line in lines) + "\x1b[J", flush=True)
                self._drawn = len(lines)
            else:
                print("; ".join(lines), flush=True)

    def _status(self) -> list[str]:
        found = self.speaker.forwarder.statistics()
        elapsed = trio.current_time() - self._started
        sent = found.messages_unchanged + found.messages_repacked + found.messages_replayed
        if not self._terminal:
            return [
                f"{elapsed:5.1f} s  {self._phase}",
                f"{found.members} sessions",
                f"in {found.messages_in:,} UPDATEs {found.octets_in:,} octets",
                f"out {sent:,} UPDATEs {found.octets_out:,} octets",
                f"clients' unchanged {_clients_group(found).share_unchanged:.1%}",
                f"{found.prefixes:,} prefixes {found.paths:,} paths",
            ]
        return [
            f"{elapsed:5.1f} s  {self._phase}",
            "",
            f"  sessions   {found.members:12,} up",
            f"  in         {found.messages_in:12,} UPDATEs {found.octets_in:14,} octets",
            f"  out        {sent:12,} UPDATEs {found.octets_out:14,} octets",
            f"  table      {found.prefixes:12,} prefixes {found.paths:13,} paths",
            "",
            *_group_lines(found),
            "",
            *(f"  {text}" for _, text in sorted(self._told.items())),
        ]

    def _tell_samples(self) -> None:
        """Say of each watched message that has had time to arrive who got it, and how."""
        now = trio.current_time()
        for index, (sent, route, octets) in list(self._samples.items()):
            if now - sent < SAMPLE_SECONDS:
                continue
            del self._samples[index]
            unchanged = self._watched.pop(octets)
            key = (route.family, route.nlris[0])
            others = (client for client in (*self.senders, *self.receivers) if not client.closed)
            holders = sum(client.table.get(key) == _held(route) for client in others)
            if unchanged:
                how = f"-> {_peers(unchanged)}, unchanged"
            elif holders:
                how = f"-> {_peers(holders)}, repacked"
            else:
                how = "-> nobody, there is a better path"
            more = f" and {len(route.nlris) - 1} more" if len(route.nlris) > 1 else ""
            path = format_as_path([(SegmentType.AS_SEQUENCE, route.as_path)])
            self._told[index] = f"as{65001 + index} {how}: {format_nlri(*key)}{more} via {path}"
        for index, sender in enumerate(self.senders):
            if sender.closed:
                self._told[index] = f"as{65001 + index} left"

    def _summary(self, found: ForwarderStatistics, wrong: list[str]) -> None:
        """Say what happened. The arguments are of the moment before the daemon was stopped."""
        held = self.speaker.forwarder.board.pool.outstanding
        if held:
            wrong = [*wrong, f"{held} buffers were not given back"]
        self.correct = not wrong
        clients = _clients_group(found)
        print(
            f"\nUPDATEs received {found.messages_in:,}, sent {found.messages_unchanged + found.messages_repacked:,} "
            f"to {len(self.receivers)} receivers, {SENDERS} senders and {len(self.others)} others:\n"
            + "\n".join(_group_lines(found))
            + f"\nTo those who can read them as they came, {clients.share_unchanged:.1%} went unchanged, as the octets "
            "received; the rest are\nrunner-up paths and the withdrawals of the sender that left.\n"
            f"{found.messages_replayed:,} more told those who joined late what there was; {found.messages_withheld:,} "
            "received UPDATEs changed nothing for\nanybody and were withheld. "
            f"Octets in {found.octets_in:,}, out {found.octets_out:,}."
        )
        if wrong:
            print("WRONG:\n  " + "\n  ".join(wrong))
        else:
            print(
                f"Every one of {len(self.receivers)} receivers holds exactly the expected "
                f"{len(self.expected()):,} routes, attributes octet for octet,\n"
                f"each of the {SENDERS - 1} senders that stayed the best of the others' routes, the others what they "
                "can read,\nand every buffer is back in its pool."
            )


def _clients_group(found: ForwarderStatistics) -> GroupStatistics:
    """The group of the plain route-server clients."""
    return max(found.by_group, key=lambda group: len(group.members))


def _group_lines(found: ForwarderStatistics) -> list[str]:
    """A line for each group: who, how much went unchanged, and why the rest did not."""
    lines = [f"  {'group':<26} {'unchanged':>18} {'repacked':>10} {'split':>6} {'withheld':>9}"]
    for group in found.by_group:
        name = group.members[0] if len(group.members) == 1 else f"{len(group.members)} route-server clients"
        repacked = sum(group.repacked.values())
        withheld = sum(group.withheld.values())
        why = ", ".join(f"{reason} {count:,}" for reason, count in sorted(group.repacked.items()))
        lines.append(
            f"  {name:<26} {group.unchanged:>10,} {group.share_unchanged:>7.1%} {repacked:>10,} {group.split:>6,} "
            f"{withheld:>9,}  {why}"
        )
    return lines


def _peers(count: int) -> str:
    return f"{count} peer{'' if count == 1 else 's'}"


def _held(route: SampleRoute) -> Held:
    """How who receives this route should hold it."""
    return (b"" if route.family == IPV4_UNICAST else route.next_hop, route.attributes)
