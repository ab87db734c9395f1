"""What a program may be told of sessions: their states, and the messages received and sent on them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trio_bgp.session.fsm import State

if TYPE_CHECKING:
    from trio_bgp.runtime.session.connection import Connection

__all__ = ["Monitor"]


class Monitor:
    """Told what happens on every connection; put one into `Forwarder.monitors` before sessions come up.

    Methods are called by the connections' tasks, in the order in which things happen on a connection, and must neither
    block nor raise. Those that a monitor does not override do nothing. Without monitors none of this costs anything.
    """

    wants_sent: bool = False
    """`sent` is to be called; asked when a connection begins."""

    def changed(self, connection: "Connection", old: State, new: State) -> None:
        """The session's state changed; all of `connection` is as it is in the new one.

        In `State.ESTABLISHED` its `member` is set, at an end mostly `closed`. `State.IDLE` is the last that is told.
        """

    def received(self, connection: "Connection", messages: Sequence[bytes]) -> None:
        """Whole messages of any type were received, and are about to be handled: one, or UPDATEs only."""

    def sent(self, connection: "Connection", octets: bytes) -> None:
        """One or more whole messages, one after the other, were handed to the system."""
