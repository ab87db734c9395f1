"""A running daemon seen and steered: the how-to's commands, the HTTP interface, over real sockets."""

import contextlib
import http.client
import json
import re
import shlex
import stat
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from tests.harness import decoder
from tests.harness.decoder import V4
from tests.harness.lab import Lab, lab, peer_settings
from tests.harness.speaker import ScriptedSpeaker
from trio_bgp.cli import main
from trio_bgp.cli.client import Client, ControlError
from trio_bgp.config.diff import compare
from trio_bgp.control.server import serve
from trio_bgp.settings import ControlSettings, Endpoint, Settings, SpeakerSettings
from trio_bgp.wire.numbers import IPV4_UNICAST

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "operate.md"
PEERS = [attrs.evolve(peer_settings(number, families=(IPV4_UNICAST,)), name=f"as6500{number}") for number in (1, 2, 3)]


def announce(number: int, path: tuple[int, ...], *prefixes: bytes) -> bytes:
    """An announcement with the sender's next hop."""
    block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(*path)
    return decoder.announce([(V4, prefix) for prefix in prefixes], block, bytes((192, 0, 2, number)))


@attrs.frozen
class Running:
    """A daemon with two peers up, one of three awaited, and its control socket."""

    lab: Lab
    socket: Path
    web: Endpoint
    one: ScriptedSpeaker
    two: ScriptedSpeaker

    async def command(self, *words: str) -> int:
        """Run a command in a thread of its own."""
        arguments = [*words, "--socket", str(self.socket)]
        return await trio.to_thread.run_sync(lambda: main(arguments))

    async def get(self, path: str) -> tuple[int, bytes]:
        """Ask the looking glass."""

        def ask() -> tuple[int, bytes]:
            connection = http.client.HTTPConnection(str(self.web.address), self.web.port, timeout=10)
            with contextlib.closing(connection):
                connection.request("GET", path)
                response = connection.getresponse()
                return response.status, response.read()

        return await trio.to_thread.run_sync(ask)

    async def json(self, path: str) -> Any:
        """Its answer, which must be a good one."""
        status, body = await self.get(path)
        assert status == 200, body
        return json.loads(body)


@contextlib.asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Running]:
    """See `Running`."""
    async with lab(*PEERS) as the_lab:
        control = ControlSettings(socket=str(folder / "s"), listen=(Endpoint(ip_address("127.0.0.1"), 0),))

        async def start(task_status: trio.TaskStatus[list[Endpoint]]) -> None:
            await serve(the_lab.speaker, control, reload, task_status=task_status)

        def reload(apply: bool, path: str | None) -> dict[str, Any]:
            new = attrs.evolve(
                the_lab.speaker.settings,
                peers=(attrs.evolve(PEERS[0], max_prefixes=7), attrs.evolve(PEERS[1], hold_time=30)),
            )
            found = compare(the_lab.speaker.settings, new)
            if apply:
                the_lab.speaker.reconfigure(new, found.peers)
            return {"changes": found.lines(), "applied": apply}

        (web,) = await the_lab.nursery.start(start)
        one = await the_lab.join(1, families=(V4,))
        two = await the_lab.join(2, families=(V4,))
        await one.say(announce(1, (65001, 65100), b"\x08\x0a", b"\x10\x0a\x01"))
        await two.say(announce(2, (65002,), b"\x08\x0a"))
        await the_lab.settle()
        yield Running(the_lab, folder / "s", web, one, two)


def squeezed(text: str) -> list[str]:
    """Lines without what depends on the moment: spaces, rules, times, counts of UPDATEs."""
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    lines = [re.sub(r"\d\d:\d\d:\d\d(?: \d+){3,4}", "TIME N", line) for line in lines]
    return [line for line in lines if line and not set(line) <= set("─ ")]


async def test_the_commands_of_the_how_to_print_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command of docs/how-to/operate.md, in order, against a daemon like the page's."""
    blocks = re.findall(r"^```shell\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    async with running(tmp_path) as daemon:
        seen = 0
        for part in re.split(r"^\$ trio-bgp ", "".join(blocks), flags=re.MULTILINE)[1:]:
            line, _, expected = part.partition("\n")
            words = shlex.split(line)
            assert await daemon.command(*words) == 0, line
            printed = capsys.readouterr().out
            if words[:2] == ["show", "peer"]:
                printed = "\n".join(printed.splitlines()[: len(expected.splitlines())])
            assert squeezed(printed) == squeezed(expected), line
            seen += 1
        assert seen >= 12


async def test_the_socket_is_its_users_alone(tmp_path: Path) -> None:
    """Mode 0600; gone with the daemon; another daemon on the same path is refused."""
    async with running(tmp_path) as daemon:
        assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o600
        with pytest.raises(OSError, match="another daemon answers"):
            await serve(daemon.lab.speaker, ControlSettings(socket=str(daemon.socket)), None)
    assert not daemon.socket.exists()


async def test_what_a_dead_daemon_left_is_taken_over(tmp_path: Path) -> None:
    """A socket nobody listens on does not keep a daemon from starting."""
    import socket

    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    async with running(tmp_path) as daemon:
        assert (await trio.to_thread.run_sync(lambda: Client(str(daemon.socket)).get("status")))["established"] == 2


async def test_without_a_daemon_a_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 3 and a sentence."""
    assert main(["show", "peers", "--socket", str(tmp_path / "none")]) == 3
    assert "no daemon answers on" in capsys.readouterr().err


async def test_the_looking_glass_only_shows(tmp_path: Path) -> None:
    """Over TCP nothing can be changed, and received octets are not streamed to whoever asks."""
    async with running(tmp_path) as daemon:
        for path in ("/v1/tail", "/v1/dump", "/v1/diff", "/v1/do/clear/as65001", "/v1/reload", "/v1/announce"):
            assert (await daemon.get(path))[0] == 404, path
        status, page = await daemon.get("/")
        assert status == 200
        assert b"<title>trio-bgp</title>" in page
        assert set(re.findall(rb"https?://[^']+", page)) == {b"http://www.w3.org/2000/svg"}


async def test_endpoints_tell_what_there_is(tmp_path: Path) -> None:
    """Status, peers, groups, memory, routes, explain; errors are JSON with a sentence."""
    async with running(tmp_path) as daemon:
        status = await daemon.json("/v1/status")
        assert (status["established"], status["prefixes"], status["paths"]) == (2, 2, 3)
        assert [peer["name"] for peer in await daemon.json("/v1/peers")] == ["as65001", "as65002", "as65003"]
        assert (await daemon.json("/v1/peers/as65001"))["prefixes_by_family"] == {"ipv4-unicast": 2}
        (group,) = await daemon.json("/v1/groups")
        assert group["members"] == ["as65001", "as65002"]
        assert (await daemon.json("/v1/memory"))["prefixes"] == {"ipv4-unicast": 2}
        assert (await daemon.json("/v1/routes?family=ipv4&count=true")) == {"prefixes": 2, "paths": 3}
        lines = (await daemon.get("/v1/routes?to=as65001"))[1].splitlines()
        assert [json.loads(line)["prefix"] for line in lines] == ["10.0.0.0/8"]
        found = await daemon.json("/v1/explain?prefix=10.1.0.0/16&to=as65001")
        assert found["verdict"] == "as65001 gets 0 of 1 paths"
        for path, code, text in (
            ("/v1/peers/nobody", 404, "there is no peer 'nobody'"),
            ("/v1/routes?prefix=10.0.0/8", 400, "10.0.0/8"),
            ("/v1/routes?match=near", 400, "accepted: exact, longest, longer"),
            ("/v1/routes?to=as65003", 409, "as65003 is not established"),
            ("/v1/explain?prefix=10.0.0.0/8&to=nobody", 404, "there is no peer"),
            ("/v1/explain?to=as65001", 400, "needs a prefix"),
            ("/v1/routes?family=ipv5", 400, "no address family"),
        ):
            answer = await daemon.get(path)
            assert answer[0] == code, path
            assert text in json.loads(answer[1])["error"]


async def test_what_was_refused_is_counted_by_what_was_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A loop and a malformed attribute, in `show peer`, the list and the metrics."""
    async with running(tmp_path) as daemon:
        await daemon.one.say(announce(1, (65001, 65000), b"\x08\x0c", b"\x08\x0d"))
        block = decoder.attribute(0x40, 1, b"\0\0") + decoder.as_path(65001)
        await daemon.one.say(decoder.announce([(V4, b"\x08\x0e")], block, bytes((192, 0, 2, 1))))
        await daemon.lab.settle()
        assert (await daemon.json("/v1/peers"))[0]["updates_refused"] == 2
        found = await daemon.json("/v1/peers/as65001")
        assert found["refused"] == {"AS loop": 1, "treat-as-withdraw": 1}
        assert found["prefixes_refused"] == {"AS loop": 2, "treat-as-withdraw": 1}
        assert await daemon.command("show", "peer", "as65001") == 0
        assert "AS loop 1, treat-as-withdraw 1" in capsys.readouterr().out
        text = (await daemon.get("/metrics"))[1].decode()
        assert 'trio_bgp_peer_updates_refused_total{as="65001",peer="as65001"} 2.0' in text


async def test_metrics_are_what_prometheus_reads(tmp_path: Path) -> None:
    """Text format, counters with _total, a line for each peer and group."""
    async with running(tmp_path) as daemon:
        text = (await daemon.get("/metrics"))[1].decode()
        values = dict(re.findall(r"^([a-z_]+(?:\{[^}]*\})?) ([\d.e+]+)$", text, re.MULTILINE))
        assert float(values['trio_bgp_peer_up{as="65001",peer="as65001"}']) == 1
        assert float(values['trio_bgp_peer_up{as="65003",peer="as65003"}']) == 0
        assert float(values["trio_bgp_updates_received_total"]) == 2
        assert float(values['trio_bgp_prefixes{family="ipv4-unicast"}']) == 2
        assert any(key.startswith("trio_bgp_group_unchanged_total{") for key in values)


async def test_birdwatchers_clients_find_what_they_ask_for(tmp_path: Path) -> None:
    """Each endpoint has the envelope; protocols are peers; routes have the fields that Alice-LG reads."""
    async with running(tmp_path) as daemon:
        for path in (
            "/status",
            "/protocols",
            "/protocols/bgp",
            "/protocols/short",
            "/routes/protocol/as65001",
            "/routes/peer/192.0.2.1",
            "/routes/export/as65001",
            "/routes/filtered/as65001",
            "/routes/noexport/as65001",
            "/routes/table/master",
            "/routes/prefix?prefix=10.0.0.0/8",
            "/route/net/10.1.2.3",
        ):
            found = await daemon.json(path)
            assert {"api", "ttl", "cached_at"} <= found.keys(), path
        protocol = (await daemon.json("/protocols/bgp"))["protocols"]["as65001"]
        assert (protocol["state"], protocol["neighbor_as"], protocol["routes"]["imported"]) == ("up", 65001, 2)
        assert (await daemon.json("/routes/peer/192.0.2.2"))["routes"][0]["network"] == "10.0.0.0/8"
        (route,) = (await daemon.json("/route/net/10.1.2.3"))["routes"]
        assert route["network"] == "10.1.0.0/16"
        assert route["bgp"]["as_path"] == ["65001", "65100"]
        assert route["from_protocol"] == "as65001"
        assert route["learnt_from"] == "192.0.2.1"


async def test_tail_streams_updates_as_they_come(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Filtered by peer; the observer is gone with the reader."""
    async with running(tmp_path) as daemon:
        statuses: list[int] = []

        async def tail() -> None:
            statuses.append(await daemon.command("tail", "--from", "as65002", "--count", "2"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tail)
            while not daemon.lab.speaker.forwarder.observers:  # noqa: ASYNC110
                await trio.sleep(0.01)
            await daemon.one.say(announce(1, (65001,), b"\x08\x0c"))
            await daemon.two.say(announce(2, (65002, 7), b"\x08\x0d") + decoder.withdraw([(V4, b"\x08\x0d")]))
        assert statuses == [0]
        printed = re.sub(r"^\d\d:\d\d:\d\d\.\d{3}", "TIME", capsys.readouterr().out, flags=re.MULTILINE)
        assert printed.splitlines() == [
            "TIME as65002: announces 13.0.0.0/8 via 192.0.2.2 path 65002 7",
            "TIME as65002: withdraws 13.0.0.0/8",
        ]
        with trio.fail_after(5):
            while daemon.lab.speaker.forwarder.observers:
                await daemon.two.say(announce(2, (65002, 7), b"\x08\x0d"))
                await trio.sleep(0.05)


async def test_clear_shutdown_and_enable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FSM-13 (RFC 4486): 6/4 and up again; 6/2 with the text and down until enabled; what is impossible is said."""
    async with running(tmp_path) as daemon:
        assert await daemon.command("clear", "as65001") == 0
        await daemon.one.closed.wait()
        assert daemon.one.notifications[0][:2] == bytes((6, 4))
        again = await daemon.lab.join(1, families=(V4,))
        assert again.established.is_set()
        assert await daemon.command("clear", "as65001", "soft", "in") == 0
        await daemon.lab.settle()
        assert again.refreshes == [b"\0\1\0\1"]
        again.updates.clear()
        assert await daemon.command("clear", "as65001", "soft", "out") == 0
        await daemon.lab.settle()
        assert len(again.updates) == 1
        assert await daemon.command("shutdown", "as65002", "see you") == 0
        await daemon.two.closed.wait()
        assert daemon.two.notifications == [bytes((6, 2, 7)) + b"see you"]
        await daemon.lab.settle()
        refused = await daemon.lab.join(2, families=(V4,))
        assert not refused.established.is_set()
        assert await daemon.command("clear", "as65002", "soft", "in") == 1
        assert await daemon.command("enable", "as65001") == 1
        assert "is not disabled" in capsys.readouterr().err
        assert await daemon.command("enable", "as65002") == 0
        await daemon.lab.settle()
        assert (await daemon.lab.join(2, families=(V4,))).established.is_set()
        assert await daemon.command("clear", "nobody") == 1


async def test_own_routes_are_announced_for_a_time(tmp_path: Path) -> None:
    """With our AS in front, to who is there and who comes; withdrawn by itself or on demand."""
    async with running(tmp_path) as daemon:
        words = ["announce", "203.0.113.0/24", "--next-hop", "192.0.2.9", "--as-path", "64999", "--med", "5"]
        assert await daemon.command(*words, "--ttl", "0.3") == 0
        await daemon.lab.settle()
        route = (V4, b"\x18\xcb\x00\x71")
        held = {kind: value for _, kind, value in daemon.one.table[route]}
        assert held[2] == bytes.fromhex("02020000fde80000fde7")
        assert (held[3], held[4]) == (b"\xc0\0\2\x09", b"\0\0\0\5")
        assert 5 not in held
        with trio.fail_after(5):
            while route in daemon.one.table:  # noqa: ASYNC110
                await trio.sleep(0.02)
        assert await daemon.command("withdraw", "203.0.113.0/24") == 1
        assert await daemon.command("announce", "2001:db8::/32", "--next-hop", "nonsense") == 1


async def test_wait_is_for_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Established, End-of-RIB, a prefix; status 1 when the time is over."""
    async with running(tmp_path) as daemon:
        assert await daemon.command("wait", "as65001", "established") == 0
        assert await daemon.command("wait", "as65001", "10.1.0.0/16") == 0
        assert await daemon.command("wait", "as65001", "eor", "--timeout", "0.1") == 1
        assert "as65001: not eor within 0.1 s" in capsys.readouterr().err
        await daemon.one.say(decoder.update())
        assert await daemon.command("wait", "as65001", "eor") == 0
        assert await daemon.command("wait", "as65003", "established", "--timeout", "0.1") == 1


async def test_diff_tells_and_reload_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FSM-13 (RFC 4486): peers go with 6/3, sessions with 6/6 only where a key needs it; limits hold at once."""
    async with running(tmp_path) as daemon:
        assert await daemon.command("diff") == 0
        told = capsys.readouterr().out
        assert told.splitlines() == [
            "removed as65003",
            "changed as65001: max_prefixes (its session goes on)",
            "changed as65002: hold_time (its session is reset)",
        ]
        assert await daemon.command("reload") == 0
        assert capsys.readouterr().out == told
        await daemon.lab.settle()
        assert daemon.two.notifications[0] == bytes((6, 6))
        assert not daemon.one.closed.is_set()
        assert daemon.lab.speaker.peer("as65003") is None
        assert (await daemon.lab.join(2, families=(V4,))).established.is_set()
        await daemon.one.say(announce(1, (65001,), *(bytes((16, 20, n)) for n in range(7))))
        await daemon.lab.settle()
        assert daemon.one.notifications[0][:2] == bytes((6, 1))


def test_what_a_configuration_changes_in_another() -> None:
    """Peers by name; what is of the daemon itself needs a restart."""
    old = Settings(speaker=SpeakerSettings(local_as=1, bgp_identifier=1), peers=tuple(PEERS[:2]))
    assert compare(old, old).lines() == []
    new = attrs.evolve(old, speaker=SpeakerSettings(local_as=2, bgp_identifier=1), peers=(PEERS[0], PEERS[2]))
    found = compare(old, new)
    assert found.needs_restart == ("speaker.local_as",)
    assert found.lines() == ["removed as65002", "added as65003", "speaker.local_as differs: needs a restart"]


async def test_a_dump_is_mrt(tmp_path: Path) -> None:
    """RFC 6396: a peer index, then a record for each prefix with its paths."""
    async with running(tmp_path) as daemon:
        assert await daemon.command("dump", "mrt", str(tmp_path / "file")) == 0
    octets = (tmp_path / "file").read_bytes()
    records = []
    while octets:
        kind, subtype, size = (int.from_bytes(octets[a:b], "big") for a, b in ((4, 6), (6, 8), (8, 12)))
        records.append((kind, subtype, octets[12 : 12 + size]))
        octets = octets[12 + size :]
    assert [record[:2] for record in records] == [(13, 1), (13, 2), (13, 2)]
    assert records[0][2][:14] == bytes.fromhex("0aff0001 0008") + b"trio-bgp"
    assert bytes.fromhex("02 0a000001 c0000201 0000fde9") in records[0][2]
    both = records[1][2]
    assert both[:6] == bytes.fromhex("00000000 080a")
    assert both[6:8] == b"\0\2"


async def test_top_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Peers, rates and the share, as often as asked."""
    async with running(tmp_path) as daemon:
        assert await daemon.command("top", "--count", "2", "--interval", "0.05") == 0
    printed = capsys.readouterr().out
    assert "2 up  1 down" in printed
    assert "unchanged" in printed
    assert "as65002" in printed


@pytest.mark.parametrize("what", ["status", "peers", "groups", "memory", "route"])
async def test_json_is_json(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` prints what a program reads, a document or a line each."""
    async with running(tmp_path) as daemon:
        assert await daemon.command("show", what, "--json") == 0
        printed = capsys.readouterr().out
        for text in printed.splitlines() if what == "route" else [printed]:
            json.loads(text)
        assert await daemon.command("show", what) == 0
        assert capsys.readouterr().out.strip()


def test_errors_of_the_client_are_sentences(tmp_path: Path) -> None:
    """A path that is no socket."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ControlError, match="no daemon answers"):
        Client(str(tmp_path / "file")).get("status")
