"""The reference of the HTTP interface: each example is asked, and the answer is what stands below it."""

import http.client
import json
import re
import socket
from pathlib import Path
from typing import Any

import trio
from prometheus_client.parser import text_string_to_metric_families

from tests.control.test_operate import announce, running
from tests.harness import decoder
from tests.harness.decoder import V4
from trio_bgp.control.app import make_app

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "http.md"
MOMENT = {"uptime", "lag", "resident_octets", "file_descriptors", "tasks", "queued_octets", "buffers", "time", "at"}
"""What depends on the moment."""
COUNTERS = {"updates_sent", "octets_sent", "updates_replayed", "updates_unchanged", "unchanged", "share_unchanged"}
"""What depends on the order in which peers join."""


def examples() -> list[tuple[str, str, str, str]]:
    """Method, target, body and expected answer of each."""
    found = []
    for block in re.findall(r"^```http\n(.*?)^```$", REFERENCE.read_text(), re.DOTALL | re.MULTILINE):
        line, _, answer = block.partition("\n")
        method, _, rest = line.partition(" ")
        target, _, body = rest.partition(" ")
        found.append((method, target, body, answer.replace("\n  ", " ")))
    return found


def documents(text: str) -> list[Any]:
    """JSON documents, one a line."""
    return [json.loads(line) for line in text.splitlines()]


def plain(value: Any, key: str = "") -> Any:
    """A value without what depends on the moment."""
    if key in MOMENT | COUNTERS:
        return key
    if isinstance(value, dict):
        return {name: plain(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d", value):
        return "TIME"
    return value


async def test_each_example_is_answered_as_it_stands(tmp_path: Path) -> None:
    """In the order of the page, on the control socket."""
    async with running(tmp_path) as daemon:

        def ask(method: str, target: str, body: str) -> tuple[int, str]:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(daemon.socket))
                connection.settimeout(10)
                client = http.client.HTTPConnection("localhost")
                client.sock = connection
                client.request(method, target, body or None)
                response = client.getresponse()
                if response.getheader("Content-Type", "").startswith("text/event-stream"):
                    return response.status, response.readline().decode()
                if target.startswith("/v1/tail"):
                    return response.status, response.readline().decode()
                return response.status, response.read().decode("latin-1")

        for method, target, body, expected in examples():
            if target.startswith("/v1/tail"):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_say_often, daemon)
                    status, text = await trio.to_thread.run_sync(ask, method, target, body)
                    nursery.cancel_scope.cancel()
                assert json.loads(text)["announced"] == ["14.0.0.0/8"]
                await daemon.one.say(_withdrawal())
                await daemon.lab.settle()
                continue
            status, text = await trio.to_thread.run_sync(ask, method, target, body)
            assert status == 200, (target, text)
            if target == "/metrics":
                assert len(list(text_string_to_metric_families(text))) > 20
            elif target == "/v1/flow":
                assert {"status", "peers", "updates"} == json.loads(text.removeprefix("data: ")).keys()
            elif target == "/v1/dump":
                assert text[4:8] == "\0\x0d\0\1"
            else:
                assert plain(documents(text)) == plain(documents(expected)), target


async def _say_often(daemon: Any) -> None:
    while True:
        await daemon.one.say(announce(1, (65001,), b"\x08\x0e"))
        await trio.sleep(0.05)


def _withdrawal() -> bytes:
    return decoder.withdraw([(V4, b"\x08\x0e")])


async def test_every_endpoint_has_an_example(tmp_path: Path) -> None:
    """None is left out; some are named in a sentence."""
    text = REFERENCE.read_text()
    targets = [target.partition("?")[0] for _, target, _, _ in examples()]
    async with running(tmp_path) as daemon:
        app = make_app(daemon.lab.speaker)
        for route in app.routes:
            path: str = getattr(route, "path", "")
            front = path.partition("{")[0]
            named = any(target.startswith(front) for target in targets if front != "/") or f"`{front}" in text
            assert named or path in ("/", "/v1/shutdown"), path
