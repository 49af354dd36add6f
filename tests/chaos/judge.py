"""The Azure SDKs look at what the campaign left in the storage."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from azure.data.tables import TableServiceClient
from azure.storage.queue import QueueServiceClient

from tests.acceptance.running_host import Storage
from tests.chaos.ground import HUB

FINISHED = ("Completed", "Failed", "Terminated", "Canceled")
_MOST_PEEKED = 32


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a row of ``Instances`` says; ``input`` and ``output`` are still JSON."""

    instance_id: str
    name: str
    status: str
    input: str
    output: str

    @property
    def is_entity(self) -> bool:
        return self.instance_id.startswith("@")


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The task hub of the campaign, through somebody else's clients."""

    tables: TableServiceClient
    queues: QueueServiceClient

    def rows(self) -> dict[str, Row]:
        """All rows of ``Instances`` by instance id."""
        client = self.tables.get_table_client(f"{HUB}Instances")
        found = (
            Row(
                instance_id=str(entity["PartitionKey"]),
                name=str(entity.get("Name", "")),
                status=str(entity.get("RuntimeStatus", "")),
                input=str(entity.get("Input", "")),
                output=str(entity.get("Output", "")),
            )
            for entity in client.list_entities()
        )
        return {row.instance_id: row for row in found}

    def histories(self) -> set[str]:
        """The ids of all instances that have a row in ``History``."""
        client = self.tables.get_table_client(f"{HUB}History")
        listed = client.list_entities(select=["PartitionKey"])
        return {str(entity["PartitionKey"]) for entity in listed}

    def message_counts(self) -> Counter[str]:
        """How many messages are in each queue of the hub, hidden ones included."""
        counts: Counter[str] = Counter()
        for queue in self.queues.list_queues(name_starts_with=HUB.lower()):
            client = self.queues.get_queue_client(queue.name)
            properties = client.get_queue_properties()
            counts[queue.name] = properties.approximate_message_count or 0
        return counts

    def visible_messages(self) -> dict[str, list[str]]:
        """The names of the messages that anybody could take, by queue."""
        clients = map(self.queues.get_queue_client, self.message_counts())
        return {
            client.queue_name: [
                _named(message.content)
                for message in client.peek_messages(_MOST_PEEKED)
            ]
            for client in clients
        }


def _named(text: str) -> str:
    """``ExecutionStarted c1-00001`` for the text of a message."""
    envelope: Any = json.loads(base64.b64decode(text))
    message = envelope["TaskMessage"]
    kind = message["Event"]["$type"].rpartition(".")[2].removesuffix("Event")
    return f"{kind} {message['OrchestrationInstance']['InstanceId']}"


@contextmanager
def open_judge(storage: Storage) -> Iterator[Judge]:
    """Have the clients open."""
    text = storage.connection_string
    with (
        TableServiceClient.from_connection_string(text) as tables,
        QueueServiceClient.from_connection_string(text) as queues,
    ):
        yield Judge(tables=tables, queues=queues)
