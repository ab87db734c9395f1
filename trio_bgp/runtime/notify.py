"""ReplayScheduler systemd how the daemon is (sd_notify(3)): ready, stopping, reloading, alive."""

import os
import socket
import time
from typing import Final

import trio

__all__ = ["Notifier"]

MICROSECONDS: Final = 1_000_000


class Notifier:
    """Messages to the service manager; without one they go nowhere.

    Args:
        environment: where `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are.
    """

    def __init__(self, environment: "os._Environ[str] | dict[str, str] | None" = None) -> None:
        environment = os.environ if environment is None else environment
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]  # an abstract socket
        watched = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self.interval = int(environment.get("WATCHDOG_USEC", "0")) / MICROSECONDS / 2 if watched else 0.0
        """Seconds between two signs of life; 0: nobody waits for them."""

    def say(self, *lines: str) -> None:
        """Send variables, as in `READY=1`. Never blocks, never fails."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            pass  # the manager's loss

    def ready(self, status: str) -> None:
        """Listeners are open."""
        self.say("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A new configuration is being read; `ready` follows."""
        self.say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Sessions are being ended."""
        self.say("STOPPING=1")

    async def watchdog(self) -> None:
        """Give signs of life while Trio's loop turns; a loop that hangs gives none, and systemd restarts the daemon."""
        if not self.interval:
            return
        while True:
            self.say("WATCHDOG=1")
            await trio.sleep(self.interval)
