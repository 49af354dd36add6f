"""Connection strings, and the choice of the connection."""

from __future__ import annotations

import pytest

from localhost.account import DEVELOPMENT_KEY, StorageAccount, connection
from localhost.errors import CannotStartError

KEY = "c2VjcmV0"
ENDPOINTS = ";".join(
    f"{service}Endpoint=http://127.0.0.1:{port}/mine/"
    for service, port in (("Blob", 1), ("Queue", 2), ("Table", 3))
)
LOCAL = f"AccountName=mine;AccountKey={KEY};{ENDPOINTS}"


def parse(text: str) -> StorageAccount:
    return StorageAccount.from_connection_string(text, setting="AzureWebJobsStorage")


def fault(text: str) -> str:
    with pytest.raises(CannotStartError) as caught:
        parse(text)
    return str(caught.value)


def test_development_storage_is_azurite_on_its_own_ports() -> None:
    """The account, key and ports are those that Azurite has by itself."""
    account = parse("UseDevelopmentStorage=true")

    assert account == StorageAccount(
        name="devstoreaccount1",
        key=DEVELOPMENT_KEY,
        blob_url="http://127.0.0.1:10000/devstoreaccount1",
        queue_url="http://127.0.0.1:10001/devstoreaccount1",
        table_url="http://127.0.0.1:10002/devstoreaccount1",
    )


def test_written_endpoints_are_taken_without_their_last_slash() -> None:
    """A path is put behind them as it is."""
    assert "http://127.0.0.1:2/mine" == parse(LOCAL).queue_url


def test_names_of_parts_have_no_case() -> None:
    """The real host takes them so too; blanks and empty parts do not count."""
    assert parse(LOCAL) == parse(f" {LOCAL.replace('Account', 'aCCOUNT')} ;; ")


def test_an_account_in_azure_gets_its_endpoints_from_name_and_suffix() -> None:
    """That is the string which the portal shows."""
    account = parse(
        "DefaultEndpointsProtocol=https;AccountName=mine;"
        f"AccountKey={KEY};EndpointSuffix=core.example"
    )

    assert "https://mine.table.core.example" == account.table_url


def test_an_account_in_azure_is_not_loopback() -> None:
    """No Azurite is started for it."""
    assert not parse(f"AccountName=mine;AccountKey={KEY}").is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "[::1]"])
def test_loopback_has_several_names(host: str) -> None:
    """All of them are this machine."""
    assert parse(LOCAL.replace("127.0.0.1", host)).is_loopback


def test_one_endpoint_elsewhere_is_not_loopback() -> None:
    """An Azurite is started for all three endpoints or for none."""
    text = LOCAL.replace("127.0.0.1:2/", "192.168.0.9:2/")

    assert not parse(text).is_loopback


def test_https_on_loopback_is_left_to_who_runs_it() -> None:
    """Our own Azurite has no certificate."""
    assert not parse(LOCAL.replace("http:", "https:")).is_loopback


def test_ports_are_those_of_the_endpoints() -> None:
    """Blobs, queues, tables."""
    assert (1, 2, 3) == parse(LOCAL).ports()


def test_ports_that_are_not_written_come_from_the_scheme() -> None:
    """As in every URL."""
    assert (443, 443, 443) == parse(f"AccountName=mine;AccountKey={KEY}").ports()


def test_the_host_of_an_ipv6_endpoint_has_no_brackets() -> None:
    """It is given to a program that wants the bare address."""
    assert "::1" == parse(LOCAL.replace("127.0.0.1", "[::1]")).host


def test_the_key_is_not_in_the_text_of_an_account() -> None:
    """Accounts may be logged."""
    assert KEY not in repr(parse(LOCAL))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hello", "is no connection string"),
        ("AccountName=mine", "holds no AccountKey"),
        (f"AccountKey={KEY}", "holds no AccountName"),
        ("AccountName=mine;AccountKey=%%%", "AccountKey that is not Base64"),
        ("BlobEndpoint=http://x;SharedAccessSignature=sv=1", "SharedAccessSignature"),
        (
            "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://x",
            "DevelopmentStorageProxyUri",
        ),
        (LOCAL.replace("TableEndpoint", "FileEndpoint"), "holds no TableEndpoint"),
        (LOCAL.replace("http://127.0.0.1:2", "ftp://x"), "the Queue endpoint 'ftp://x"),
        (LOCAL.replace("127.0.0.1:2/", "127.0.0.1:x/"), "the Queue endpoint"),
    ],
)
def test_a_string_that_does_not_do_is_told_with_its_setting(
    text: str, told: str
) -> None:
    """Setting, what was found and what to write instead."""
    message = fault(text)

    assert message.startswith("Setting AzureWebJobsStorage ")
    assert told in message
    assert "UseDevelopmentStorage=true" in message


def test_no_message_holds_the_key() -> None:
    """A key must not land in a log."""
    assert KEY not in fault(LOCAL.replace("http://127.0.0.1:2", "ftp://x"))


@pytest.mark.parametrize(
    "setting",
    [
        "ConnectionStrings:AzureWebJobsStorage",
        "AzureWebJobsStorage",
        "ConnectionStrings:Storage",
        "ConnectionStrings__Storage",
        "Storage",
        "azurewebjobsSTORAGE",
    ],
)
def test_a_connection_has_several_settings(setting: str) -> None:
    """The prefix and the section may both be left out."""
    assert "mine" == connection({setting: LOCAL}, "Storage").name


def test_the_setting_with_the_prefix_wins() -> None:
    """It is looked for first."""
    other = LOCAL.replace("AccountName=mine", "AccountName=other")

    found = connection({"Storage": other, "AzureWebJobsStorage": LOCAL}, "Storage")

    assert "mine" == found.name


def test_an_empty_setting_is_none() -> None:
    """The next one is taken."""
    found = connection({"AzureWebJobsStorage": "", "Storage": LOCAL}, "Storage")

    assert "mine" == found.name


def test_a_missing_connection_says_what_to_put_where() -> None:
    """The real host's sentence comes first."""
    with pytest.raises(CannotStartError) as caught:
        connection({}, "Storage")

    assert str(caught.value).startswith(
        "Unable to resolve the Azure Storage connection named 'Storage'. Put"
        ' "AzureWebJobsStorage": "UseDevelopmentStorage=true" under "Values" in'
        " local.settings.json"
    )


def test_a_fault_in_the_string_names_the_setting_that_was_found() -> None:
    """There may be several."""
    with pytest.raises(CannotStartError, match="Setting Other is no connection string"):
        connection({"Other": "x"}, "Other")
