"""The commands of docs/how-to/record-and-replay.md print what it says."""

import re
import shlex
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

from tests.harness import decoder
from tests.harness.decoder import V4
from tests.recording.test_replay import announce, announce6
from trio_bgp.mrt.messages import Message, Session, StateChange, encode_bgp4mp
from trio_bgp.mrt.records import encode_record

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "record-and-replay.md"
SECONDS = 20


def examples() -> dict[str, str]:
    """What the page says each command prints."""
    found = {}
    for block in re.findall(r"^ *```shell\n(.*?)^ *```$", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        line, _, output = block.strip().partition("\n")
        found[line.removeprefix("$ trio-bgp ")] = output
    return found


def squeezed(text: str) -> list[str]:
    """Lines without ports and times."""
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"in \d+\.\d s", "in N s", text)
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_commands_of_the_how_to_print_what_it_says(tmp_path: Path) -> None:
    """`listen`, what `replay` says to it, and the list of recorded peers; none of the page's commands is left out."""
    session = Session(65001, 65000, ip_address("192.0.2.1"), ip_address("192.0.2.254"))
    said = (
        announce(1, b"\x08\x0a", b"\x08\x0b", b"\x08\x0c"),
        announce6(1, b"\0"),
        decoder.withdraw([(V4, b"\x08\x0c")]),
    )
    values: list[Message | StateChange] = [StateChange(session, 5, 6), *(Message(session, octets) for octets in said)]
    records = [encode_record(encode_bgp4mp(value, 1_700_000_000 + n, 0)) for n, value in enumerate(values)]
    (tmp_path / "updates.mrt").write_bytes(b"".join(records))
    page = examples()
    listen, *others = sorted(page, key=lambda line: not line.startswith("listen"))
    assert len(others) == 2

    def command(line: str, where: str) -> list[str]:
        return [sys.executable, "-m", "trio_bgp", *shlex.split(line.replace("127.0.0.1:1790", where))]

    with subprocess.Popen(command(listen, "127.0.0.1:0"), cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        where = first.split()[2]
        for line in others:
            done = subprocess.run(
                command(line, where), cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=True
            )
            assert squeezed(done.stdout) == squeezed(page[line]), line
        printed, _ = process.communicate(timeout=SECONDS)
    assert squeezed(first + printed) == squeezed(page[listen])
    assert process.returncode == 0
