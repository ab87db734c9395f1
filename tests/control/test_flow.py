"""The live flow: one sample for all who look, a bound on them, and nothing collected while nobody does."""

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.control.test_operate import Running, announce, running
from trio_bgp.control import stream as live


async def look(daemon: Running) -> trio.SocketStream:
    """Ask for the flow."""
    stream = await trio.open_tcp_stream(str(daemon.web.address), daemon.web.port)
    await stream.send_all(b"GET /v1/flow HTTP/1.1\r\nHost: x\r\n\r\n")
    return stream


async def event(stream: trio.SocketStream) -> dict[str, Any]:
    """The next event."""
    octets = b""
    with trio.fail_after(10):
        while b"data: " not in octets or not octets.endswith(b"\n\n\r\n"):
            octets += await stream.receive_some(65536)
    found: dict[str, Any] = json.loads(octets.split(b"data: ")[-1].rpartition(b"\n\n")[0])
    return found


async def test_who_looks_sees_rates_and_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources with UPDATEs a second, receivers with their share, a few of the UPDATEs, each shortened."""
    monkeypatch.setattr(live, "FLOW_SECONDS", 0.3)
    async with running(tmp_path) as daemon:
        async with await look(daemon) as stream:
            first = await event(stream)
            assert {peer["name"]: peer["in"] for peer in first["peers"]} == {"as65001": 0.0, "as65002": 0.0}
            for number in range(20):
                await daemon.one.say(announce(1, (65001, 7), *(bytes((16, 20 + number, each)) for each in range(6))))
            seen: dict[str, Any] = {"updates": []}
            with trio.fail_after(10):
                while not seen["updates"]:
                    seen = await event(stream)
            assert len(seen["updates"]) == live.FLOW_UPDATES
            update = seen["updates"][0]
            assert (update["from"], update["as_path"]) == ("as65001", "65001 7")
            assert update["announced"] == ["20.0.0.0/16", "20.1.0.0/16", "20.2.0.0/16", "20.3.0.0/16", "..."]
            assert "octets" not in update
            assert seen["peers"][0]["share_unchanged"] == 1.0
            assert seen["status"]["updates_received"] == 22
        observers = daemon.lab.speaker.forwarder.observers
        with trio.fail_after(10):
            while observers:  # noqa: ASYNC110 (nobody tells)
                await trio.sleep(0.05)


async def test_no_more_than_so_many_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is told to come again; all who look are sent the same."""
    monkeypatch.setattr(live, "FLOW_VIEWERS", 2)
    async with running(tmp_path) as daemon, await look(daemon) as one, await look(daemon) as two:
        assert (await event(one))["status"]["uptime"] == (await event(two))["status"]["uptime"]
        status, body = await daemon.get("/v1/flow")
        assert (status, b"2 are looking already" in body) == (503, True)
        assert len(daemon.lab.speaker.forwarder.observers) == 1


async def test_a_flood_is_told_in_part_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is not kept for the reader of `tail`; how much that was comes with the next line."""
    monkeypatch.setattr(live, "TAIL_OCTETS", 500)
    async with running(tmp_path) as daemon:
        async with await trio.open_unix_socket(str(daemon.socket)) as stream:
            await stream.send_all(b"GET /v1/tail HTTP/1.1\r\nHost: x\r\n\r\n")
            observers = daemon.lab.speaker.forwarder.observers
            with trio.fail_after(10):
                while not observers:  # noqa: ASYNC110 (nobody tells)
                    await trio.sleep(0.01)
            await daemon.one.say(b"".join(announce(1, (65001,), bytes((16, 30, number))) for number in range(100)))
            octets = b""
            with trio.fail_after(10):
                while b'"lost"' not in octets:
                    octets += await stream.receive_some(65536)
        told = octets.count(b'"announced"')
        lost = int(octets.split(b'"lost": ')[1].split(b"}")[0])
        assert told + lost == 100
        assert 0 < told < 20
