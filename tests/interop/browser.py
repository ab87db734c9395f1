"""A headless Chromium, driven through chromedriver's protocol (W3C WebDriver) with nothing but the standard library."""

import base64
import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.interop.daemons import need, wait_for

__all__ = ["Browser", "browser"]

OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


class Browser:
    """A page in a browser.

    Args:
        port: of chromedriver.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._session = ""

    def begin(self, binary: str, profile: str, size: tuple[int, int], *, dark: bool) -> None:
        """Start the browser with a profile of its own."""
        options = [*OPTIONS, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"]
        if dark:
            options.append("--force-dark-mode")
        chrome = {"binary": binary, "args": options}
        wanted = {"alwaysMatch": {"goog:chromeOptions": chrome, "goog:loggingPrefs": {"browser": "ALL"}}}
        self._session = "/session/" + self._ask("POST", "/session", {"capabilities": wanted})["sessionId"]

    def open(self, url: str) -> None:
        """Go there."""
        self._ask("POST", self._session + "/url", {"url": url})

    def run(self, script: str) -> Any:
        """What a function's body returns in the page."""
        return self._ask("POST", self._session + "/execute/sync", {"script": script, "args": []})

    def text(self, selector: str) -> str:
        """The text of an element."""
        return str(self.run(f"return document.querySelector({json.dumps(selector)}).textContent"))

    def rows(self, selector: str) -> list[list[str]]:
        """The cells of a table's body."""
        found: list[list[str]] = self.run(
            f"return [...document.querySelectorAll({json.dumps(selector + ' tr')})]"
            ".map(row => [...row.cells].map(cell => cell.textContent))"
        )
        return found

    def complaints(self) -> list[str]:
        """What the browser has to say against the page: errors, and what its policy refused."""
        entries = self._ask("POST", self._session + "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self._ask("GET", self._session + "/screenshot"))

    def end(self) -> None:
        """Close the browser."""
        self._ask("DELETE", self._session)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            value = json.loads(response.read())["value"]
        if response.status != 200:
            raise AssertionError(f"{method} {path}: {value}")
        return value


@contextlib.contextmanager
def browser(size: tuple[int, int] = (1200, 1000), *, dark: bool = False) -> Iterator[Browser]:
    """A browser with an empty profile, ended with all its processes."""
    binary, driver = need("chromium"), need("chromedriver")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    profile = tempfile.mkdtemp()
    process = subprocess.Popen(
        [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment(profile)
    )
    try:
        found = Browser(port)
        wait_for(lambda: _answers(port), bool, 30)
        found.begin(binary, str(Path(profile) / "profile"), size, dark=dark)
        try:
            yield found
        finally:
            found.end()
    finally:
        process.terminate()
        process.wait(20)
        time.sleep(0.2)
        shutil.rmtree(profile, ignore_errors=True)


def _environment(home: str) -> dict[str, str]:
    """Of the browser: nothing of the user's."""
    return {"PATH": "/usr/bin:/bin", "HOME": home}


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
