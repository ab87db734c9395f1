"""`trio-bgp run`: the daemon, in the foreground."""

import argparse
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import attrs
import trio

from trio_bgp import __version__, log
from trio_bgp.config import ConfigError, load_settings
from trio_bgp.config.diff import compare
from trio_bgp.config.places import default_socket
from trio_bgp.control.server import serve
from trio_bgp.monitoring.bmp import Stations
from trio_bgp.recording.recorder import start_recording
from trio_bgp.runtime.notify import Notifier
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.settings import ControlSettings, Endpoint, Settings

__all__ = ["add_parser", "run"]

logger = logging.getLogger("trio_bgp.run")

DEFAULT_PATHS: Final = (Path("config.toml"), Path("/etc/trio-bgp/config.toml"))
YOUNG_OBJECTS: Final = 100_000
"""New objects between two collections of the youngest: paths live long and form no cycles, looking often is waste."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "run",
        help="run the daemon in the foreground",
        description="Run the daemon in the foreground and log to standard error. SIGTERM or SIGINT ends all sessions "
        "with Cease/Administrative Shutdown; a second one ends the process at once. SIGUSR1 ends them without a word, "
        "so that peers keep the routes for a restart.",
    )
    parser.add_argument(
        "config",
        type=Path,
        nargs="?",
        metavar="CONFIG",
        help=f"a TOML file (default: the first there is of {', '.join(map(str, DEFAULT_PATHS))})",
    )
    parser.add_argument(
        "--restarting",
        action="store_true",
        help="this is a restart: say so to peers, and tell nobody anything before all have told us what they have, or "
        "speaker.restart_time is over (RFC 4724)",
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Run until told to stop: 0; 1 if the configuration is wrong or an address cannot be listened on."""
    status = 0
    path: Path | None = arguments.config
    if path is None:
        path = next((each for each in DEFAULT_PATHS if each.exists()), DEFAULT_PATHS[0])
    try:
        settings = load_settings(path)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.restarting:
        if not settings.speaker.restart_time:
            print(f"{path}: --restarting needs speaker.restart_time", file=sys.stderr)
            return 1
        settings = attrs.evolve(settings, speaker=attrs.evolve(settings.speaker, restarting=True))
    log.configure(settings.log)
    gc.set_threshold(YOUNG_OBJECTS, 20, 100)
    try:
        trio.run(_serve, settings, path)
    except* OSError as group:
        for cause in _leaves(group):
            logger.error("speaker.failed cause=%r", str(cause))
        status = 1
    return status


async def _serve(settings: Settings, path: Path) -> None:
    speaker = Speaker(settings)
    Stations(speaker)
    notifier = Notifier()
    control = settings.control
    named = control.socket is not None
    if not named:
        control = attrs.evolve(control, socket=default_socket())

    def reload(apply: bool, other: str | None) -> dict[str, Any]:
        return _reload(speaker, Path(other) if other else path, apply=apply)

    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP) as signals:
            nursery.start_soon(_watch_signals, speaker, signals, nursery.cancel_scope, path, notifier)
            start_recording(speaker, settings.record, nursery)
            endpoints = await nursery.start(_run_speaker, speaker, nursery.cancel_scope)
            logger.info(
                "speaker.started version=%s config=%s as=%d listen=%s peers=%d",
                __version__,
                path,
                settings.speaker.local_as,
                ",".join(map(str, endpoints)) or "-",
                len(settings.peers),
            )
            try:
                shown = await nursery.start(_serve_control, speaker, control, reload)
            except* OSError as group:
                # A default that is taken is no reason to stop; what the configuration names is.
                if named or control.listen:
                    raise
                logger.warning("control.failed cause=%r", str(_leaves(group)[0]))
            else:
                logger.info("control.started socket=%s listen=%s", control.socket, ",".join(map(str, shown)) or "-")
            notifier.ready(f"{len(settings.peers)} peers configured")
            await notifier.watchdog()
            await trio.sleep_forever()


async def _serve_control(
    speaker: Speaker,
    control: ControlSettings,
    reload: Callable[[bool, str | None], dict[str, Any]],
    task_status: trio.TaskStatus[list[Endpoint]],
) -> None:
    await serve(speaker, control, reload, task_status=task_status)


def _reload(speaker: Speaker, path: Path, *, apply: bool) -> dict[str, Any]:
    """What a configuration would change; with `apply` it does. A wrong one, or one that needs a restart, does not."""
    try:
        new = load_settings(path)
    except ConfigError as error:
        logger.warning("config.wrong problems=%d", len(str(error).splitlines()))
        return {"error": str(error)}
    found = compare(speaker.settings, new)
    if apply and found.needs_restart:
        logger.warning("config.needs_restart settings=%s", ",".join(found.needs_restart))
        return {"error": "nothing was changed; needs a restart: " + ", ".join(found.needs_restart)}
    if apply:
        try:
            speaker.reconfigure(new, found.peers)
        except OSError as error:
            logger.warning("config.impossible cause=%r", str(error))
            return {"error": f"nothing was changed: {error.strerror or error}"}
        if found.log:
            log.configure(new.log)
        logger.info("config.reloaded changes=%d", len(found.lines()))
    return {"changes": found.lines(), "applied": apply}


async def _run_speaker(speaker: Speaker, scope: trio.CancelScope, task_status: trio.TaskStatus[object]) -> None:
    await speaker.run(task_status=task_status)
    logger.info("speaker.stopped")
    scope.cancel()


async def _watch_signals(
    speaker: Speaker, signals: AsyncIterator[int], scope: trio.CancelScope, path: Path, notifier: Notifier
) -> None:
    stopping = False
    async for number in signals:
        name = signal.Signals(number).name
        if number == signal.SIGHUP:
            notifier.reloading()
            found = _reload(speaker, path, apply=True)
            for line in found.get("changes", ()):
                logger.info("config.change %s", line)
            for line in found.get("error", "").splitlines():
                logger.error("config.refused %s", line)
            notifier.ready(f"{len(speaker.settings.peers)} peers configured")
            continue
        if stopping:
            logger.warning("speaker.aborted signal=%s", name)
            scope.cancel()
            return
        stopping = True
        logger.info("speaker.stopping signal=%s", name)
        notifier.stopping()
        if number == signal.SIGUSR1:
            speaker.stop_for_restart()
        else:
            speaker.shutdown()


def _leaves(group: BaseExceptionGroup[OSError]) -> list[OSError]:
    found: list[OSError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
