"""What a scenario wrote, made comparable: recorded writes and ours in one form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tests.conformance.comparing import ABSENT, Unlike, Words, unlike
from tests.conformance.recordings import DATA
from tests.conformance.wire import Write

_KEYS = re.compile(r"\(PartitionKey='(.*)',RowKey='(.*)'\)$")
_QUEUE_NUMBER = re.compile(r"-control-\d\d")
_ROW_NUMBER = re.compile(r"[0-9A-F]{16}'")
_LAST_MESSAGE = re.compile(r'("Last":"<time\.f>)Z')
_PLACES = ("headers", "query", "content")
_EVENT_IDS = ("EventId", "TaskScheduledId", "TimerId")
# The columns that tell the rows apart that are written under one key.
_TELLING = ("TableName", "RuntimeStatus", "EventType", *_EVENT_IDS)

Plain = dict[str, Any]


def recorded_writes(scenario: str) -> list[Write]:
    """The writes of a recorded scenario that succeeded, in order."""
    text = (DATA / "storage" / f"{scenario}.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    return [
        each for line in lines if line.get("status", 200) < 300 for each in _read(line)
    ]


def _read(line: dict[str, Any]) -> Iterator[Write]:
    match line["service"], line["op"]:
        case "queue", "put message":
            yield Write(
                kind="message",
                path=line["queue"],
                content=line["message"],
                query=line["query"],
            )
        case "queue", "PUT":
            yield Write(kind="PUT", path=line["path"], content="", query="")
        case "table", "batch":
            for row in line["rows"]:
                yield _row(row["method"], row["entity"], row, row.get("properties"))
        case "table", "POST" | "PUT" | "DELETE" | "create table" as method:
            is_merge = method == "POST" and "RowKey=" in line["path"]
            kind = "MERGE" if is_merge else method.replace("create table", "POST")
            yield _row(kind, line["path"], line["headers"], line["body"])
        case "blob", "PUT" as method:
            body = "<gzip>" if line["body"].startswith("<gzip") else line["body"]
            yield Write(
                kind=method, path=line["path"], content=body, query=line["query"]
            )
        case _:
            return


def _row(kind: str, path: str, headers: dict[str, str], content: Any) -> Write:
    kept = {name: headers[name] for name in ("if-match",) if name in headers}
    return Write(
        kind=kind, path=path.removesuffix("()"), content=content or "", headers=kept
    )


def plain(write: Write, words: Words, *, is_in_order: bool = True) -> Plain:
    """Return a write with words in place of what differs from run to run.

    Where turns depend on what came in at once, rows have no number, and an entity's
    last message, which may be that of a call or of a signal, no zone.
    """
    content = words.value(write.content)
    if write.kind == "message":
        content["SequenceNumber"] = "<number>"
    elif isinstance(content, dict):  # the columns of a row have no order
        content = dict(sorted(content.items()))
    if not is_in_order and _has_input(content):
        content["Input"] = _LAST_MESSAGE.sub(r"\1", content["Input"])
    path = _QUEUE_NUMBER.sub("-control", words.plain(write.path))
    if isinstance(content, dict) and "-control-" in content.get("RowKey", ""):
        content["RowKey"] = _QUEUE_NUMBER.sub("-control", content["RowKey"])
    return {
        "kind": write.kind,
        "path": path if is_in_order else _ROW_NUMBER.sub("<row>'", path),
        "headers": {name: "<ETag>" for name, v in write.headers.items() if v != "*"},
        "query": write.query,
        "content": content,
    }


def _has_input(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("Input"), str)


def compare(expected: Sequence[Plain], found: Sequence[Plain]) -> Iterator[Unlike]:
    """Yield place, expected and found of what is not the same in two sets of writes.

    The order does not count, nor how often a row was written: a message must be sent
    as often as recorded. What is missing or too much is held together with the write
    of the other side that is most likely meant.
    """
    missing, extra = list(expected), list(found)
    for each in expected:
        if each in extra:
            extra.remove(each)
            missing.remove(each)
    extra = [
        each for each in extra if each["kind"] == "message" or each not in expected
    ]
    for each in missing:
        if each["kind"] != "message" and each in found:
            continue
        other = next((one for one in extra if name(one) == name(each)), None)
        if other is None:
            yield name(each), each["content"] or each["kind"], ABSENT
        else:
            extra.remove(other)
            yield from _unlike_parts(each, other)
    for each in extra:
        likely = [one for one in expected if name(one) == name(each)]
        if not likely or each["kind"] == "message":
            yield name(each), ABSENT, each["content"] or each["kind"]
        else:
            yield from min((list(_unlike_parts(one, each)) for one in likely), key=len)


def _unlike_parts(expected: Plain, found: Plain) -> Iterator[Unlike]:
    for part in _PLACES:
        for place, one, other in unlike(expected[part], found[part], part):
            yield f"{name(expected)} · {place}", one, other


def name(write: Plain) -> str:
    """Return what a write is about: two with one name should be the same."""
    content = write["content"]
    if write["kind"] == "message":
        return f"message in {write['path']}: {_event_name(content)}"
    where = _KEYS.sub(r" row \1 \2", write["path"])
    about = [where, write["query"]]
    if isinstance(content, dict):
        about += [str(content[key]) for key in _TELLING if key in content]
        about += ["owned"] if content.get("CurrentOwner") else []
        about += ["draining"] if content.get("IsDraining") else []
    return " ".join([write["kind"], *(each for each in about if each)])


def _event_name(content: Plain) -> str:
    message = content.get("TaskMessage")
    if not message:
        return "in a blob"
    event = message["Event"]
    ids = [str(event[key]) for key in _EVENT_IDS if key in event]
    return " ".join([event["$type"].rsplit(".", 1)[1], *ids])
