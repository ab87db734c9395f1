"""The load generator sees whether receivers hold what they are to; one run beside the real daemon."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.daemons import DAEMONS, Daemon, Peer
from bench.generator import Generator, WrongResultError
from bench.run import measure
from bench.table import made
from bench.workloads import Case

if shutil.which("cc") is None and os.environ.get("CI") != "true":
    pytest.skip("there is no C compiler", allow_module_level=True)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def copier(tmp_path: Path) -> Iterator[Daemon]:
    """The copier, for one sender and two receivers: a daemon of which is known what it does."""
    daemon = DAEMONS["copier"](tmp_path, free_port(), [Peer(index) for index in range(3)])
    try:
        daemon.start(min(os.sched_getaffinity(0)))
        yield daemon
    finally:
        daemon.stop()


def generator(daemon: Daemon) -> Generator:
    """One that gives up after a second."""
    return Generator(daemon.port, max(os.sched_getaffinity(0)), 20.0, idle=1)


def test_the_right_table_is_found_right(copier: Daemon, tmp_path: Path) -> None:
    """And what the daemon used is counted."""
    table = made(2000, 1, tmp_path)
    with generator(copier) as load:
        load.tell(f"table {table.best} {table.hidden[0]}")
        load.tell("connect 1 copier 1 0")
        load.tell("connect 2 copier 0 0")
        assert load.tell("send 0:0")["wall"] > 0
        load.tell("check")
    assert copier.cpu() > 0
    assert copier.memory()["memory"] >= copier.memory()["resident"] > 0


@pytest.mark.parametrize(
    ("sent", "wanted", "what"),
    [
        ("senders", "hidden", "holds 300 routes, to hold are"),
        ("hidden", "senders", "to hold are 300"),
        ("senders", "runner_up", "to hold are 300, with other attributes"),
    ],
    ids=["too many", "too few", "other attributes"],
)
def test_a_wrong_table_is_an_error(copier: Daemon, tmp_path: Path, sent: str, wanted: str, what: str) -> None:
    """Routes too many, too few, and with other attributes."""
    table = made(300, 2, tmp_path)
    with generator(copier) as load:
        load.tell(f"table {getattr(table, sent)[0]} {getattr(table, wanted)[0]}")
        load.tell("connect 1 copier -1 0")
        load.tell("connect 2 copier 1 0")
        with pytest.raises(WrongResultError, match=what):
            load.tell("send 0:0")


def test_a_receiver_that_is_told_something_else_is_found(copier: Daemon, tmp_path: Path) -> None:
    """What follows the right table may not make it wrong."""
    table = made(300, 2, tmp_path)
    with generator(copier) as load:
        load.tell(f"table {table.senders[0]} {table.senders[1]}")
        load.tell("connect 1 copier -1 0")
        load.tell("connect 2 copier 0 0")
        load.tell("send 0:0")
        load.tell("send 1:0")
        with pytest.raises(WrongResultError, match="peer 1 no longer holds what it is to"):
            load.tell("check")


def test_every_message_of_the_churn_is_timed(copier: Daemon, tmp_path: Path) -> None:
    """At each receiver that reads; one that does not must catch up."""
    table = made(2000, 1, tmp_path)
    with generator(copier) as load:
        load.tell(f"table {table.best}")
        load.tell("connect 1 copier -1 0")
        load.tell("connect 2 copier 0 0")
        load.tell("send 0:0")
        found = load.tell("churn 0 1000 0.2 1")
        assert (found["updates"], found["timed"], found["of"]) == (200, 200, 200)
        assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]
        load.tell("check")


def test_the_daemon_is_measured(tmp_path: Path) -> None:
    """A whole life of trio-bgp: load, join, and the figures the report needs."""
    case = Case("leave", 2, "made:500")
    rows = measure(case, DAEMONS["trio-bgp"], free_port(), made(500, 1, tmp_path), 20.0)
    assert [row["phase"] for row in rows] == ["load", "leave"]
    for row in rows:
        assert row["cpu"] > 0
        assert row["memory"] >= row["resident"] > 2**20
        assert row["wall"] > 0
