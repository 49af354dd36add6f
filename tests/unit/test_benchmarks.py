"""The pure parts of the benchmarks: figures, table, what a proxy sees."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from benchmarks import rows
from benchmarks.cli import chosen
from benchmarks.counting import summary
from benchmarks.figures import (
    Figure,
    Kind,
    Limit,
    Row,
    at_least_per_1000_units,
    at_most,
    percentile,
    step_ms,
    units,
)
from benchmarks.ground import PATTERNS
from benchmarks.groups import GROUPS
from benchmarks.proxy import Exchange, Head, kind_of, note_answer
from benchmarks.report import Peer, Results, cells_of, json_of, shown, text_of
from localhost.app.manifest import read_app

CHAIN = Row(name="chain", real_host=45, target=units(20), aim=units(10))


def figure(row: Row, value: float, unit_ms: float = 2.0) -> Figure:
    return Figure(row=row, value=value, unit_ms=unit_ms)


def exchange(kind: str, began_s: float = 0.0) -> Exchange:
    return Exchange(kind=kind, began_s=began_s, answered_s=began_s + 0.001)


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 5), (95, 10), (100, 10), (1, 1), (90, 9)]
)
def test_percentile_is_a_value_that_was_measured(percent: float, expected: int) -> None:
    """So many percent of the values are at most the percentile."""
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == expected


def test_percentile_of_one_value_is_that_value() -> None:
    """One measurement is its own median."""
    assert percentile([7.5], 50) == 7.5


def test_step_is_the_median_between_the_steps_named() -> None:
    """Steps outside the range, and one slow step in it, do not count."""
    times_s = [0.0, 9.0, 9.1, 9.2, 10.2, 10.3, 99.0]

    assert step_ms(times_s, 2, 6) == pytest.approx(100)


def test_time_is_told_in_units() -> None:
    """A time is divided by what one unit took."""
    assert figure(CHAIN, 30.0).in_units == 15.0


def test_rate_is_told_per_1000_units() -> None:
    """50 instances a second are 100 in 1,000 units of 2 ms."""
    assert figure(Row(name="burst", kind=Kind.RATE), 50.0).in_units == 100.0


def test_memory_has_no_units() -> None:
    """How fast a machine is does not change how much memory is."""
    assert figure(Row(name="memory", kind=Kind.MEMORY), 50.0).in_units == 50.0


@pytest.mark.parametrize(
    ("limit", "value", "expected"),
    [
        (units(20), 40.0, True),
        (units(20), 40.1, False),
        (at_most(40), 40.0, True),
        (at_most(39), 40.0, False),
    ],
)
def test_limit_holds_up_to_its_bound(
    limit: Limit, value: float, expected: bool
) -> None:
    """A limit is in units, or in the figure's own kind."""
    assert limit.holds(figure(CHAIN, value)) is expected


@pytest.mark.parametrize(("value", "expected"), [(75.0, True), (74.0, False)])
def test_rate_must_reach_its_bound(value: float, expected: bool) -> None:
    """A floor is missed from below."""
    row = Row(name="burst", kind=Kind.RATE)

    assert at_least_per_1000_units(150).holds(figure(row, value)) is expected


def test_gain_over_the_real_host_counts_both_ways() -> None:
    """Half the time and twice the rate are both a gain of two."""
    burst = Row(name="burst", kind=Kind.RATE, real_host=39)

    assert figure(CHAIN, 45.0).gain == 2.0
    assert figure(burst, 39.0).gain == 2.0


def test_what_was_not_recorded_has_no_gain() -> None:
    """Nothing is compared with nothing."""
    assert figure(Row(name="event"), 5.0).gain is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (13_698.4, "13,698"),
        (123.4, "123"),
        (45.0, "45"),
        (18.26, "18.3"),
        (2.064, "2.06"),
        (0.05, "0.05"),
    ],
)
def test_numbers_are_shown_with_three_digits(value: float, expected: str) -> None:
    """More digits than that are noise."""
    assert shown(value) == expected


def test_line_holds_ours_units_real_host_and_verdicts() -> None:
    """One figure is one line: met and missed are told apart."""
    assert cells_of(figure(CHAIN, 30.0)) == (
        "chain",
        "30 ms",
        "15",
        "45",
        "3 ×",
        "≤ 20 u met",
        "≤ 10 u MISSED",
    )


def test_line_of_what_has_no_limit_is_short() -> None:
    """A figure that nothing is known about beside itself leaves cells empty."""
    row = Row(name="memory", kind=Kind.MEMORY)

    assert cells_of(figure(row, 51.5)) == ("memory", "51.5 MB", "", "", "", "", "")


def test_table_is_aligned() -> None:
    """Every line of the table ends its first figure at the same place."""
    found = [figure(CHAIN, 30.0), figure(Row(name="a longer name"), 1234.0)]
    text = text_of(Results(machine={"python": "3.12"}, unit_ms=2.0, figures=found))
    ends = [line.index(" ms") for line in text.splitlines() if " ms  " in line]

    assert len(ends) == 2
    assert all(first == second for first, second in pairwise(ends))


def test_group_that_failed_is_told_at_the_end() -> None:
    """A group without figures is not passed over."""
    results = Results(machine={"a": "b"}, unit_ms=1.0, failures={"event": "gone"})

    assert text_of(results).splitlines()[-1] == "FAILED event: gone"


def test_peers_have_a_table_of_their_own() -> None:
    """Peers are told in the same units, and against what we need."""
    peer = Peer(name="other", p50_ms=30.0, p95_ms=60.0, burst_per_s=50.0)
    ours = [figure(rows.CHAIN_P50, 15.0), figure(rows.BURSTS[500], 25.0)]
    text = text_of(Results(machine={"a": "b"}, unit_ms=2.0, figures=ours, peers=[peer]))
    [line] = [line for line in text.splitlines() if line.startswith("other")]

    assert " ".join(line.split()) == "other 30 ms 60 ms 15 2 × 50 /s 100 0.5 ×"


def test_results_are_plain_json() -> None:
    """The file holds each figure with its verdicts."""
    results = Results(
        machine={"a": "b"}, unit_ms=2.0, figures=[figure(CHAIN, 30.0)], details={"x": 1}
    )
    [found] = json.loads(json.dumps(json_of(results)))["figures"]

    assert (found["in_units"], found["kind"]) == (15.0, "time")
    assert (found["target"]["is_met"], found["aim"]["is_met"]) == (True, False)


def test_rows_have_names_of_their_own() -> None:
    """A name tells one row from the others."""
    found = [row for row in vars(rows).values() if isinstance(row, Row)]
    found += [*rows.BURSTS.values(), *rows.FAN_OUTS.values()]

    assert len({row.name for row in found}) == len(found)


def test_long_groups_run_only_when_asked_for() -> None:
    """A default run leaves out what takes minutes; a name is enough to get it."""
    usual = {group.name for group in chosen(GROUPS, only=None, is_full=False)}
    full = {group.name for group in chosen(GROUPS, only=None, is_full=True)}

    long_ones = {"fan-out-5000", "full-hub", "growth"}
    assert full - usual == long_ones
    assert [g.name for g in chosen(GROUPS, only=["idle"], is_full=False)] == ["idle"]


def test_app_of_the_patterns_has_no_fault() -> None:
    """Every function of the benchmarks' own app can be served."""
    app = read_app(PATTERNS, environ={})

    assert not app.faults
    assert {"FanOut", "Sequence", "WaitForEvent"} < {f.name for f in app.functions}


class TestHead:
    """What a proxy reads of a request."""

    def test_head_tells_method_target_and_length(self) -> None:
        """Names of headers are read in any case."""
        raw = b"POST /a/q/messages?x=1 HTTP/1.1\r\ncontent-LENGTH: 12\r\n\r\n"

        assert Head.from_bytes(raw) == Head(
            method="POST", target="/a/q/messages?x=1", body_bytes=12
        )

    def test_request_without_a_length_has_no_body(self) -> None:
        """A GET ends with its head."""
        assert Head.from_bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").body_bytes == 0

    def test_body_of_unknown_length_is_refused(self) -> None:
        """A wrong count would be worse than none."""
        raw = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

        with pytest.raises(ValueError, match="unknown length: PUT /"):
            Head.from_bytes(raw)

    @pytest.mark.parametrize(
        ("service", "method", "target", "expected"),
        [
            ("queue", "POST", "hub-control-03/messages?x=1", "control messages"),
            ("queue", "GET", "hub-workitems/messages", "workitems messages"),
            ("queue", "DELETE", "hub-workitems/messages/id?a=b", "workitems messages"),
            ("queue", "PUT", "hub-control-00", "control"),
            ("table", "POST", "$batch", "$batch"),
            ("table", "MERGE", "HubInstances(PartitionKey='a')", "Instances"),
            ("table", "GET", "HubHistory()?$filter=a", "History"),
            ("blob", "PUT", "hub-largemessages/a/b.gz", "largemessages"),
        ],
    )
    def test_kind_names_service_method_and_place(
        self, service: str, method: str, target: str, expected: str
    ) -> None:
        """Hub, partition and instance do not matter."""
        head = Head(method=method, target=f"/devstoreaccount1/{target}", body_bytes=0)

        assert kind_of(service, head) == f"{service} {method} {expected}"


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([b"<QueueMessagesList />"], "empty poll"),
        ([b"HTTP/1.1 200 OK\r\n\r\n", b"<MessageId>1"], "found"),
    ],
)
def test_poll_is_named_after_what_it_found(chunks: list[bytes], expected: str) -> None:
    """An answer may come in pieces."""
    poll = exchange("queue GET control messages")
    for chunk in chunks:
        note_answer(poll, chunk)

    assert poll.kind == f"queue GET control messages ({expected})"


def test_upkeep_and_client_are_not_the_workers() -> None:
    """Of a chain's requests those of its start, and idle polls, do not count."""
    kinds = [
        "queue POST control messages",
        "table POST Instances",
        "queue GET workitems messages (empty poll)",
        "table MERGE Partitions",
        "queue POST control messages",
        "table POST $batch",
    ]
    counted = summary([exchange(k) for k in kinds], chains=1, last_began_s=0.0)

    assert counted.of_worker == 2
    assert counted.per_chain["queue POST control messages"] == 2


def test_last_chain_is_kept_in_order() -> None:
    """One chain's requests are told with their times since its POST."""
    found = [exchange("table POST $batch", 1.0), exchange("table MERGE Instances", 2.5)]
    counted = summary(found, chains=2, last_began_s=2.0)

    assert counted.one_chain == [(500.0, 1.0, "table MERGE Instances")]
