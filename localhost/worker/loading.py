"""Imports a function's script and makes it callable: arguments in, result out.

Everything that does not change from call to call is found out here, once.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import azure.functions as func
from azure.functions.http import HttpRequest
from azure.functions.meta import Datum

from localhost.declared import DURABLE_CLIENTS, Binding, Function
from localhost.outcome import HttpAnswer, HttpAsked, Returned
from localhost.text import dumps, loads
from localhost.worker.contexts import FunctionContext, OutValue
from localhost.worker.invocation import Invocation
from localhost.worker.modules import AppModules
from localhost.worker.responses import no_response, to_response
from localhost.worker.signature import FunctionLoadError, converter_of, read_signature

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedFunction:
    """A function ready to be called.

    ``encode`` makes JSON text of what a durable function returned. ``inputs`` decode
    what a durableClient parameter gets; ``http_output`` names the binding through
    which an HTTP function answers, or is None.
    """

    function: Function
    code: Callable[..., Any]
    is_async: bool
    takes_context: bool
    trigger_name: str
    decode: Callable[[Any], Any]
    encode: Callable[[Any], str | None]
    inputs: tuple[tuple[str, Callable[[str], Any]], ...]
    outputs: tuple[str, ...]
    http_output: str | None
    has_return: bool

    def arguments(
        self, trigger: Any, bindings: Mapping[str, str], invocation: Invocation
    ) -> tuple[dict[str, Any], dict[str, OutValue]]:
        """The keyword arguments of one call, and the ``func.Out`` objects in them.

        Raises ValueError when azure.functions cannot decode the trigger's value.
        """
        outputs = {name: OutValue() for name in self.outputs}
        arguments: dict[str, Any] = {self.trigger_name: self.decode(trigger), **outputs}
        for name, decode in self.inputs:
            arguments[name] = decode(bindings[name])
        if self.takes_context:
            folder = str(self.function.folder)
            arguments["context"] = FunctionContext(invocation, folder)
        return arguments, outputs

    def finish(
        self, value: Any, outputs: Mapping[str, OutValue]
    ) -> Returned | HttpAnswer:
        """What the code gave back, as a result; raises TypeError for what is none."""
        if self.function.trigger.type == "httpTrigger":
            return _answer_of(self._response(value, outputs))
        return Returned(value=self.encode(value))

    def _response(
        self, value: Any, outputs: Mapping[str, OutValue]
    ) -> func.HttpResponse:
        if value is not None and not self.has_return:
            raise RuntimeError(
                f"function '{self.function.name}' without a $return binding"
                "returned a non-None value"
            )
        if self.http_output == "$return":
            return to_response(value)
        if self.http_output is None or outputs[self.http_output].get() is None:
            return no_response()
        return to_response(outputs[self.http_output].get())


def load_function(function: Function, modules: AppModules) -> LoadedFunction:
    """Import and check one function.

    Raises ``FunctionLoadError``, or whatever the user's module raises.
    """
    module = _import(function, modules)
    code = _entry_point(function, module)
    signature = read_signature(function, code)
    _warn_of_outputs(function)
    named = [binding for binding in function.bindings if binding.name != "$return"]
    return LoadedFunction(
        function=function,
        code=code,
        is_async=inspect.iscoroutinefunction(code),
        takes_context=signature.takes_context,
        trigger_name=function.trigger.name,
        decode=_trigger_decoder(function.trigger),
        encode=_ENCODERS.get(function.trigger.type, _no_text),
        inputs=tuple(
            (binding.name, _input_decoder(binding, signature.annotations))
            for binding in named
            if binding.type in DURABLE_CLIENTS and binding.direction == "in"
        ),
        outputs=tuple(each.name for each in named if each.direction == "out"),
        http_output=_http_output(function),
        has_return=len(named) < len(function.bindings),
    )


def import_durable_sdk() -> None:
    """Import azure-functions-durable where there is no host.json.

    At its import it reads that file of the working folder, and fails at comments,
    which the real host allows. An app without the SDK is none of our business.
    """
    if "azure.durable_functions" in sys.modules:
        return
    folder = os.getcwd()
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        try:
            importlib.import_module("azure.durable_functions")
        except ImportError:
            _logger.debug("azure-functions-durable is not installed", exc_info=True)
        finally:
            os.chdir(folder)


def settle_codec_notice() -> None:
    """Let azure.functions say once, unheard, that it decodes without a type.

    It says so at the first activity of a process, to whoever runs the app, who cannot
    do anything about it; where warnings are errors it even fails that activity.
    """
    notices = logging.getLogger("azure.functions.DurableFunctions")
    was_disabled, notices.disabled = notices.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converter_of("activityTrigger").decode(
                Datum("null", "string"), trigger_metadata={}
            )
    finally:
        notices.disabled = was_disabled


def _import(function: Function, modules: AppModules) -> ModuleType:
    try:
        modules.name_of(function.script)
    except ValueError as exc:
        raise FunctionLoadError(
            function,
            f"script path {function.script} is not relative to the specified directory"
            f" {function.folder.parent}. Move the script into the app's folder.",
        ) from exc
    return modules.load(function.script)


def _entry_point(function: Function, module: ModuleType) -> Callable[..., Any]:
    code = getattr(module, function.entry_point, None)
    if callable(code):
        return code  # type: ignore[no-any-return]
    defined = [
        name
        for name, value in vars(module).items()
        if inspect.isroutine(value) and value.__module__ == module.__name__
    ]
    there = f"It defines {', '.join(defined)}" if defined else "It defines no function"
    wanted = function.entry_point
    script = f"{function.folder.name}/{function.script.name}"
    raise FunctionLoadError(
        function,
        f"function {wanted}() is not present in {script}. {there}; name one of its"
        f" functions {wanted}, or set 'entryPoint' in function.json."
        + _durable_hint(function.trigger.type, wanted),
    )


def _durable_hint(trigger_type: str, wanted: str) -> str:
    kind = {"orchestrationTrigger": "Orchestrator", "entityTrigger": "Entity"}.get(
        trigger_type
    )
    if kind is None:
        return ""
    return f" Here the script has to end with: {wanted} = df.{kind}.create(<function>)."


def _request_of(asked: HttpAsked) -> HttpRequest:
    return HttpRequest(
        method=asked.method,
        url=asked.url,
        headers=asked.headers,
        params=asked.params,
        route_params=asked.route_params,
        body_type="bytes",
        body=asked.body,
    )


def _answer_of(response: func.HttpResponse) -> HttpAnswer:
    return HttpAnswer(
        status=int(response.status_code),
        headers=tuple(
            (str(name), str(value)) for name, value in response.headers.items()
        ),
        body=response.get_body(),
        mimetype=response.mimetype,
        charset=response.charset,
    )


def _trigger_decoder(trigger: Binding) -> Callable[[Any], Any]:
    if trigger.type == "httpTrigger":
        return _request_of
    decode = converter_of(trigger.type).decode
    return lambda text: decode(Datum(text, "string"), trigger_metadata={})


def _input_decoder(
    binding: Binding, annotations: Mapping[str, Any]
) -> Callable[[str], Any]:
    data_type = str(binding.properties.get("dataType") or "string").lower()
    if data_type != "string" or annotations.get(binding.name) is bytes:
        return str.encode
    converter = converter_of(binding.type)
    if converter is None or annotations.get(binding.name) is str:
        return str
    return lambda text: converter.decode(Datum(text, "string"), trigger_metadata={})


def _http_output(function: Function) -> str | None:
    outputs = [each.name for each in function.bindings if each.type == "http"]
    return "$return" if "$return" in outputs else next(iter(outputs), None)


def _warn_of_outputs(function: Function) -> None:
    for binding in function.bindings:
        if binding.direction == "out" and binding.type != "http":
            _logger.warning(
                "%s: what goes to the output binding '%s' of type %s is not written"
                " anywhere here; in Azure it is.",
                function.name,
                binding.name,
                binding.type,
            )


def _activity_text(value: Any) -> str | None:
    """The JSON of an activity's result, compact, as the real host writes it again."""
    if value is None:
        return None
    datum = converter_of("activityTrigger").encode(value, expected_type=None)
    return dumps(loads(str(datum.value)))


def _state_text(binding_type: str, kind: str, value: Any) -> str | None:
    """What an orchestrator or entity gave, which is JSON text already."""
    text = converter_of(binding_type).encode(value, expected_type=None).value
    if text is None or isinstance(text, str):
        return text
    raise TypeError(
        f"the function returned {type(text).__name__}; expected is the JSON text that"
        f" df.{kind}.create(...) makes. End the script with"
        f" main = df.{kind}.create(<function>)."
    )


def _no_text(value: Any) -> str | None:
    raise TypeError("a function with this trigger has no JSON result")


_ENCODERS: Mapping[str, Callable[[Any], str | None]] = {
    "activityTrigger": _activity_text,
    "orchestrationTrigger": partial(
        _state_text, "orchestrationTrigger", "Orchestrator"
    ),
    "entityTrigger": partial(_state_text, "entityTrigger", "Entity"),
}
