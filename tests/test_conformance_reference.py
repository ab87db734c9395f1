"""The conformance page of the reference is what the tests say, and no row is forgotten."""

import os
import re
from pathlib import Path

import pytest

from tests.conformance import PAGE, ROOT, page, rows

SHARED = ROOT.parent / "shared" / "reference" / "conformance.md"


def test_the_page_is_what_the_tests_say() -> None:
    """`python -m tests.conformance` would write the same."""
    assert page() == PAGE.read_text()


def test_every_row_of_the_table_has_a_test() -> None:
    """The rows we were given; the file is not the project's."""
    if not SHARED.exists() and os.environ.get("CI") != "true":
        pytest.skip(f"{SHARED} is not here")
    given = set(re.findall(r"^\| ([A-Z0-9]+-\d+) \|", SHARED.read_text(), re.MULTILINE))
    assert len(given) > 130
    assert given <= rows().keys()


def test_rows_name_tests_that_are_there() -> None:
    """Each test of the page is in its file."""
    for found in rows().values():
        for name, _, _ in found:
            file, _, test = name.partition("::")
            assert f"def {test}(" in (Path(ROOT) / "tests" / file).read_text()
