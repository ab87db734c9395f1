"""Received messages that a program holds, to forward them later or never."""

import logging
from collections.abc import Callable, Iterable, Sequence

import attrs

from trio_bgp.passthrough.cache import CacheFullError, MessageCache
from trio_bgp.passthrough.mask import NO_REQUIREMENT
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.passthrough.pool import BufferPool
from trio_bgp.routing.forward import RoutingCore
from trio_bgp.routing.group import Member
from trio_bgp.runtime.session.reader import Batch

__all__ = ["HeldMessage", "Holding", "Intercept"]

logger = logging.getLogger("trio_bgp.forwarder")


@attrs.frozen
class HeldMessage:
    """A received UPDATE that a program may hold (see `Forwarder.intercept`)."""

    number: int
    """In `Forwarder.held`."""
    peer: str
    """The name of the peer that sent it."""
    octets: bytes
    """The whole message, header included."""


Intercept = Callable[[HeldMessage], bool]
"""Asked for each received UPDATE: True to hold it, False to let it go its way."""


class Holding:
    """Asks a program what to hold, and lets go.

    Args:
        core: what handles a message that is let go.
        pool: where slabs for those come from.

    Attributes:
        messages: what is held, by number.
    """

    def __init__(self, core: RoutingCore, pool: BufferPool) -> None:
        self.messages = MessageCache()
        self._core = core
        self._pool = pool
        self._from: dict[int, Member] = {}

    def ask(self, member: Member, batch: Batch, intercept: Intercept) -> None:
        """Handle UPDATEs one by one, holding those that the program asks for."""
        for index, offset in enumerate(batch.offsets):
            one = batch.split(index, index + 1)
            try:
                octets = bytes(one.message.octets)
                kept = PassthroughMessage.apart(octets, 1, NO_REQUIREMENT)
                try:
                    number = self.messages.add(kept)
                except CacheFullError as error:
                    logger.warning("update.not_held name=%s cause=%r", member.name, str(error))
                    number = 0
                if number and intercept(HeldMessage(number, member.name, octets)):
                    self._from[number] = member
                    continue
                if number and self.messages.contains(number):
                    self.messages.delete(number)
                self._core.updates(member, one.message, [offset])
            finally:
                one.release()

    def forward(self, number: int, members: Sequence[Member], to: Iterable[str] | None) -> None:
        """Forward a held message, which is no longer held then.

        Args:
            number: of the message.
            members: that are established.
            to: names of established peers that get it, past the RIB: unchanged where they can read it as it is, else
                repacked. What they make of it, and taking it back, is the program's business. None: it is handled as if
                it had just been received.

        Raises:
            KeyError: no such message is held.
            LookupError: the sender's session has ended, or a peer is not established, is catching up, or is not to be
                sent anything (RFC 8212); the message is still held then.
            NotificationError: `to` is given and the message is malformed.
        """
        source = self._from[number] if self.messages.contains(number) else None
        if source is None:
            raise KeyError(number)
        if source not in members:
            raise LookupError(f"the session with {source.name}, which sent it, has ended")
        targets: list[Member] = []
        for name in () if to is None else to:
            member = next((each for each in members if each.name == name), None)
            if member is None or member.behind is not None:
                raise LookupError(f"{name} is {'not established' if member is None else 'catching up'}")
            if not member.settings.exports:
                raise LookupError(f"{name} is sent nothing: its export policy is none (RFC 8212)")
            targets.append(member)
        message = self.messages.take(number)
        del self._from[number]
        try:
            if to is not None:
                self._core.forward_to(source, message, targets)
                return
            slab = self._pool.take()
            slab.data[: len(message)] = message.octets
            again = PassthroughMessage(slab, 0, len(message), 1, NO_REQUIREMENT)
            slab.release()
            try:
                self._core.updates(source, again, [0])
            finally:
                again.release()
        finally:
            message.release()

    def drop(self, number: int) -> None:
        """Forget a held message.

        Raises:
            KeyError: no such message is held.
        """
        self.messages.delete(number)
        self._from.pop(number, None)
