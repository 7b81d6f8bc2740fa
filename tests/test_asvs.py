"""docs/asvs.md: no requirement twice, states that mean something, and every test it names is there."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROWS = re.findall(r"^\| (\d+\.\d+\.\d+) \| (.+?) \| (.+?) \|(?: (.+?))? \|$", (ROOT / "docs" / "asvs.md").read_text(), flags=re.MULTILINE)


SECTIONS = (
    "1.1.1-2 1.2.1-9 1.3.1-11 1.4.1-3 1.5.1-2 2.1.1-3 2.2.1-3 2.3.1-4 2.4.1 3.2.1-2 3.3.1-4 3.4.1-6 3.5.1-5 3.7.1-2 4.1.1-3 "
    "4.2.1 4.3.1-2 4.4.1-4 5.1.1 5.2.1-3 5.3.1-2 5.4.1-3 6.1.1-3 6.2.1-12 6.3.1-4 6.4.1-4 6.5.1-5 6.6.1-3 6.8.1-4 7.1.1-3 "
    "7.2.1-4 7.3.1-2 7.4.1-5 7.5.1-2 7.6.1-2 8.1.1-2 8.2.1-3 8.3.1 8.4.1 9.1.1-3 9.2.1-4 10.1.1-2 10.2.1-2 10.3.1-4 10.4.1-11 "
    "10.5.1-5 10.6.1-2 10.7.1-3 11.1.1-2 11.2.1-3 11.3.1-3 11.4.1-4 11.5.1 11.6.1 12.1.1-3 12.2.1-2 12.3.1-4 13.1.1 13.2.1-5 "
    "13.3.1-2 13.4.1-5 14.1.1-2 14.2.1-4 14.3.1-3 15.1.1-3 15.2.1-3 15.3.1-7 16.1.1 16.2.1-5 16.3.1-4 16.4.1-3 16.5.1-3 "
    "17.1.1 17.2.1-4 17.3.1-2"
)
"""The numbers of all requirements of level 1 and 2 of ASVS 5.0.0."""


def required() -> set[str]:
    found = set()
    for section in SECTIONS.split():
        head, first, last = re.fullmatch(r"(\d+\.\d+)\.(\d+)(?:-(\d+))?", section).groups()  # type: ignore[union-attr]
        found |= {f"{head}.{number}" for number in range(int(first), int(last or first) + 1)}
    return found


def test_each_requirement_of_the_standard_has_a_row_or_is_said_to_be_left_out():
    head = (ROOT / "docs" / "asvs.md").read_text().partition("## 1 ")[0]
    left_out = re.findall(r"\((\d+(?:\.\d+)*)\)", head)
    wanted = {number for number in required() if not any(f"{number}.".startswith(f"{one}.") for one in left_out)}
    assert len(required()) == 253
    assert {number for number, *_ in ROWS} == wanted


def test_each_requirement_has_one_row_with_a_state():
    numbers = [number for number, *_ in ROWS]
    assert sorted(set(numbers)) == sorted(numbers)
    assert [row for row in ROWS if not re.match(r"(met|partly|no|operator)\b", row[2])] == []


def test_every_test_and_page_that_is_named_is_there():
    named = {place for _, _, _, places in ROWS for place in places.split(", ") if place}
    assert {place for place in named if not (ROOT / place).exists()} == set()
