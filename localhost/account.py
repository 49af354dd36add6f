"""Storage accounts: which connection is meant, and what its string says.

Imports ``errors`` only. A connection string holds a key: no message quotes it.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from localhost.errors import CannotStartError

DEVELOPMENT_ACCOUNT = "devstoreaccount1"
# Azurite's own account and key, the same on every machine and written in its manual.
DEVELOPMENT_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K"
    "1SZFPTOtr/KBHBeksoGMGw=="
)
DEVELOPMENT_TEXT = "UseDevelopmentStorage=true"
DEVELOPMENT_PORTS = {"Blob": 10000, "Queue": 10001, "Table": 10002}
DEFAULT_SUFFIX = "core.windows.net"


@dataclass(frozen=True, kw_only=True)
class StorageAccount:
    """A storage account that is spoken to with its key; URLs end without a slash."""

    name: str
    key: str = field(repr=False)
    blob_url: str
    queue_url: str
    table_url: str

    @property
    def is_loopback(self) -> bool:
        """All three endpoints are plain HTTP on this machine: Azurite belongs there."""
        return all(
            url.scheme == "http" and _is_loopback_host(url.hostname or "")
            for url in self._urls()
        )

    @property
    def host(self) -> str:
        """The host of the blob endpoint, without brackets when it is IPv6."""
        return self._urls()[0].hostname or ""

    def ports(self) -> tuple[int, int, int]:
        """The ports of blobs, queues and tables."""
        blob, queue, table = (_port(url) for url in self._urls())
        return blob, queue, table

    def _urls(self) -> tuple[SplitResult, SplitResult, SplitResult]:
        return (
            urlsplit(self.blob_url),
            urlsplit(self.queue_url),
            urlsplit(self.table_url),
        )

    @classmethod
    def from_connection_string(cls, text: str, *, setting: str) -> StorageAccount:
        """Parse the value of *setting*; ``CannotStartError`` says what it lacks."""
        parts = _parts(text, setting)
        if parts.get("usedevelopmentstorage", "").lower() == "true":
            return _development_account(parts, setting)
        if "sharedaccesssignature" in parts:
            raise _wrong(setting, "holds a SharedAccessSignature", "an account key")
        name, key = parts.get("accountname", ""), parts.get("accountkey", "")
        for part, value in (("AccountName", name), ("AccountKey", key)):
            if not value:
                raise _wrong(setting, f"holds no {part}", "AccountName and AccountKey")
        _require_base64(key, setting)
        blob, queue, table = (
            _endpoint(service, name, parts, setting) for service in DEVELOPMENT_PORTS
        )
        return cls(name=name, key=key, blob_url=blob, queue_url=queue, table_url=table)


def connection(environ: Mapping[str, str], name: str) -> StorageAccount:
    """The account of the connection *name*: ``AzureWebJobs<name>``, then ``<name>``.

    Each is looked for among the connection strings first, then as a setting; an
    empty value counts as none.
    """
    settings = {key.replace("__", ":").lower(): key for key in environ if environ[key]}
    for candidate in (f"AzureWebJobs{name}", name):
        for wanted in (f"ConnectionStrings:{candidate}", candidate):
            if found := settings.get(wanted.lower()):
                return StorageAccount.from_connection_string(
                    environ[found], setting=found
                )
    setting = name if name.lower().startswith("azurewebjobs") else f"AzureWebJobs{name}"
    raise CannotStartError(
        f"Unable to resolve the Azure Storage connection named '{name}'. Put"
        f' "{setting}": "{DEVELOPMENT_TEXT}" under "Values" in local.settings.json to'
        f" work on this machine, or set the environment variable {setting} to the"
        " connection string of a storage account."
    )


def _parts(text: str, setting: str) -> dict[str, str]:
    parts = {}
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        name, equals, value = part.partition("=")
        if not equals:
            raise _wrong(setting, "is no connection string", "Name=Value;Name=Value;…")
        parts[name.strip().lower()] = value.strip()
    return parts


def _development_account(parts: Mapping[str, str], setting: str) -> StorageAccount:
    if "developmentstorageproxyuri" in parts:
        raise _wrong(
            setting,
            "holds a DevelopmentStorageProxyUri",
            f"{DEVELOPMENT_TEXT} without it, or the three endpoints written out",
        )
    blob, queue, table = (
        f"http://127.0.0.1:{port}/{DEVELOPMENT_ACCOUNT}"
        for port in DEVELOPMENT_PORTS.values()
    )
    return StorageAccount(
        name=DEVELOPMENT_ACCOUNT,
        key=DEVELOPMENT_KEY,
        blob_url=blob,
        queue_url=queue,
        table_url=table,
    )


def _endpoint(
    service: str, account: str, parts: Mapping[str, str], setting: str
) -> str:
    """The written endpoint, else the one of Azure if the string says so.

    A string that writes out some endpoints and nothing of Azure means an emulator:
    the missing one must not be guessed to lie in Azure.
    """
    written = parts.get(f"{service.lower()}endpoint")
    if written:
        return _checked_url(written, service, setting)
    means_azure = "defaultendpointsprotocol" in parts or "endpointsuffix" in parts
    if any(f"{other.lower()}endpoint" in parts for other in DEVELOPMENT_PORTS) and (
        not means_azure
    ):
        raise _wrong(setting, f"holds no {service}Endpoint", "one for each service")
    protocol = parts.get("defaultendpointsprotocol", "https")
    suffix = parts.get("endpointsuffix", DEFAULT_SUFFIX)
    url = f"{protocol}://{account}.{service.lower()}.{suffix}"
    return _checked_url(url, service, setting)


def _checked_url(text: str, service: str, setting: str) -> str:
    try:
        url = urlsplit(text)
        is_good = url.scheme in ("http", "https") and bool(url.hostname) and _port(url)
    except ValueError:
        is_good = False
    if not is_good:
        found = f"has the {service} endpoint {text!r}"
        raise _wrong(setting, found, "http://host:port/… or https://host/…")
    return text.rstrip("/")


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _is_loopback_host(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _require_base64(key: str, setting: str) -> None:
    try:
        base64.b64decode(key, validate=True)
    except ValueError as exc:
        found = "has an AccountKey that is not Base64"
        raise _wrong(setting, found, "the key as the portal shows it") from exc


def _wrong(setting: str, found: str, expected: str) -> CannotStartError:
    return CannotStartError(
        f"Setting {setting} {found}; expected is {expected}. Correct it in the"
        " environment or in local.settings.json; for this machine"
        f" {DEVELOPMENT_TEXT} is enough."
    )
