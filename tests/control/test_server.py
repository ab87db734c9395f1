"""Serving: whoever does not read, asks too much or holds connections costs nobody else anything."""

import contextlib
import gc
import http.client
import socket
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.control.test_operate import Running, announce, running
from tests.harness.lab import Lab, lab, peer_settings
from trio_bgp.cli import main
from trio_bgp.cli.client import Client, UnreachableError
from trio_bgp.control import guard, server
from trio_bgp.control.server import serve
from trio_bgp.settings import ControlSettings, Endpoint
from trio_bgp.wire.numbers import IPV4_UNICAST


async def fill(the_lab: Lab, prefixes: int) -> None:
    """Peer 1 announces so many /24."""
    one = await the_lab.join(1, families=((1, 1),))
    for base in range(0, prefixes, 200):
        keys = [b"\x18" + (0x0A000000 + (number << 8)).to_bytes(4, "big")[:3] for number in range(base, base + 200)]
        await one.say(announce(1, (65001, 64000 + base // 200), *keys))
    await the_lab.settle()
    assert len(the_lab.speaker.forwarder.core.table(IPV4_UNICAST)) == prefixes


async def served(the_lab: Lab, folder: Path, **more: Any) -> Endpoint:
    """The looking glass' address; the control socket is `folder/s`."""
    control = ControlSettings(socket=str(folder / "s"), listen=(Endpoint(ip_address("127.0.0.1"), 0),), **more)

    async def start(task_status: trio.TaskStatus[list[Endpoint]]) -> None:
        await serve(the_lab.speaker, control, None, task_status=task_status)

    (web,) = await the_lab.nursery.start(start)
    return Endpoint(web.address, web.port)


def one_peer() -> Any:
    """Settings of peer 1."""
    return peer_settings(1, families=(IPV4_UNICAST,))


async def ask(daemon: Running, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body."""

    def request() -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(str(daemon.web.address), daemon.web.port, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers, response.read()

    return await trio.to_thread.run_sync(request)


async def test_a_client_that_does_not_read_does_not_keep_the_daemon(tmp_path: Path) -> None:
    """The end of the daemon waits for nobody."""
    async with lab(one_peer()) as the_lab:
        await fill(the_lab, 20_000)
        await served(the_lab, tmp_path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))
            client.sendall(b"GET /v1/routes HTTP/1.1\r\nHost: x\r\n\r\n")
            await trio.sleep(0.3)
            with trio.fail_after(3):
                the_lab.nursery.cancel_scope.cancel()
                await trio.lowlevel.checkpoint_if_cancelled()


async def test_who_reads_nothing_for_long_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection is closed, in the middle of the answer."""
    monkeypatch.setattr(server, "SEND_SECONDS", 0.2)
    async with lab(one_peer()) as the_lab:
        await fill(the_lab, 20_000)
        await served(the_lab, tmp_path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))
            client.sendall(b"GET /v1/routes HTTP/1.1\r\nHost: x\r\n\r\n")
            await trio.sleep(0.6)

            def read() -> bytes:
                client.settimeout(5)
                octets = b""
                while piece := client.recv(1 << 16):
                    octets += piece
                return octets

            got = await trio.to_thread.run_sync(read)
            assert got.startswith(b"HTTP/1.1 200")
            assert not got.endswith(b"0\r\n\r\n")
            assert got.count(b'"prefix"') < 20_000


async def test_an_answer_that_breaks_off_is_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 3 and a sentence, whatever was printed before."""
    async with lab(one_peer()) as the_lab:
        await fill(the_lab, 20_000)
        control = ControlSettings(socket=str(tmp_path / "s"))
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(lambda task_status: serve(the_lab.speaker, control, None, task_status=task_status))
                client = Client(str(tmp_path / "s"))
                seen = []

                def read() -> None:
                    for route in client.lines("routes"):
                        seen.append(route)
                        if len(seen) == 100:
                            trio.from_thread.run_sync(scope.cancel)

                try:
                    with pytest.raises(UnreachableError, match="ended the connection before it had said all"):
                        await trio.to_thread.run_sync(read)
                finally:
                    scope.cancel()
        assert 100 <= len(seen) < 20_000
        tail = ["tail", "--socket", str(tmp_path / "s")]
        assert await trio.to_thread.run_sync(main, tail) == 3
        assert "no daemon answers" in capsys.readouterr().err


async def test_connections_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is closed at once; when one has gone there is room again."""
    monkeypatch.setattr(server, "VISITORS", 2)
    async with running(tmp_path) as daemon:
        held = []
        for _ in range(2):
            stream = await trio.open_tcp_stream(str(daemon.web.address), daemon.web.port)
            await stream.send_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await stream.receive_some(64)).startswith(b"HTTP/1.1 200")
            held.append(stream)
        third = await trio.open_tcp_stream(str(daemon.web.address), daemon.web.port)
        with trio.fail_after(5):
            with contextlib.suppress(trio.BrokenResourceError):
                assert await third.receive_some(64) == b""
            await held[0].aclose()
            while True:
                try:
                    assert (await ask(daemon, "/v1/status"))[0] == 200
                    break
                except (ConnectionError, http.client.HTTPException):
                    await trio.sleep(0.02)
            for stream in (held[1], third):
                await stream.aclose()


async def test_nothing_can_be_changed_and_headers_say_so(tmp_path: Path) -> None:
    """GET and HEAD only; the page may load nothing from elsewhere."""
    async with running(tmp_path) as daemon:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            status, headers, body = await ask(daemon, "/v1/announce", method)
            assert (status, headers["allow"]) == (405, "GET, HEAD")
            assert b"error" in body
        assert (await ask(daemon, "/v1/status", "HEAD"))[::2] == (200, b"")
        status, headers, _ = await ask(daemon, "/")
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["content-security-policy"].count("sha256-") == 2
        assert headers["x-content-type-options"] == "nosniff"
        assert (await ask(daemon, "/v1/wait?peer=as65003"))[0] == 404


async def test_a_client_has_a_rate(tmp_path: Path) -> None:
    """Beyond it 429, with when to come again."""
    async with lab(one_peer()) as the_lab:
        web = await served(the_lab, tmp_path, rate_limit=1)

        def ask_often() -> list[tuple[int, str | None]]:
            found = []
            for _ in range(6):
                connection = http.client.HTTPConnection(str(web.address), web.port, timeout=10)
                connection.request("GET", "/v1/status")
                response = connection.getresponse()
                found.append((response.status, response.getheader("Retry-After")))
                response.read()
                connection.close()
            return found

        found = await trio.to_thread.run_sync(ask_often)
        assert found[:4] == [(200, None)] * 4
        assert (429, "1") in found[4:]


async def test_long_answers_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many at a time; so many paths."""
    monkeypatch.setattr(guard, "LISTINGS", 0)
    async with running(tmp_path) as daemon:
        status, headers, _ = await ask(daemon, "/v1/routes")
        assert (status, headers["retry-after"]) == (503, "5")
        assert (await ask(daemon, "/v1/status"))[0] == 200
    monkeypatch.undo()
    async with lab(one_peer()) as the_lab:
        await fill(the_lab, 1200)
        web = await served(the_lab, tmp_path)
        daemon = Running(the_lab, tmp_path / "s", web, None, None)  # type: ignore[arg-type]
        lines = (await ask(daemon, "/v1/routes"))[2].splitlines()
        assert len(lines) == 1001
        assert lines[-1] == b'{"truncated": 1000}'
        assert len((await ask(daemon, "/v1/routes?limit=5"))[2].splitlines()) == 6
        assert (await ask(daemon, "/v1/routes?limit=1001"))[0] == 400


async def test_the_same_question_is_answered_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks meanwhile gets the same octets; later they are new."""
    monkeypatch.setattr(guard, "KEPT_SECONDS", 0.5)
    async with running(tmp_path) as daemon:
        first = await ask(daemon, "/v1/status")
        await daemon.one.say(announce(1, (65001,), b"\x08\x0c"))
        await daemon.lab.settle()
        assert (await ask(daemon, "/v1/status"))[2] == first[2]
        await trio.sleep(0.6)
        assert (await daemon.json("/v1/status"))["prefixes"] == 3


class Longest(trio.abc.Instrument):
    """The CPU time of the longest step that a task took between two checkpoints."""

    seconds = 0.0
    _began = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task runs."""
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """And has come to a checkpoint."""
        if self._began:  # the first step began before this looked
            self.seconds = max(self.seconds, time.thread_time() - self._began)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/routes",
        "/v1/routes?prefix=10.0.0.0/9&match=longer",
        "/v1/routes?prefix=99.0.0.0/8&match=longer",
        "/v1/routes?from=local",
        "/v1/routes?count=true",
        "/v1/peers/p1",
        "/v1/dump",
        "/metrics",
        "/protocols/bgp",
        "/routes/protocol/p1",
        "/routes/table/master4",
        "/routes/noexport/p1",
    ],
)
async def test_no_question_holds_up_the_forwarder(path: str, tmp_path: Path) -> None:
    """With 30,000 prefixes no step takes more than a few milliseconds of CPU; told at once they take a second."""
    async with lab(one_peer()) as the_lab:
        await fill(the_lab, 30_000)
        await served(the_lab, tmp_path)
        longest = Longest()
        gc.disable()
        trio.lowlevel.add_instrument(longest)
        try:
            async with await trio.open_unix_socket(str(tmp_path / "s")) as stream:
                await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                octets = 0
                async for piece in stream:
                    octets += len(piece)
        finally:
            trio.lowlevel.remove_instrument(longest)
            gc.enable()
        assert octets > 100
        assert longest.seconds < 0.05
