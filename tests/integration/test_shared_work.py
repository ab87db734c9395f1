"""What a combination of capabilities costs is paid once per message, not per peer."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.decoder import V4
from tests.harness.lab import LOCAL_AS, lab, peer_settings
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.rib.path import Path
from trio_bgp.runtime.session.outbound import Outbound
from trio_bgp.settings import AddPathSettings, Role
from trio_bgp.wire.numbers import IPV4_UNICAST

ALL = AddPathSettings(send=AddPathSettings.ALL)
KINDS = {"old": 4, "collector": 3, "internal": 3}
"""How many receivers there are that need a variant, by kind."""


@pytest.mark.parametrize("times", [1, 3])
async def test_a_variant_is_made_once_for_all_who_read_it_alike(
    times: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four kinds of receivers, however many of each: four messages in their queues, two rewrites of its attributes."""
    queued: list[PassthroughMessage] = []
    put_all = Outbound.put_all

    def watched(outbound: Outbound, items: Sequence[PassthroughMessage]) -> None:
        queued.extend(items)
        put_all(outbound, items)

    only: dict[str, Any] = {"families": (IPV4_UNICAST,)}
    peers = [peer_settings(1, **only), peer_settings(2, **only)]
    options: dict[int, dict[str, Any]] = {1: {}, 2: {}}
    for kind, count in KINDS.items():
        for _ in range(count * times):
            number = len(peers) + 1
            if kind == "old":
                peers.append(peer_settings(number, **only))
                options[number] = {"asn4": False}
            elif kind == "collector":
                peers.append(peer_settings(number, add_path=ALL, **only))
                options[number] = {"add_path": 1, "receives_add_path": True}
            else:
                peers.append(peer_settings(number, role=Role.RR_CLIENT, peer_as=LOCAL_AS, **only))
                options[number] = {"asn": LOCAL_AS}
    async with lab(*peers) as the_lab:
        clients = [await the_lab.join(number, families=(V4,), **each) for number, each in options.items()]
        monkeypatch.setattr(Outbound, "put_all", watched)
        attributes = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001, 70000)
        paths = []
        # The second time the attributes are known.
        for prefix in (b"\x08\x0a", b"\x08\x0b"):
            queued.clear()
            await clients[0].say(decoder.announce([(V4, prefix)], attributes, bytes((192, 0, 2, 1))))
            await the_lab.settle()
            assert sorted(Counter(map(id, queued)).values()) == sorted(
                [1, *(times * count for count in KINDS.values())]
            )
            paths.append(the_lab.speaker.forwarder.core.table(IPV4_UNICAST).routes[prefix])
        assert paths[0] is paths[1]
        assert isinstance(paths[0], Path)
        # For 2-octet AS numbers and for reflection; ADD-PATH changes no attribute.
        assert len(paths[0].variants) == 2 * 2
        assert all(len(client.table) == 2 for client in clients[1:])
