"""docs/asvs.md: no requirement twice, states that mean something, and every test it names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROWS = re.findall(r"^\| (\d+\.\d+\.\d+) \| (.+?) \| (.+?) \| (.*?) \|$", (ROOT / "docs" / "asvs.md").read_text(), flags=re.MULTILINE)


def test_each_requirement_has_one_row_with_a_state():
    numbers = [number for number, *_ in ROWS]
    assert len(numbers) > 200
    assert sorted(set(numbers)) == sorted(numbers)
    assert [row for row in ROWS if not re.match(r"(met|partly|no|operator)\b", row[2])] == []


def test_every_test_and_page_that_is_named_is_there():
    named = {place for _, _, _, places in ROWS for place in places.split(", ") if place}
    assert {place for place in named if not (ROOT / place).exists()} == set()
