"""What a monitor is told: states and messages of each connection, in order."""

from collections.abc import Sequence

import trio

from tests.harness import decoder
from tests.harness.decoder import V4
from tests.harness.lab import lab, peer_settings
from trio_bgp.runtime.board import Monitor, MonitoredConnection
from trio_bgp.session.fsm import State

KINDS = {1: "OPEN", 2: "UPDATE", 3: "NOTIFICATION", 4: "KEEPALIVE"}
ROUTE = decoder.announce(
    [(V4, b"\x08\x0a")], decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001), bytes((192, 0, 2, 1))
)


class Notes(Monitor):
    """Writes down what it is told, by peer."""

    def __init__(self, *, wants_sent: bool = False) -> None:
        self.wants_sent = wants_sent
        self.told: dict[str, list[str]] = {}

    def changed(self, connection: MonitoredConnection, old: State, new: State) -> None:
        assert (new is State.ESTABLISHED) <= (connection.member is not None)
        self.told.setdefault(connection.peer.name, []).append(f"{old.value} {new.value}")

    def received(self, connection: MonitoredConnection, messages: Sequence[bytes]) -> None:
        words = " ".join(KINDS[message[18]] for message in messages)
        self.told.setdefault(connection.peer.name, []).append(words)

    def sent(self, connection: MonitoredConnection, octets: bytes) -> None:
        assert octets.startswith(decoder.MARKER)
        self.told.setdefault(connection.peer.name, []).append(f"sent {len(octets)} octets")


async def test_a_session_from_its_open_to_its_end(autojump_clock: trio.abc.Clock) -> None:
    """Each state once; UPDATEs of one read together; the message before what it leads to."""
    notes = Notes()
    async with lab(peer_settings(1)) as running:
        running.speaker.forwarder.board.monitors.append(notes)
        one = await running.join(1)
        await one.say(ROUTE + ROUTE)
        await running.settle()
        await one.say(decoder.message(3, b"\x06\x02"))
        await running.settle()
    assert notes.told == {
        "p1": [
            "Idle OpenSent",
            "OPEN",
            "OpenSent OpenConfirm",
            "KEEPALIVE",
            "OpenConfirm Established",
            "UPDATE UPDATE",
            "NOTIFICATION",
            "Established Idle",
        ]
    }


async def test_what_is_sent_only_on_demand(autojump_clock: trio.abc.Clock) -> None:
    """The route that another peer gets, as whole messages, to the monitor that asked and to no other."""
    notes, deaf = Notes(wants_sent=True), Notes()
    async with lab(peer_settings(1), peer_settings(2)) as running:
        running.speaker.forwarder.board.monitors += [notes, deaf]
        one = await running.join(1)
        await running.join(2)
        await one.say(ROUTE)
        await running.settle()
    assert f"sent {len(ROUTE)} octets" in notes.told["p2"]
    assert not any(word.startswith("sent") for words in deaf.told.values() for word in words)
    assert notes.told["p2"][-1] == "Established Idle", "the daemon ended, and with it the session"
