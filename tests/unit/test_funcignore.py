"""What publishing ships, read from ``.funcignore`` in each way that it is read.

pathspec reads the lines as git would. The VS Code extension joins them into one
glob, ``{a,b,c}``, and leaves out each file and folder that it matches. Core Tools
make each line a regular expression and compare it with the start of the path.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pathspec
import pytest

ROOT = Path(__file__).parents[2]
LINES = (ROOT / ".funcignore").read_text(encoding="utf-8").splitlines()

FUNCTIONS = ("DurableFunctionsHttpStart", "Hello", "HelloOrchestrator")
SHIPPED = sorted(
    [
        f"{name}/{file}"
        for name in FUNCTIONS
        for file in ("__init__.py", "function.json")
    ]
    + ["host.json", "requirements.txt"]
)

# What lies about in a folder in use, and what the project is yet to get.
OTHERS = [
    ".DS_Store",
    ".azurite/__azurite_db_queue__.json",
    ".ci/run",
    ".coverage",
    ".editorconfig",
    ".env",
    ".funcignore",
    ".git/HEAD",
    ".gitattributes",
    ".github/workflows/ci.yml",
    ".gitignore",
    ".hypothesis/unicode_data/charmap.json.gz",
    ".idea/workspace.xml",
    ".localhost/code",
    ".mypy_cache/3.10/dev.meta.json",
    ".pytest_cache/v/cache/nodeids",
    ".python_packages/lib/site-packages/azure/functions/__init__.py",
    ".ruff_cache/CACHEDIR.TAG",
    ".venv/bin/python",
    ".venv/lib/python3.11/site-packages/host.json",
    ".vscode/launch.json",
    "AzuriteConfig",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Hello/.DS_Store",
    "Hello/__pycache__/__init__.cpython-311.pyc",
    "Hello/__pycache__/fast.main-1.py311.nbi",
    "HelloOrchestrator/stray.pyc",
    "LICENSE",
    "Makefile",
    "README.md",
    "__azurite_db_blob__.json",
    "__azurite_db_queue_extent__.json",
    "__blobstorage__/0f0f",
    "__pycache__/dev.cpython-311.pyc",
    "__queuestorage__/0f0f",
    "benchmarks/results/today.json",
    "dev.py",
    "docs/differences.md",
    "examples/fan_out/host.json",
    "local.settings.json",
    "localhost/__main__.py",
    "localhost/node_modules/azurite/package.json",
    "localhost/package.json",
    "node_modules/azurite/package.json",
    "pyproject.toml",
    "requirements-dev.txt",
    "stray.pyc",
    "tests/app/__pycache__/test_app_files.cpython-311.pyc",
    "tests/app/test_app_files.py",
]

Reader = Callable[[list[str], list[str]], list[str]]


def read_as_git(lines: list[str], files: list[str]) -> list[str]:
    """The files that lines of a ``.gitignore`` would leave."""
    return list(
        pathspec.GitIgnoreSpec.from_lines(lines).match_files(files, negate=True)
    )


def glob_to_regex(glob: str) -> re.Pattern[str]:
    """Of globs it knows ``{a,b}``, ``*`` in a name and ``**/`` before a name."""
    alternatives = []
    for alternative in glob.removeprefix("{").removesuffix("}").split(","):
        name = alternative.removeprefix("**/")
        anywhere = "(?:.*/)?" if name != alternative else ""
        alternatives.append(anywhere + "[^/]*".join(map(re.escape, name.split("*"))))
    return re.compile("|".join(alternatives))


def read_as_vs_code(lines: list[str], files: list[str]) -> list[str]:
    """The files that the one glob leaves, neither they nor a folder above matched."""
    excluded = glob_to_regex("{" + ",".join(lines) + "}")
    return [
        file
        for file in files
        if not any(
            excluded.fullmatch(str(path))
            for path in (PurePosixPath(file), *PurePosixPath(file).parents)
        )
    ]


def read_as_core_tools(lines: list[str], files: list[str]) -> list[str]:
    """The files whose path begins with none of the lines, taken as expressions."""
    patterns = [
        re.escape(line).replace(r"\*\*", "(.+)").replace(r"\*", "([^/]+)")
        for line in lines
    ]
    excluded = re.compile("|".join(patterns))
    return [file for file in files if not excluded.match(file)]


READERS = [read_as_git, read_as_vs_code, read_as_core_tools]


def project_files() -> list[str]:
    """What git knows here or does not ignore; in a copy without git, all there is."""
    if (ROOT / ".git").exists():
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        return [os.fsdecode(name) for name in listing.split(b"\0") if name]
    found = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
    return [path.as_posix() for path in found]


def ignored_by_git() -> list[str]:
    """One made-up file for each line of ``.gitignore``."""
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    return [
        line.strip("/").replace("*", "x") + ("/x" if line.endswith("/") else "")
        for line in lines
        if line and not line.startswith("#")
    ]


@pytest.mark.parametrize("reader", READERS)
def test_only_the_app_is_shipped(reader: Reader) -> None:
    """All that lies in the root is either part of the app or a line here."""
    files = sorted({*project_files(), *OTHERS, *ignored_by_git()})

    assert SHIPPED == reader(LINES, files), (
        "What is published must be this list: name a new entry of the root in"
        " .funcignore, or add it to SHIPPED when it belongs to the app."
    )


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("entry", ["new.py", "new/file.py", ".new", "hello/x.py"])
def test_new_root_entry_would_be_shipped(reader: Reader, entry: str) -> None:
    """The lists above notice an entry that nobody has decided about."""
    assert [entry] == reader(LINES, [entry])


@pytest.mark.parametrize("line", LINES)
def test_line_is_needed(line: str) -> None:
    """Without the line at least one reader would ship something else."""
    others = [other for other in LINES if other != line]

    assert any(reader(others, [*OTHERS, *ignored_by_git()]) for reader in READERS)


@pytest.mark.parametrize("line", LINES)
def test_line_means_the_same_to_every_reader(line: str) -> None:
    """A line is a name, with ``*`` at most, or such a name anywhere (``**/name``)."""
    assert re.fullmatch(r"(\*\*/)?[\w.\-]*(\*[\w.\-]+)?", line)


def test_no_line_is_empty_or_twice() -> None:
    """An empty line would be an empty alternative of the glob."""
    assert sorted({line for line in LINES if line}) == sorted(LINES)
