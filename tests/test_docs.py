"""The documentation is true: its configurations are read, its commands run, its links lead somewhere."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trio_bgp.config import parse_settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
COMMAND_PAGES = [page for page in PAGES if page.parent.name != "reference"]
"""`tests/cli/test_main.py` and `tests/test_config_reference.py` run those of the reference."""
SECONDS = 20.0


def name_of(page: Path) -> str:
    """A page's name in test ids and messages."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


TOML = [(page, text) for page in PAGES for text in blocks(page, "toml")]
BIRD = [(page, text) for page in PAGES for text in blocks(page, "bird")]
PYTHON = [(page, text) for page in PAGES for text in blocks(page, "python")]


def commands(page: Path) -> list[tuple[list[str], str]]:
    """Each `trio-bgp` command of the console blocks, with what the page says it prints."""
    found = []
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            words = shlex.split(line)
            if Path(words[0]).name == "trio-bgp":
                found.append((words[1:], output))
    return found


COMMANDS = [(page, words, output) for page in COMMAND_PAGES for words, output in commands(page)]


@pytest.mark.parametrize(("page", "text"), TOML, ids=[name_of(page) for page, _ in TOML])
def test_configurations_are_right(page: Path, text: str) -> None:
    """Each TOML block is a whole configuration that is accepted."""
    assert parse_settings(text, name_of(page)).speaker.local_as


@pytest.mark.parametrize(
    ("page", "words", "output"), COMMANDS, ids=[f"{name_of(page)} {' '.join(words)}" for page, words, _ in COMMANDS]
)
def test_commands_print_what_the_page_says(page: Path, words: list[str], output: str, tmp_path: Path) -> None:
    """Each trio-bgp command prints what is below it; a daemon starts as it says, and ends cleanly."""
    # A port that is free wherever this runs; what the page says of ports is not compared.
    for text in blocks(page, "toml")[:1]:
        (tmp_path / "config.toml").write_text(text.replace(":1790", ":0"))
    example = (ROOT / "config.example.toml").read_text()
    (tmp_path / "config.example.toml").write_text(example.replace(":1790", ":0"))
    if words[0] == "run":
        printed = first_line_of_daemon(words, tmp_path)
        output = output.partition("\n")[0]
        if not output:
            assert " speaker.started " in printed
            return
    else:
        done = subprocess.run(
            [sys.executable, "-m", "trio_bgp", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        printed = done.stdout + done.stderr
    assert without_the_moment(printed) == without_the_moment(output)


def first_line_of_daemon(words: list[str], folder: Path) -> str:
    """What it logs first; it is stopped with SIGTERM, which has to give status 0."""
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen([sys.executable, "-m", "trio_bgp", *words], cwd=folder, stderr=stream)
        try:
            deadline = time.monotonic() + SECONDS
            while b"\n" not in log.read_bytes():
                assert time.monotonic() < deadline, "the daemon logs nothing"
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    return log.read_text().partition("\n")[0]


def without_the_moment(text: str) -> str:
    """A log line without its time and ports."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text.strip())
    return re.sub(r"(127\.0\.0\.1|\[::1\]):\d+", r"\1:PORT", text)


@pytest.mark.parametrize(("page", "text"), PYTHON, ids=[name_of(page) for page, _ in PYTHON])
def test_programs_run(page: Path, text: str) -> None:
    """Each Python block is a program that ends with status 0."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{page}: {done.stderr}"
    assert done.stdout


def test_test_files_pass(tmp_path: Path) -> None:
    """Each block of tests is a file that passes under pytest with the settings that the page gives."""
    page = ROOT / "docs" / "how-to" / "test-with-trio-bgp.md"
    (tmp_path / "pytest.ini").write_text(blocks(page, "ini")[0])
    texts = blocks(page, "python pytest")
    for number, text in enumerate(texts):
        (tmp_path / f"test_{number}.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert f"{sum(text.count('async def test_') for text in texts)} passed" in done.stdout
    assert len(texts) >= 3


@pytest.mark.parametrize(("page", "text"), BIRD, ids=[name_of(page) for page, _ in BIRD])
def test_bird_reads_its_configurations(page: Path, text: str, tmp_path: Path) -> None:
    """Each block for BIRD is one that BIRD accepts."""
    bird = shutil.which("bird", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if bird is None:
        pytest.skip("bird is not installed: .ci/install-daemons")
    path = tmp_path / "bird.conf"
    path.write_text(text)
    done = subprocess.run([bird, "-p", "-c", str(path)], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, f"{page}: {done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link names a file there is."""
    targets = [each.partition("#")[0] for each in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    missing = [
        each for each in targets if each and not re.match(r"[a-z]+:", each) and not (page.parent / each).exists()
    ]
    assert missing == []


def test_pages_are_reachable_from_the_index() -> None:
    """The index links every page but itself and the decision records."""
    linked = set(re.findall(r"\]\(([^)\s]+)\)", (ROOT / "docs" / "index.md").read_text()))
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert {each for each in pages if not each.startswith("adr/")} - {"index.md"} <= linked
