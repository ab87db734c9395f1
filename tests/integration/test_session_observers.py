"""What a program in the same process is told of sessions, in order with their UPDATEs."""

import trio

from tests.harness import decoder
from tests.harness.decoder import V4
from tests.harness.lab import lab, peer_settings
from trio_bgp.runtime.commands import EndOfRib, PeerDown, PeerUp
from trio_bgp.wire.numbers import IPV4_UNICAST


async def test_sessions_are_told_in_order_with_their_updates(autojump_clock: trio.testing.MockClock) -> None:
    """Both OPENs as they were, then what the peer says, then how it ended; nothing of a connection without session."""
    told: list[object] = []
    async with lab(peer_settings(1), peer_settings(2)) as the_lab:
        forwarder = the_lab.speaker.forwarder
        forwarder.session_observers.append(told.append)
        forwarder.observers.append(lambda name, octets: told.append((name, octets)))
        one = await the_lab.join(1, families=(V4,))
        (member,) = forwarder.members
        (up,) = told
        assert isinstance(up, PeerUp)
        assert up.member is member
        assert up.handshake.received_open == one.open_octets
        assert up.handshake.sent_open == one.log[0]
        assert forwarder.sessions == {member: up}
        end_of_rib = decoder.update()
        announcement = decoder.announce(
            [(V4, b"\x08\x0a")], decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001), bytes((192, 0, 2, 1))
        )
        await one.say(announcement + end_of_rib)
        await one.say(decoder.message(decoder.NOTIFICATION, b"\x06\x02"))
        await the_lab.settle()
        assert told[1:-1] == [("p1", announcement), ("p1", end_of_rib), EndOfRib(member, IPV4_UNICAST)]
        down = told[-1]
        assert isinstance(down, PeerDown)
        assert down.member is member
        assert down.close is not None
        assert down.close.received is not None
        assert (down.close.received.code, down.close.received.subcode) == (6, 2)
        assert forwarder.sessions == {}
        told.clear()
        two = await the_lab.join(2, asn=65009)
        assert two.notifications
        assert told == []
