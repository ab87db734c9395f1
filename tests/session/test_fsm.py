import heapq
from collections.abc import Callable
from ipaddress import ip_address
from itertools import count, pairwise
from math import inf
from typing import get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from trio_bgp.session.fsm import TRANSITIONS, Session, State
from trio_bgp.settings import PeerSettings, SpeakerSettings
from trio_bgp.wire.capabilities import FourOctetAs, Multiprotocol
from trio_bgp.wire.header import HEADER_LENGTH, KEEPALIVE
from trio_bgp.wire.notification import Notification, NotificationError, encode_notification
from trio_bgp.wire.numbers import IPV4_UNICAST
from trio_bgp.wire.open import Open, decode_open

SPEAKER = SpeakerSettings(local_as=65000, bgp_identifier=1)
PEER = PeerSettings(name="peer", address=ip_address("192.0.2.1"), peer_as=65001)
SHUTDOWN = Notification(6, 2)
CONNECTED = (State.OPEN_SENT, State.OPEN_CONFIRM, State.ESTABLISHED)


def theirs(hold_time: int = 90, asn: int = 65001) -> Open:
    """The peer's OPEN."""
    return Open(
        my_as=asn,
        hold_time=hold_time,
        bgp_identifier=2,
        capabilities=(FourOctetAs(asn), Multiprotocol(IPV4_UNICAST)),
    )


def session_in(state: State, *, hold_time: int = 90, jitter: Callable[[], float] = lambda: 1.0) -> Session:
    """A session brought to `state` at time 0 by the shortest way."""
    session = Session(SPEAKER, PEER, jitter=jitter)
    if state is State.IDLE:
        return session
    session.handle(ManualStart(), 0.0)
    if state is State.ACTIVE:
        session.handle(TcpConnectionFails("refused"), 0.0)
    elif state is not State.CONNECT:
        session.handle(TcpCrAcked(), 0.0)
        if state is not State.OPEN_SENT:
            session.handle(BgpOpen(theirs(hold_time)), 0.0)
            if state is not State.OPEN_CONFIRM:
                session.handle(KeepAliveMsg(), 0.0)
    assert session.state is state
    return session


EXAMPLES: dict[type[Event], Event] = {
    ManualStart: ManualStart(),
    ManualStop: ManualStop(SHUTDOWN),
    ConnectRetryTimerExpires: ConnectRetryTimerExpires(),
    HoldTimerExpires: HoldTimerExpires(),
    KeepaliveTimerExpires: KeepaliveTimerExpires(),
    SendHoldTimerExpires: SendHoldTimerExpires(),
    TcpCrAcked: TcpCrAcked(),
    TcpConnectionConfirmed: TcpConnectionConfirmed(),
    TcpConnectionFails: TcpConnectionFails("gone"),
    BgpOpen: BgpOpen(theirs()),
    MessageError: MessageError(NotificationError(1, 1, reason="bad marker")),
    OpenCollisionDump: OpenCollisionDump(),
    NotifMsg: NotifMsg(Notification(6, 4)),
    KeepAliveMsg: KeepAliveMsg(),
    UpdateMsg: UpdateMsg(),
    RouteRefreshMsg: RouteRefreshMsg(),
}


def closed(outputs: list[Output]) -> Close:
    """The one Close among `outputs`, which is the last."""
    close = outputs[-1]
    assert isinstance(close, Close)
    assert sum(isinstance(output, Close) for output in outputs) == 1
    return close


def test_examples_cover_all_events() -> None:
    """The tests below that go through `EXAMPLES` go through every event there is."""
    assert set(EXAMPLES) == set(get_args(Event))
    assert {event for _, event in TRANSITIONS} <= set(EXAMPLES)
    assert {state for state, _ in TRANSITIONS} == set(State)


def test_the_way_up() -> None:
    """Idle to Established with the outputs of RFC 4271 section 8.2.2, in order."""
    session = Session(SPEAKER, PEER)
    assert session.handle(ManualStart(), 0.0) == [Dial()]
    (sent,) = session.handle(TcpCrAcked(), 1.0)
    assert isinstance(sent, Send)
    assert decode_open(sent.octets[HEADER_LENGTH:]).peer_as == 65000
    assert session.handle(BgpOpen(theirs()), 2.0) == [Send(KEEPALIVE)]
    (up,) = session.handle(KeepAliveMsg(), 3.0)
    assert isinstance(up, Established)
    assert up.negotiated is session.negotiated
    assert session.state is State.ESTABLISHED
    assert session.handle(UpdateMsg(), 4.0) == []


def test_a_passive_session_waits_for_the_peer() -> None:
    """A passive peer, and one that is a range, is never dialled; its connection starts the session."""
    for peer in (attrs.evolve(PEER, passive=True), attrs.evolve(PEER, address=None)):
        session = Session(SPEAKER, peer)
        assert session.handle(ManualStart(), 0.0) == []
        assert session.state is State.ACTIVE
        assert session.next_deadline() == inf
        assert isinstance(session.handle(TcpConnectionConfirmed(), 5.0)[0], Send)


@pytest.mark.parametrize(
    ("state", "event", "subcode"),
    [
        (State.OPEN_SENT, KeepAliveMsg, 1),
        (State.OPEN_SENT, UpdateMsg, 1),
        (State.OPEN_SENT, RouteRefreshMsg, 1),
        (State.OPEN_CONFIRM, UpdateMsg, 2),
        (State.OPEN_CONFIRM, BgpOpen, 2),
        (State.OPEN_CONFIRM, RouteRefreshMsg, 2),
        (State.ESTABLISHED, BgpOpen, 3),
    ],
)
def test_an_unexpected_message_is_a_state_machine_error(state: State, event: type[Event], subcode: int) -> None:
    """FSM-1 to FSM-3: code 5 with RFC 6608's subcode for the state, and the end of the session."""
    session = session_in(state)
    close = closed(session.handle(EXAMPLES[event], 1.0))
    assert close.notification == Notification(5, subcode)
    assert session.state is State.IDLE


@pytest.mark.parametrize("state", CONNECTED)
def test_hold_timer(state: State) -> None:
    """FSM-4, FSM-5: 240 s for the OPEN, then the negotiated hold time; silence ends with 4/0."""
    session = session_in(state)
    at = 240.0 if state is State.OPEN_SENT else 90.0
    assert HoldTimerExpires() not in session.timers_due(at - 0.01)
    assert HoldTimerExpires() in session.timers_due(at)
    assert closed(session.handle(HoldTimerExpires(), at)).notification == Notification(4, 0)
    assert session.next_deadline() == inf


@pytest.mark.parametrize("event", [KeepAliveMsg(), UpdateMsg(), RouteRefreshMsg()])
def test_what_is_heard_restarts_the_hold_timer(event: Event) -> None:
    """Each message in Established moves the hold deadline, a KEEPALIVE of our own does not."""
    session = session_in(State.ESTABLISHED)
    session.handle(event, 50.0)
    session.handle(KeepaliveTimerExpires(), 60.0)
    assert session.hold_deadline == 140.0


def test_keepalives_come_each_third_of_the_hold_time_with_jitter() -> None:
    """FSM-6: sent at each third, times the factor passed in, from OpenConfirm on."""
    session = session_in(State.OPEN_CONFIRM, jitter=lambda: 0.75)
    assert session.next_deadline() == 22.5
    assert session.handle(KeepaliveTimerExpires(), 22.5) == [Send(KEEPALIVE)]
    assert session.next_deadline() == 45.0


def test_never_more_than_one_keepalive_a_second() -> None:
    """RFC 4271 section 4.4: a hold time of 3 s with jitter still sends them a second apart."""
    session = session_in(State.ESTABLISHED, hold_time=3, jitter=lambda: 0.75)
    assert session.next_deadline() == 1.0


def test_a_hold_time_of_zero_runs_no_timers() -> None:
    """OPN-7: the OPEN is confirmed, after that neither KEEPALIVEs nor a hold timer nor a send hold timer."""
    for state in (State.OPEN_CONFIRM, State.ESTABLISHED):
        session = session_in(state, hold_time=0)
        session.heard(5.0)
        session.sent(5.0)
        assert session.next_deadline() == inf


@pytest.mark.parametrize(("hold_time", "expected"), [(90, 480.0), (240, 480.0), (300, 600.0)])
def test_send_hold_timer(hold_time: int, expected: float) -> None:
    """RFC 9687: the larger of 480 s and twice the hold time after the last progress, then code 8."""
    session = Session(SPEAKER, attrs.evolve(PEER, hold_time=hold_time))
    for event in (TcpConnectionConfirmed(), BgpOpen(theirs(hold_time)), KeepAliveMsg()):
        session.handle(event, 0.0)
    session.sent(7.0)
    assert SendHoldTimerExpires() not in session.timers_due(7.0 + expected - 0.01)
    assert SendHoldTimerExpires() in session.timers_due(7.0 + expected)
    assert closed(session.handle(SendHoldTimerExpires(), 7.0 + expected)).notification == Notification(8, 0)


@pytest.mark.parametrize("state", [state for state in State if state is not State.ESTABLISHED])
def test_the_send_hold_timer_runs_in_established_only(state: State) -> None:
    """Progress reported before or after does not start it: only Established knows its event."""
    session = session_in(state)
    session.sent(0.0)
    assert SendHoldTimerExpires() not in session.timers_due(1e9)
    over = session_in(State.ESTABLISHED)
    over.handle(TcpConnectionFails("gone"), 1.0)
    over.sent(1.0)
    assert over.next_deadline() == inf


@pytest.mark.parametrize("state", CONNECTED)
def test_an_error_in_a_message_is_told_the_peer(state: State) -> None:
    """Events 21, 22, 28: the NOTIFICATION that belongs to the error, and its reason for the log."""
    error = NotificationError(1, 2, b"\0\x12", "length 18")
    close = closed(session_in(state).handle(MessageError(error), 1.0))
    assert close == Close("length 18", Notification(1, 2, b"\0\x12"))


def test_an_open_that_cannot_be_agreed_on_ends_the_session() -> None:
    """A wrong AS in a valid OPEN is 2/2, and no KEEPALIVE was sent."""
    session = session_in(State.OPEN_SENT)
    outputs = session.handle(BgpOpen(theirs(asn=65009)), 1.0)
    assert len(outputs) == 1
    assert closed(outputs).notification == Notification(2, 2)
    assert session.state is State.IDLE


@pytest.mark.parametrize("state", CONNECTED)
def test_a_received_notification_is_not_answered(state: State) -> None:
    """RFC 4271 section 6.4: the connection closes without a word; the reason names what the peer said."""
    close = closed(session_in(state).handle(NotifMsg(Notification(6, 4)), 1.0))
    assert close.notification is None
    assert close.received == Notification(6, 4)
    assert "Administrative Reset" in close.reason


def test_a_shutdown_communication_is_shown_safely() -> None:
    """FSM-15: text is quoted, control characters and broken UTF-8 do not reach the log."""
    text = b"see you \x1b[31m"
    spoken = NotifMsg(Notification(6, 2, bytes((len(text),)) + text))
    reason = closed(session_in(State.ESTABLISHED).handle(spoken, 1.0)).reason
    assert "see you" in reason
    assert "\x1b" not in reason
    broken = NotifMsg(Notification(6, 2, b"\x05\xff\xfe"))
    assert "hex:" in closed(session_in(State.ESTABLISHED).handle(broken, 1.0)).reason


def test_a_stop_says_why_where_there_is_somebody_to_tell() -> None:
    """Event 2: the given Cease with a connection, nothing without one."""
    for state in CONNECTED:
        assert closed(session_in(state).handle(ManualStop(SHUTDOWN), 1.0)).notification == SHUTDOWN
    for state in (State.CONNECT, State.ACTIVE):
        session = session_in(state)
        assert closed(session.handle(ManualStop(SHUTDOWN), 1.0)).notification is None
        assert session.state is State.IDLE


@pytest.mark.parametrize("state", CONNECTED)
def test_the_loser_of_a_collision_is_told_so(state: State) -> None:
    """Event 23: Cease/7."""
    assert closed(session_in(state).handle(OpenCollisionDump(), 1.0)).notification == Notification(6, 7)


@pytest.mark.parametrize("state", CONNECTED)
def test_a_lost_connection_ends_in_idle(state: State) -> None:
    """FSM-8: no NOTIFICATION is attempted and no timer is left."""
    session = session_in(state)
    assert closed(session.handle(TcpConnectionFails("reset"), 1.0)) == Close("reset")
    assert (session.state, session.next_deadline()) == (State.IDLE, inf)


def test_retries_back_off_to_the_connect_retry_time() -> None:
    """Each failure doubles the wait, from a sixteenth of connect_retry_time to all of it, times the jitter."""
    session = Session(SPEAKER, PEER, jitter=lambda: 0.75)
    session.handle(ManualStart(), 0.0)
    now, waits = 0.0, []
    for _ in range(7):
        session.handle(TcpConnectionFails("refused"), now)
        assert session.state is State.ACTIVE
        waits.append((session.next_deadline() - now) / 0.75)
        now = session.next_deadline()
        assert session.timers_due(now) == [ConnectRetryTimerExpires()]
        assert session.handle(ConnectRetryTimerExpires(), now) == [Dial()]
    assert waits == [3.75, 7.5, 15.0, 30.0, 30.0, 30.0, 30.0]
    assert Session(SPEAKER, PEER).retry_delay() == 30.0 / 16


def test_a_session_that_came_up_forgets_its_failures() -> None:
    """Established resets the back-off, an end before it adds to it."""
    session = Session(SPEAKER, PEER, failures=3)
    session.handle(TcpConnectionConfirmed(), 0.0)
    session.handle(BgpOpen(theirs()), 0.0)
    session.handle(KeepAliveMsg(), 0.0)
    assert session.failures == 0
    session = session_in(State.OPEN_SENT)
    session.handle(TcpConnectionFails("gone"), 1.0)
    assert session.failures == 1


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(EXAMPLES.values()), ids=lambda event: type(event).__name__)
def test_every_event_in_every_state_is_answered(state: State, event: Event) -> None:
    """No pair raises; with a connection, what the table does not name is 5/x, without one it ends in Idle."""
    session = session_in(state)
    outputs = session.handle(event, 1.0)
    if (state, type(event)) not in TRANSITIONS:
        assert session.state is State.IDLE
        if state in CONNECTED:
            assert closed(outputs).notification == Notification(5, CONNECTED.index(state) + 1)
        elif state is not State.IDLE:
            assert closed(outputs).notification is None
        else:
            assert outputs == []


@given(st.lists(st.tuples(st.sampled_from(list(EXAMPLES.values())), st.floats(0, 300)), max_size=30))
def test_any_sequence_of_events_keeps_the_invariants(steps: list[tuple[Event, float]]) -> None:
    """Never an exception; a Close is last and leaves Idle without timers; Established implies a negotiation."""
    session = Session(SPEAKER, PEER)
    now = 0.0
    for event, wait in steps:
        now += wait
        outputs = session.handle(event, now)
        session.heard(now)
        session.sent(now)
        if any(isinstance(output, Close) for output in outputs):
            closed(outputs)
            assert (session.state, session.next_deadline()) == (State.IDLE, inf)
        if session.state is State.ESTABLISHED:
            assert session.negotiated is not None
        if session.state is State.IDLE:
            assert session.next_deadline() == inf


class Pair:
    """Two cores back to back over a wire with a delay, on a clock of their own."""

    def __init__(self, hold_time: int, delay: float = 0.05) -> None:
        one = SpeakerSettings(local_as=65000, bgp_identifier=1)
        two = SpeakerSettings(local_as=65001, bgp_identifier=2)
        self.sessions = [
            Session(one, attrs.evolve(PEER, hold_time=hold_time), jitter=lambda: 0.8),
            Session(two, attrs.evolve(PEER, peer_as=65000, hold_time=30), jitter=lambda: 0.9),
        ]
        self.now = 0.0
        self.closes: list[list[Close]] = [[], []]
        self.keepalives: list[list[float]] = [[], []]
        self.deaf = [False, False]
        self._delay = delay
        self._flying: list[tuple[float, int, int, bytes]] = []
        self._number = count()
        self.feed(0, ManualStart())
        self.feed(0, TcpCrAcked())
        self.feed(1, TcpConnectionConfirmed())

    def feed(self, who: int, event: Event) -> None:
        """Give one of them an event and carry out what it asks."""
        for output in self.sessions[who].handle(event, self.now):
            if isinstance(output, Send):
                self._send(who, output.octets)
            elif isinstance(output, Close):
                self.closes[who].append(output)
                if output.notification is not None:
                    self._send(who, encode_notification(output.notification))

    def _send(self, who: int, octets: bytes) -> None:
        if octets == KEEPALIVE:
            self.keepalives[who].append(self.now)
        heapq.heappush(self._flying, (self.now + self._delay, next(self._number), 1 - who, octets))

    def run_until(self, end: float) -> None:
        """Let time pass."""
        while True:
            timers = [session.next_deadline() for session in self.sessions]
            arrival = self._flying[0][0] if self._flying else inf
            following = min(arrival, *timers)
            if following > end:
                self.now = end
                return
            self.now = following
            if arrival <= following:
                _, _, who, octets = heapq.heappop(self._flying)
                if not self.deaf[who]:
                    self._deliver(who, octets)
                continue
            for who, session in enumerate(self.sessions):
                session.sent(self.now)
                for event in session.timers_due(self.now):
                    self.feed(who, event)

    def _deliver(self, who: int, octets: bytes) -> None:
        if octets == KEEPALIVE:
            self.feed(who, KeepAliveMsg())
        elif octets[18] == 1:
            self.feed(who, BgpOpen(decode_open(octets[HEADER_LENGTH:])))
        else:
            self.feed(who, NotifMsg(Notification(octets[19], octets[20], octets[21:])))


def test_two_cores_come_up_and_stay() -> None:
    """Back to back they are Established after one and a half round trips and still are an hour later."""
    pair = Pair(hold_time=9)
    pair.run_until(1.0)
    assert [session.state for session in pair.sessions] == [State.ESTABLISHED] * 2
    assert [each.negotiated.hold_time for each in pair.sessions if each.negotiated] == [9, 9]
    pair.run_until(3600.0)
    assert pair.closes == [[], []]
    for times in pair.keepalives:
        gaps = [later - earlier for earlier, later in pairwise(times[1:])]
        assert min(gaps) >= 1.0
        assert max(gaps) <= 3.0


def test_the_one_that_hears_nothing_says_so() -> None:
    """When one core goes deaf its hold timer ends the session with 4/0, and the other hears that."""
    pair = Pair(hold_time=9)
    pair.run_until(30.0)
    pair.deaf[0] = True
    pair.run_until(60.0)
    assert [close.notification for close in pair.closes[0]] == [Notification(4, 0)]
    assert [close.received for close in pair.closes[1]] == [Notification(4, 0)]
    assert {session.next_deadline() for session in pair.sessions} == {inf}


def test_two_cores_with_hold_time_zero_keep_silent() -> None:
    """With hold time 0 each sends the one KEEPALIVE that confirms the OPEN."""
    pair = Pair(hold_time=0)
    pair.run_until(1e6)
    assert [len(times) for times in pair.keepalives] == [1, 1]
    assert [session.state for session in pair.sessions] == [State.ESTABLISHED] * 2
