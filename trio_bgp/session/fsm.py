"""The session state machine of RFC 4271 section 8.2.2, as a table.

`TRANSITIONS` names for each state and event what is done; whatever is missing there is a Finite State Machine Error
with the subcode RFC 6608 gives it. `Session.handle` never raises on what a peer did: a NOTIFICATION and the end of the
connection are outputs like others. Time is an argument, timers are deadlines: the driver calls `timers_due` when
`next_deadline` has come. The optional attributes of section 8 (DelayOpen and the like) are not used.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from math import inf
from typing import Final

from trio_bgp.session.events import (
    BgpOpen,
    Close,
    ConnectRetryTimerExpires,
    Dial,
    Established,
    Event,
    HoldTimerExpires,
    KeepAliveMsg,
    KeepaliveTimerExpires,
    ManualStart,
    ManualStop,
    MessageError,
    NotifMsg,
    OpenCollisionDump,
    Output,
    RouteRefreshMsg,
    Send,
    SendHoldTimerExpires,
    TcpConnectionConfirmed,
    TcpConnectionFails,
    TcpCrAcked,
    UpdateMsg,
)
from trio_bgp.session.negotiation import Negotiated, make_open, negotiate
from trio_bgp.settings import PeerSettings, SpeakerSettings
from trio_bgp.wire.header import KEEPALIVE
from trio_bgp.wire.notification import Notification, NotificationError, read_shutdown_communication
from trio_bgp.wire.numbers import CeaseSubcode, ErrorCode, FsmErrorSubcode
from trio_bgp.wire.open import Open, encode_open

__all__ = ["TRANSITIONS", "Session", "State"]

LARGE_HOLD_TIME: Final = 240.0
"""Seconds an OPEN may take (RFC 4271, section 8.2.2, OpenSent: 4 minutes are suggested)."""
SHORTEST_SEND_HOLD_TIME: Final = 480.0
"""RFC 9687, section 3.1: the larger of 8 minutes and twice the hold time is recommended."""
RETRY_STEPS: Final = 4
"""The first retry comes after connect_retry_time / 2**RETRY_STEPS, each further one after twice the time before."""


class State(Enum):
    """RFC 4271, section 8.2.2."""

    IDLE = "Idle"
    CONNECT = "Connect"
    ACTIVE = "Active"
    OPEN_SENT = "OpenSent"
    OPEN_CONFIRM = "OpenConfirm"
    ESTABLISHED = "Established"


class Session:
    """One connection with a peer, from the wish for it to its end.

    Args:
        speaker: who we are.
        peer: who the peer is to be.
        jitter: called for a factor from 0.75 to 1.0 to multiply timers with (RFC 4271, section 10).
        failures: how often connecting has failed in a row before this session.
    """

    def __init__(
        self,
        speaker: SpeakerSettings,
        peer: PeerSettings,
        *,
        jitter: Callable[[], float] = lambda: 1.0,
        failures: int = 0,
    ) -> None:
        self.state = State.IDLE
        self.negotiated: Negotiated | None = None
        self.remote_open: Open | None = None
        self.failures = failures
        self._speaker = speaker
        self._peer = peer
        self._jitter = jitter
        self._local_open = make_open(speaker, peer)
        self._connect_retry_deadline = inf
        self._hold_deadline = inf
        self._keepalive_deadline = inf
        self._send_hold_deadline = inf
        self._outputs: list[Output] = []

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take an event and say what is to be done, in order.

        Args:
            event: what happened.
            now: the time in seconds, on any clock that does not go backwards.
        """
        self._outputs = []
        handler = TRANSITIONS.get((self.state, type(event)))
        if handler is not None:
            handler(self, event, now)
        elif self.state in _SUBCODES:
            notification = Notification(ErrorCode.FSM_ERROR, _SUBCODES[self.state])
            self._close(f"{type(event).__name__} in state {self.state.value}", notification)
        elif self.state is not State.IDLE:
            self._close(f"{type(event).__name__} in state {self.state.value}")
        return self._outputs

    def next_deadline(self) -> float:
        """When `timers_due` has something to say; infinity if no timer runs."""
        return min(
            self._connect_retry_deadline, self._hold_deadline, self._keepalive_deadline, self._send_hold_deadline
        )

    @property
    def hold_deadline(self) -> float:
        """When the hold timer expires unless something is heard."""
        return self._hold_deadline

    def timers_due(self, now: float) -> list[Event]:
        """The timers that have expired, to be handled in this order."""
        due: list[Event] = []
        if self._hold_deadline <= now:
            due.append(HoldTimerExpires())
        if self._send_hold_deadline <= now:
            due.append(SendHoldTimerExpires())
        if self._connect_retry_deadline <= now:
            due.append(ConnectRetryTimerExpires())
        if self._keepalive_deadline <= now:
            due.append(KeepaliveTimerExpires())
        return due

    def heard(self, now: float) -> None:
        """Restart the hold timer: something was received, or we had not been listening for our own reasons."""
        if self._hold_deadline != inf:
            hold_time = LARGE_HOLD_TIME if self.negotiated is None else self.negotiated.hold_time
            self._hold_deadline = now + hold_time

    def sent(self, now: float) -> None:
        """Restart the send hold timer: the peer has taken octets, or none are waiting.

        It runs in Established only, and not without a hold time (RFC 9687).
        """
        if self.state is State.ESTABLISHED and self.negotiated is not None and self.negotiated.hold_time:
            self._send_hold_deadline = now + max(SHORTEST_SEND_HOLD_TIME, 2 * self.negotiated.hold_time)

    # What the table names.

    def _start(self, event: Event, now: float) -> None:
        if self._peer.passive or self._peer.address is None:
            self.state = State.ACTIVE
        else:
            self._dial(event, now)

    def _dial(self, event: Event, now: float) -> None:
        self.state = State.CONNECT
        self._restart_connect_retry(now)
        self._outputs.append(Dial())

    def _connect_failed(self, event: Event, now: float) -> None:
        self.failures += 1
        self.state = State.ACTIVE
        self._restart_connect_retry(now)

    def _connected(self, event: Event, now: float) -> None:
        self._connect_retry_deadline = inf
        self._outputs.append(Send(encode_open(self._local_open)))
        self.state = State.OPEN_SENT
        self._hold_deadline = now + LARGE_HOLD_TIME

    def _open(self, event: Event, now: float) -> None:
        if not isinstance(event, BgpOpen):
            raise AssertionError(event)
        self.remote_open = event.message
        try:
            negotiated = negotiate(self._speaker, self._peer, self._local_open, event.message)
        except NotificationError as error:
            self._close(error.reason, error.notification)
            return
        self.negotiated = negotiated
        self.state = State.OPEN_CONFIRM
        self._outputs.append(Send(KEEPALIVE))
        if negotiated.hold_time:
            self._hold_deadline = now + negotiated.hold_time
            self._restart_keepalive(now)
        else:
            self._hold_deadline = inf

    def _established(self, event: Event, now: float) -> None:
        if self.negotiated is None:
            raise AssertionError("OpenConfirm without an OPEN")
        self.state = State.ESTABLISHED
        self.failures = 0
        self.heard(now)
        self.sent(now)
        self._outputs.append(Established(self.negotiated))

    def _heard(self, event: Event, now: float) -> None:
        self.heard(now)

    def _keepalive(self, event: Event, now: float) -> None:
        self._outputs.append(Send(KEEPALIVE))
        self._restart_keepalive(now)

    def _hold_timer(self, event: Event, now: float) -> None:
        self._close("hold timer expired", Notification(ErrorCode.HOLD_TIMER_EXPIRED))

    def _send_hold_timer(self, event: Event, now: float) -> None:
        self._close("send hold timer expired", Notification(ErrorCode.SEND_HOLD_TIMER_EXPIRED))

    def _stop(self, event: Event, now: float) -> None:
        if not isinstance(event, ManualStop):
            raise AssertionError(event)
        notification = event.notification
        if self.negotiated is not None and self.negotiated.notification_restart:
            # RFC 8538, section 3.1: the peer would keep our routes otherwise.
            data = bytes((notification.code, notification.subcode)) + notification.data
            notification = Notification(ErrorCode.CEASE, CeaseSubcode.HARD_RESET, data)
        self._close(f"stopped: {event.notification}", notification, manual=True)

    def _stop_quietly(self, event: Event, now: float) -> None:
        self._close("stopped", manual=True)

    def _error(self, event: Event, now: float) -> None:
        if not isinstance(event, MessageError):
            raise AssertionError(event)
        self._close(event.error.reason, None if event.error.silent else event.error.notification)

    def _collision(self, event: Event, now: float) -> None:
        self._close("connection collision", Notification(ErrorCode.CEASE, CeaseSubcode.CONNECTION_COLLISION_RESOLUTION))

    def _notified(self, event: Event, now: float) -> None:
        if not isinstance(event, NotifMsg):
            raise AssertionError(event)
        notification = event.notification
        reason = f"the peer sent {notification}"
        hard_reset = (notification.code, notification.subcode) == (ErrorCode.CEASE, CeaseSubcode.HARD_RESET)
        if hard_reset and len(notification.data) >= 2:
            # RFC 8538, section 3.1: what it is for is inside.
            notification = Notification(notification.data[0], notification.data[1], notification.data[2:])
        if notification.code == ErrorCode.CEASE and notification.subcode in (
            CeaseSubcode.ADMINISTRATIVE_SHUTDOWN,
            CeaseSubcode.ADMINISTRATIVE_RESET,
        ):
            text = read_shutdown_communication(notification.data)
            if text is not None:
                reason += f" saying {text!r}"
        self._close(reason, received=event.notification)

    def _lost(self, event: Event, now: float) -> None:
        if not isinstance(event, TcpConnectionFails):
            raise AssertionError(event)
        self._close(event.reason)

    def _ignore(self, event: Event, now: float) -> None:
        pass

    def _close(
        self,
        reason: str,
        notification: Notification | None = None,
        *,
        received: Notification | None = None,
        manual: bool = False,
    ) -> None:
        if self.state is not State.ESTABLISHED:
            self.failures += 1
        self.state = State.IDLE
        self._connect_retry_deadline = inf
        self._hold_deadline = inf
        self._keepalive_deadline = inf
        self._send_hold_deadline = inf
        self._outputs.append(Close(reason, notification, received, manual))

    def _restart_connect_retry(self, now: float) -> None:
        self._connect_retry_deadline = now + self.retry_delay()

    def retry_delay(self) -> float:
        """Seconds until the next attempt: soon at first, doubling with each failure up to connect_retry_time."""
        step = max(0, RETRY_STEPS - self.failures)
        return self._peer.connect_retry_time / (1 << step) * self._jitter()

    def _restart_keepalive(self, now: float) -> None:
        if self.negotiated is not None:
            # Never more than one a second (RFC 4271, section 4.4).
            self._keepalive_deadline = now + max(1.0, self.negotiated.keepalive_time * self._jitter())


_SUBCODES: Final[Mapping[State, int]] = {
    State.OPEN_SENT: FsmErrorSubcode.UNEXPECTED_MESSAGE_IN_OPEN_SENT,
    State.OPEN_CONFIRM: FsmErrorSubcode.UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM,
    State.ESTABLISHED: FsmErrorSubcode.UNEXPECTED_MESSAGE_IN_ESTABLISHED,
}

Handler = Callable[[Session, Event, float], None]

# ruff: noqa: SLF001 (the table is part of the class)
TRANSITIONS: Final[Mapping[tuple[State, type[Event]], Handler]] = {
    (State.IDLE, ManualStart): Session._start,
    (State.IDLE, TcpConnectionConfirmed): Session._connected,
    (State.CONNECT, ManualStart): Session._ignore,
    (State.CONNECT, ManualStop): Session._stop_quietly,
    (State.CONNECT, ConnectRetryTimerExpires): Session._dial,
    (State.CONNECT, TcpCrAcked): Session._connected,
    (State.CONNECT, TcpConnectionConfirmed): Session._connected,
    (State.CONNECT, TcpConnectionFails): Session._connect_failed,
    (State.ACTIVE, ManualStart): Session._ignore,
    (State.ACTIVE, ManualStop): Session._stop_quietly,
    (State.ACTIVE, ConnectRetryTimerExpires): Session._dial,
    (State.ACTIVE, TcpCrAcked): Session._connected,
    (State.ACTIVE, TcpConnectionConfirmed): Session._connected,
    (State.ACTIVE, TcpConnectionFails): Session._ignore,
    (State.OPEN_SENT, ManualStart): Session._ignore,
    (State.OPEN_SENT, ManualStop): Session._stop,
    (State.OPEN_SENT, HoldTimerExpires): Session._hold_timer,
    (State.OPEN_SENT, TcpConnectionFails): Session._lost,
    (State.OPEN_SENT, BgpOpen): Session._open,
    (State.OPEN_SENT, MessageError): Session._error,
    (State.OPEN_SENT, OpenCollisionDump): Session._collision,
    (State.OPEN_SENT, NotifMsg): Session._notified,
    (State.OPEN_CONFIRM, ManualStart): Session._ignore,
    (State.OPEN_CONFIRM, ManualStop): Session._stop,
    (State.OPEN_CONFIRM, HoldTimerExpires): Session._hold_timer,
    (State.OPEN_CONFIRM, KeepaliveTimerExpires): Session._keepalive,
    (State.OPEN_CONFIRM, TcpConnectionFails): Session._lost,
    (State.OPEN_CONFIRM, MessageError): Session._error,
    (State.OPEN_CONFIRM, OpenCollisionDump): Session._collision,
    (State.OPEN_CONFIRM, NotifMsg): Session._notified,
    (State.OPEN_CONFIRM, KeepAliveMsg): Session._established,
    (State.ESTABLISHED, ManualStart): Session._ignore,
    (State.ESTABLISHED, ManualStop): Session._stop,
    (State.ESTABLISHED, HoldTimerExpires): Session._hold_timer,
    (State.ESTABLISHED, SendHoldTimerExpires): Session._send_hold_timer,
    (State.ESTABLISHED, KeepaliveTimerExpires): Session._keepalive,
    (State.ESTABLISHED, TcpConnectionFails): Session._lost,
    (State.ESTABLISHED, MessageError): Session._error,
    (State.ESTABLISHED, OpenCollisionDump): Session._collision,
    (State.ESTABLISHED, NotifMsg): Session._notified,
    (State.ESTABLISHED, KeepAliveMsg): Session._heard,
    (State.ESTABLISHED, UpdateMsg): Session._heard,
    (State.ESTABLISHED, RouteRefreshMsg): Session._heard,
}
"""What is done with each event in each state; a pair that is missing is a Finite State Machine Error."""
