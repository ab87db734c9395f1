"""Replaying a recording to any BGP speaker."""

from collections import Counter
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, ip_address
from math import inf
from typing import Final

import attrs
import trio

from trio_bgp.mrt.records import MrtError
from trio_bgp.recording.adapter import Adapter, Choice, Target
from trio_bgp.recording.dialogue import Dialogue
from trio_bgp.recording.source import Recorded, Recording
from trio_bgp.runtime.session.transport import Transport, TransportClosed
from trio_bgp.settings import PeerSettings, SpeakerSettings
from trio_bgp.wire.notification import Notification, shutdown_communication
from trio_bgp.wire.numbers import CeaseSubcode, ErrorCode

__all__ = ["Outcome", "ReplaySettings", "replay"]

RETRY_SECONDS: Final = 0.5
JOINED_OCTETS: Final = 1 << 16
"""Messages are queued about so many octets together."""


@attrs.frozen(kw_only=True)
class ReplaySettings:
    """How to replay.

    Attributes:
        peer: to whom, and what is offered.
        local_as: who we are.
        bgp_identifier: ours; None: our address if it is IPv4, else 10 and the last three octets of the AS number.
        choice: of the recorded peers.
        speed: recorded time passes so many times as fast; 0: as fast as the other side takes it. Tables have no time.
        unchanged: attributes are said as recorded.
        withdraw_lost: when a recorded session ends, what was said of it is withdrawn.
        next_hops: `self`, or addresses: the next hops of all routes, by IP version; none: as recorded.
        repeat: how often all is said; 0: for ever.
        keep: seconds for which the session stays up after that.
        timeout: seconds within which the session has to be up.
        asn4: AS numbers in a file of bare messages have four octets.
    """

    peer: PeerSettings
    local_as: int
    bgp_identifier: int | None = None
    choice: Choice = attrs.Factory(Choice)
    speed: float = 0.0
    unchanged: bool = False
    withdraw_lost: bool = False
    next_hops: tuple[str, ...] = ()
    repeat: int = 1
    keep: float = 0.0
    timeout: float = 30.0
    asn4: bool = True


@attrs.define
class Outcome:
    """How it went.

    Attributes:
        error: why it is not all said, or the session did not stay; empty if all is well.
        messages: UPDATEs said, End-of-RIB included.
        octets: of these.
        announced: prefixes announced.
        withdrawn: prefixes withdrawn.
        seconds: from the first to the last.
        skipped: what was not said, by why.
        updates_received: UPDATEs that the other side said meanwhile.
    """

    error: str = ""
    messages: int = 0
    octets: int = 0
    announced: int = 0
    withdrawn: int = 0
    seconds: float = 0.0
    skipped: Counter[str] = attrs.Factory(Counter)
    updates_received: int = 0


async def replay(
    path: str,
    settings: ReplaySettings,
    *,
    connect: Callable[[PeerSettings], Awaitable[Transport]],
    progress: Callable[[Recording, Outcome], object] | None = None,
    stop: trio.Event | None = None,
) -> Outcome:
    """Say what was recorded.

    Args:
        path: the file.
        settings: how.
        connect: opens the connection.
        progress: called now and then.
        stop: when set the session is ended at once, in order.

    Raises:
        OSError: the file cannot be opened.
    """
    outcome = Outcome()
    recording = Recording(path, asn4=settings.asn4)
    try:
        player = _Player(path, settings, outcome, progress)
        async with trio.open_nursery() as nursery:
            if stop is not None:
                nursery.start_soon(player.stop_when, stop, nursery.cancel_scope)
            await player.run(recording, connect)
            nursery.cancel_scope.cancel()
    finally:
        recording.close()
    return outcome


class _Player:
    def __init__(
        self,
        path: str,
        settings: ReplaySettings,
        outcome: Outcome,
        progress: Callable[[Recording, Outcome], object] | None,
    ) -> None:
        self.path = path
        self.settings = settings
        self.outcome = outcome
        self.progress = progress
        self.playing: trio.CancelScope | None = None
        self.said_all = False

    async def stop_when(self, stop: trio.Event, scope: trio.CancelScope) -> None:
        """End the session when told so; before it is up there is none to end."""
        await stop.wait()
        if not self.said_all:
            self.outcome.error = "interrupted"
        (self.playing or scope).cancel()

    async def run(self, recording: Recording, connect: Callable[[PeerSettings], Awaitable[Transport]]) -> None:
        deadline = trio.current_time() + self.settings.timeout
        reason = "the time was over"
        while trio.current_time() < deadline:
            with trio.move_on_at(deadline) as scope:
                try:
                    transport = await connect(self.settings.peer)
                except (OSError, TransportClosed) as error:
                    reason = getattr(error, "strerror", None) or str(error)
                    await trio.sleep(RETRY_SECONDS)
                    continue
            if scope.cancelled_caught:
                break
            dialogue = Dialogue(self._speaker(transport), self.settings.peer, transport)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run_dialogue, dialogue, nursery)
                with trio.move_on_at(deadline):
                    await dialogue.established.wait()
                if dialogue.established.is_set():
                    with trio.CancelScope() as self.playing:
                        await self._play(recording, dialogue, transport)
                    self._goodbye(dialogue)
                    await dialogue.ended.wait()
                    return
                nursery.cancel_scope.cancel()
            reason = dialogue.closed.reason if dialogue.closed is not None else "the other side says nothing"
            await trio.sleep(RETRY_SECONDS)
        self.outcome.error = f"no session within {self.settings.timeout:g} s: {reason}"

    async def _run_dialogue(self, dialogue: Dialogue, nursery: trio.Nursery) -> None:
        close = await dialogue.run()
        if not dialogue.established.is_set():
            nursery.cancel_scope.cancel()
        elif not close.manual and not self.outcome.error:
            self.outcome.error = f"the session ended: {close.reason}"

    def _goodbye(self, dialogue: Dialogue) -> None:
        text = shutdown_communication("replay finished")
        if not dialogue.ended.is_set():
            dialogue.stop(Notification(ErrorCode.CEASE, CeaseSubcode.ADMINISTRATIVE_SHUTDOWN, text))

    def _speaker(self, transport: Transport) -> SpeakerSettings:
        identifier = self.settings.bgp_identifier
        if identifier is None:
            address = ip_address(transport.local_address.partition("%")[0])
            own = int(address) if isinstance(address, IPv4Address) else 0
            identifier = own or 10 << 24 | self.settings.local_as & 0xFFFFFF
        return SpeakerSettings(local_as=self.settings.local_as, bgp_identifier=identifier)

    async def _play(self, recording: Recording, dialogue: Dialogue, transport: Transport) -> None:
        settings, outcome = self.settings, self.outcome
        target = Target(
            local_as=settings.local_as,
            negotiated=dialogue.negotiated,
            unchanged=settings.unchanged,
            next_hops=_next_hops(settings.next_hops, transport),
            withdraw_lost=settings.withdraw_lost,
        )
        adapter = Adapter(target, settings.choice)
        begin = trio.current_time()
        source = recording
        try:
            times = 0
            while True:
                going = await self._say_all(source, adapter, dialogue)
                outcome.skipped.update(source.skipped)
                times += 1
                if not going or times == settings.repeat:
                    break
                if source is not recording:
                    source.close()
                source = Recording(self.path, asn4=settings.asn4)
            if going:
                await self._say(dialogue, adapter.end())
                self.said_all = await dialogue.drain()
        except (MrtError, OSError) as error:
            outcome.error = str(error)
        finally:
            if source is not recording:
                source.close()
            outcome.seconds = trio.current_time() - begin
            outcome.announced, outcome.withdrawn = adapter.announced, adapter.withdrawn
            outcome.skipped.update(adapter.skipped)
            outcome.updates_received = dialogue.updates_received
        if not outcome.error and settings.keep:
            with trio.move_on_after(settings.keep):
                await dialogue.ended.wait()

    async def _say_all(self, recording: Recording, adapter: Adapter, dialogue: Dialogue) -> bool:
        """Say what a recording has; False if the session ended."""
        pace = _Pace(self.settings.speed)
        pending: list[bytes] = []
        size = 0
        going = True
        while going and (values := await trio.to_thread.run_sync(recording.read)):
            for value in values:
                wait = pace.due(value)
                if wait > trio.current_time():
                    going = await self._say(dialogue, pending)
                    pending, size = [], 0
                    with trio.move_on_at(wait):
                        await dialogue.ended.wait()
                messages = adapter.say(value.value)
                pending += messages
                size += sum(map(len, messages))
                if size >= JOINED_OCTETS:
                    going = await self._say(dialogue, pending)
                    pending, size = [], 0
                if not going or dialogue.ended.is_set():
                    return False
            going = await self._say(dialogue, pending)
            pending, size = [], 0
            self.outcome.announced, self.outcome.withdrawn = adapter.announced, adapter.withdrawn
            if self.progress is not None:
                self.progress(recording, self.outcome)
            await trio.lowlevel.checkpoint()
        return going

    async def _say(self, dialogue: Dialogue, messages: list[bytes]) -> bool:
        octets = b"".join(messages)
        if octets:
            self.outcome.messages += len(messages)
            self.outcome.octets += len(octets)
            return await dialogue.put(octets)
        return not dialogue.ended.is_set()


class _Pace:
    """When recorded times come, on Trio's clock."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._first: float | None = None
        self._begin = trio.current_time()

    def due(self, value: Recorded) -> float:
        if not self._speed or value.time is None:
            return -inf
        if self._first is None:
            self._first = value.time
        return self._begin + (value.time - self._first) / self._speed


def _next_hops(words: tuple[str, ...], transport: Transport) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for word in words:
        address = ip_address(transport.local_address.partition("%")[0] if word == "self" else word)
        found[address.version] = address.packed
    return found
