"""`trio-bgp listen`: accept sessions of anybody, count and record what is said."""

import argparse
import json
import math
import signal
import sys
import threading
from ipaddress import ip_address
from typing import Any

import trio

from trio_bgp import log
from trio_bgp.cli.replay import as_number, endpoint, family, hold_time, identifier, seconds, whole
from trio_bgp.recording.collector import Collector, collector_settings
from trio_bgp.recording.recorder import Recorder, start_recording
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.settings import Compression, Endpoint, LogSettings, RecordSettings
from trio_bgp.wire.numbers import FAMILIES

__all__ = ["add_parser", "run"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "listen",
        help="accept sessions, count and record what is said",
        description="Accept a BGP session from every address, of any AS, announce nothing, count what is said, and "
        "record it as MRT, until interrupted. Prints a line when a session comes up, when a table is complete "
        "(End-of-RIB), and when a session ends, and a summary. Exit status 1 if nothing can be listened on, or if "
        "anything could not be recorded.",
    )
    parser.add_argument(
        "--on",
        action="append",
        metavar="ADDRESS[:PORT]",
        help="where to listen; may be given again (default: 127.0.0.1:1790)",
    )
    parser.add_argument(
        "--as", dest="local_as", type=as_number, default=65000, metavar="N", help="our AS number (default: %(default)s)"
    )
    parser.add_argument("--peer-as", type=as_number, metavar="N", help="refuse others (default: any)")
    parser.add_argument(
        "--identifier", type=identifier, metavar="A.B.C.D", help="our BGP Identifier (default: 10.255.255.254)"
    )
    parser.add_argument("--hold-time", type=hold_time, default=90, metavar="S", help="offered (default: %(default)s)")
    parser.add_argument(
        "--family", action="append", type=family, metavar="FAMILY", help="to offer; may be given again (default: all)"
    )
    parser.add_argument("--add-path", action="store_true", help="let others send several paths to a prefix")
    parser.add_argument(
        "--record", metavar="PATH", help="record all that is said as MRT; PATH may have %%Y, %%m, %%d, %%H, %%M, %%S"
    )
    parser.add_argument(
        "--rotate",
        type=whole,
        default=0,
        metavar="S",
        help="begin a new file at multiples of S seconds (default: never)",
    )
    parser.add_argument(
        "--compression", choices=[each.value for each in Compression], default="none", help="(default: %(default)s)"
    )
    parser.add_argument("--seconds", type=seconds, default=math.inf, metavar="S", help="stop after S seconds")
    parser.add_argument("--sessions", type=whole, metavar="N", help="stop when N sessions have ended")
    parser.add_argument("--json", action="store_true", help="print JSON, an object a line")
    parser.set_defaults(command=lambda arguments: run(arguments, parser))


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Collect: 0; 1 if an address cannot be listened on, or something could not be recorded."""
    try:
        listen = [_endpoint(text) for text in arguments.on or ["127.0.0.1:1790"]]
    except (argparse.ArgumentTypeError, ValueError) as error:
        parser.error(f"--on: {error}")
    log.configure(LogSettings(level="error"))
    try:
        return trio.run(_listen, arguments, listen)
    except* OSError as group:
        cause: BaseException = group
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        print(cause, file=sys.stderr)
    return 1


async def _listen(arguments: argparse.Namespace, listen: list[Endpoint]) -> int:
    settings = collector_settings(
        listen,
        local_as=arguments.local_as,
        bgp_identifier=arguments.identifier or 0x0AFFFFFE,
        peer_as=arguments.peer_as or 0,
        families=arguments.family or tuple(FAMILIES.values()),
        hold_time=arguments.hold_time,
        add_path=arguments.add_path,
    )
    speaker = Speaker(settings)
    done = trio.Event()

    def tell(event: dict[str, Any]) -> None:
        print(json.dumps(event) if arguments.json else in_words(event), flush=True)
        # The one that is told of now is among those that have ended already.
        if event["event"] == "down" and arguments.sessions is not None and collector.ended >= arguments.sessions:
            done.set()

    collector = Collector(tell)
    speaker.forwarder.board.monitors.append(collector)
    recorder: Recorder | None = None
    async with trio.open_nursery() as recording:
        recorder = start_recording(
            speaker,
            RecordSettings(
                updates=arguments.record,
                rotate_seconds=arguments.rotate,
                compression=Compression(arguments.compression),
            ),
            recording,
        )
        async with trio.open_nursery() as nursery:
            if threading.current_thread() is threading.main_thread():
                await nursery.start(_watch_signals, done)
            endpoints = await nursery.start(_run_speaker, speaker, nursery)
            tell({"event": "listening", "on": [str(each) for each in endpoints], "as": arguments.local_as})
            with trio.move_on_after(arguments.seconds):
                await done.wait()
            speaker.shutdown()
        recording.cancel_scope.cancel()
    lost = 0 if recorder is None else recorder.lost
    summary = {"event": "summary", "sessions": collector.sessions, **collector.total}
    if recorder is not None:
        summary |= {"recorded": recorder.recorded, "lost": recorder.lost}
    tell(summary)
    return 1 if lost else 0


async def _run_speaker(speaker: Speaker, nursery: trio.Nursery, task_status: trio.TaskStatus[list[Endpoint]]) -> None:
    await speaker.run(task_status=task_status)
    nursery.cancel_scope.cancel()


async def _watch_signals(done: trio.Event, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            done.set()


def in_words(event: dict[str, Any]) -> str:
    """An event as a line."""
    words = [event["event"]]
    for name, value in event.items():
        if name == "event":
            continue
        if name == "reason":
            words.append(f"reason {value!r}")
        elif isinstance(value, dict):
            words.append(f"{name} " + (",".join(f"{key}={count}" for key, count in value.items()) or "0"))
        elif isinstance(value, list):
            words.append(f"{name} {','.join(value)}")
        else:
            words.append(str(value) if name == "address" else f"{name} {value}")
    return " ".join(words)


def _endpoint(text: str) -> Endpoint:
    host, port = endpoint(text)
    return Endpoint(ip_address(host), port)
