"""The house's own rules: imports, lengths, docstrings, links."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for folder in ("cozyd", "blueprints", "dav", "workers") for path in (ROOT / folder).rglob("*.py"))
PAGES = sorted(path for path in ROOT.rglob("*.md") if not {".venv", "node_modules", ".pytest_cache"} & set(path.parts))
NAMING = sorted(
    path for folder in ("cozyd", "blueprints", "dav", "workers", "tests", "benchmarks", "static") for path in (ROOT / folder).rglob("*.*")
)
LONGEST_FILE = 600
LONGEST_FUNCTION = 50


def test_imports_follow_the_rules():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_can_be_read_in_one_go(path: Path):
    text = path.read_text()
    assert text.count("\n") <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


def test_functions_are_short_and_files_are_small():
    functions = []
    for path in SOURCES:
        functions += [
            (node.end_lineno or node.lineno) - node.lineno + 1
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
    functions.sort()
    files = sorted(path.read_text().count("\n") for path in SOURCES)
    assert functions[int(len(functions) * 0.95)] <= 40
    assert files[int(len(files) * 0.95)] <= 500


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(path: Path):
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path):
    prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose)]
    assert [link for link in links if link and "://" not in link and not (page.parent / link).exists()] == []


def test_every_page_that_code_names_is_there():
    named: dict[str, Path] = {}
    for path in [*NAMING, ROOT / "setup.py", ROOT / "Makefile"]:
        if path.suffix in (".py", ".html", ".js", ".css", ".toml", "") and "node_modules" not in path.parts:
            named |= dict.fromkeys(re.findall(r"\bdocs/[\w/.-]+\.md\b", path.read_text()), path)
    assert {page: str(path) for page, path in named.items() if not (ROOT / page).is_file()} == {}


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        waiting += [(page.parent / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    decisions = {page for page in PAGES if page.parent.name == "decisions"}
    assert {str(page.relative_to(ROOT)) for page in set(PAGES) - reached - decisions} == set()
