"""The order of the rooms: a name imports only names to its left."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "trio_bgp"
ORDER = [
    {"wire"},
    {"settings", "mrt"},
    {"session", "rib"},
    {"passthrough", "policy"},
    {"routing"},
    {"config", "log"},
    {"runtime"},
    {"monitoring"},
    {"testing", "recording"},
    {"control"},
    {"looking_glass"},
    {"cli"},
]
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms} | {"__main__": len(ORDER)}
BANNED = {"trio", "asyncio", "logging", "os", "random", "select", "selectors", "socket", "threading", "time"}
"""What a room left of `config` must not import: it has no tasks, no clock, no log and no sockets."""
HOMES = {
    "trio": {"runtime", "monitoring", "testing", "recording", "control", "looking_glass", "cli"},
    "tomli": {"config"},
    "tomllib": set[str](),
    "importlib": {"cli", "control"},
}
"""Modules that only these rooms import."""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a file imports, also inside functions and for type checkers only."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            # `from trio_bgp import rib` names the room last; of any other module the module is enough.
            for alias in node.names if module == "trio_bgp" else node.names[:1]:
                yield node.lineno, f"{module}.{alias.name}" if module == "trio_bgp" else module


def forbidden(room: str, name: str) -> bool:
    """Whether a file of a room must not import a name."""
    top, _, rest = name.partition(".")
    if top == "":
        return True  # relative: it hides which room is meant
    if top != "trio_bgp":
        return (RANK[room] < RANK["config"] and top in BANNED) or room not in HOMES.get(top, {room})
    other = rest.partition(".")[0]
    if other in ("", "__version__") or other == room:
        return False
    return other not in RANK or RANK[other] >= RANK[room]


def violations(package: Path) -> list[str]:
    """Each import that the order forbids, and each file of which it does not say where it belongs."""
    found = []
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package)
        room = file.parts[0].removesuffix(".py")
        if room == "__init__":
            found += [f"{file}:{line} imports {name}" for line, name in imports(path) if name != "typing"]
        elif room not in RANK:
            found.append(f"{file}:1 is in no known room")
        else:
            found += [f"{file}:{line} imports {name}" for line, name in imports(path) if forbidden(room, name)]
    return found


def circles(package: Path) -> list[str]:
    """Files that import each other, directly or by way of others, also for type checkers only."""
    names = {
        path: ".".join((package.name, *path.relative_to(package).with_suffix("").parts))
        for path in package.rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): path for path, name in names.items()}
    arrows = {
        module: sorted({name for _, name in from_imports(path) if name in modules and name != module})
        for module, path in modules.items()
    }
    state: dict[str, int] = {}
    circles: list[str] = []

    def visit(module: str, way: list[str]) -> None:
        state[module] = 1
        for other in arrows[module]:
            if state.get(other) == 1:
                circles.append(" -> ".join([*way[way.index(other) :], other]))
            elif other not in state:
                visit(other, [*way, other])
        state[module] = 2

    for module in sorted(modules):
        if module not in state:
            visit(module, [module])
    return circles


def from_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Like `imports`, with `from a import b` as both `a` and `a.b`: either may be a file."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            files = [f"{node.module}.{alias.name}" for alias in node.names]
            for file in files:
                yield node.lineno, file
            yield node.lineno, node.module


def test_no_files_import_each_other() -> None:
    """A circle between two files means that neither can be understood alone."""
    assert circles(PACKAGE) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    """Also one that goes by way of a third file and one that is for type checkers only."""
    package = tmp_path / "trio_bgp"
    (package / "rib").mkdir(parents=True)
    (package / "rib/a.py").write_text("from trio_bgp.rib import b\n")
    (package / "rib/b.py").write_text("from trio_bgp.rib.c import C\n")
    (package / "rib/c.py").write_text("if TYPE_CHECKING:\n    from trio_bgp.rib.a import A\n")
    assert circles(package) == ["trio_bgp.rib.a -> trio_bgp.rib.b -> trio_bgp.rib.c -> trio_bgp.rib.a"]
    (package / "rib/c.py").write_text("C = 1\n")
    assert circles(package) == []


def test_every_import_goes_left() -> None:
    """No file imports from its right or from beside itself; no clock, log, socket or trio left of config."""
    assert len(list(PACKAGE.rglob("*.py"))) > 30
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line", "name"),
    [
        ("wire/a.py", "import trio_bgp.session.fsm", "trio_bgp.session.fsm"),
        ("wire/a.py", "from trio_bgp.settings import Role", "trio_bgp.settings"),
        ("rib/a.py", "from trio_bgp.session import fsm", "trio_bgp.session"),
        ("session/deep/a.py", "from trio_bgp.rib.path import Path", "trio_bgp.rib.path"),
        ("session/a.py", "def f():\n    import time", "time"),
        ("session/a.py", "import attrs, os.path", "os.path"),
        (
            "routing/a.py",
            "if TYPE_CHECKING:\n    from trio_bgp.runtime.session import peer",
            "trio_bgp.runtime.session",
        ),
        ("passthrough/a.py", "from .pool import Slab", ".pool"),
        ("passthrough/a.py", "from logging import getLogger", "logging"),
        ("rib/a.py", "import importlib", "importlib"),
        ("config/a.py", "from trio_bgp.runtime import speaker", "trio_bgp.runtime"),
        ("runtime/session/a.py", "from trio_bgp.monitoring.bmp import Stations", "trio_bgp.monitoring.bmp"),
        ("config/a.py", "import trio.testing", "trio.testing"),
        ("log.py", "import trio_bgp.config", "trio_bgp.config"),
        ("cli/a.py", "import tomli", "tomli"),
        ("settings.py", "from trio_bgp import __version__, cli", "trio_bgp.cli"),
        ("rib/a.py", "from trio_bgp import helpers", "trio_bgp.helpers"),
        ("__init__.py", "import trio_bgp.wire", "trio_bgp.wire"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, file: str, line: str, name: str) -> None:
    """Each kind of violation is named with its file, its line and what it imports, and nothing else is."""
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"from typing import TYPE_CHECKING\n{line}\n")
    assert violations(tmp_path) == [f"{file}:{2 + line.count(chr(10))} imports {name}"]


def test_a_room_that_the_order_does_not_know_is_found(tmp_path: Path) -> None:
    """A new folder has to be given its place."""
    (tmp_path / "utils.py").write_text("")
    assert violations(tmp_path) == ["utils.py:1 is in no known room"]


@pytest.mark.parametrize(
    ("file", "line"),
    [
        (
            "cli/a.py",
            "import trio, importlib; from trio_bgp import __version__, log; import trio_bgp.runtime.session.peer",
        ),
        ("passthrough/a.py", "from trio_bgp.passthrough.pool import Slab; from trio_bgp import rib; import attrs"),
        ("config/a.py", "import tomli; from trio_bgp.settings import Role"),
        ("runtime/a.py", "import time, logging, socket"),
    ],
)
def test_a_right_import_is_not_reported(tmp_path: Path, file: str, line: str) -> None:
    """The order forbids no more than it says."""
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(line)
    assert violations(tmp_path) == []
