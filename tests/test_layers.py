"""The order of the rooms: a name imports only names to its left."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "trio_bgp"
ORDER = ["wire", "settings", "session", "rib", "passthrough", "runtime", "config", "log", "cli"]
PURE = {"wire", "settings", "session", "rib", "passthrough"}
BANNED = {"trio", "asyncio", "logging", "os", "random", "select", "socket", "threading", "time"}
TRIO = {"runtime", "cli"}


def imports(path: Path) -> set[str]:
    """Dotted names of the modules a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return found


def violations(package: Path) -> list[str]:
    """Each import that the order forbids."""
    found = []
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        for name in sorted(imports(path)):
            parts = name.split(".")
            if parts[0] == "trio_bgp" and len(parts) > 1 and parts[1] in ORDER and room in ORDER:
                if ORDER.index(parts[1]) > ORDER.index(room) or (room, parts[1]) == ("rib", "session"):
                    found.append(f"{path.relative_to(package)} imports {name}")
            elif (room in PURE and parts[0] in BANNED) or (parts[0] == "trio" and room not in TRIO):
                found.append(f"{path.relative_to(package)} imports {name}")
    return found


def test_every_import_goes_left() -> None:
    """No file imports from a room to its right, and only runtime and cli import trio."""
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("wire/a.py", "import trio_bgp.session.fsm"),
        ("rib/a.py", "from trio_bgp.session import fsm"),
        ("session/a.py", "import time"),
        ("config/a.py", "import trio"),
        ("settings.py", "from trio_bgp import cli"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, file: str, line: str) -> None:
    """Each kind of violation is named with its file."""
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(line)
    assert [each.split()[0] for each in violations(tmp_path)] == [file] * len(violations(tmp_path)) != []
