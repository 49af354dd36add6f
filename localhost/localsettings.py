"""local.settings.json: settings for this machine, as Core Tools read them.

Imports ``errors``, ``jsonc`` and ``leaves`` only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localhost.errors import CannotStartError
from localhost.jsonc import read_json
from localhost.leaves import Leaf, leaves, text, truth, whole, without_none

_FILE = "local.settings.json"
_NOT_MARKED_PLAIN = (
    f'{_FILE} lacks "IsEncrypted": false. Its values are read as plain text; Core'
    " Tools would take them as encrypted."
)


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """``values`` for the environment; ``host`` holds fields of ``Settings``."""

    values: Mapping[str, str] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_local_settings(app: Path) -> LocalSettings:
    """Read the app's file, which may be missing: in Azure there is none."""
    path = app / _FILE
    if not path.exists():
        return LocalSettings()
    sections = _lowered(read_json(path), str(path))
    is_plain = _is_marked_plain(sections.get("isencrypted"), str(path))
    values = _flat(sections.get("values"), f"{path}: Values")
    values |= _connection_strings(sections.get("connectionstrings"), str(path))
    return LocalSettings(
        values=values,
        host=_host_section(sections.get("host"), str(path)),
        notes=() if is_plain else (_NOT_MARKED_PLAIN,),
    )


def _is_marked_plain(value: object, place: str) -> bool:
    """False when nothing is said; encrypted values end the start."""
    if value is None:
        return False
    if truth(Leaf(place=f"{place}: IsEncrypted", name="IsEncrypted", value=value)):
        raise CannotStartError(
            f"{place}: IsEncrypted is true; expected are plain values. Decrypt the file"
            ' (func settings decrypt), or write them plain with "IsEncrypted": false.'
        )
    return True


def _lowered(value: object, place: str) -> dict[str, object]:
    """An object's entries by lower-case name; null counts as an empty object."""
    return {name.lower(): entry for name, entry in _object(value, place).items()}


def _object(value: object, place: str) -> dict[str, object]:
    if not isinstance(value, dict | None):
        Leaf(place=place, name="", value=value).wrong("an object: { … }")
    return value or {}


def _flat(value: object, place: str) -> dict[str, str]:
    """Names and strings that fit into an environment; nulls are left out."""
    flat = {}
    for name, entry in _object(value, place).items():
        leaf = Leaf(place=f"{place}.{name}", name=name, value=entry)
        if isinstance(entry, dict | list):
            leaf.wrong("a string: settings are flat")
        if not name or "=" in name or "\0" in f"{name}{entry}":
            leaf.wrong("a name and a value that an environment variable can have")
        if entry is not None:
            flat[name] = entry if isinstance(entry, str) else json.dumps(entry)
    return flat


def _connection_strings(value: object, place: str) -> dict[str, str]:
    """Entries are strings, or objects with a ``ConnectionString``."""
    strings: dict[str, object] = {}
    for name, entry in _object(value, f"{place}: ConnectionStrings").items():
        string = entry
        if isinstance(entry, dict):
            string = _lowered(entry, place).get("connectionstring")
        strings[f"ConnectionStrings:{name}"] = string
    return _flat(strings, place)


def _host_section(value: object, place: str) -> dict[str, Any]:
    section = _object(value, f"{place}: Host")
    found = leaves({"Host": section}, place=place, environ={})
    origins = found.read("Host.CORS", text) or ""
    return without_none(
        address=found.read("Host.LocalHttpAddress", text) or None,
        port=found.read("Host.LocalHttpPort", whole(1, 65_535)),
        cors_origins=tuple(filter(None, map(str.strip, origins.split(",")))),
        cors_credentials=found.read("Host.CORSCredentials", truth),
    )
