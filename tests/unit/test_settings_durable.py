"""``extensions.durableTask`` of host.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from localhost.errors import CannotStartError
from localhost.settings import DurableSettings, read_settings

VALUES = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
Object = dict[str, object]
Read = Callable[..., DurableSettings]


@pytest.fixture(name="read")
def _read(tmp_path: Path) -> Read:
    """Write a host.json with these options and read them."""

    def read(options: Object, **environ: str) -> DurableSettings:
        extensions = {"Extensions": {"durabletask": options}}
        text = json.dumps({"version": "2.0", **extensions})
        (tmp_path / "host.json").write_text(text)
        return read_settings(
            tmp_path, address=None, port=None, environ={**VALUES, **environ}
        ).durable

    return read


def fault(read: Read, options: Object) -> str:
    with pytest.raises(CannotStartError) as caught:
        read(options)
    return str(caught.value)


def test_every_durable_option_is_read(read: Read) -> None:
    """Keys have no case; numbers and truths may be written as text."""
    found = read(
        {
            "HubName": "MyHub",
            "storageProvider": {
                "type": "azurestorage",
                "partitionCount": "16",
                "connectionStringName": "Other",
            },
            "maxConcurrentActivityFunctions": 1,
            "maxConcurrentOrchestratorFunctions": 2,
            "maxConcurrentEntityFunctions": 3,
            "maxEntityOperationBatchSize": 4,
            "maxOrchestrationActions": 5,
            "storeInputsInOrchestrationHistory": "True",
            "httpSettings": {"defaultAsyncRequestSleepTimeMilliseconds": 6},
            "overridableExistingInstanceStates": "anystate",
            "localRpcEndpointEnabled": False,
        },
        Other="UseDevelopmentStorage=true",
    )

    assert found == DurableSettings(
        hub_name="MyHub",
        partition_count=16,
        connection_name="Other",
        max_activities=1,
        max_orchestrators=2,
        max_entities=3,
        max_entity_batch=4,
        max_orchestration_actions=5,
        store_inputs=True,
        http_sleep_ms=6,
        overridable_states="AnyState",
        rpc_enabled=False,
    )


def test_connection_name_wins_over_its_older_alias(read: Read) -> None:
    """Both may stand in a file that was moved on."""
    provider = {"connectionName": "Storage", "connectionStringName": "Nowhere"}

    assert "Storage" == read({"storageProvider": provider}).connection_name


def test_null_counts_as_absent(read: Read) -> None:
    """The default is taken."""
    assert DurableSettings() == read({"hubName": None})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"storageProvider": {"partitionCount": 17}},
            "partitionCount is 17; expected is a whole number from 1 to 16",
        ),
        (
            {"maxConcurrentActivityFunctions": 0},
            "maxConcurrentActivityFunctions is 0; expected is a whole number from 1",
        ),
        (
            {"maxConcurrentActivityFunctions": "many"},
            'is "many"; expected is a whole number',
        ),
        ({"maxConcurrentActivityFunctions": True}, "is true; expected is a whole"),
        ({"maxEntityOperationBatchSize": 1.5}, "is 1.5; expected is a whole number"),
        (
            {"storeInputsInOrchestrationHistory": 1},
            "is 1; expected is true or false",
        ),
        (
            {"overridableExistingInstanceStates": "All"},
            'is "All"; expected is one of NonRunningStates, AnyState',
        ),
        (
            {"storageProvider": {"type": "mssql"}},
            'is "mssql"; expected is one of AzureStorage',
        ),
        ({"storageProvider": "mssql"}, "expected is an object at"),
        ({"hubName": {"a": "b"}}, "expected is a single value at"),
        ({"hubName": 5}, "is 5; expected is a string"),
    ],
)
def test_a_durable_option_that_does_not_do_is_told(
    read: Read, options: Object, told: str
) -> None:
    """File, key, value and what is allowed."""
    message = fault(read, options)

    assert "host.json: Extensions.durabletask" in message
    assert told in message


@pytest.mark.parametrize("name", ["a", "1hub", "my-hub", "h" * 46, "", "hüb"])
def test_a_hub_name_that_azure_storage_cannot_hold_is_refused(
    read: Read, name: str
) -> None:
    """With the sentence of the real host."""
    assert (
        f"host.json: Extensions.durabletask.hubName: Task hub name '{name}' should"
        " contain only alphanumeric characters, start with a letter, and have length"
        " between 3 and 45."
    ) in fault(read, {"hubName": name})


def test_a_hub_name_may_stand_in_a_setting(read: Read) -> None:
    """%NAME% is the value of that setting."""
    found = read({"hubName": "%MyHubSetting%"}, MyHubSetting="FromSetting")

    assert "FromSetting" == found.hub_name


def test_a_setting_for_the_hub_name_that_is_missing_is_told(read: Read) -> None:
    """The name with its percent signs is quoted."""
    message = fault(read, {"hubName": "%Nothing%"})

    assert 'durabletask.hubName is "%Nothing%"; expected is' in message


@pytest.mark.parametrize(
    ("site", "hub"),
    [
        ("my-site", "mysite"),
        ("1site", "t1site"),
        ("s" * 60, "s" * 45),
        ("ab", "abHub"),
        ("---", "DefaultTaskHub"),
        ("", "TestHubName"),
    ],
)
def test_a_site_name_is_made_fit_for_a_hub(read: Read, site: str, hub: str) -> None:
    """Where no hub is named, the site's name is the default."""
    assert hub == read({}, WEBSITE_SITE_NAME=site).hub_name
