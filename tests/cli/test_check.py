"""`trio-bgp check`: right or wrong, in an exit status and in words."""

from pathlib import Path

import pytest

from trio_bgp.cli import main

SPEAKER = '[speaker]\nlocal_as = 65000\nbgp_identifier = "10.255.0.1"\n'
PEER = '[[peers]]\nname = "p{0}"\naddress = "10.0.0.{0}"\npeer_as = 65001\n'
RANGE = '[[peers]]\nname = "r"\nrange = "10.1.0.0/16"\npeer_as = 65001\n'


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        (SPEAKER, "0 peers, 0 ranges, 0 listeners"),
        (SPEAKER + 'listen = ["127.0.0.1:1790"]\n' + PEER.format(1) + RANGE, "1 peer, 1 range, 1 listener"),
        (SPEAKER + PEER.format(1) + PEER.format(2), "2 peers, 0 ranges, 0 listeners"),
    ],
)
def test_a_right_file_is_summed_up_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, summary: str
) -> None:
    """Status 0, one line on standard output, numbers with their words in the right form."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    assert main(["check", str(path)]) == 0
    assert capsys.readouterr() == (f"{path}: ok: {summary}\n", "")


def test_a_wrong_file_is_told_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 1, every problem on standard error, nothing on standard output."""
    path = tmp_path / "config.toml"
    path.write_text(SPEAKER + PEER.format(1) + "hold_time = 2\nport = 0\n")
    assert main(["check", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"{path}:8: peers[0].hold_time: found 2; accepted: 0, or 3 to 65535",
        f"{path}:9: peers[0].port: found 0; accepted: 1 to 65535",
    ]


def test_a_file_name_that_cannot_be_printed_is_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Octets that are no UTF-8, and a line end, right file and wrong file."""
    path = tmp_path / "a\n\udcff.toml"
    path.write_text(SPEAKER)
    assert main(["check", str(path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/a\\n\\udcff.toml: ok: 0 peers, 0 ranges, 0 listeners\n"
    path.write_text("")
    assert main(["check", str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path}/a\\n\\udcff.toml:1: speaker.local_as: ")
