"""The demo: a whole route server, and whether the demo would notice if it did wrong."""

import pytest

from trio_bgp.cli import main
from trio_bgp.cli.demo import SENDERS, Demo
from trio_bgp.cli.embedded import EmbeddedSpeaker
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.runtime.session.outbound import Outbound
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST


async def test_every_peer_ends_with_the_expected_routes(
    autojump_clock: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """After churn, a late joiner and a sender that left, all tables are as they should be."""
    demo = Demo(seed=3, prefixes=2000, receivers=3, seconds=10)
    await demo.run()
    output = capsys.readouterr().out
    assert demo.correct, output
    expected = demo.expected()
    assert {family for family, _ in expected} == {IPV4_UNICAST, IPV6_UNICAST}
    assert [len(receiver.table) for receiver in demo.receivers] == [len(expected)] * 4
    assert not demo.announced[0]
    assert "Every one of 4 receivers" in output


async def test_the_same_seed_ends_with_the_same_routes(autojump_clock: object) -> None:
    """What is announced depends on the seed alone."""
    tables = []
    for seed in (5, 5, 6):
        demo = Demo(seed=seed, prefixes=500, receivers=1, seconds=4)
        await demo.run()
        tables.append(demo.expected())
    assert tables[0] == tables[1] != tables[2]


async def test_senders_are_expected_to_hold_the_others_routes(autojump_clock: object) -> None:
    """What a sender is to hold leaves out its own paths, so it is neither empty nor everything."""
    demo = Demo(seed=4, prefixes=1000, receivers=1, seconds=4)
    await demo.run()
    own = {held for _, held in demo.expected(SENDERS - 1).items()}
    announced = {route.attributes for route in demo.announced[SENDERS - 1].values()}
    assert own
    assert not announced & {attributes for _, attributes in own}


async def test_lines_say_who_got_a_message_unchanged(
    autojump_clock: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal, a message of each sender is followed to its receivers; no line is longer than the terminal."""
    demo = Demo(seed=3, prefixes=500, receivers=2, seconds=4)
    demo._terminal = True
    await demo.run()
    output = capsys.readouterr().out
    assert "as65002 -> 5 peers, unchanged: " in output
    assert "as65001 left" in output
    assert "\x1b[" in output
    drawn = output.partition("\x1b[")[2].rpartition("\x1b[J")[0]
    assert max(len(line.split("\x1b[K")[0].split("F", 1)[-1]) for line in drawn.splitlines()) < 80


async def test_a_lost_withdrawal_is_noticed(autojump_clock: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """If withdrawals do not reach a receiver the demo says so."""
    honest = EmbeddedSpeaker._update

    def forgetful(self: EmbeddedSpeaker, message: bytes) -> None:
        before = dict(self.table)
        honest(self, message)
        for key in before.keys() - self.table.keys():
            self.table[key] = before[key]

    monkeypatch.setattr(EmbeddedSpeaker, "_update", forgetful)
    demo = Demo(seed=3, prefixes=500, receivers=2, seconds=4)
    await demo.run()
    assert not demo.correct


async def test_a_message_that_is_not_forwarded_is_noticed(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the route server keeps something to itself the demo names the peers concerned.

    Many runs, because what is in one may be withdrawn, or beaten by a better path, by the end.
    """
    honest = Outbound.put
    dropped: list[int] = []

    def lossy(self: Outbound, item: bytes | PassthroughMessage) -> None:
        # A run has a slab: it is what was received.
        if isinstance(item, PassthroughMessage) and item.slab is not None and len(dropped) < 30:
            dropped.append(item.count)
            item.release()
        else:
            honest(self, item)

    monkeypatch.setattr(Outbound, "put", lossy)
    demo = Demo(seed=3, prefixes=500, receivers=2, seconds=4)
    await demo.run()
    assert dropped
    assert not demo.correct
    assert "WRONG" in capsys.readouterr().out


def test_exit_status_and_a_line_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    """`trio-bgp demo` ends by itself with status 0, and into a file it writes plain lines."""
    arguments = ["demo", "--prefixes", "200", "--receivers", "2", "--seed", "9", "--duration", "1.2"]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert sum(" sessions; in " in line for line in output.splitlines()) >= 1


def test_exit_status_1_when_something_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Status 1 says that a peer did not hold what it should."""
    monkeypatch.setattr(Demo, "_wrong", lambda self: ["as65005: 1 routes missing or different, 0 too many"])
    assert main(["demo", "--prefixes", "100", "--receivers", "1", "--duration", "0.2"]) == 1


@pytest.mark.parametrize("option", [["--prefixes", "99"], ["--receivers", "0"], ["--duration", "0"]])
def test_impossible_numbers_are_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2 and a sentence, not a traceback."""
    assert main(["demo", *option]) == 2
    assert "needed" in capsys.readouterr().err
