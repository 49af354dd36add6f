"""How scripts are found and imported, and what is told when they cannot be."""

from __future__ import annotations

import json
import logging
import textwrap
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from localhost.app.catalog import Catalog
from localhost.app.in_process import InProcess
from localhost.app.manifest import read_app
from localhost.declared import FunctionFault
from localhost.outcome import Outcome, Raised, Returned

ACTIVITY = {"name": "name", "type": "activityTrigger", "direction": "in"}
ORCHESTRATION = {"name": "context", "type": "orchestrationTrigger", "direction": "in"}
HTTP = {"name": "req", "type": "httpTrigger", "direction": "in"}
RETURN = {"name": "$return", "type": "http", "direction": "out"}


class Loader:
    """Writes an app and opens a worker on it."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._workers: list[InProcess] = []
        self._catalog: Catalog | None = None

    def load(self, files: Mapping[str, Any]) -> tuple[FunctionFault, ...]:
        """Write the files (text, or an object as JSON); the faults of loading."""
        for path, content in files.items():
            file = self._root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            is_text = isinstance(content, str)
            file.write_text(
                textwrap.dedent(content) if is_text else json.dumps(content),
                encoding="utf-8",
            )
        app = read_app(self._root, environ={})
        assert () == app.faults
        self._workers.append(InProcess(app, threads=1))
        self._catalog = Catalog(app)
        return self._workers[-1].load_now()

    def load_activity(
        self, code: str, *bindings: Mapping[str, Any], **config: Any
    ) -> tuple[FunctionFault, ...]:
        """The same for one function ``Act``, an activity unless bindings are given."""
        described = {"bindings": list(bindings or (ACTIVITY,)), **config}
        return self.load({"Act/function.json": described, "Act/__init__.py": code})

    async def call(self, name: str = "Act") -> Outcome:
        """Call an activity."""
        assert self._catalog is not None
        function = self._catalog.find("activity", name)
        assert function is not None
        return await self._workers[-1].invoke(function, '"x"', instance_id="abc")

    async def value(self, name: str = "Act") -> str | None:
        """Call an activity that returns."""
        outcome = await self.call(name)
        assert isinstance(outcome, Returned), outcome
        return outcome.value

    async def close(self) -> None:
        for worker in self._workers:
            await worker.close(limit_s=10.0)


@pytest.fixture
async def loader(tmp_path: Path) -> AsyncIterator[Loader]:
    """A loader in an empty folder."""
    made = Loader(tmp_path)
    yield made
    await made.close()


@pytest.fixture
def message(loader: Loader) -> Callable[..., str]:
    """The message of the one fault when this activity is loaded."""

    def load(code: str, *bindings: Mapping[str, Any], **config: Any) -> str:
        (fault,) = loader.load_activity(code, *bindings, **config)
        return fault.message

    return load


@pytest.mark.parametrize(
    "line",
    [
        "from __app__.shared import NAME",
        "from __app__.shared.names import NAME",
        "from ..shared import NAME",
        "from shared import NAME",
        "from .local import NAME",
        "from . import local; NAME = local.NAME",
    ],
)
async def test_modules_are_shared(loader: Loader, line: str) -> None:
    """Absolute in __app__, relative, and from the app's root."""
    loader.load(
        {
            "shared/__init__.py": "from .names import NAME",
            "shared/names.py": "NAME = 'shared'",
            "Act/local.py": "NAME = 'shared'",
            "Act/function.json": {"bindings": [ACTIVITY]},
            "Act/__init__.py": f"{line}\ndef main(name): return [NAME, __name__]",
        }
    )

    assert '["shared","__app__.Act"]' == await loader.value()


@pytest.mark.parametrize(
    ("script", "module"),
    [
        ("run.py", "__app__.Act.run"),
        ("sub/deep/code.py", "__app__.Act.sub.deep.code"),
        ("../common/code.py", "__app__.common.code"),
        ("../code.py", "__app__.code"),
    ],
)
async def test_script_file_and_entry_point(
    loader: Loader, script: str, module: str
) -> None:
    """The script may be anywhere in the app, its function have any name."""
    loader.load(
        {
            "Act/function.json": {
                "bindings": [ACTIVITY],
                "scriptFile": script,
                "entryPoint": "go",
            },
            f"Act/{script}": "def go(name): return __name__",
        }
    )

    assert f'"{module}"' == await loader.value()


async def test_functions_with_a_hyphen(loader: Loader) -> None:
    """A function's name need not be a Python name."""
    loader.load(
        {
            "my-act/function.json": {"bindings": [ACTIVITY]},
            "my-act/__init__.py": "def main(name): return name",
        }
    )

    assert '"x"' == await loader.value("My-Act")


async def test_one_module_is_imported_once(loader: Loader) -> None:
    """Two functions of one script share its state."""
    entry = {"bindings": [ACTIVITY], "scriptFile": "../both.py"}
    loader.load(
        {
            "both.py": "seen = []\ndef main(name): seen.append(1); return len(seen)",
            "A/function.json": entry,
            "B/function.json": entry,
        }
    )

    assert ("1", "2") == (await loader.value("A"), await loader.value("B"))


async def test_a_timer_is_not_imported(loader: Loader) -> None:
    """What is not run here disturbs nothing."""
    timer = {"name": "timer", "type": "timerTrigger", "schedule": "* * * * * *"}

    assert () == loader.load_activity("raise RuntimeError", timer)


def test_an_import_fault_shows_the_users_trace(message: Callable[..., str]) -> None:
    """The file, what was raised, the user's line; no frame of ours or importlib's."""
    text = message("import json\nvalue = json.loads('{')\ndef main(name): pass")

    lines = text.splitlines()
    assert lines[0].startswith("Act/__init__.py cannot be imported: JSONDecodeError: ")
    assert lines[1].startswith('  File "')
    assert lines[1].endswith('__init__.py", line 2, in <module>')
    assert "importlib" not in text
    assert "worker.py" not in text


def test_a_missing_package_is_told_with_advice(message: Callable[..., str]) -> None:
    """requirements.txt is the usual reason."""
    text = message("import no_such_thing\ndef main(name): pass")

    assert "ModuleNotFoundError: No module named 'no_such_thing'" in text
    assert text.endswith(
        "If no_such_thing is a package, add it to requirements.txt and install it."
    )


def test_a_syntax_error_is_shown_with_its_line(message: Callable[..., str]) -> None:
    """There is no frame then; the place is the exception's own."""
    text = message("def main(name:\n    pass")

    assert "cannot be imported: SyntaxError: " in text
    assert '__init__.py", line 1' in text


async def test_a_broken_function_fails_when_called(loader: Loader) -> None:
    """It is there, and its caller learns what is wrong with it."""
    loader.load_activity("import no_such_thing\ndef main(name): pass")

    outcome = await loader.call()

    assert isinstance(outcome, Raised)
    assert ("ModuleNotFoundError", "No module named 'no_such_thing'") == (
        outcome.type_name,
        outcome.message,
    )


async def test_a_broken_function_leaves_the_others_alone(loader: Loader) -> None:
    """One module that exits at import, one that works."""
    faults = loader.load(
        {
            "Bad/function.json": {"bindings": [ACTIVITY]},
            "Bad/__init__.py": "import sys; sys.exit(1)",
            "Good/function.json": {"bindings": [ACTIVITY]},
            "Good/__init__.py": "def main(name): return name",
        }
    )

    assert (["Bad"], '"x"') == (
        [each.name for each in faults],
        await loader.value("Good"),
    )


@pytest.mark.parametrize(
    ("code", "bindings", "expected"),
    [
        (
            "def main(name, other): pass",
            (ACTIVITY,),
            (
                "the following parameters are declared in Python but not in"
                " function.json: {'other'}. Act/__init__.py has main(name,"
                " other), function.json binds (name)."
            ),
        ),
        (
            "def main(): pass",
            (ACTIVITY,),
            (
                "the following parameters are declared in function.json but not in"
                " Python: {'name'}. Act/__init__.py has main(), function.json binds"
                " (name)."
            ),
        ),
        (
            "def main(name, context: int): pass",
            (ACTIVITY,),
            (
                'the "context" parameter is expected to be of type'
                " azure.functions.Context, got <class 'int'>"
            ),
        ),
        (
            "import azure.functions as func\ndef main(name: func.Out[str]): pass",
            (ACTIVITY,),
            'binding name is declared to have the "in" direction in function.json,',
        ),
        (
            "def main(req, res: str): pass",
            (HTTP, {**RETURN, "name": "res"}),
            'binding res is declared to have the "out" direction, but its annotation',
        ),
        (
            "def main(context: str): pass",
            (ORCHESTRATION,),
            (
                'type of context binding in function.json "orchestrationTrigger" does'
                ' not match its Python annotation "str"'
            ),
        ),
        (
            "def main(name: 'Nowhere'): pass",
            (ACTIVITY,),
            (
                "an annotation of main cannot be resolved (NameError: name 'Nowhere' is"
                " not defined)"
            ),
        ),
        (
            "def start(name): pass\ndef stop(name): pass",
            (ACTIVITY,),
            (
                "function main() is not present in Act/__init__.py. It defines"
                " start, stop;"
            ),
        ),
        (
            "def run(context): pass",
            (ORCHESTRATION,),
            "the script has to end with: main = df.Orchestrator.create(<function>).",
        ),
    ],
)
def test_what_does_not_fit_is_told(
    message: Callable[..., str],
    code: str,
    bindings: tuple[dict[str, str], ...],
    expected: str,
) -> None:
    """The text is Azure's; what was found and what to do follows."""
    text = message(code, *bindings)

    assert text.startswith("cannot load the Act function: ")
    assert expected in text


def test_a_script_outside_the_app(loader: Loader, tmp_path: Path) -> None:
    """Azure deploys one folder; a script beside it is none of the app's."""
    outside = tmp_path / "outside.py"
    outside.write_text("def main(name): pass")
    inner = Loader(tmp_path / "app")

    (fault,) = inner.load_activity("", scriptFile="../../outside.py")

    assert "is not relative to the specified directory" in fault.message


@pytest.mark.parametrize(
    ("annotation", "is_warned"),
    [
        ("dict", False),
        ("typing.List[int]", False),
        *((name, False) for name in ("typing.Dict", "typing.List", "typing.Mapping")),
        *((name, False) for name in ("typing.Dict[str, int]", "typing.Type[int]")),
        *((name, False) for name in ("typing.Literal['a']", "None", "object", "Own")),
        *((name, False) for name in ("Box", "Box[int]", "typing.Generic")),
        *((name, True) for name in ("typing.Optional[str]", "typing.Union[str, int]")),
        *((name, True) for name in ("typing.Tuple[int, str]", "typing.Tuple")),
        *((name, True) for name in ("typing.Callable[[int], int]", "typing.Callable")),
        *((name, True) for name in ("list[int]", "dict[str, int]", "int | None", "T")),
    ],
)
async def test_annotations_that_azure_refuses_are_warned_of(
    loader: Loader,
    caplog: pytest.LogCaptureFixture,
    annotation: str,
    is_warned: bool,
) -> None:
    """They work here, because an activity's value is not converted by them."""
    head = """
import typing
T = typing.TypeVar("T")
class Box(typing.Generic[T]): ...
class Own: ...
"""
    loader.load_activity(f"{head}def main(name: {annotation}): return name")

    assert ('"x"', is_warned) == (
        await loader.value(),
        "has invalid non-type annotation" in caplog.text,
    )


@pytest.mark.parametrize(
    "annotation", ["typing.Dict", "typing.List[int]", "typing.Literal['a']"]
)
def test_generic_annotation_that_no_request_is(
    message: Callable[..., str], annotation: str
) -> None:
    """Azure's worker fails at it, because it is no class."""
    text = message(f"import typing\ndef main(req: {annotation}): ...", HTTP, RETURN)

    assert 'type of req binding in function.json "httpTrigger" does not match' in text


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("dict", 'return annotation "dict" does not match binding type "http"'),
        ("None", 'return annotation "NoneType" does not match binding type "http"'),
        ("bytes", 'return annotation "bytes" does not match binding type "http"'),
        ("object", 'return annotation "object" does not match binding type "http"'),
        ("func.HttpRequest", '"HttpRequest" does not match binding type "http"'),
        (
            "typing.Optional[func.HttpResponse]",
            "has invalid non-type return annotation",
        ),
        ("func.HttpResponse | None", "has invalid non-type return annotation"),
        ("typing.Union[str, bytes]", "has invalid non-type return annotation"),
        ("typing.List", "has invalid non-type return annotation"),
        ("list[str]", "has invalid non-type return annotation"),
        ("func.Out[str]", "return annotation should not be azure.functions.Out"),
    ],
)
def test_return_annotation_that_azure_refuses(
    message: Callable[..., str], annotation: str, expected: str
) -> None:
    """A function with a $return does not load with it, as in Azure."""
    code = "import typing\nimport azure.functions as func\n"

    text = message(f"{code}async def main(req) -> {annotation}: ...", HTTP, RETURN)

    assert expected in text
    assert "Annotate it with -> func.HttpResponse or -> str" in text


@pytest.mark.parametrize(
    ("annotation", "bindings"),
    [
        ("func.HttpResponse", (HTTP, RETURN)),
        ("'func.HttpResponse'", (HTTP, RETURN)),
        ("str", (HTTP, RETURN)),
        ("Own", (HTTP, RETURN)),
        ("None", (HTTP,)),
        ("dict", (ACTIVITY,)),
        ("typing.Optional[list[int]]", (ACTIVITY,)),
    ],
)
def test_return_annotation_that_azure_takes(
    loader: Loader, annotation: str, bindings: tuple[dict[str, str], ...]
) -> None:
    """Of an HTTP function text or response; of others anything."""
    code = "import typing\nimport azure.functions as func\nclass Own(str): ...\n"
    parameter = bindings[0]["name"]

    faults = loader.load_activity(
        f"{code}def main({parameter}) -> {annotation}: ...", *bindings
    )

    assert () == faults


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("func.Out[int]", 'type of res binding in function.json "http" does not match'),
        ("func.Out[dict]", 'its Python annotation "dict"'),
        ("func.Out", "binding res has invalid Out annotation"),
    ],
)
def test_output_annotation_that_azure_refuses(
    message: Callable[..., str], annotation: str, expected: str
) -> None:
    """What an output takes is checked by its own converter."""
    code = f"import azure.functions as func\ndef main(req, res: {annotation}): ..."

    assert expected in message(code, HTTP, {**RETURN, "name": "res"})


@pytest.mark.parametrize("inner", ["str", "bytes", "func.HttpResponse"])
def test_output_annotation_that_azure_takes(loader: Loader, inner: str) -> None:
    """Text, bytes, or the converter's own class."""
    code = f"import azure.functions as func\ndef main(req, res: func.Out[{inner}]): ..."

    assert () == loader.load_activity(code, HTTP, {**RETURN, "name": "res"})


async def test_an_output_that_goes_nowhere_is_warned_of(
    loader: Loader, caplog: pytest.LogCaptureFixture
) -> None:
    """The function runs; its message to a queue is not sent."""
    caplog.set_level(logging.WARNING)
    loader.load_activity(
        """
        import azure.functions as func
        def main(name: str, message: func.Out[str]) -> str:
            message.set(name)
            return message.get()
        """,
        ACTIVITY,
        {"name": "message", "type": "queue", "direction": "out", "queueName": "q"},
    )

    assert '"x"' == await loader.value()
    assert "the output binding 'message' of type queue is not written" in caplog.text
