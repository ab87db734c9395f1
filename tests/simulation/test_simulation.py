"""Random schedules with faults, by seed.

Connections are cut at any octet, delayed, split into pieces; readers freeze, the order of tasks varies, clocks leap.
After each, whoever is still there holds what the model of `test_mixed_oracle` says.

A failure names its seed; `python -m tests.simulation SEED` runs that schedule alone, `make soak` goes on and on.
"""

import contextlib
import random

import attrs
import pytest
import trio
import trio.testing

from tests.harness.lab import Lab, lab
from tests.harness.speaker import ScriptedSpeaker
from tests.integration.test_mixed_oracle import OPAQUE_FAMILY, PeerModel, Run, random_peers, settings_of
from trio_bgp.runtime.session.transport import StreamTransport
from trio_bgp.testing import Faults, FaultyStream, deterministic, window_stream_pair
from trio_bgp.wire.nlri import Framing

pytestmark = pytest.mark.simulation

BATCHES = 40
SCHEDULES = 250
"""In a batch; together 10,000."""
STEPS = 12


class FaultyRun(Run):
    """A schedule in which connections misbehave."""

    def __init__(
        self,
        rng: random.Random,
        the_lab: Lab,
        peers: dict[int, PeerModel],
        clock: trio.testing.MockClock,
        hold_time: int,
    ) -> None:
        super().__init__(rng, the_lab, peers)
        self.clock = clock
        self.hold_time = hold_time

    async def step(self) -> None:
        """One operation, then perhaps the time leaps; who was cut off is gone from the model too."""
        # Cut in the middle of what was being said: the session's end takes all of it.
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            if self.clients and self.rng.random() < 0.15:
                await self.detach()
            else:
                await super().step()
        if self.rng.random() < 0.1:
            self.clock.jump(self.rng.choice([0.01, 1.0, 70.0]))
        if any(client.closed.is_set() for client in self.clients.values()) or self.rng.random() < 0.1:
            await self.lab.settle()
        self.forget_the_lost()

    async def detach(self) -> None:
        """Somebody reads nothing while another announces, and withdraws some of it."""
        slow = self.rng.choice(list(self.clients))
        self.clients[slow].freeze()
        others = [number for number in self.clients if number != slow]
        if not others:
            return
        speaking = self.rng.choice(others)
        peer, client = self.peers[speaking], self.clients[speaking]
        for _ in range(self.rng.randrange(4, 12)):
            said = self.withdrawal(peer) if self.rng.random() < 0.4 else self.announcement(peer)
            await client.say(said)
        await self.lab.settle()
        if self.rng.random() < 0.5:
            self.clients[slow].thawed.set()

    def forget_the_lost(self) -> None:
        """Peers whose connection has ended have no routes."""
        for number in [number for number, client in self.clients.items() if client.closed.is_set()]:
            del self.clients[number]
            del self.announced[number]

    async def join(self, number: int) -> None:
        """A peer connects over a connection that may break or be slow."""
        peer, rng = self.peers[number], self.rng
        faults = Faults(
            cut_after_sent=rng.choice([None, None, rng.randrange(1, 600)]),
            cut_after_received=rng.choice([None, None, rng.randrange(1, 900)]),
        )
        if rng.random() < 0.3:
            faults.delay = rng.choice([0.01, 0.5])
        elif rng.random() < 0.3:
            faults.fragment = rng.choice([7, 30, 100])
        # A small window lets a frozen peer push back, so that it is detached and caught up with from the RIB.
        window = rng.choice([None, 200, 5000])
        pair = trio.testing.memory_stream_pair() if window is None else window_stream_pair(window)
        ours: trio.abc.Stream = pair[0]
        theirs: trio.abc.Stream = pair[1]
        client = ScriptedSpeaker(
            FaultyStream(ours, faults, rng),
            identifier=peer.identifier,
            hold_time=self.hold_time,
            keepalives=True,
            **self.options(peer),
        )
        self.lab.speaker.accept(StreamTransport(theirs, peer_address=f"192.0.2.{number}"))
        self.lab.nursery.start_soon(client.run)
        with trio.move_on_after(30):
            async with trio.open_nursery() as nursery:
                for event in (client.established, client.closed):
                    nursery.start_soon(wait_and_cancel, event, nursery.cancel_scope)
        if client.established.is_set() and not client.closed.is_set():
            self.clients[number] = client
            self.announced[number] = {}
        else:
            await client.cut()
            await self.lab.settle()

    async def compare(self) -> None:
        """When all delays are over, whoever is still there holds what it should."""
        for client in self.clients.values():
            client.thawed.set()
            if isinstance(client.stream, FaultyStream):
                client.stream.faults = Faults()
        await trio.sleep(60)
        await self.lab.settle()
        self.forget_the_lost()
        await self.lab.settle()
        await super().compare()


async def wait_and_cancel(event: trio.Event, scope: trio.CancelScope) -> None:
    """Cancel the scope when the event is set."""
    await event.wait()
    scope.cancel()


async def simulate(seed: int) -> None:
    """One schedule."""
    rng = random.Random(seed)
    peers = random_peers(rng)
    limit = rng.choice([1 << 23, 400, 100])
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    # 0: nobody's time runs out; 9: a leap of the clock ends sessions; 90: nearly.
    hold_time = rng.choice([0, 9, 90])
    settings = [attrs.evolve(settings_of(peer, limit), hold_time=hold_time) for peer in peers.values()]
    async with lab(*settings, seed=seed, framing={OPAQUE_FAMILY: Framing.U16}) as the_lab:
        run = FaultyRun(rng, the_lab, peers, clock, hold_time)
        for _ in range(STEPS):
            await run.step()
        await run.compare()


def run_schedule(seed: int) -> None:
    """One schedule in a world of its own, the same each time."""
    with deterministic(seed):
        trio.run(simulate, seed, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_whatever_breaks_nobody_holds_what_is_not_so(batch: int) -> None:
    """10,000 random schedules with faults, in batches."""
    for seed in range(batch * SCHEDULES, (batch + 1) * SCHEDULES):
        try:
            run_schedule(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}; alone: python -m tests.simulation {seed}")
            raise
