"""The load generator as a process that is told what to do (`bench/load/main.c`)."""

import contextlib
import os
import select
import subprocess
import time
from types import TracebackType
from typing import Self

from bench.build import generator
from bench.daemons import ADDRESS

__all__ = ["Generator", "TooSlowError", "WrongResultError"]

IDLE = 60


class WrongResultError(Exception):
    """A receiver does not hold what it is to, or a session went down; the text says which and how."""


class TooSlowError(Exception):
    """The time that a run may take is over."""


class Generator:
    """The generator, pinned to one processor; a context manager that ends it.

    Args:
        port: of the daemon.
        processor: where it runs.
        seconds: how long all it is told may take together.
        hold_time: of its sessions; it sends no KEEPALIVEs after the first.
        idle: seconds in which nothing comes until it gives up.
    """

    def __init__(self, port: int, processor: int, seconds: float, hold_time: int = 0, idle: int = IDLE) -> None:
        self._deadline = time.monotonic() + seconds
        self._seconds = seconds
        self._process = subprocess.Popen(
            [str(generator()), ADDRESS, str(port), str(hold_time), str(idle)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        os.sched_setaffinity(self._process.pid, {processor})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def tell(self, line: str) -> dict[str, float]:
        """Have it do something; the figures it answers with.

        Raises:
            WrongResultError: something is not as it should be.
            TooSlowError: it takes too long.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("no pipes")
        with contextlib.suppress(BrokenPipeError):  # then what it said before it ended is what counts
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], max(0.0, self._deadline - time.monotonic()))[0]:
            raise TooSlowError(f"takes more than {self._seconds:.0f} s")
        answer = self._process.stdout.readline().decode().split()
        if answer[:1] != ["OK"]:
            raise WrongResultError(f"{line.split()[0]}: {' '.join(answer[1:]) or 'the generator ended'}")
        return {key: float(value) for key, _, value in (part.partition("=") for part in answer[1:])}
