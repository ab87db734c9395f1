"""What each daemon says reaches the others octet for octet: seen on the wire, as daemons cannot show it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import decoder
from tests.harness.decoder import V4, V6
from tests.interop.daemons import RS_AS, Bird, Daemon, Frr, GoBgp, OpenBgpd, TrioBgp, member, wait_for
from tests.interop.raw import RawSpeaker
from tests.interop.tap import Tap

pytestmark = pytest.mark.interop

PREFIXES = {
    4: ["203.0.113.0/24", "198.51.100.0/25", "0.0.0.0/1"],
    6: ["2001:db8:113::/48", "2001:db8:4::/64"],
}
CLIENTS: list[Callable[[int, Path, int], Daemon]] = [Bird, Frr, GoBgp, OpenBgpd]


@pytest.mark.parametrize("client", CLIENTS, ids=[each.__name__ for each in CLIENTS])
def test_every_octet(client: Callable[[int, Path, int], Daemon], tmp_path: Path) -> None:
    """What a daemon announces and withdraws arrives at another one, and at a speaker of octets, as it was sent."""
    port = 18670
    with (
        TrioBgp(tmp_path, port, [member(n) for n in (1, 2, 3)]),
        Tap(port + 5, port) as tap,
        RawSpeaker("127.0.3.1", RS_AS + 3, port, families=(V4, V6)) as raw,
        client(1, tmp_path, port + 5) as sender,
        client(2, tmp_path, port + 5) as receiver,
    ):

        def arrived() -> None:
            sent = Counter(tap.updates(sender.address, to_server=True))
            assert sent
            wait_for(lambda: Counter(tap.updates(receiver.address, to_server=False)), lambda heard: heard == sent)
            heard = [each for each in raw.kinds(decoder.UPDATE) if len(each) not in (23, 29, 30)]
            assert Counter(heard) == sent

        def holds(expected: dict[int, list[str]]) -> None:
            for version, prefixes in expected.items():
                wait_for(
                    lambda v=version: set(receiver.routes(v)),  # type: ignore[misc]
                    lambda held, p=prefixes: held == set(p),  # type: ignore[misc]
                )

        # Both are up before anything is announced: what is told live is told as it came.
        wait_for(lambda: len(tap.ended()), lambda count: count >= 4)
        for prefixes in PREFIXES.values():
            for prefix in prefixes:
                sender.announce(prefix, communities=(f"{sender.asn}:100",))
        holds(PREFIXES)
        arrived()
        for version in (4, 6):
            sender.withdraw(PREFIXES[version][1])
        holds({version: [p for p in prefixes if p != prefixes[1]] for version, prefixes in PREFIXES.items()})
        arrived()
        assert not tap.updates(sender.address, to_server=False), "the sender heard its own routes"
