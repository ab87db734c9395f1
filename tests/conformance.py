"""Which test checks which row of the conformance table; `python -m tests.conformance` writes the page of the reference.

A row is named in a test's docstring, or is the beginning of an id of its parameters.
"""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "conformance.md"
ROW = re.compile(r"\b(HDR|OPN|FSM|UPD|AS4|MP|RR|RS|RF|AP|XM|GR|RO|PO|RES)-(\d+)\b")
LEADING = re.compile(rf"^(?:{ROW.pattern}(?: to |, | and )?)+:?\s*")
GROUPS = {
    "HDR": "Message headers",
    "OPN": "OPEN",
    "FSM": "Sessions",
    "UPD": "UPDATE",
    "AS4": "AS numbers of two and four octets",
    "MP": "Address families",
    "RR": "Route reflector",
    "RS": "Route server",
    "RF": "Route refresh",
    "AP": "ADD-PATH",
    "XM": "Extended messages",
    "GR": "Graceful restart",
    "RO": "BGP Roles",
    "PO": "Policy",
    "RES": "Resilience",
}
FOREWORD = """# Conformance

What is done with which input, and the test that shows it: each runs a whole daemon, over in-memory streams where the
kernel does not matter. A rule's RFC is in the words of its test. The page is written by `python -m tests.conformance`,
and a test keeps it true.

Where the RFCs leave a choice:

- A malformed MP_REACH_NLRI or MP_UNREACH_NLRI resets the session (3/9) rather than disabling the address family
  (RFC 7606, section 7.11 and 7.12, allows both): nothing of the peer is then believed half.
- A prefix length that is impossible, or NLRI cut short, resets the session (3/10): where the next begins is unknown.
- The AS number of a peer is that of its 4-octet capability, whatever My AS says (OPN-19).
- Between route-server clients attributes that are not known here pass as they came, transitive or not (RFC 7947,
  section 2.2), and NO_EXPORT and NO_ADVERTISE pass without being obeyed; towards all other roles RFC 4271 section 5 and
  RFC 1997 hold.
- AS_SET is refused where `reject_as_set` says so (RFC 9774), martians where `reject_martians` does.
- MP_REACH_NLRI that is not the first attribute goes on as it came; what is written here has it first (RFC 7606, 5.1).
- A reflector sends a route to the router its ORIGINATOR_ID names; that one ignores it (RFC 4456, section 8).
- An attribute block that exceeds 4,096 octets is withdrawn from peers without extended messages; no attribute is
  dropped to make it fit (RFC 8654, section 4, would allow that).
"""


def rows() -> dict[str, list[tuple[str, str, str]]]:
    """File, test and what it says, by row."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if "interop" in path.parts:
            continue
        tree = ast.parse(path.read_text())
        tables = {
            target.id: [key.value for key in node.value.keys if isinstance(key, ast.Constant)]
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict)
            for target in ([node.target] if isinstance(node, ast.AnnAssign) else node.targets)
            if isinstance(target, ast.Name)
        }
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            words = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
            named = {f"{kind}-{number}": "" for kind, number in ROW.findall(words)}
            for decorator in node.decorator_list:
                for each in ast.walk(decorator):
                    ids: list[object] = []
                    if isinstance(each, ast.Name):
                        ids = list(tables.get(each.id, ()))
                    elif isinstance(each, ast.Constant):
                        ids = [each.value]
                    for value in ids:
                        match = ROW.match(str(value)) if isinstance(value, str) else None
                        if match:
                            key, rest = match[0], str(value)[match.end() :].strip("-")
                            named[key] = ", ".join(filter(None, [named.get(key, ""), rest.replace("-", " ")]))
            for row, cases in named.items():
                name = f"{path.relative_to(ROOT / 'tests')}::{node.name}"
                unique = ", ".join(dict.fromkeys(filter(None, cases.split(", "))))
                found.setdefault(row, []).append((name, LEADING.sub("", words), unique))
    return found


def page() -> str:
    """The page."""
    found = rows()
    lines = [FOREWORD]
    for kind, title in GROUPS.items():
        lines += [f"## {title}", "", "| Row | What is shown | Cases | Test |", "|---|---|---|---|"]
        mine = sorted((row for row in found if row.startswith(f"{kind}-")), key=lambda row: int(row.split("-")[1]))
        for row in mine:
            for position, (name, words, cases) in enumerate(found[row]):
                words = re.sub(r"^\((RFC[^)]*)\):?\s*", r"\1: ", words).replace("|", "/")
                lines.append(f"| {row if not position else ''} | {words} | {cases} | `{name}` |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
