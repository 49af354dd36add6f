"""The entries of function.json's ``bindings``: their rules, and ``%Setting%``.

Reads no user code and no file; imports nothing of ours but ``errors``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from localhost.declared import DURABLE_CLIENTS, RUN_HERE, Binding
from localhost.errors import HostError

_ELSEWHERE = """
assistantCreate assistantPost assistantQuery assistantSkillTrigger blob blobTrigger
connectorTrigger cosmosDB cosmosDBTrigger daprBinding daprBindingTrigger daprInvoke
daprPublish daprSecret daprServiceInvocationTrigger daprState daprTopicTrigger
embeddings embeddingsStore eventGrid eventGridTrigger eventHub eventHubTrigger kafka
kafkaTrigger kusto mcpPromptTrigger mcpResourceTrigger mcpToolTrigger mysql
mysqlTrigger notificationHub queue queueTrigger rabbitMQ rabbitMQTrigger redis
redisListTrigger redisPubSubTrigger redisStreamTrigger semanticSearch sendGrid
serviceBus serviceBusTrigger signalR signalRConnectionInfo signalRTrigger sql
sqlTrigger table textCompletion timerTrigger twilioSms warmupTrigger webPubSub
webPubSubConnection webPubSubContext webPubSubTrigger
""".split()
_KNOWN = {kind.lower(): kind for kind in (*RUN_HERE, "http", *DURABLE_CLIENTS)} | {
    kind.lower(): kind for kind in _ELSEWHERE
}
_DATA_TYPES = ("string", "binary", "stream")
# The host's own rule, since its version 4.1038.
_NAME = re.compile(r"(?!.*__)([a-zA-Z_][a-zA-Z0-9_]{0,127}|\$return)", re.ASCII)
_SETTING = re.compile(r"%([^%]+)%")
# The properties that a binding has: in no other is a %Setting% ever read.
_OF_CLIENTS = ("taskHub", "connectionName", "connection", "externalClient")
_PROPERTIES: Mapping[str, Mapping[str, str]] = {
    kind: {name.lower(): name for name in names}
    for kind, names in {
        "httpTrigger": ("route", "methods", "authLevel"),
        "orchestrationTrigger": ("orchestration",),
        "activityTrigger": ("activity",),
        "entityTrigger": ("entityName",),
        **dict.fromkeys(DURABLE_CLIENTS, _OF_CLIENTS),
    }.items()
}


class FunctionJsonError(HostError):
    """A function.json breaks a rule; the text says where, and what is expected."""


class AppSettings:
    """The environment as Azure reads settings: names ignore case, ``a:b`` is ``a__b``.

    Dots may be underscores, because a shell cannot export a name with dots.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._values = {name.lower(): value for name, value in environ.items()}

    def get(self, name: str) -> str | None:
        key = name.lower().replace(":", "__")
        return self._values.get(key, self._values.get(key.replace(".", "_")))

    def is_true(self, name: str) -> bool:
        return (self.get(name) or "").strip().lower() in {"1", "true"}


def read_bindings(entries: object, settings: AppSettings) -> tuple[Binding, ...]:
    """The bindings of one function; ``FunctionJsonError`` if they break a rule."""
    if not isinstance(entries, list) or not entries:
        raise FunctionJsonError(
            "At least one binding must be declared. 'bindings' is"
            f" {_shown(entries)}; expected is a list with one trigger."
        )
    bindings = [_read_binding(index, entry) for index, entry in enumerate(entries)]
    _check_names(bindings)
    trigger = find_trigger(bindings)
    _check_inputs(bindings, trigger)
    if trigger.type not in RUN_HERE:
        return tuple(bindings)
    return tuple(_resolved(binding, settings) for binding in bindings)


def find_trigger(bindings: list[Binding] | tuple[Binding, ...]) -> Binding:
    """The one trigger; ``FunctionJsonError`` if there is none or a second."""
    triggers = [binding for binding in bindings if binding.is_trigger]
    if not triggers:
        kinds = ", ".join(
            f"{binding.type} ({binding.direction})" for binding in bindings
        )
        raise FunctionJsonError(
            "No trigger binding specified. A function must have a trigger input"
            f" binding. Found only {kinds}; add a binding with direction 'in' and a"
            f" type such as {', '.join(RUN_HERE)}."
        )
    if len(triggers) > 1:
        found = " and ".join(f"'{each.name}' ({each.type})" for each in triggers)
        raise FunctionJsonError(
            f"Multiple trigger bindings defined: {found}. A function has exactly one"
            " trigger; move the other one to a folder of its own."
        )
    return triggers[0]


def _read_binding(index: int, entry: object) -> Binding:
    place = f"bindings[{index}]"
    if not isinstance(entry, dict):
        raise FunctionJsonError(
            f"{place} is {_shown(entry)}; expected is an object with name, type and"
            " direction."
        )
    binding = Binding(
        name=_read_name(place, entry.get("name")),
        type=_read_type(place, entry.get("type")),
        direction=_read_direction(place, entry.get("direction")),
        properties={
            key: value
            for key, value in entry.items()
            if key not in {"name", "type", "direction"}
        },
    )
    _check_data_type(place, entry.get("dataType"))
    if binding.name == "$return" and binding.direction != "out":
        raise FunctionJsonError(
            f"$return bindings must specify a direction of 'out'. {place}.direction is"
            f" '{binding.direction}'."
        )
    return binding


def _read_name(place: str, name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise FunctionJsonError(
            f"The binding name {'' if name is None else name} is invalid. Please assign"
            f" a valid name to the binding. {place}.name is {_shown(name)}; expected:"
            " a letter or '_', then letters, digits and single '_', 128 characters at"
            " most, or $return."
        )
    return name


def _read_type(place: str, kind: object) -> str:
    known = _KNOWN.get(kind.lower()) if isinstance(kind, str) else None
    if known is None:
        raise FunctionJsonError(
            f"{place}.type is {_shown(kind)}; {_suggestion(kind)}known types are"
            f" {', '.join(_KNOWN.values())}."
        )
    return known


def _suggestion(kind: object) -> str:
    close = difflib.get_close_matches(str(kind).lower(), _KNOWN, n=1, cutoff=0.7)
    return f"did you mean '{_KNOWN[close[0]]}'? " if close else ""


def _read_direction(place: str, direction: object) -> Literal["in", "out"]:
    word = "in" if direction in (None, "") else direction
    lowered = word.lower() if isinstance(word, str) else None
    if lowered == "in":
        return "in"
    if lowered == "out":
        return "out"
    if lowered == "inout":
        raise FunctionJsonError(
            f'"inout" bindings are not supported. {place}.direction is {_shown(word)};'
            " expected is 'in' or 'out'."
        )
    raise FunctionJsonError(
        f"'{word}' is not a valid binding direction. {place}.direction must be 'in' or"
        " 'out'."
    )


def _check_data_type(place: str, data_type: object) -> None:
    if data_type in (None, ""):
        return
    if not isinstance(data_type, str) or data_type.lower() not in _DATA_TYPES:
        raise FunctionJsonError(
            f"{place}.dataType is {_shown(data_type)}; expected is one of"
            f" {', '.join(_DATA_TYPES)}, or no dataType."
        )


def _check_names(bindings: list[Binding]) -> None:
    seen: set[str] = set()
    for binding in bindings:
        if binding.name.lower() in seen:
            raise FunctionJsonError(
                f"Multiple bindings with name '{binding.name}' discovered. Binding"
                " names must be unique. Rename one, and its parameter in Python."
            )
        seen.add(binding.name.lower())


def _check_inputs(bindings: list[Binding], trigger: Binding) -> None:
    """What a function that runs here gets must be something this host can give."""
    if trigger.type not in RUN_HERE:
        return
    for binding in bindings:
        if binding.direction == "in" and not (
            binding is trigger or binding.type in DURABLE_CLIENTS
        ):
            raise FunctionJsonError(
                f"the input binding '{binding.name}' is of type '{binding.type}', which"
                " this host does not provide; it provides durableClient. Run the"
                " function with Core Tools, or read the value in its code."
            )


def _resolved(binding: Binding, settings: AppSettings) -> Binding:
    """Put settings into the properties that the binding has; names ignore case."""
    own = _PROPERTIES.get(binding.type, {})
    properties: dict[str, object] = {}
    for name, value in binding.properties.items():
        known = own.get(name.lower())
        if known is None:
            properties[name] = value
        else:
            place = f"'{binding.name}', {known}"
            properties[known] = _with_settings(place, value, settings)
    return replace(binding, properties=properties)


def _with_settings(place: str, value: object, settings: AppSettings) -> object:
    if isinstance(value, list):
        return [_with_settings(place, item, settings) for item in value]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        found = settings.get(match[1])
        if found is None:
            raise FunctionJsonError(
                f"'%{match[1]}%' does not resolve to a value (binding {place}). Set"
                f" {match[1]} in local.settings.json, Values, or in the environment."
            )
        return found

    return _SETTING.sub(replaced, value)


def _shown(value: object) -> str:
    return "missing" if value is None else repr(value)
