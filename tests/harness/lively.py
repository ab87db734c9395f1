"""A route server in one process with peers of many kinds that keep talking, for pictures and for the page's test."""

import contextlib
import random
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import attrs
import trio

from tests.harness import decoder
from tests.harness.decoder import V4
from tests.harness.lab import Lab, lab, peer_settings
from tests.harness.speaker import ScriptedSpeaker
from trio_bgp.control.server import serve
from trio_bgp.settings import ControlSettings, Endpoint, PeerSettings, Policy, Role
from trio_bgp.wire.numbers import IPV4_UNICAST

__all__ = ["Lively", "lively"]

NAMES = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath")


@attrs.frozen
class Lively:
    """The daemon, its sockets, and who talks."""

    lab: Lab
    socket: Path
    web: Endpoint
    speakers: tuple[ScriptedSpeaker, ...]

    async def talk(self, rate: float) -> None:
        """Peers announce and withdraw for ever, each at a rate of its own, together about `rate` UPDATEs a second."""
        async with trio.open_nursery() as nursery:
            for number, speaker in enumerate(self.speakers[:5], 1):
                nursery.start_soon(_talk, number, speaker, rate / 5 * (0.4, 1.8, 0.9, 1.3, 0.6)[number - 1])


def _settings() -> list[PeerSettings]:
    found = []
    for number, name in enumerate(NAMES, 1):
        settings = peer_settings(number, families=(IPV4_UNICAST,))
        if number == 7:
            settings = attrs.evolve(
                settings,
                role=Role.EBGP,
                next_hop_ipv4=IPv4Address("192.0.2.254"),
                import_policy=Policy.ACCEPT,
                export_policy=Policy.ACCEPT,
            )
        found.append(attrs.evolve(settings, name=name))
    return found


@contextlib.asynccontextmanager
async def lively(folder: Path, port: int = 0) -> AsyncIterator[Lively]:
    """Eight peers configured, seven up: one of them reads 2-octet AS numbers, one is no route-server client."""
    async with lab(*_settings()) as the_lab:
        control = ControlSettings(socket=str(folder / "s"), listen=(Endpoint(ip_address("127.0.0.1"), port),))

        async def start(task_status: trio.TaskStatus[list[Endpoint]]) -> None:
            await serve(the_lab.speaker, control, None, task_status=task_status)

        (web,) = await the_lab.nursery.start(start)
        speakers = [await the_lab.join(number, families=(V4,), asn4=number != 6) for number in range(1, 8)]
        for number, speaker in enumerate(speakers[:5], 1):
            for third in range(0, 40 * number, 8):
                await speaker.say(_announcement(number, third, 8))
        for number, path in ((1, (64500,)), (2, (64500, 64501))):
            route = [(V4, b"\x18\xcb\x00\x71")]
            await speakers[number - 1].say(decoder.announce(route, _block(number, *path), bytes((192, 0, 2, number))))
        await the_lab.settle()
        yield Lively(the_lab, folder / "s", web, tuple(speakers))


def _block(number: int, *path: int) -> bytes:
    communities = decoder.attribute(0xC0, 8, (65000 << 16 | number).to_bytes(4, "big"))
    return decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65000 + number, *path) + communities


def _announcement(number: int, third: int, prefixes: int) -> bytes:
    keys = [(V4, bytes((24, 100 + number, third // 256, third % 256 + each))) for each in range(prefixes)]
    return decoder.announce(keys, _block(number, 64500 + third % 90), bytes((192, 0, 2, number)))


async def _talk(number: int, speaker: ScriptedSpeaker, rate: float) -> None:
    rng = random.Random(number)
    while True:
        third = rng.randrange(0, 40 * number)
        if rng.random() < 0.25:
            await speaker.say(decoder.withdraw([(V4, bytes((24, 100 + number, 0, third)))]))
        else:
            await speaker.say(_announcement(number, third, 1))
        await trio.sleep(rng.expovariate(rate))
