"""A route server and speakers inside a test: in memory, in virtual time, with faults.

async def test_a_client_gets_what_another_announces(autojump_clock):
    async with bgp_lab() as lab:
        one, two = await lab.peer(asn=65001), await lab.peer(asn=65002)
        await one.announce("203.0.113.0/24", med=7)
        await lab.settle()
        assert two.routes["203.0.113.0/24"].med == 7
"""

from trio_bgp.testing.faults import Faults, FaultyStream, deterministic
from trio_bgp.testing.lab import BgpLab, bgp_lab
from trio_bgp.testing.peer import BgpPeer, ReceivedRoute
from trio_bgp.testing.window import window_stream_pair

__all__ = [
    "BgpLab",
    "BgpPeer",
    "Faults",
    "FaultyStream",
    "ReceivedRoute",
    "bgp_lab",
    "deterministic",
    "window_stream_pair",
]
