"""A hostile peer against a running daemon: the others' sessions and routes are not concerned."""

import contextlib
import logging
import random

import attrs
import pytest
import trio
import trio.testing

from tests.fuzz.test_targets import UPDATES
from tests.harness import decoder
from tests.harness.decoder import V4, V6
from tests.harness.lab import Lab, address_of, lab, peer_settings
from trio_bgp.runtime.session.transport import StreamTransport
from trio_bgp.settings import MaxPrefixesAction, Role

SEEDS = 200
BATCH = 20
GOOD = (V4, b"\x18\x08\x08\x08")


def hostile(rng: random.Random) -> bytes:
    """Octets that begin well."""
    octets = bytearray(b"".join(rng.choice(UPDATES) for _ in range(rng.randrange(1, 5))))
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        at = rng.randrange(len(octets))
        kind = rng.randrange(4)
        if kind == 0:
            octets[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            octets[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 2:
            del octets[at : at + rng.randrange(1, 9)]
        else:
            octets[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
        if not octets:
            octets += b"\0"
    return bytes(octets)


async def attack(the_lab: Lab, rng: random.Random) -> None:
    """One connection's worth of it; now and then one that says no proper OPEN at all."""
    if rng.random() < 0.2:
        ours, theirs = trio.testing.memory_stream_pair()
        the_lab.speaker.accept(StreamTransport(theirs, peer_address=address_of(1)))
        with contextlib.suppress(trio.BrokenResourceError):
            for _ in range(3):
                await ours.send_all(hostile(rng))
                await the_lab.settle()
        await trio.aclose_forcefully(ours)
        return
    wild = await the_lab.join(
        1,
        families=(V4, V6),
        asn4=rng.random() < 0.7,
        add_path=rng.choice([0, 3]),
        extended=rng.random() < 0.5,
        enhanced_refresh=rng.random() < 0.5,
    )
    for _ in range(rng.randrange(1, 12)):
        if wild.closed.is_set():
            return
        try:
            await wild.say(hostile(rng) if rng.random() < 0.9 else rng.randbytes(rng.randrange(1, 100)))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        if rng.random() < 0.5:
            await the_lab.settle()
    await wild.cut()


@pytest.mark.parametrize("batch", range(SEEDS // BATCH))
async def test_a_hostile_peer_costs_nobody_else(
    batch: int, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Two good peers keep their sessions and exchange what they say; no traceback; every buffer comes back."""
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        rng = random.Random(seed)
        wild = attrs.evolve(
            peer_settings(1),
            role=rng.choice([Role.RS_CLIENT, Role.EBGP]),
            max_prefixes=rng.choice([None, 3]),
            max_prefixes_action=rng.choice(list(MaxPrefixesAction)),
            reject_martians=rng.random() < 0.2,
            reject_as_set=rng.random() < 0.2,
        )
        async with lab(wild, peer_settings(2), peer_settings(3), seed=seed) as the_lab:
            two, three = await the_lab.join(2), await the_lab.join(3, extended=True)
            for number in range(4):
                await attack(the_lab, rng)
                block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65002)
                block += decoder.attribute(0x80, 4, bytes((0, 0, 0, number)))
                await two.say(decoder.announce([GOOD], block, b"\xc0\0\2\2"))
                await the_lab.settle()
                held = {kind: value for _, kind, value in three.table[GOOD]}
                assert held[4] == bytes((0, 0, 0, number)), f"seed {seed}"
            assert not two.notifications, f"seed {seed}: {two.notifications}"
            assert not three.notifications, f"seed {seed}: {three.notifications}"
            assert not two.closed.is_set()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]
