"""How the operator sees BMP stations: the how-to's command, the HTTP interface, metrics."""

import json
import re
import shlex
from ipaddress import ip_address
from pathlib import Path

import attrs
import pytest
import trio

from tests.control.test_operate import announce, squeezed
from tests.harness.decoder import V4
from tests.harness.lab import lab, peer_settings
from tests.harness.station import FakeStations
from trio_bgp.cli import main
from trio_bgp.config import parse_settings
from trio_bgp.control.metrics import render
from trio_bgp.control.server import serve
from trio_bgp.control.snapshot import Snapshot
from trio_bgp.settings import ControlSettings, Endpoint
from trio_bgp.wire.numbers import IPV4_UNICAST

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "monitor-with-bmp.md"


async def test_the_how_to_and_the_metrics_are_true(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page's command prints what it says, for the page's stations; JSON and metrics have the same."""
    text = PAGE.read_text()
    (config,) = re.findall(r"^```toml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (block,) = re.findall(r"^```shell\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    stations = FakeStations(1790)
    peers = [attrs.evolve(peer_settings(n, families=(IPV4_UNICAST,)), name=f"as6500{n}") for n in (1, 2)]
    settings = parse_settings(config, "page").bmp.stations
    async with lab(*peers, stations=settings, connect_station=stations.connect) as the_lab:
        control = ControlSettings(socket=str(tmp_path / "s"), listen=(Endpoint(ip_address("127.0.0.1"), 0),))

        async def start(task_status: trio.TaskStatus[list[Endpoint]]) -> None:
            await serve(the_lab.speaker, control, None, task_status=task_status)

        await the_lab.nursery.start(start)
        for number in (1, 2):
            client = await the_lab.join(number, families=(V4,))
            await client.say(announce(number, (65000 + number,), b"\x08\x0a"))
        await the_lab.settle()

        async def command(*words: str) -> str:
            assert await trio.to_thread.run_sync(lambda: main([*words, "--socket", str(tmp_path / "s")])) == 0
            return capsys.readouterr().out

        line, _, expected = block.removeprefix("$ trio-bgp ").partition("\n")
        assert squeezed(await command(*shlex.split(line))) == squeezed(expected)
        found = json.loads(await command("show", "bmp", "--json"))
        assert [each["address"] for each in found] == ["127.0.0.1:5000", "[2001:db8::5]:1790"]
        up, waiting = found
        assert up.pop("octets_sent") > 500
        assert up.pop("uptime") >= 0
        assert up == {
            "address": "127.0.0.1:5000",
            "state": "up",
            "monitor": ["adj-rib-in-pre", "loc-rib"],
            "peers": [],
            "sessions": 1,
            "messages_sent": len(stations.last(5000).log),
            "queued_octets": 0,
            "messages_dropped": 0,
            "overflows": 0,
            "last_end": "",
        }
        assert (waiting["state"], waiting["peers"], waiting["sessions"]) == ("waiting", ["as65002"], 0)
        metrics = (await render(Snapshot(the_lab.speaker))).decode()
        assert 'trio_bgp_bmp_up{station="127.0.0.1:5000"} 1.0' in metrics
        assert 'trio_bgp_bmp_up{station="[2001:db8::5]:1790"} 0.0' in metrics
        assert f'trio_bgp_bmp_messages_sent_total{{station="127.0.0.1:5000"}} {up["messages_sent"]}.0' in metrics
    stations.check()
