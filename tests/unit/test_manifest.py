"""function.json files become functions, or faults that say what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from localhost.app.manifest import read_app
from localhost.declared import Function

ACTIVITY = {"name": "name", "type": "activityTrigger", "direction": "in"}
HTTP = {"name": "req", "type": "httpTrigger", "direction": "in"}
RETURN = {"name": "$return", "type": "http", "direction": "out"}


@pytest.fixture
def write_function(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder with function.json and, unless told otherwise, a script."""

    def write(
        name: str = "Hello",
        *bindings: Mapping[str, Any],
        script: str | None = "__init__.py",
        **config: Any,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        text = json.dumps({"bindings": list(bindings), **config})
        (folder / "function.json").write_text(text, encoding="utf-8")
        if script is not None:
            (folder / script).write_text("", encoding="utf-8")
        return folder

    return write


@pytest.fixture
def fault(write_function: Callable[..., Path], tmp_path: Path) -> Callable[..., str]:
    """The message of the one function with these bindings and properties."""

    def read(*bindings: Mapping[str, Any], **options: Any) -> str:
        write_function("Hello", *bindings, **options)
        app = read_app(tmp_path, environ={})
        assert () == app.functions
        return app.faults[0].message

    return read


@pytest.fixture
def function(
    write_function: Callable[..., Path], tmp_path: Path
) -> Callable[..., Function]:
    """The one function with these bindings and properties, which keeps every rule."""

    def read(
        *bindings: Mapping[str, Any],
        environ: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Function:
        write_function("Hello", *bindings, **options)
        app = read_app(tmp_path, environ=environ or {})
        assert () == app.faults
        return app.functions[0]

    return read


def test_reads_the_quickstarts_activity(function: Callable[..., Function]) -> None:
    """Name, folder, script, entry point and trigger of the simplest function."""
    hello = function(ACTIVITY, scriptFile="__init__.py")

    assert ("Hello", "main", "activityTrigger", False, True) == (
        hello.name,
        hello.entry_point,
        hello.trigger.type,
        hello.disabled,
        hello.is_run_here,
    )
    assert hello.folder / "__init__.py" == hello.script


def test_sorts_functions_by_name_ignoring_case(
    write_function: Callable[..., Path], tmp_path: Path
) -> None:
    """The order decides between routes; '_' comes after letters, as in .NET."""
    for name in ("b", "A_x", "Ab", "c"):
        write_function(name, ACTIVITY)

    app = read_app(tmp_path, environ={})

    assert ["Ab", "A_x", "b", "c"] == [each.name for each in app.functions]


def test_reads_only_what_is_wanted(
    write_function: Callable[..., Path], tmp_path: Path
) -> None:
    """host.json's list of functions ignores case."""
    write_function("Hello", ACTIVITY)
    write_function("Broken")

    app = read_app(tmp_path, environ={}, only=frozenset({"hello"}))

    assert (["Hello"], ()) == ([each.name for each in app.functions], app.faults)


def test_a_faulty_function_leaves_the_others_alone(
    write_function: Callable[..., Path], tmp_path: Path
) -> None:
    """A file that is no JSON is told with line and column; the rest is read."""
    write_function("Hello", ACTIVITY)
    broken = write_function("Broken", ACTIVITY)
    (broken / "function.json").write_text('{\n  "bindings": nothing\n}')

    app = read_app(tmp_path, environ={})

    assert ["Hello"] == [each.name for each in app.functions]
    assert "Broken" == app.faults[0].name
    assert "function.json" in app.faults[0].message
    assert "line 2, column 15" in app.faults[0].message


def test_type_names_ignore_case(function: Callable[..., Function]) -> None:
    """Whatever the file writes, the type is spelt as Azure spells it."""
    assert (
        "activityTrigger"
        == function({**ACTIVITY, "type": "ACTIVITYtrigger"}).trigger.type
    )


@pytest.mark.parametrize("direction", ["In", None, ""])
def test_the_direction_is_in_unless_it_says_out(
    function: Callable[..., Function], direction: str | None
) -> None:
    """A missing direction means in, and case does not matter."""
    assert "in" == function({**ACTIVITY, "direction": direction}).trigger.direction


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("orchestration", "orchestrationTrigger"),
        ("activity", "activityTrigger"),
        ("entityName", "entityTrigger"),
    ],
)
def test_durable_name_comes_from_the_binding(
    function: Callable[..., Function], key: str, kind: str
) -> None:
    """Each durable trigger has a property that renames the function."""
    renamed = function({"name": "context", "type": kind, key: "Other"})

    assert "Other" == renamed.durable_name


def test_durable_name_is_else_the_functions(
    function: Callable[..., Function],
) -> None:
    """Without the property the folder's name counts."""
    assert "Hello" == function(ACTIVITY).durable_name


def test_a_trigger_of_azure_is_read_but_not_run_here(
    function: Callable[..., Function],
) -> None:
    """A timer disturbs nothing, not even with a setting that is nowhere set."""
    timer = {"name": "timer", "type": "timerTrigger", "schedule": "%SCHEDULE%"}

    assert not function(timer).is_run_here


def test_settings_are_put_into_properties(function: Callable[..., Function]) -> None:
    """%Setting% is replaced in strings and lists; names ignore case."""
    http = {**HTTP, "route": "a/%Route%/{id}", "methods": ["%verb%", "post"]}

    trigger = function(http, RETURN, environ={"ROUTE": "b", "Verb": "get"}).trigger

    assert {"route": "a/b/{id}", "methods": ["get", "post"]} == trigger.properties


def test_a_setting_of_a_section_is_found(function: Callable[..., Function]) -> None:
    """%a:b% is the environment variable a__b."""
    http = {**HTTP, "route": "%a:b%"}

    trigger = function(http, environ={"A__B": "x"}).trigger

    assert {"route": "x"} == trigger.properties


@pytest.mark.parametrize("name", ["input_data", "_x", "_", "a_", "a_b_c", "x" * 128])
def test_name_of_a_binding_may_hold_underscores(
    function: Callable[..., Function], name: str
) -> None:
    """As in Azure since host 4.1038; two in a row may not be."""
    assert name == function({**ACTIVITY, "name": name}).trigger.name


@pytest.mark.parametrize(
    "binding",
    [
        {"name": "context", "type": "orchestrationTrigger", "queueName": "%Q%"},
        {"name": "name", "type": "activityTrigger", "schedule": "%Q%", "x": ["%Q%"]},
        {"name": "context", "type": "entityTrigger", "route": "%Q%"},
        {"name": "req", "type": "httpTrigger", "taskHub": "%Q%", "comment": "%Q%"},
    ],
)
def test_property_that_the_binding_does_not_have_is_not_read(
    function: Callable[..., Function], binding: dict[str, Any]
) -> None:
    """A %Setting% in it may be set nowhere."""
    others = {
        name: value for name, value in binding.items() if name not in ("name", "type")
    }

    assert others == function(binding).trigger.properties


@pytest.mark.parametrize("spelling", ["Route", "ROUTE"])
def test_property_is_known_in_any_case(
    function: Callable[..., Function], spelling: str
) -> None:
    """As .NET reads JSON."""
    http = {**HTTP, spelling: "%r%"}

    assert {"route": "x"} == function(http, environ={"R": "x"}).trigger.properties


@pytest.mark.parametrize("environ", [{}, {"Python_Script_File_Name": "app.py"}])
@pytest.mark.parametrize("has_folders", [True, False])
def test_decorator_app_is_told(
    write_function: Callable[..., Path],
    tmp_path: Path,
    environ: dict[str, str],
    has_folders: bool,
) -> None:
    """Its functions are not run here; those of folders are, unlike in Azure."""
    name = environ.get("Python_Script_File_Name", "function_app.py")
    (tmp_path / name).write_text("import azure.functions as func\n")
    if has_folders:
        write_function("Hello", ACTIVITY)

    app = read_app(tmp_path, environ=environ)

    (fault,) = app.faults
    assert name == fault.name
    assert "made with decorators are not run here yet" in fault.message
    beside = "the real host serves only those of" in fault.message
    assert (has_folders, len(app.functions)) == (beside, int(has_folders))


@pytest.mark.parametrize(
    ("disabled", "environ", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        ("true", {}, True),
        ("IS_OFF", {"IS_OFF": "1"}, True),
        ("IS_OFF", {"IS_OFF": "0"}, False),
        ("%IS_OFF%", {"IS_OFF": "True"}, True),
        (False, {"AzureWebJobs.Hello.Disabled": "true"}, True),
        (False, {"azurewebjobs.hello.disabled": "1"}, True),
        (False, {"AzureWebJobs_Hello_Disabled": "true"}, True),
        (True, {"AzureWebJobs.Hello.Disabled": "false"}, True),
        (False, {"AzureWebJobs.Hello.Disabled": "yes"}, False),
    ],
)
def test_disabled(
    function: Callable[..., Function],
    disabled: object,
    environ: dict[str, str],
    expected: bool,
) -> None:
    """The property or the setting switches a function off."""
    assert expected == function(ACTIVITY, disabled=disabled, environ=environ).disabled


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["only.py"], "only.py"),
        (["__init__.py", "other.py"], "__init__.py"),
        (["__init__.py", "run.py"], "run.py"),
    ],
)
def test_finds_the_script_without_script_file(
    write_function: Callable[..., Path],
    tmp_path: Path,
    files: list[str],
    expected: str,
) -> None:
    """The only file, else run, else __init__.py."""
    folder = write_function("Hello", ACTIVITY, script=None)
    for file in files:
        (folder / file).write_text("")

    assert folder / expected == read_app(tmp_path, environ={}).functions[0].script


def test_the_script_may_be_elsewhere(
    write_function: Callable[..., Path], tmp_path: Path
) -> None:
    """scriptFile is relative to the function's folder."""
    common = tmp_path / "common"
    common.mkdir()
    (common / "hello.py").write_text("")
    write_function("Hello", ACTIVITY, scriptFile="../common/hello.py")

    assert common / "hello.py" == read_app(tmp_path, environ={}).functions[0].script


@pytest.mark.parametrize(
    ("bindings", "expected"),
    [
        ([], "At least one binding must be declared."),
        ([RETURN], "No trigger binding specified."),
        ([{**HTTP, "direction": "out"}], "No trigger binding specified."),
        ([ACTIVITY, HTTP], "'name' (activityTrigger) and 'req' (httpTrigger)"),
        ([ACTIVITY, {**RETURN, "name": "Name"}], "Binding names must be unique."),
        ([HTTP, {**RETURN, "direction": "in"}], "a direction of 'out'"),
        ([{**ACTIVITY, "name": "my__name"}], "The binding name my__name is invalid."),
        ([{**ACTIVITY, "name": "1x"}], "expected: a letter or '_'"),
        ([{**ACTIVITY, "name": "x" * 129}], "expected: a letter or '_'"),
        ([{"type": "activityTrigger"}], "bindings[0].name is missing"),
        ([{"name": "x"}], "bindings[0].type is missing"),
        ([{**ACTIVITY, "direction": "inward"}], "not a valid binding direction"),
        ([{**ACTIVITY, "direction": "inout"}], '"inout" bindings are not supported'),
        ([{**ACTIVITY, "dataType": "text"}], "string, binary, stream"),
        (["x"], "bindings[0] is 'x'; expected is an object"),
        ([{**HTTP, "route": "%NOWHERE%"}], "'%NOWHERE%' does not resolve to a value"),
        (
            [ACTIVITY, {"name": "file", "type": "blob", "direction": "in"}],
            "'blob', which this host does not provide",
        ),
        (
            [
                {
                    "name": "context",
                    "type": "orchestrationTrigger",
                    "orchestration": "@x",
                }
            ],
            "Orchestration names must not start with @.",
        ),
    ],
)
def test_bindings_that_break_a_rule(
    fault: Callable[..., str], bindings: list[Any], expected: str
) -> None:
    """The message names the file and says which rule."""
    message = fault(*bindings)

    assert message.startswith("Hello/function.json: ")
    assert expected in message


def test_an_unknown_type_is_told_with_the_known_ones(
    fault: Callable[..., str],
) -> None:
    """A misspelt type gets a suggestion and the list."""
    message = fault({**ACTIVITY, "type": "activitytriger"})

    assert message.startswith(
        "Hello/function.json: bindings[0].type is 'activitytriger';"
        " did you mean 'activityTrigger'? known types are httpTrigger,"
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"scriptFile": "gone.py"}, "set to a file that does not exist"),
        ({"scriptFile": 5}, "'scriptFile' is 5"),
        ({"scriptFile": "a.js", "script": "a.js"}, "invalid Python filename a.js"),
        ({"entryPoint": 5}, "'entryPoint' is 5"),
        ({"script": None}, "No function script files present."),
    ],
)
def test_scripts_that_break_a_rule(
    fault: Callable[..., str], options: dict[str, Any], expected: str
) -> None:
    """The message says what scriptFile or entryPoint has to be."""
    assert expected in fault(ACTIVITY, **options)


def test_several_files_and_none_that_counts(
    write_function: Callable[..., Path], tmp_path: Path
) -> None:
    """Without scriptFile the choice must be clear; the files are named."""
    folder = write_function("Hello", ACTIVITY, script="a.py")
    (folder / "b.py").write_text("")

    message = read_app(tmp_path, environ={}).faults[0].message

    assert "Unable to determine the primary function script." in message
    assert message.endswith("Found a.py, b.py.")


@pytest.mark.parametrize("name", ["1st", "host", "a.b", "ü", "x" * 129])
def test_names_that_are_none(
    write_function: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """A folder's name has to be a function's name."""
    write_function(name, ACTIVITY)

    message = read_app(tmp_path, environ={}).faults[0].message

    assert f"'{name}' is not a valid function name." in message


def test_a_list_is_no_function(
    write_function: Callable[..., Path], tmp_path: Path
) -> None:
    """JSON of another shape is told as such."""
    folder = write_function("Hello")
    (folder / "function.json").write_text("[1]")

    message = read_app(tmp_path, environ={}).faults[0].message

    assert "Hello/function.json: the file holds [1]; expected is an object" in message
