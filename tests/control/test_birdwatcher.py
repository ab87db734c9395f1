"""Birdwatcher's interface as Alice-LG reads it: which endpoints it asks in which order, and which types it insists on.

Written from the behaviour of Alice-LG's client for sources of the type `single_table` (pkg/sources/birdwatcher): where
it insists on a type and finds another it fails or shows nothing, so each is checked here.
"""

import contextlib
import json
import re
from collections.abc import AsyncIterator
from datetime import datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import trio

from tests.control.test_operate import Running, announce
from tests.harness import decoder
from tests.harness.decoder import V4, V6
from tests.harness.lab import lab, peer_settings
from trio_bgp.control.server import serve
from trio_bgp.settings import ControlSettings, Endpoint, Policy, Role

SHORT = "%Y-%m-%d %H:%M:%S"
"""`servertime_short` and `servertime_ext` of the how-to's configuration."""


@contextlib.asynccontextmanager
async def exchange(folder: Path) -> AsyncIterator[Running]:
    """Two members, one of a range, and an ordinary external peer; routes of all kinds."""
    ebgp = peer_settings(2, role=Role.EBGP, export_policy=Policy.ACCEPT, import_policy=Policy.ACCEPT)
    members = peer_settings(9, name="members", address=None, range=ip_network("192.0.2.8/29"), peer_as=65009)
    async with lab(peer_settings(1), ebgp, members, peer_settings(3)) as the_lab:
        control = ControlSettings(
            socket=str(folder / "s"), listen=(Endpoint(ip_address("127.0.0.1"), 0),), rate_limit=0
        )

        async def start(task_status: trio.TaskStatus[list[Endpoint]]) -> None:
            await serve(the_lab.speaker, control, None, task_status=task_status)

        (web,) = await the_lab.nursery.start(start)
        one, two = await the_lab.join(1), await the_lab.join(2)
        dynamic = await the_lab.join(9)
        block = (
            decoder.attribute(0x40, 1, b"\2") + decoder.as_path(65001, 65100) + decoder.attribute(0x80, 4, b"\0\0\0\7")
        )
        block += decoder.attribute(0xC0, 8, bytes.fromhex("fde80001ffffff01"))
        block += decoder.attribute(0xC0, 16, bytes.fromhex("0002fde800000007"))
        block += decoder.attribute(0xC0, 32, bytes.fromhex("0000fde80000000100000002"))
        block += decoder.attribute(0xC0, 35, (65001).to_bytes(4, "big"))
        await one.say(decoder.announce([(V4, b"\x08\x0a")], block, bytes((192, 0, 2, 1))))
        plain = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001)
        await one.say(
            decoder.announce([(V6, bytes.fromhex("2020010db8"))], plain, bytes.fromhex("20010db8") + bytes(12))
        )
        await dynamic.say(announce(9, (65009,), b"\x08\x0b", b"\x08\x0a"))
        await the_lab.settle()
        yield Running(the_lab, folder / "s", web, one, two)


def is_time(text: str) -> None:
    """As the how-to has Alice read it; the time zone is in its configuration."""
    datetime.strptime(text, SHORT)  # noqa: DTZ007


async def asked(daemon: Running, path: str) -> Any:
    """An answer with its envelope, as Alice's `parseAPIStatus` insists on it."""
    status, body = await daemon.get(path)
    assert status == 200, (path, body)
    found = json.loads(body)
    assert isinstance(found["api"]["Version"], str)
    assert found["api"]["result_from_cache"] in (True, False)
    for time in (found["ttl"], found["api"]["cache_status"]["cached_at"]["date"]):
        # 2006-01-02T15:04:05.999999999Z07:00 of Go.
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?[+-]\d\d:\d\d", time)
    return found


def check_route(route: dict[str, Any]) -> None:
    """The types that `parseRouteData` and `parseRouteBgpInfo` read."""
    for key in ("network", "gateway", "interface", "from_protocol", "learnt_from"):
        assert isinstance(route[key], str), key
    assert isinstance(route["metric"], int)
    assert isinstance(route["primary"], bool)
    is_time(route["age"])
    assert all(isinstance(each, str) for each in route["type"])
    bgp = route["bgp"]
    for key in ("origin", "next_hop", "local_pref", "med"):
        assert isinstance(bgp[key], str), key
    assert int(bgp["local_pref"]) >= 0 <= int(bgp["med"])
    # A list of strings that are numbers; others are left out there.
    assert all(isinstance(each, str) and each.isdigit() for each in bgp["as_path"])
    for key in ("communities", "large_communities"):
        assert all(isinstance(part, int) for each in bgp[key] for part in each), key
    for each in bgp["ext_communities"]:
        assert len(each) == 3
        assert all(isinstance(part, str) for part in each)


async def test_what_alice_asks_for_a_member_is_answered(tmp_path: Path) -> None:
    """Status, neighbours, then for each neighbour its routes, the refused ones, and those not exported to it."""
    async with exchange(tmp_path) as daemon:
        status = (await asked(daemon, "/status"))["status"]
        for key in ("current_server", "last_reboot", "last_reconfig"):
            is_time(status[key])
        assert all(isinstance(status[key], str) for key in ("version", "message", "router_id"))

        short = (await asked(daemon, "/protocols/short?uncached=true"))["protocols"]
        protocols = (await asked(daemon, "/protocols/bgp"))["protocols"]
        assert short.keys() == protocols.keys() == {"p1", "p2", "p3", "members_192.0.2.9"}
        for name, protocol in protocols.items():
            assert isinstance(short[name]["state"], str)
            is_time(short[name]["since"])
            is_time(protocol["state_changed"])
            assert protocol["bird_protocol"] == "BGP"
            for key in ("neighbor_address", "description", "last_error", "state"):
                assert isinstance(protocol[key], str), key
            assert type(protocol["neighbor_as"]) is int
            assert all(type(count) is int for count in protocol["routes"].values())
        states = {name: protocol["state"] for name, protocol in protocols.items()}
        assert states == {"p1": "up", "p2": "up", "p3": "start", "members_192.0.2.9": "up"}
        counts = {name: protocol["routes"] for name, protocol in protocols.items()}
        assert counts["p1"] == {"imported": 2, "filtered": 0, "exported": 2, "preferred": 1}
        assert counts["members_192.0.2.9"] == {"imported": 2, "filtered": 0, "exported": 2, "preferred": 2}

        for name in protocols:
            if states[name] != "up":
                continue
            received = (await asked(daemon, f"/routes/protocol/{quote(name)}"))["routes"]
            assert len(received) == counts[name]["imported"]
            assert (await asked(daemon, f"/routes/filtered/{quote(name)}"))["routes"] == []
            kept_back = (await asked(daemon, f"/routes/noexport/{quote(name)}"))["routes"]
            exported = (await asked(daemon, f"/routes/export/{quote(name)}"))["routes"]
            for route in (*received, *kept_back, *exported):
                check_route(route)
            assert all(route["from_protocol"] == name for route in received)
            if name == "p2":
                # What has NO_EXPORT does not leave to an ordinary external peer.
                assert [route["network"] for route in kept_back] == ["10.0.0.0/8", "2001:db8::/32"]
                assert sorted(route["network"] for route in exported) == ["10.0.0.0/8", "11.0.0.0/8"]


async def test_a_route_says_all_that_alice_shows(tmp_path: Path) -> None:
    """Origin as BIRD writes it, numbers as strings or numbers as each is read."""
    async with exchange(tmp_path) as daemon:
        routes = (await asked(daemon, "/routes/protocol/p1"))["routes"]
        route = next(each for each in routes if each["network"] == "10.0.0.0/8")
        assert route["bgp"] == {
            "origin": "Incomplete",
            "as_path": ["65001", "65100"],
            "next_hop": "192.0.2.1",
            "local_pref": "100",
            "med": "7",
            "communities": [[65000, 1], [65535, 65281]],
            "large_communities": [[65000, 1, 2]],
            "ext_communities": [["rt", "65000", "7"]],
            "atomic_aggr": "false",
            "otc": "65001",
        }
        assert (route["gateway"], route["learnt_from"], route["primary"]) == ("192.0.2.1", "192.0.2.1", False)
        six = next(each for each in routes if ":" in each["network"])
        assert "otc" not in six["bgp"]


async def test_the_whole_table_is_there_by_family(tmp_path: Path) -> None:
    """`AllRoutes`: `main_table`, or `main_table4` and `main_table6`, each with its `filtered`; searches; counts."""
    async with exchange(tmp_path) as daemon:
        networks = {}
        for table in ("master", "master4", "master6"):
            found = (await asked(daemon, f"/routes/table/{table}"))["routes"]
            networks[table] = sorted(route["network"] for route in found)
            assert (await asked(daemon, f"/routes/table/{table}/filtered"))["routes"] == []
        assert networks["master4"] == ["10.0.0.0/8", "10.0.0.0/8", "11.0.0.0/8"]
        assert networks["master6"] == ["2001:db8::/32"]
        assert networks["master"] == sorted(networks["master4"] + networks["master6"])
        assert (await daemon.get("/routes/table/T9"))[0] == 404
        by_peer = (await asked(daemon, "/routes/table/master4/peer/192.0.2.9"))["routes"]
        assert {route["from_protocol"] for route in by_peer} == {"members_192.0.2.9"}
        for path in (
            "/route/net/10.1.2.3",
            "/route/net/10.1.2.3/table/master4",
            "/route/net/10.0.0.0/mask/8",
            "/route/net/10.0.0.0/mask/8/table/master",
            "/routes/prefix?prefix=10.0.0.0/7",
        ):
            assert [route["network"] for route in (await asked(daemon, path))["routes"]][:2] == ["10.0.0.0/8"] * 2, path
        assert (await asked(daemon, "/routes/count/protocol/p1"))["routes"] == 2
        assert (await asked(daemon, "/routes/count/table/master4"))["routes"] == 3
        assert (await asked(daemon, "/routes/count/primary/p1"))["routes"] == 1
        for path in ("/route/net/nonsense", "/routes/prefix"):
            assert (await daemon.get(path))[0] == 400
        assert (await daemon.get("/routes/protocol/nobody"))[0] == 404


def test_the_how_to_configures_alice_for_that() -> None:
    """The times and the type in the how-to's configuration are those that answers have."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "operate.md").read_text()
    (block,) = re.findall(r"^```ini\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    values = dict(re.findall(r"^(\w+) = (.*)$", block, re.MULTILINE))
    assert values["type"] == "single_table"
    assert values["main_table"] == "master"
    assert (values["servertime_short"], values["servertime_ext"]) == ("2006-01-02 15:04:05",) * 2
    assert values["timezone"] == "UTC"
