"""Reads the folders with function.json into a FunctionApp; reads no user code.

Imports ``errors`` and ``jsonc`` only. A function that breaks a rule becomes a
``FunctionFault``; all others still load, as in Azure.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from localhost.app.bindings import AppSettings, FunctionJsonError, read_bindings
from localhost.declared import Function, FunctionApp, FunctionFault
from localhost.errors import CannotStartError
from localhost.jsonc import read_json

_FILE = "function.json"
_FUNCTION_NAME = re.compile(r"[a-z][a-z0-9_\-]{0,127}", re.IGNORECASE | re.ASCII)


def read_app(
    root: Path, *, environ: Mapping[str, str], only: frozenset[str] | None = None
) -> FunctionApp:
    """Read every direct sub-folder of *root* that has a function.json.

    ``only`` is host.json's ``functions``: names of the functions to read, ignoring
    case; None means all. ``environ`` answers ``%Setting%`` and
    ``AzureWebJobs.<name>.Disabled``. Raises nothing for a faulty function.
    """
    root = root.resolve()
    settings = AppSettings(environ)
    wanted = None if only is None else {name.lower() for name in only}
    functions: list[Function] = []
    folders = _function_folders(root)
    faults = _decorator_faults(root, settings, folders)
    for folder in folders:
        if wanted is not None and folder.name.lower() not in wanted:
            continue
        try:
            functions.append(_read_function(folder, settings))
        except CannotStartError as exc:  # not JSON: the text has file, line and column
            faults.append(FunctionFault(name=folder.name, message=str(exc)))
        except FunctionJsonError as exc:
            message = f"{folder.name}/{_FILE}: {exc}"
            faults.append(FunctionFault(name=folder.name, message=message))
    return FunctionApp(root=root, functions=tuple(functions), faults=tuple(faults))


def _decorator_faults(
    root: Path, settings: AppSettings, folders: list[Path]
) -> list[FunctionFault]:
    """The fault of a script that declares functions with decorators, if there is one.

    The script is not read: whether it declares any function cannot be told.
    """
    script = settings.get("PYTHON_SCRIPT_FILE_NAME") or "function_app.py"
    if not (root / script).is_file():
        return []
    message = (
        "functions that are made with decorators are not run here yet; expected: a"
        " folder with a function.json for each function."
    )
    if folders:
        names = ", ".join(folder.name for folder in folders)
        message += (
            f"\nThe functions that have one run here: {names}. With one decorated"
            f" function in {script} the real host serves only those of {script}."
            " Keep one of the two kinds."
        )
    else:
        message += " Run this app with Core Tools (func start)."
    return [FunctionFault(name=script, message=message)]


def _function_folders(root: Path) -> list[Path]:
    folders = [child for child in root.iterdir() if (child / _FILE).is_file()]
    # Upper case first, then by character: what .NET calls ordinal, ignoring case.
    return sorted(folders, key=lambda folder: (folder.name.upper(), folder.name))


def _read_function(folder: Path, settings: AppSettings) -> Function:
    _check_name(folder.name)
    config = read_json(folder / _FILE)
    if not isinstance(config, dict):
        raise FunctionJsonError(
            f"the file holds {config!r:.40}; expected is an object with 'bindings'."
        )
    function = Function(
        name=folder.name,
        folder=folder,
        script=_read_script(folder, config.get("scriptFile")),
        entry_point=_read_entry_point(config.get("entryPoint")),
        bindings=read_bindings(config.get("bindings"), settings),
        disabled=_is_disabled(folder.name, config.get("disabled"), settings),
        config=config,
    )
    _check_durable_name(function)
    return function


def _check_name(name: str) -> None:
    if name.lower() == "host" or not _FUNCTION_NAME.fullmatch(name):
        raise FunctionJsonError(
            f"'{name}' is not a valid function name. Expected is a letter, then at most"
            " 127 letters, digits, '_' or '-', and not 'host'; rename the folder."
        )


def _check_durable_name(function: Function) -> None:
    is_orchestration = function.trigger.type == "orchestrationTrigger"
    if is_orchestration and function.durable_name.startswith("@"):
        raise FunctionJsonError(
            "Orchestration names must not start with @. 'orchestration' is"
            f" '{function.durable_name}'; entities have such ids."
        )


def _read_entry_point(entry_point: object) -> str:
    if entry_point in (None, ""):
        return "main"
    if not isinstance(entry_point, str):
        raise FunctionJsonError(
            f"'entryPoint' is {entry_point!r}; expected is the name of a function in"
            " the script, or no 'entryPoint' for main."
        )
    return entry_point


def _read_script(folder: Path, script_file: object) -> Path:
    if script_file in (None, ""):
        script = _primary_script(folder)
    elif isinstance(script_file, str):
        # Not resolve: a linked folder stays where the app has it.
        script = Path(os.path.normpath(folder / script_file.replace("\\", "/")))
        if not script.is_file():
            raise FunctionJsonError(
                "Invalid script file name configuration. The 'scriptFile' property is"
                f" set to a file that does not exist. 'scriptFile' is '{script_file}';"
                f" there is no {script}. Name a file relative to the folder"
                f" {folder.name}."
            )
    else:
        raise FunctionJsonError(
            f"'scriptFile' is {script_file!r}; expected is the name of a Python file"
            f" relative to the folder {folder.name}."
        )
    if script.suffix != ".py":
        raise FunctionJsonError(
            f"cannot load function {folder.name}: invalid Python filename"
            f" {script.name}. This host runs Python only; set 'scriptFile' to a .py"
            " file."
        )
    return script


def _primary_script(folder: Path) -> Path:
    """The script of a function.json without ``scriptFile``, by Azure's own rule."""
    files = sorted(
        file
        for file in folder.iterdir()
        if file.is_file() and file.name.lower() != _FILE
    )
    if not files:
        raise FunctionJsonError(
            f"No function script files present. Add {folder.name}/__init__.py with a"
            " function main."
        )
    if len(files) == 1:
        return files[0]
    runs = [file for file in files if file.stem.lower() == "run"]
    scripts = [file for file in files if file.name.lower() == "__init__.py"]
    if runs or scripts:
        return (runs + scripts)[0]
    raise FunctionJsonError(
        "Unable to determine the primary function script. Make sure at least one script"
        " file is present. Try renaming your entry point script to 'run' or"
        " alternatively you can specify the name of the entry point script explicitly"
        " by adding a 'scriptFile' property to your function metadata. Found"
        f" {', '.join(file.name for file in files)}."
    )


def _is_disabled(name: str, disabled: object, settings: AppSettings) -> bool:
    """``disabled`` is true or false, or the name of a setting that says so."""
    if settings.is_true(f"AzureWebJobs.{name}.Disabled"):
        return True
    if isinstance(disabled, str):
        setting = disabled.strip("%")
        return disabled.lower() == "true" or settings.is_true(setting)
    return disabled is True
