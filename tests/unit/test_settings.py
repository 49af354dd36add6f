"""host.json, local.settings.json and the environment."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from localhost.errors import CannotStartError
from localhost.settings import (
    DurableSettings,
    Settings,
    WorkerSettings,
    read_settings,
)

VALUES = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
Read = Callable[..., Settings]
Object = dict[str, object]


@pytest.fixture(name="read")
def _read(tmp_path: Path) -> Read:
    """Write both files of an app and read the settings."""

    def read(
        host: Object | None = None,
        local: Object | None = None,
        environ: dict[str, str] | None = None,
        port: int | None = None,
        address: str | None = None,
    ) -> Settings:
        host_text = json.dumps({"version": "2.0", **(host or {})})
        (tmp_path / "host.json").write_text(host_text)
        local_text = json.dumps(
            {"IsEncrypted": False, "Values": VALUES, **(local or {})}
        )
        (tmp_path / "local.settings.json").write_text(local_text)
        return read_settings(
            tmp_path, address=address, port=port, environ=environ or {}
        )

    return read


def durable(**options: object) -> Object:
    return {"extensions": {"durableTask": options}}


def fault(read: Read, *args: object, **kwargs: object) -> str:
    with pytest.raises(CannotStartError) as caught:
        read(*args, **kwargs)
    return str(caught.value)


# host.json


def test_a_bare_host_file_gives_the_defaults(read: Read, tmp_path: Path) -> None:
    """Only what was found differs from a Settings without anything."""
    found = read()

    assert found == Settings(
        app=tmp_path.resolve(),
        durable=DurableSettings(),
        storage=found.storage,
        environ=found.environ,
    )


def test_a_folder_without_host_file_is_no_app(tmp_path: Path) -> None:
    """The folder and the option that names another are told."""
    with pytest.raises(CannotStartError) as caught:
        read_settings(tmp_path, address=None, port=None, environ={})

    assert str(caught.value) == (
        f"{tmp_path.resolve()} holds no host.json, so it is no Functions app. Start in"
        " the app's folder, or name it with --app FOLDER."
    )


@pytest.mark.parametrize(
    ("version", "told"),
    [("1.0", '"1.0"'), (2.0, "2.0"), (None, "missing"), ({"a": 1}, '{"a": 1}')],
)
def test_another_version_is_refused(read: Read, version: object, told: str) -> None:
    """What was found and what is expected."""
    message = fault(read, {"version": version})

    assert f'host.json: version is {told}; expected is the string "2.0"' in message


def test_a_host_file_that_is_no_object_is_refused(tmp_path: Path) -> None:
    """A list is JSON and still no host.json."""
    (tmp_path / "host.json").write_text("[]")

    with pytest.raises(
        CannotStartError, match=r"host\.json is \[\]; expected is an obj"
    ):
        read_settings(tmp_path, address=None, port=None, environ={})


def test_a_host_file_may_hold_comments(tmp_path: Path) -> None:
    """As the template of the real tools has them."""
    (tmp_path / "host.json").write_text('{ // app\n "version": "2.0", /* x */ }')

    found = read_settings(tmp_path, address=None, port=None, environ=VALUES)

    assert "TestHubName" == found.durable.hub_name


def test_the_environment_overrides_a_leaf(read: Read) -> None:
    """Whatever the case of the path."""
    name = "AzureFunctionsJobHost__Extensions__durabletask__hubName"

    assert (
        "Env" in read(durable(hubName="File"), environ={name: "Env"}).durable.hub_name
    )


def test_local_settings_override_a_leaf_too(read: Read) -> None:
    """They are part of the environment."""
    name = "AzureFunctionsJobHost__extensions__durableTask__maxEntityOperationBatchSize"

    assert 7 == read(local={"Values": {**VALUES, name: "7"}}).durable.max_entity_batch


def test_a_fault_in_an_override_names_the_variable(read: Read) -> None:
    """The file is not where to look."""
    name = "AzureFunctionsJobHost__functionTimeout"

    assert fault(read, environ={name: "x"}).startswith(f'Setting {name} is "x"; expect')


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:10:00", 600),
        ("00:05", 300),
        ("1.02:03:04.5", 93784.5),
        ("-1", None),
        (-1, None),
    ],
)
def test_function_timeout_is_a_time_span(
    read: Read, text: object, seconds: float | None
) -> None:
    """Days are set off by a dot; -1 is no limit."""
    assert seconds == read({"functionTimeout": text}).function_timeout_s


@pytest.mark.parametrize("text", ["10", "00:00:00", "24:00:00", "00:60:00", 5, "", "x"])
def test_a_function_timeout_that_is_none_is_refused(read: Read, text: object) -> None:
    """The forms that are allowed are told."""
    message = fault(read, {"functionTimeout": text})

    assert 'at least one second, "hh:mm:ss" or "d.hh:mm:ss", or "-1"' in message


@pytest.mark.parametrize(
    ("prefix", "found"), [("v1/api", "v1/api"), ("", ""), ("/x/", "x")]
)
def test_the_route_prefix_may_be_empty(read: Read, prefix: str, found: str) -> None:
    """Slashes at its ends do not count."""
    host = {"extensions": {"http": {"routePrefix": prefix}}}

    assert found == read(host).route_prefix


def test_headers_for_every_response_keep_their_case(read: Read) -> None:
    """They go out as they were written."""
    host = {"extensions": {"http": {"customHeaders": {"X-Frame-Options": "DENY"}}}}

    assert {"X-Frame-Options": "DENY"} == read(host).custom_headers


def test_log_levels_have_no_case(read: Read) -> None:
    """Categories keep theirs; a dot in them is no path."""
    levels = {"default": "warning", "Function.Hello.User": "Debug"}

    found = read({"logging": {"logLevel": levels}}).log_levels

    assert {"default": "Warning", "Function.Hello.User": "Debug"} == found


def test_an_unknown_log_level_is_told_with_all_levels(read: Read) -> None:
    """Nobody knows them by heart."""
    message = fault(read, {"logging": {"logLevel": {"default": "Loud"}}})

    assert (
        'logging.logLevel.default is "Loud"; expected is one of Trace, Debug' in message
    )


def test_the_allow_list_is_lower_case(read: Read) -> None:
    """Function names are compared without case."""
    assert frozenset({"hello"}) == read({"functions": ["Hello"]}).functions


def test_an_allow_list_that_is_no_list_is_told(read: Read) -> None:
    """One name still wants its brackets."""
    assert "expected is an array of function names" in fault(
        read, {"functions": "Hello"}
    )


# local.settings.json

NAME = "LOCALHOST_ALLOWED_HOSTS"


def test_memory_for_histories_can_be_set(read: Read) -> None:
    """In megabytes; 64 of them if nothing is said."""
    assert 64 * 1024 * 1024 == read().history_bytes
    assert 1024 * 1024 == read(environ={"LOCALHOST_HISTORY_MB": "1"}).history_bytes


@pytest.mark.parametrize("value", ["many", "-1", "1.5"])
def test_memory_for_histories_is_a_whole_number(read: Read, value: str) -> None:
    """Else it is said where, what was found and what is expected."""
    with pytest.raises(CannotStartError, match=r"LOCALHOST_HISTORY_MB.*expected"):
        read(environ={"LOCALHOST_HISTORY_MB": value})


def test_local_settings_may_be_missing(tmp_path: Path) -> None:
    """In Azure there are none."""
    (tmp_path / "host.json").write_text('{"version": "2.0"}')

    found = read_settings(tmp_path, address=None, port=None, environ=VALUES)

    assert "devstoreaccount1" == found.storage.name


def test_values_go_into_the_environment(read: Read) -> None:
    """With what the real tools add."""
    found = read(local={"Values": {**VALUES, "Mine": "1"}})

    assert found.environ == {
        **VALUES,
        "Mine": "1",
        "WEBSITE_HOSTNAME": "localhost:7071",
        "AzureWebJobsScriptRoot": str(found.app),
        "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
        "FUNCTIONS_WORKER_RUNTIME": "python",
    }


def test_the_environment_wins_over_values(read: Read) -> None:
    """What is skipped is noted."""
    found = read(local={"Values": {**VALUES, "Mine": "1"}}, environ={"Mine": "2"})

    assert "Mine" not in found.environ
    (note,) = found.notes
    assert note == (
        "Skipping 'Mine' from local settings as it's already defined in current"
        " environment variables."
    )


def test_an_empty_variable_does_not_win(read: Read) -> None:
    """As if it were not set."""
    found = read(local={"Values": {**VALUES, "Mine": "1"}}, environ={"Mine": ""})

    assert "1" == found.environ["Mine"]


def test_the_host_section_names_address_port_and_origins(read: Read) -> None:
    """Section and keys have no case."""
    section = {
        "LocalHttpPort": "7072",
        "LocalHttpAddress": "127.0.0.2",
        "cors": "http://a, http://b",
        "CORSCredentials": True,
    }

    found = read(local={"host": section})

    assert ("127.0.0.2", 7072) == (found.address, found.port)
    assert ("http://a", "http://b") == found.cors_origins
    assert found.cors_credentials


def test_the_command_line_wins_over_the_host_section(read: Read) -> None:
    """The name that the app is told is the real one."""
    local = {"Host": {"LocalHttpPort": 7072, "LocalHttpAddress": "127.0.0.2"}}

    found = read(local=local, port=7073, address="127.0.0.3")

    assert ("127.0.0.3", 7073) == (found.address, found.port)
    assert "127.0.0.3:7073" == found.environ["WEBSITE_HOSTNAME"]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (None, "localhost:7071"),
        ("127.0.0.1", "localhost:7071"),
        ("localhost", "localhost:7071"),
        ("0.0.0.0", "localhost:7071"),
        ("::", "localhost:7071"),
        ("192.0.2.1", "192.0.2.1:7071"),
        ("::1", "[::1]:7071"),
        ("box.example", "box.example:7071"),
    ],
)
def test_the_app_is_told_where_it_is_reached(
    read: Read, address: str | None, expected: str
) -> None:
    """An address that is not loopback as it is by default is named."""
    found = read(local={"Values": VALUES}, address=address)

    assert expected == found.environ["WEBSITE_HOSTNAME"]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("", ()),
        (" , ", ()),
        ("box.example", ("box.example",)),
        ("a-b, *.b.example,.c:7071", ("a-b", "*.b.example", "*.c:7071")),
        ("*,[2001:db8::1]:1,2001:db8::1", ("*", "[2001:db8::1]:1", "2001:db8::1")),
    ],
)
def test_names_of_hosts_may_be_allowed(
    read: Read, listed: str, expected: tuple[str, ...]
) -> None:
    """From the environment, or from Values."""
    in_environment = read(environ={NAME: listed})
    in_values = read(local={"Values": {**VALUES, NAME: listed}})

    assert expected == in_environment.allowed_hosts
    assert expected == in_values.allowed_hosts


@pytest.mark.parametrize("name", ["http://box", "a b", "a;b", "box/api", "[box]", "a*"])
def test_what_is_no_name_of_a_host_is_refused(read: Read, name: str) -> None:
    """The setting, the value and what belongs there are told."""
    message = fault(read, environ={NAME: f"ok, {name}"})

    assert message.startswith(f"Setting {NAME} is {json.dumps(name)}; expected")


# the environment


def test_another_language_is_refused(read: Read) -> None:
    """The setting and its value are told."""
    message = fault(read, environ={"FUNCTIONS_WORKER_RUNTIME": "node"})

    assert message.startswith("Setting FUNCTIONS_WORKER_RUNTIME is 'node'; this host")


def test_a_missing_storage_account_says_what_to_put_where(read: Read) -> None:
    """Without storage there is no task hub."""
    message = fault(read, local={"Values": {}})

    assert message.startswith("Unable to resolve the Azure Storage connection named")
    assert '"AzureWebJobsStorage": "UseDevelopmentStorage=true"' in message


def test_the_homepage_can_be_switched_off(read: Read) -> None:
    """By a setting, as in Azure."""
    assert not read(environ={"AzureWebJobsDisableHomepage": "True"}).homepage


# The worker


def test_the_worker_is_this_python_by_default(read: Read) -> None:
    """One process, with as many threads as the limits of host.json ask for."""
    assert WorkerSettings(python=sys.executable) == read().worker


def test_the_apps_own_environment_comes_before_the_active_one(
    read: Read, tmp_path: Path
) -> None:
    """Each is known by its Python."""
    for folder in ("active", ".venv"):
        python = tmp_path / folder / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.touch()
        environ = {"VIRTUAL_ENV": str(tmp_path / "active")}

        assert str(python) == read(environ=environ).worker.python


@pytest.mark.parametrize("mark", ["__", ":"])
def test_azures_own_settings_of_the_worker(read: Read, mark: str) -> None:
    """As the editor's extension writes them."""
    name = f"languageWorkers{mark}python{mark}"
    environ = {
        f"{name}defaultExecutablePath": "/opt/python",
        f"{name}arguments": "-m debugpy --listen 127.0.0.1:9091",
        "FUNCTIONS_WORKER_PROCESS_COUNT": "2",
        "PYTHON_THREADPOOL_THREAD_COUNT": "7",
    }

    assert (
        WorkerSettings(
            python="/opt/python",
            arguments=("-m", "debugpy", "--listen", "127.0.0.1:9091"),
            count=2,
            threads=7,
        )
        == read(environ=environ).worker
    )


@pytest.mark.parametrize("value", ["1.5", "-1", "many", "11"])
def test_a_wrong_count_of_workers_is_told(read: Read, value: str) -> None:
    """With what is expected."""
    text = fault(read, environ={"FUNCTIONS_WORKER_PROCESS_COUNT": value})

    assert "FUNCTIONS_WORKER_PROCESS_COUNT" in text
    assert "1 to 10" in text
