"""What a scenario left in its hub, held against what was wanted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localhost.taskhub.queues import partition_of
from tests.acceptance.asking import FINISHED
from tests.chaos.histories import faults_of_history
from tests.chaos.patterns import is_right, times_applied
from tests.chaos.verdict import Check
from tests.chaos.wanted import Wanted, Wishes
from tests.integration.conftest import PARTITIONS, Judge

_MOST_COPIES = 2  # of a text whose move a crash cut short

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Remains:
    """The storage at the end, as the Azure SDKs read it.

    ``counts`` are of all messages of a queue, hidden ones included; ``poison`` the
    texts in queues of that name; ``blobs`` the texts of large values by name.
    """

    hub: str
    rows: Mapping[str, Row]
    histories: Mapping[str, Sequence[Row]]
    counts: Mapping[str, int]
    poison: Mapping[str, Sequence[str]]
    blobs: Mapping[str, str]

    def large(self, value: str) -> str | None:
        """The text that a value or its address stands for; None: it is not there."""
        _, is_address, name = value.partition(f"/{self.hub.lower()}-largemessages/")
        return self.blobs.get(name) if is_address else value


def remains_of(judge: Judge) -> Remains:
    """Read everything that is in a hub."""
    histories: dict[str, list[Row]] = {}
    for row in judge.rows("History"):
        histories.setdefault(row["PartitionKey"], []).append(row)
    counts = message_counts(judge)
    return Remains(
        hub=judge.hub,
        rows={row["PartitionKey"]: row for row in judge.rows("Instances")},
        histories=histories,
        counts=counts,
        poison={q: judge.visible(q) for q in counts if q.endswith("-poison")},
        blobs={name: judge.blob(name) for name in judge.blob_names()},
    )


def message_counts(judge: Judge) -> Counter[str]:
    """How many messages are in each queue of a hub."""
    listed = judge.queues.list_queues(name_starts_with=f"{judge.hub.lower()}-")
    names = [queue.name for queue in listed if queue.name]
    return Counter({name: judge.count(name) for name in names})


def ghosts(wishes: Wishes, rows: Mapping[str, Row], hub: str) -> Counter[str]:
    """How many starts without answer and row may wait in each queue.

    The host drops them after their tenth try.
    """
    return Counter(
        f"{hub.lower()}-control-{partition_of(each.instance_id, PARTITIONS):02}"
        for each in wishes.instances.values()
        if not each.is_answered and each.instance_id not in rows
    )


def is_over(wanted: Wanted, rows: Mapping[str, Row]) -> bool:
    """Whether an instance has ended, or never began."""
    row = rows.get(wanted.instance_id)
    if row is None:
        return not wanted.is_answered
    return row["RuntimeStatus"] in FINISHED


def checks(wishes: Wishes, found: Remains) -> list[Check]:
    """Everything that is held against the storage."""
    return [
        _of_instances(wishes, found),
        _of_children(wishes, found),
        _of_tally(wishes, found),
        _of_messages(wishes, found),
        _of_poison(wishes, found),
        _of_pairs(found),
        _of_histories(found),
        _of_large_values(found),
        _of_purged(wishes, found),
        Check(what="answers that nobody expects", count=0, faults=wishes.oddities),
    ]


def _of_instances(wishes: Wishes, found: Remains) -> Check:
    wanted = wishes.instances.values()
    faults = [fault for each in wanted for fault in _faults_of_instance(each, found)]
    return Check(what="instances: ended right", count=len(wanted), faults=faults)


def _faults_of_instance(wanted: Wanted, found: Remains) -> Iterator[str]:
    """Why an instance is not as if nothing had happened.

    One that nobody got an answer for may as well have left no trace.
    """
    name, row = wanted.instance_id, found.rows.get(wanted.instance_id)
    if row is None:
        if wanted.is_answered:
            yield f"{name}: no row"
        return
    seen = {
        "Name": row.get("Name"),
        "RuntimeStatus": row.get("RuntimeStatus"),
        "CustomStatus": json.loads(row.get("CustomStatus") or "null"),
        "is_completed": "CompletedTime" in row,
    }
    right = {
        "Name": wanted.name,
        "RuntimeStatus": wanted.status,
        "CustomStatus": wanted.custom_status,
        "is_completed": True,
    }
    if seen != right:
        yield f"{name}: {seen}; expected {right}"
    output = found.large(row.get("Output") or "null")
    if output is None or not _is_right(wanted, output):
        yield f"{name}: output {str(output)[:200]!r}; expected {wanted.output!r:.200}"


def _is_right(wanted: Wanted, output: str) -> bool:
    if wanted.status != "Completed":
        return bool(output == wanted.output)
    try:
        value = json.loads(output)
    except ValueError:  # the text of a failure
        return False
    if not wanted.sent:
        return bool(value == wanted.output)
    return is_right(wanted.name, value, sent=wanted.sent, answered=wanted.answered)


def _of_children(wishes: Wishes, found: Remains) -> Check:
    """Children have ids of their own: one that began twice is one row too many."""
    children = {
        name: row
        for name, row in found.rows.items()
        if not name.startswith("@") and name not in wishes.instances
    }
    expected = sum(
        each.child_count
        for each in wishes.instances.values()
        if each.instance_id in found.rows
    )
    faults = [
        f"{name} {row.get('Name')}: {row.get('RuntimeStatus')}"
        for name, row in children.items()
        if row.get("RuntimeStatus") != "Completed"
    ]
    if len(children) != expected:
        faults.append(f"{sorted(children)}: {len(children)} of {expected} expected")
    return Check(what="sub-orchestrations", count=expected, faults=faults)


def _of_tally(wishes: Wishes, found: Remains) -> Check:
    """Each digit counts how often its operation was applied."""
    answered = wishes.tally.is_answered
    row = found.rows.get(f"@counter@{wishes.tally.key}")
    total = int(json.loads(row["Input"])["state"]) if row else 0
    applied = times_applied(total, len(answered))
    faults = [
        f"operation {digit}: applied {times} times, answered: {is_answered}"
        for digit, (times, is_answered) in enumerate(
            zip(applied, answered, strict=True)
        )
        if times > 1 or (is_answered and not times)
    ]
    return Check(
        what="operations of an entity: once", count=len(applied), faults=faults
    )


def _of_messages(wishes: Wishes, found: Remains) -> Check:
    allowed = ghosts(wishes, found.rows, found.hub)
    counts = {q: n for q, n in found.counts.items() if q not in found.poison}
    return Check(
        what="messages left, but for starts without a row",
        count=sum(counts.values()),
        faults=[f"{q}: {n}" for q, n in counts.items() if n > allowed[q]],
        note=f"starts without a row: {allowed.total()}" if allowed else "",
    )


def _of_poison(wishes: Wishes, found: Remains) -> Check:
    """A text that was to be moved is there once, or twice after a crash meanwhile."""
    faults = [
        f"{queue}: {texts}"
        for queue, texts in found.poison.items()
        if set(texts) != {wishes.poison.get(queue.removesuffix("-poison"))}
        or len(texts) > _MOST_COPIES
    ]
    faults += [
        f"{queue}: not moved"
        for queue in wishes.poison
        if f"{queue}-poison" not in found.poison
    ]
    return Check(what="texts moved to poison", count=len(wishes.poison), faults=faults)


def _of_pairs(found: Remains) -> Check:
    alone = set(found.rows) ^ set(found.histories)
    return Check(
        what="a row for each history, and back",
        count=len(found.rows),
        faults=[f"{name}: row or history missing" for name in sorted(alone)],
    )


def _of_histories(found: Remains) -> Check:
    faults = [
        f"{name}: {fault}"
        for name, history in found.histories.items()
        for fault in faults_of_history(history, found.rows.get(name, {}))
    ]
    return Check(what="histories whole", count=len(found.histories), faults=faults)


def _of_large_values(found: Remains) -> Check:
    """Every blob that a row names is there."""
    named = [
        (row, str(value))
        for rows in (found.rows.values(), *found.histories.values())
        for row in rows
        for column, value in row.items()
        if column.endswith("BlobName") or column in ("Input", "Output")
    ]
    named = [(row, value) for row, value in named if value.endswith(".json.gz")]
    faults = [
        f"{row['PartitionKey']}/{row['RowKey']}: {value} is not there"
        for row, value in named
        if value.rpartition("-largemessages/")[2] not in found.blobs
    ]
    return Check(what="large values in blobs", count=len(named), faults=faults)


def _of_purged(wishes: Wishes, found: Remains) -> Check:
    places = {
        "row": found.rows,
        "history": found.histories,
        "blob": {name.partition("/")[0] for name in found.blobs},
    }
    return Check(
        what="purged: nothing left",
        count=len(wishes.purged),
        faults=[
            f"{name}: {place}"
            for name in sorted(wishes.purged)
            for place, kept in places.items()
            if name in kept
        ],
    )
