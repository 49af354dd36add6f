"""Rows of real tables: ETags, pages and transactions that hold or fail as one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

import pytest

from localhost.errors import ConflictError, NotFoundError, PreconditionError
from localhost.taskhub.storage import Storage
from localhost.taskhub.tables import Operation, Table, equals

OLD_ETAG = "W/\"datetime'2020-01-01T00%3A00%3A00.0000000Z'\""


@pytest.fixture
async def table(storage: Storage, hub_name: str) -> AsyncIterator[Table]:
    """A table that is empty."""
    made = Table(storage, hub_name)
    await made.create()
    yield made


def operation(
    row_key: str,
    method: Literal["PUT", "MERGE", "POST", "DELETE"] = "PUT",
    if_match: str | None = None,
    **columns: Any,
) -> Operation:
    return Operation(
        method=method,
        partition_key="p",
        row_key=row_key,
        columns=columns or {"Value": 0},
        if_match=if_match,
    )


async def row_keys(table: Table) -> list[str]:
    return [row["RowKey"] for row in await table.query_all()]


async def fill(table: Table, count: int) -> None:
    """Write rows 0000, 0001 …"""
    operations = [operation(f"{number:04}", Number=number) for number in range(count)]
    for start in range(0, count, 100):
        await table.transaction(operations[start : start + 100])


async def test_a_table_may_be_created_twice(table: Table) -> None:
    """Two hosts begin on the same hub."""
    await table.insert("p", "r", {})
    await table.create()

    assert ["r"] == await row_keys(table)


async def test_columns_come_back_as_they_were_written(table: Table) -> None:
    """Texts, numbers, booleans and times with seven digits."""
    moment = "2026-11-22T04:28:42.7055910Z"
    columns = {
        "Text": 'it\'s "日本" \U0001f642\r\n<&>\\',
        "Number": 2**31 - 1,
        "Flag": False,
        "At": moment,
        "At@odata.type": "Edm.DateTime",
    }

    etag = await table.insert("p", "", columns)
    row = await table.get("p", "")

    assert row is not None
    assert columns.items() <= row.items()
    assert etag == row["odata.etag"]


async def test_a_row_that_is_missing_is_none(table: Table) -> None:
    """It is not an error: an unknown instance is asked for every day."""
    assert await table.get("p", "r") is None


async def test_an_insert_over_a_row_is_refused(table: Table) -> None:
    """The row that was first stays."""
    await table.insert("p", "r", {"Value": "first"})

    with pytest.raises(ConflictError, match="EntityAlreadyExists"):
        await table.insert("p", "r", {"Value": "second"})

    row = await table.get("p", "r")
    assert row and "first" == row["Value"]


async def test_a_put_replaces_the_whole_row(table: Table) -> None:
    """What a replaced start had left is gone."""
    await table.put("p", "r", {"Old": 1}, if_match=None)
    await table.put("p", "r", {"New": 2}, if_match=None)

    row = await table.get("p", "r")
    assert row and 2 == row["New"]
    assert "Old" not in row


async def test_a_merge_keeps_the_other_columns(table: Table) -> None:
    """A checkpoint names only what changed."""
    await table.put("p", "r", {"Old": 1}, if_match=None)
    await table.put("p", "r", {"New": 2}, if_match=None, merge=True)

    row = await table.get("p", "r")
    assert row and (1, 2) == (row["Old"], row["New"])


@pytest.mark.parametrize("merge", [False, True])
async def test_a_row_that_changed_is_not_overwritten(table: Table, merge: bool) -> None:
    """Who comes second has read an old ETag."""
    etag = await table.insert("p", "r", {"Value": "first"})
    await table.put("p", "r", {"Value": "second"}, if_match=etag)

    with pytest.raises(PreconditionError):
        await table.put("p", "r", {"Value": "third"}, if_match=etag, merge=merge)

    row = await table.get("p", "r")
    assert row and "second" == row["Value"]


async def test_the_etag_of_a_put_serves_for_the_next(table: Table) -> None:
    """Nothing has to be read between two writes."""
    etag = await table.insert("p", "r", {})
    for number in range(3):
        etag = await table.put("p", "r", {"Number": number}, if_match=etag)

    row = await table.get("p", "r")
    assert row and (2, etag) == (row["Number"], row["odata.etag"])


async def test_a_row_that_is_gone_is_not_made_again(table: Table) -> None:
    """An ETag means that there was a row."""
    with pytest.raises(NotFoundError):
        await table.put("p", "r", {}, if_match=OLD_ETAG)


async def test_a_row_is_deleted_once(table: Table) -> None:
    """The answer tells whether there was one."""
    await table.insert("p", "r", {})

    assert await table.delete("p", "r")
    assert not await table.delete("p", "r")


async def test_a_filter_finds_a_text_with_quotes(table: Table) -> None:
    """Quotes are doubled, everything else is as it is."""
    await table.insert("it's", "r", {})
    await table.insert("its", "r", {})

    found = await table.query_all(equals("PartitionKey", "it's"))

    assert ["it's"] == [row["PartitionKey"] for row in found]


async def test_a_page_tells_where_the_next_begins(table: Table) -> None:
    """No row is shown twice and none is left out."""
    await fill(table, 5)
    pages, after = [], None
    while True:
        page = await table.query(top=2, after=after)
        pages.append([row["Number"] for row in page.rows])
        if page.next is None:
            break
        after = page.next

    assert [[0, 1], [2, 3], [4]] == pages


async def test_a_query_reads_beyond_a_thousand_rows(table: Table) -> None:
    """The service never gives more than that at once."""
    await fill(table, 1_001)

    found = await table.query_all(equals("PartitionKey", "p"))

    assert list(range(1_001)) == [row["Number"] for row in found]


async def test_selected_columns_alone_come_back(table: Table) -> None:
    """Large rows are not read for their keys."""
    await table.insert("p", "r", {"Large": "x" * 1_000})

    (row,) = await table.query_all(select="PartitionKey,RowKey")

    assert {"PartitionKey", "RowKey"} == {name for name in row if "odata" not in name}


async def test_a_transaction_does_each_of_its_operations(table: Table) -> None:
    """It inserts, replaces, merges and deletes."""
    for row_key in ("put", "merge", "delete"):
        await table.insert("p", row_key, {"Old": 1})

    await table.transaction(
        [
            operation("put", New=2),
            operation("merge", "MERGE", if_match="*", New=2),
            operation("post", "POST", New=2),
            operation("delete", "DELETE", if_match="*"),
        ]
    )

    rows = {row["RowKey"]: row for row in await table.query_all()}
    assert {"put", "merge", "post"} == set(rows)
    assert "Old" not in rows["put"]
    assert 1 == rows["merge"]["Old"]
    assert {2} == {row["New"] for row in rows.values()}


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        ([operation("there", "POST")], ConflictError),
        ([operation("there", "MERGE", OLD_ETAG)], PreconditionError),
        ([operation("missing", "MERGE", OLD_ETAG)], NotFoundError),
        ([operation("missing", "DELETE", "*")], NotFoundError),
    ],
)
async def test_a_transaction_that_is_refused_writes_nothing(
    table: Table, refused: Sequence[Operation], error: type[Exception]
) -> None:
    """History rows and their sentinel are written together or not at all."""
    await table.insert("p", "there", {})

    with pytest.raises(error):
        await table.transaction([operation("first"), *refused])

    assert ["there"] == await row_keys(table)


async def test_a_transaction_gives_the_etag_of_its_last_row(table: Table) -> None:
    """The next transaction needs no read."""
    etag = await table.transaction([operation("first"), operation("last", "POST")])
    again = await table.transaction(
        [operation("second"), operation("last", "MERGE", etag, Value=1)]
    )

    row = await table.get("p", "last")
    assert row and again == row["odata.etag"]
    assert etag != again


async def test_a_hundred_large_rows_are_one_transaction(table: Table) -> None:
    """The most that the service takes; texts need no escaping in it."""
    text = "日本\r\n--changeset_x\r\n" * 500
    await table.transaction([operation(f"{n:04}", Text=text) for n in range(100)])

    assert [text] * 100 == [row["Text"] for row in await table.query_all()]


@pytest.mark.parametrize("row_key", ["it's", "日本", "a^b", "a b%20c", "a&b=c"])
async def test_a_transaction_writes_rows_of_any_key(table: Table, row_key: str) -> None:
    """Keys stand in the lines of its parts."""
    await table.transaction([operation(row_key, Value=1)])

    assert [row_key] == await row_keys(table)
