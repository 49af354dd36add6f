"""Functions that cannot run: the list shows each with its reason, the others work."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.acceptance.asking import GREETINGS, result_of, start_orchestrator
from tests.acceptance.hosts import Hosts, write_function
from tests.acceptance.running_host import Host

pytestmark = pytest.mark.timeout(60)

ACTIVITY = {"name": "name", "type": "activityTrigger", "direction": "in"}
CLIENT = {"name": "client", "type": "durableClient", "direction": "in"}
GOOD = "def main(name: str) -> str:\n    return name\n"
FAILING = """
def table():
    return {"known": 1}["unknown"]


ANSWER = table()


def main(name: str) -> str:
    return name
"""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A function with a fault; ``says`` is its entry in the list, … any text."""

    name: str
    script: str | None = GOOD  # None: there is no file
    bindings: tuple[dict[str, str], ...] = (ACTIVITY,)
    says: str


FAULTS = (
    Fault(
        name="UnknownType",
        bindings=(ACTIVITY | {"type": "activityTriger"},),
        says="UnknownType/function.json: bindings[0].type is 'activityTriger'; did you"
        " mean 'activityTrigger'? known types are httpTrigger, …",
    ),
    Fault(
        name="UnknownDirection",
        bindings=(ACTIVITY | {"direction": "up"},),
        says="UnknownDirection/function.json: 'up' is not a valid binding direction."
        " bindings[0].direction must be 'in' or 'out'.",
    ),
    Fault(
        name="NoTrigger",
        bindings=(CLIENT,),
        says="NoTrigger/function.json: No trigger binding specified. A function must"
        " have a trigger input binding. Found only durableClient (in); add a binding"
        " with direction 'in' and a type such as httpTrigger, …",
    ),
    Fault(
        name="TwoTriggers",
        bindings=(ACTIVITY, ACTIVITY | {"name": "other"}),
        says="TwoTriggers/function.json: Multiple trigger bindings defined: 'name'"
        " (activityTrigger) and 'other' (activityTrigger). A function has exactly one"
        " trigger; move the other one to a folder of its own.",
    ),
    Fault(
        name="NoScript",
        script=None,
        says="NoScript/function.json: Invalid script file name configuration. The"
        " 'scriptFile' property is set to a file that does not exist. 'scriptFile' is"
        " '__init__.py'; there is no …. Name a file relative to the folder NoScript.",
    ),
    Fault(
        name="NoEntryPoint",
        script="def run(name: str) -> str:\n    return name\n",
        says="cannot load the NoEntryPoint function: function main() is not present in"
        " NoEntryPoint/__init__.py. It defines run; name one of its functions main, or"
        " set 'entryPoint' in function.json.",
    ),
    Fault(
        name="OtherNames",
        script="def main(city: str) -> str:\n    return city\n",
        says="cannot load the OtherNames function: the following parameters are"
        " declared in Python but not in function.json: {'city'}."
        " OtherNames/__init__.py has main(city), function.json binds (name). Give both"
        " the same names.",
    ),
    Fault(
        name="NoPackage",
        script="import not_installed_anywhere\n\n" + GOOD,
        says="NoPackage/__init__.py cannot be imported: ModuleNotFoundError: No module"
        " named 'not_installed_anywhere'…If not_installed_anywhere is a package, add it"
        " to requirements.txt and install it.",
    ),
    Fault(
        name="NoPython",
        script="def main(name: str -> str:\n    return name\n",
        says="NoPython/__init__.py cannot be imported: SyntaxError: …, line 1…",
    ),
)


@pytest.fixture(scope="module", name="host")
def _host(shared_hosts: Hosts) -> Host:
    """A host on the quickstart and all the faulty functions at once."""
    app = shared_hosts.copy_app()
    for fault in FAULTS:
        write_function(app, fault.name, fault.script, *fault.bindings)
    write_function(app, "FailsInside", FAILING, ACTIVITY)
    write_function(app, "NotJson", GOOD, ACTIVITY)
    (app / "NotJson" / "function.json").write_text('{\n  "bindings": [}\n')
    return shared_hosts.start(app)


def entry_of(host: Host, name: str) -> str:
    """What the list says of a function, further lines included."""
    listed = host.text().partition("\nFunctions:\n")[2]
    start = listed.index(f"\t{name}: ")
    return listed[start : listed.index("\n\n", start)]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_list_says_why_a_function_failed(host: Host, fault: Fault) -> None:
    """Place, what was found, what is expected, what to do."""
    pattern = ".*".join(re.escape(part) for part in fault.says.split("…"))

    assert re.fullmatch(
        rf"\t{fault.name}: failed: {pattern}",
        entry_of(host, fault.name),
        re.DOTALL,
    )


def test_a_function_json_that_is_no_json_is_told_with_line_and_column(
    host: Host,
) -> None:
    """As every other settings file."""
    path = host.app / "NotJson" / "function.json"

    entry = entry_of(host, "NotJson")

    assert entry.startswith(f"\tNotJson: failed: {path}, line 2, column 16: not JSON: ")
    assert entry.endswith(" found '}'. Correct the file at that place.")


def test_a_module_that_fails_shows_its_own_traceback(host: Host) -> None:
    """The frames of the user's file, none of the host or of the import machinery."""
    script = host.app / "FailsInside" / "__init__.py"

    entry = entry_of(host, "FailsInside")

    files = [line for line in entry.splitlines() if 'File "' in line]
    assert [
        f'File "{script}", line 6, in <module>',
        f'File "{script}", line 3, in table',
    ] == [line.strip() for line in files]
    assert "FailsInside/__init__.py cannot be imported: KeyError: 'unknown'" in entry


def test_the_other_functions_run(host: Host) -> None:
    """A faulty one disturbs nobody."""
    assert GREETINGS == result_of(start_orchestrator(host.url))["output"]
