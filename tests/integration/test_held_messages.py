"""Messages that a program holds and forwards later; the how-to's example is what runs here."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.harness import decoder
from tests.harness.decoder import V4
from tests.harness.lab import lab, peer_settings
from trio_bgp.runtime.forwarder import HeldMessage
from trio_bgp.settings import Role
from trio_bgp.wire.numbers import IPV4_UNICAST

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "hold-messages.md"
ROUTE = (V4, b"\x08\x0a")


def announcement(number: int, *, asn: int = 65001) -> bytes:
    """10.0.0.0/8 with a MED that tells messages apart."""
    block = (
        decoder.attribute(0x40, 1, b"\0") + decoder.as_path(asn) + decoder.attribute(0x80, 4, bytes((0, 0, 0, number)))
    )
    return decoder.announce([ROUTE], block, b"\xc0\0\2\1")


def quarantine() -> Callable[..., Awaitable[int]]:
    """The function in the how-to."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, str(HOW_TO), "exec"), names)
    function: Callable[..., Awaitable[int]] = names["quarantine"]
    return function


async def test_the_example_holds_and_lets_go_in_order(autojump_clock: object) -> None:
    """Nobody hears of the peer until the gate opens; then all of it arrives, octet for octet, in order."""
    async with lab(*(peer_settings(number) for number in (1, 2, 3))) as the_lab:
        one, two, three = [await the_lab.join(number) for number in (1, 2, 3)]
        gate = trio.Event()
        counted: list[int] = []

        async def run() -> None:
            counted.append(await quarantine()(the_lab.speaker, "p1", gate))

        the_lab.nursery.start_soon(run)
        await the_lab.settle()
        sent = [announcement(1), announcement(2)]
        await one.say(b"".join(sent))
        await three.say(announcement(9, asn=65003))
        await the_lab.settle()
        assert [update for update in two.updates if len(update) > 30] == [announcement(9, asn=65003)]
        gate.set()
        await the_lab.settle()
        assert counted == [2]
        assert two.updates[-2:] == sent
        assert set(the_lab.speaker.forwarder.core.table(IPV4_UNICAST).routes) == {ROUTE[1]}


async def test_a_held_message_goes_to_chosen_peers_only(autojump_clock: object) -> None:
    """Past the RIB: unchanged to whom can read it, repacked to whom cannot, and nobody else hears of it."""
    peers = [*(peer_settings(number) for number in (1, 2, 3, 4)), peer_settings(5, role=Role.EBGP)]
    async with lab(*peers) as the_lab:
        one, two, three = [await the_lab.join(number) for number in (1, 2, 3)]
        old = await the_lab.join(4, asn4=False)
        silent = await the_lab.join(5)
        held: list[HeldMessage] = []

        def intercept(message: HeldMessage) -> bool:
            held.append(message)
            return True

        forwarder = the_lab.speaker.forwarder
        forwarder.intercept = intercept
        await one.say(announcement(1))
        await the_lab.settle()
        (message,) = held
        assert (message.peer, message.octets) == ("p1", announcement(1))
        with pytest.raises(LookupError, match="p9 is not established"):
            forwarder.forward(message.number, to=["p2", "p9"])
        with pytest.raises(LookupError, match="p5 is sent nothing"):
            forwarder.forward(message.number, to=["p2", "p5"])
        forwarder.forward(message.number, to=["p2", "p4"])
        await the_lab.settle()
        assert two.updates[-1] == announcement(1)
        assert old.table[ROUTE][1] == (0x40, 2, b"\x02\x01\xfd\xe9")
        assert ROUTE not in three.table
        assert silent.table == {}
        with pytest.raises(KeyError):
            forwarder.forward(message.number)


async def test_what_is_held_ends_with_its_session(autojump_clock: object) -> None:
    """A message of a peer that left cannot be forwarded, only dropped."""
    async with lab(*(peer_settings(number) for number in (1, 2))) as the_lab:
        one, two = [await the_lab.join(number) for number in (1, 2)]
        numbers: list[int] = []
        forwarder = the_lab.speaker.forwarder

        def intercept(message: HeldMessage) -> bool:
            numbers.append(message.number)
            return True

        forwarder.intercept = intercept
        await one.say(announcement(1))
        await the_lab.settle()
        await one.cut()
        await the_lab.settle()
        with pytest.raises(LookupError, match="session with p1"):
            forwarder.forward(numbers[0])
        forwarder.drop(numbers[0])
        assert len(forwarder.held) == 0
        assert ROUTE not in two.table


async def test_a_full_cache_lets_messages_go_their_way(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost because a program holds too much."""
    async with lab(*(peer_settings(number) for number in (1, 2))) as the_lab:
        one, two = [await the_lab.join(number) for number in (1, 2)]
        forwarder = the_lab.speaker.forwarder
        forwarder.held.limit = 10
        forwarder.intercept = lambda message: True
        await one.say(announcement(1))
        await the_lab.settle()
        assert two.updates[-1] == announcement(1)
        assert "update.not_held name=p1" in caplog.text
