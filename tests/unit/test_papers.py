"""The papers are true: commands, files, links and names in them exist.

And no committed text holds what belongs to one machine alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dev
from localhost.app.manifest import read_app
from localhost.console import function_lines

ROOT = Path(__file__).parents[2]
PAPERS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
)
COMMANDS_OF_README = ("start", "test")
# Made by the commands; not there in a fresh clone.
GENERATED = (".venv", ".azurite", ".localhost", "localhost/node_modules")
ENDINGS = (".json", ".md", ".py", ".toml", ".txt", ".yml")

_CODE_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_CODE_BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_DEV_COMMAND = re.compile(r"\bdev\.py(?: +([\w-]+))?")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*/?")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)+")

REGISTRIES = re.compile(
    r"\b(?:[\w-]+\.)*(?:npmjs|yarnpkg|pypi|pythonhosted)\.(?:org|com|io)\b"
    r"|(?:index[-_]url|registry)\s*[ =]\s*['\"]?https?:",
    re.IGNORECASE,
)
FOLDERS_OF_PEOPLE = re.compile(
    r"(?<![\w.~…-])/(?:home|Users|root|work|mnt)/[\w.-]+"
    r"|\b[A-Z]:\\+Users\\+\w+"
)
OUTSIDE = re.compile(r"\.\./shared\b")


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(path: str) -> str:
    """What stands in the code blocks of a paper."""
    return "\n".join(_CODE_BLOCK.findall(read(path)))


def prose(path: str) -> str:
    """What stands outside of the code blocks of a paper."""
    return _CODE_BLOCK.sub("", read(path))


def is_path(text: str) -> bool:
    """Whether a piece of code in a text is the name of a file or folder of ours."""
    if not _PATH.fullmatch(text):
        return False
    if text.endswith(ENDINGS) or re.match(r"\.[a-z]", text):
        return True
    return "/" in text and (ROOT / text.partition("/")[0]).is_dir()


def exists(text: str) -> bool:
    """Whether there is such a file; one without a folder may be a function's own."""
    if text.startswith(GENERATED):
        return True
    is_bare = "/" not in text
    return (ROOT / text).exists() or (is_bare and any(ROOT.glob(f"*/{text}")))


def anchors(path: Path) -> set[str]:
    """The anchors that a paper's headings have on GitHub."""
    headings = _HEADING.findall(path.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }


def committed_texts() -> Iterator[tuple[str, str]]:
    """Path and text of each file that git knows; in a copy without git, of none."""
    if not (ROOT / ".git").exists():
        return
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    for name in filter(None, listing.decode().split("\0")):
        data = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b"\0"
        if b"\0" not in data:
            yield name, data.decode("utf-8", "replace")


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    """Each line of a committed text that matches, with its place."""
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in committed_texts()
        if pattern.search(text)
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("command", COMMANDS_OF_README)
def test_the_readme_begins_with_the_two_commands(command: str) -> None:
    """Each stands in a block of its own that can be copied."""
    found = [block.strip() for block in _CODE_BLOCK.findall(read("README.md"))]

    assert f"python3 dev.py {command}" in found[:2]
    assert command in dev.COMMANDS


def test_what_the_readme_says_to_test_is_what_every_change_is_tested_by() -> None:
    """``.ci/run`` types the README's own command."""
    assert "python3 dev.py test" in read(".ci/run").splitlines()


@pytest.mark.parametrize("paper", PAPERS)
def test_a_paper_names_only_commands_that_there_are(paper: str) -> None:
    """Whatever follows ``dev.py`` in a block or in a sentence's code."""
    code = "\n".join([blocks(paper), *_CODE_SPAN.findall(prose(paper))])
    named = {name for name in _DEV_COMMAND.findall(code) if name}

    assert named <= set(dev.COMMANDS)


@pytest.mark.parametrize("paper", PAPERS)
def test_a_paper_names_only_files_that_there_are(paper: str) -> None:
    """Those in a sentence's code, and the arguments of dev.py in its blocks."""
    lines = [line for line in blocks(paper).splitlines() if "dev.py" in line]
    named = [*_CODE_SPAN.findall(prose(paper)), *" ".join(lines).split()]

    assert [] == [name for name in named if is_path(name) and not exists(name)]


def test_the_architecture_names_only_modules_that_there_are() -> None:
    """Every one-word name of its first section is a module of the local host."""
    section = prose("docs/architecture.md").partition("## The way of the data")[0]
    modules = {path.stem for path in (ROOT / "localhost").glob("*/*.py")}
    modules |= {path.stem for path in (ROOT / "localhost").glob("*.py")}
    rooms = {path.name for path in (ROOT / "localhost").iterdir() if path.is_dir()}
    named = {n for n in _CODE_SPAN.findall(section) if re.fullmatch("[a-z]+", n)}

    assert set() == named - modules - rooms


@pytest.mark.parametrize("paper", PAPERS)
def test_links_of_a_paper_lead_somewhere(paper: str) -> None:
    """To a file of the project, and to a heading if they name one."""
    broken = []
    for link in _LINK.findall(prose(paper)):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / paper).parent / name if name else ROOT / paper
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert [] == broken


def test_the_readme_lists_the_functions_as_the_host_does() -> None:
    """The list of the real app on the default port, line by line."""
    app = read_app(ROOT, environ={})
    lines = function_lines(app, (), port=7071, prefix="api")

    assert "\n".join(lines).strip() in read("README.md")


def test_the_readme_knows_every_option_of_start() -> None:
    """Options and variables of the table are those of the command's own help."""
    table = read("README.md").partition("## Options")[2].partition("\n## ")[0]
    answer = subprocess.run(
        [sys.executable, "-m", "localhost", "start", "--help"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout

    assert set(_OPTION.findall(answer)) - {"--help"} == set(_OPTION.findall(table))
    assert set(re.findall(r"LOCALHOST_[A-Z_]+", answer)) <= set(
        re.findall(r"LOCALHOST_[A-Z_]+", table)
    )


def test_each_difference_has_a_name_of_its_own() -> None:
    """Tests excuse differences by these names: short, lower-case, with hyphens."""
    tables = read("docs/differences.md").partition("## What newer")[0]
    names = re.findall(r"^\| `([^`]+)` \|", tables, re.MULTILINE)
    rows = re.findall(r"^\| (?!name|---)[^|]+\|", tables, re.MULTILINE)

    assert len(names) == len(rows) == len(set(names))
    assert [] == [name for name in names if not _NAME.fullmatch(name)]


@pytest.mark.parametrize(
    "pattern",
    [REGISTRIES, FOLDERS_OF_PEOPLE, OUTSIDE, re.compile(re.escape(str(ROOT)))],
)
def test_no_committed_text_belongs_to_one_machine(pattern: re.Pattern[str]) -> None:
    """No host of a registry, no folder of this machine, nothing outside the clone."""
    assert [] == lines_with(pattern)
