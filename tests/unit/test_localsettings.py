"""local.settings.json by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from localhost.errors import CannotStartError
from localhost.localsettings import LocalSettings, read_local_settings

Read = Callable[..., LocalSettings]


@pytest.fixture(name="read")
def _read(tmp_path: Path) -> Read:
    """Write a file with these sections and read it."""

    def read(**sections: object) -> LocalSettings:
        text = json.dumps({"IsEncrypted": False, **sections})
        (tmp_path / "local.settings.json").write_text(text)
        return read_local_settings(tmp_path)

    return read


def fault(read: Read, **sections: object) -> str:
    with pytest.raises(CannotStartError) as caught:
        read(**sections)
    return str(caught.value)


def test_a_missing_file_is_empty(tmp_path: Path) -> None:
    """In Azure there is none."""
    assert LocalSettings() == read_local_settings(tmp_path)


def test_a_file_that_is_no_object_is_refused(tmp_path: Path) -> None:
    """A list is JSON and still none."""
    (tmp_path / "local.settings.json").write_text("[1]")

    with pytest.raises(CannotStartError, match=r"is \[1\]; expected is an object"):
        read_local_settings(tmp_path)


def test_other_scalars_become_text_and_nulls_nothing(read: Read) -> None:
    """An environment holds text only."""
    values = {"N": 5, "F": 1.5, "T": True, "E": "", "Z": None}

    found = read(Values=values).values

    assert ("5", "1.5", "true", "") == tuple(found[name] for name in "NFTE")
    assert "Z" not in found


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"A": {"B": 1}},
            'Values.A is {"B": 1}; expected is a string: settings are flat',
        ),
        ({"A": [1]}, "Values.A is [1]; expected is a string"),
        ({"A=B": "1"}, "a name and a value that an environment variable can have"),
        ({"": "1"}, "a name and a value that an environment variable can have"),
        ({"A": "\0"}, "a name and a value that an environment variable can have"),
        ("x", 'Values is "x"; expected is an object'),
    ],
)
def test_values_that_no_environment_holds_are_refused(
    read: Read, values: object, told: str
) -> None:
    """File, key, value and what is allowed."""
    assert told in fault(read, Values=values)


def test_encrypted_settings_are_refused(read: Read) -> None:
    """The command that decrypts them is named."""
    message = fault(read, IsEncrypted=True)

    assert "local.settings.json: IsEncrypted is true" in message
    assert "func settings decrypt" in message


def test_settings_that_are_not_marked_as_plain_are_read_with_a_note(read: Read) -> None:
    """Core Tools would stumble over the same file."""
    found = read(IsEncrypted=None)

    assert 'lacks "IsEncrypted": false' in found.notes[0]


def test_connection_strings_are_settings_too(read: Read) -> None:
    """As a string, or as an object with its provider."""
    strings = {"A": "x", "B": {"ConnectionString": "y", "ProviderName": "z"}}

    found = read(ConnectionStrings=strings).values

    assert ("x", "y") == (
        found["ConnectionStrings:A"],
        found["ConnectionStrings:B"],
    )


def test_a_port_that_is_none_is_refused(read: Read) -> None:
    """With its range."""
    message = fault(read, Host={"LocalHttpPort": 70_000})

    assert (
        "Host.LocalHttpPort is 70000; expected is a whole number from 1 to" in message
    )
