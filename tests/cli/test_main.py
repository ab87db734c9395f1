"""The command line as a whole, and its reference."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trio_bgp import __version__
from trio_bgp.cli import main
from trio_bgp.cli.main import COMMANDS, build_parser
from trio_bgp.rib import table

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference" / "command-line.md"


def run_main(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The exit status and what was written."""
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    written = capsys.readouterr()
    return status, written.out, written.err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` on standard output."""
    build = "pure Python" if str(table.__file__).endswith(".py") else "compiled"
    assert run_main(capsys, "--version") == (0, f"trio-bgp {__version__} ({build})\n", "")


def test_help_has_every_command_and_an_example_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` is enough to start."""
    status, out, err = run_main(capsys, "--help")
    assert (status, err) == (0, "")
    for name, summary in COMMANDS.items():
        assert re.search(rf"^ +{name}\s+{summary}$", out, re.MULTILINE)
        assert re.search(rf"^  trio-bgp {name} ", out.split("examples:")[1], re.MULTILINE)


@pytest.mark.parametrize("arguments", [(), ("chek", "x"), ("check",), ("check", "a", "b"), ("--colour", "check", "x")])
def test_a_wrong_command_line_is_status_2(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]) -> None:
    """Usage on standard error, nothing on standard output."""
    status, out, err = run_main(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("usage: trio-bgp")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_of_its_own_and_the_same_summary(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A command's module agrees with the list that is shown without importing it."""
    status, out, _ = run_main(capsys, name, "--help")
    assert status == 0
    assert out.startswith(f"usage: trio-bgp {name}")
    assert f" {COMMANDS[name]}\n" in build_parser(name).format_help()


def test_check_starts_without_trio() -> None:
    """A command imports what it needs, so that `check` is quick and works where the daemon does not."""
    code = "import sys; from trio_bgp.cli import main; main(['check', sys.argv[1]]); print('trio' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "missing.toml"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize(("config", "status"), [("config.example.toml", 0), ("missing.toml", 1)])
def test_the_module_is_the_command(config: str, status: int) -> None:
    """`python -m trio_bgp` passes the exit status on; what is right goes to standard output, what is wrong does not."""
    command = [sys.executable, "-m", "trio_bgp", "check", config]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, bool(done.stdout), bool(done.stderr)) == (status, status == 0, status != 0)


def test_the_examples_of_the_reference_come_out_as_they_stand(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each console block is run in the project's folder."""
    monkeypatch.chdir(ROOT)
    blocks = re.findall(
        r"^```console\n\$ trio-bgp ([^\n]*)\n(.*?)^```$", REFERENCE.read_text(), re.DOTALL | re.MULTILINE
    )
    assert len(blocks) >= 2
    for command, expected in blocks:
        _, out, err = run_main(capsys, *command.split())
        assert out + err == expected


@pytest.mark.parametrize("name", COMMANDS)
def test_the_reference_has_every_command_and_option(name: str) -> None:
    """Options of a command and of its section in the reference are the same, with their defaults."""
    (subparsers,) = (action for action in build_parser(name)._actions if isinstance(action, argparse._SubParsersAction))
    options = {
        action.option_strings[0]: str(action.default)
        for action in subparsers.choices[name]._actions
        if action.option_strings and action.dest != "help"
    }
    section = REFERENCE.read_text().split(f"\n## trio-bgp {name}")[1].split("\n## ")[0]
    assert dict(re.findall(r"^\| `(--[\w-]+)` \| `([^`]*)` \|", section, re.MULTILINE)) == options
