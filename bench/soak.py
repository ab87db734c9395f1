"""`python -m bench.soak [--minutes M] [--sessions N]`: churn over real sockets, and what is left of it.

Sessions come, announce, withdraw, freeze, refresh, are reset, and come again. Every few seconds memory, descriptors,
tasks and buffers of the daemon are noted; in the end all leave, and what it still has is compared with the beginning.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import trio

from tests.harness import decoder
from tests.harness.decoder import V4
from tests.harness.speaker import ScriptedSpeaker
from trio_bgp.cli.client import Client

ROUNDS = 4
GROWTH = 1.05
"""Of the memory of the largest round before, what the last may have."""
PORT = 20090


async def session(number: int, rng: random.Random, deadline: float, counts: dict[str, int]) -> None:
    """One peer, again and again."""
    while trio.current_time() < deadline:
        connection = trio.socket.socket()
        await connection.bind((f"127.0.{1 + number // 250}.{1 + number % 250}", 0))
        try:
            await connection.connect(("127.0.0.1", PORT))
        except OSError:
            connection.close()
            await trio.sleep(0.2)
            continue
        client = ScriptedSpeaker(
            trio.SocketStream(connection), asn=65010, identifier=0x0A000000 + number, families=(V4,)
        )
        counts["sessions"] += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.run)
            with trio.move_on_after(rng.uniform(0.5, 20.0)):
                await client.established.wait()
                while not client.closed.is_set():
                    await act(client, number, rng, counts)
                    await trio.sleep(rng.uniform(0.01, 0.5))
            if client.established.is_set() and rng.random() < 0.2:
                with trio.move_on_after(1):
                    await speak(client, decoder.message(decoder.NOTIFICATION, b"\6\4"))
            client.thawed.set()
            await client.cut()
            nursery.cancel_scope.cancel()


async def speak(client: ScriptedSpeaker, octets: bytes) -> None:
    """Say something if somebody listens."""
    try:
        await client.say(octets)
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
        client.closed.set()


async def act(client: ScriptedSpeaker, number: int, rng: random.Random, counts: dict[str, int]) -> None:
    """Something a peer does."""
    prefixes = [(V4, bytes((24, 10, rng.randrange(64), rng.randrange(256)))) for _ in range(rng.randrange(1, 20))]
    kind = rng.random()
    if kind < 0.6:
        block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65010, *rng.choices(range(1, 60000), k=3))
        counts["updates"] += 1
        await speak(client, decoder.announce(prefixes, block, bytes((192, 0, 2, number % 250 + 1))))
    elif kind < 0.85:
        counts["updates"] += 1
        await speak(client, decoder.withdraw(prefixes))
    elif kind < 0.9:
        await speak(client, decoder.message(decoder.REFRESH, b"\0\1\0\1"))
    elif kind < 0.94:
        client.freeze()
    else:
        client.thawed.set()


async def soak(sessions: int, seconds: float, seed: int, ask: Client) -> list[dict[str, Any]]:
    """Churn; what the daemon had meanwhile."""
    counts = {"sessions": 0, "updates": 0}
    samples: list[dict[str, Any]] = []
    deadline = trio.current_time() + seconds
    async with trio.open_nursery() as nursery:
        for number in range(sessions):
            nursery.start_soon(session, number, random.Random(seed * 1000 + number), deadline, counts)
        while trio.current_time() < deadline:
            await trio.sleep(min(10.0, seconds / 6))
            found = await trio.to_thread.run_sync(lambda: ask.get("memory"))
            status = await trio.to_thread.run_sync(lambda: ask.get("status"))
            samples.append({**found, **counts, "established": status["established"], "paths": status["paths"]})
            shown = {key: samples[-1][key] for key in ("resident_octets", "file_descriptors", "tasks", "established")}
            print(f"{counts}, {shown}, buffers {found['buffers']['outstanding']}", flush=True)
    return samples


def main() -> int:
    """Run it; 1 if something is left over."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.toml").write_text(
            f'[speaker]\nlocal_as = 65000\nbgp_identifier = "10.255.0.1"\nlisten = ["127.0.0.1:{PORT}"]\n'
            f'[control]\nsocket = "{folder}/s"\n[log]\nlevel = "error"\n'
            '[[peers]]\nname = "all"\nrange = "127.0.0.0/16"\npeer_as = 65010\nqueue_limit = 65536\nmax_peers = 1000\n'
        )
        log = (folder / "log").open("wb")
        daemon = subprocess.Popen([sys.executable, "-m", "trio_bgp", "run", str(folder / "config.toml")], stderr=log)
        try:
            ask = Client(str(folder / "s"))
            for _ in range(100):
                if (folder / "s").exists():
                    break
                time.sleep(0.1)
            before = ask.get("memory")
            # The same again and again, with all gone in between: what grows each time and stays is a leak, while one
            # round may have needed more at once than another.
            rounds = []
            for _ in range(ROUNDS):
                trio.run(soak, arguments.sessions, arguments.minutes * 60 / ROUNDS, arguments.seed, ask)
                time.sleep(3)
                rounds.append(ask.get("memory"))
            after, status = rounds[-1], ask.get("status")
        finally:
            daemon.terminate()
            daemon.wait(10)
            log.close()
        errors = (folder / "log").read_text()
    for each in (before, *rounds):
        each.pop("attribute_blocks", None)
    print("\n".join(f"after round {number}: {each}" for number, each in enumerate([before, *rounds])))
    print(f"sessions left {status['established']}, log: {errors!r}")
    left = [
        f"{key}: {before[key]} before, {after[key]} after"
        for key, own in (("file_descriptors", 1), ("tasks", 2))
        if after[key] > before[key] + own  # what serves the question itself may differ
    ]
    if after["buffers"]["outstanding"] or status["paths"] or any(after["prefixes"].values()):
        left.append(f"buffers or routes: {after}")
    if after["resident_octets"] > GROWTH * max(each["resident_octets"] for each in rounds[:-1]):
        left.append("memory grew in the last round above that of all rounds before")
    print("\n".join(left) or "nothing is left over")
    return 1 if left or errors else 0


if __name__ == "__main__":
    sys.exit(main())
