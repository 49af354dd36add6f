"""Who owns which control queue: the protocol of the Partitions table, without one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localhost.taskhub.leases import LEASE_MS, RENEW_AFTER_MS, Lease, decide
from localhost.timestamps import plus_ms, to_ticks

NOW = "2026-11-22T04:00:00Z"
EARLIER = plus_ms(NOW, -RENEW_AFTER_MS)
LONG_AGO = plus_ms(NOW, -LEASE_MS)
QUEUES = tuple(f"hub-control-{number:02}" for number in range(4))


@pytest.fixture(name="lease")
def _lease() -> Callable[..., Lease]:
    """Makes a row; one with an owner was renewed just now unless ``at`` is given."""

    def make(owner: str | None = None, *, at: str = NOW, **fields: Any) -> Lease:
        lease = Lease(queue=QUEUES[0], etag="1", owner=owner)
        if owner is not None:
            lease = replace(lease, owned_since=LONG_AGO).renewed(at)
        return replace(lease, **fields)

    return make


def one(lease: Lease, **arguments: Any) -> Lease | None:
    """Return what host ``me`` makes of a row; None when it leaves it alone."""
    written = decide([lease], **{"me": "me", "now": NOW, **arguments})
    assert len(written) <= 1
    return written[0] if written else None


def many(*owners: str | None, next_owners: Iterable[str | None] = ()) -> list[Lease]:
    """Return rows by their owners, all renewed just now."""
    nexts = [*next_owners, *([None] * len(owners))]
    leases = []
    for number, owner in enumerate(owners):
        lease = Lease(
            queue=f"hub-control-{number:02}", etag="1", next_owner=nexts[number]
        )
        leases.append(replace(lease, owner=owner).renewed(NOW) if owner else lease)
    return leases


def asked_for(leases: list[Lease]) -> Counter[str | None]:
    """Return from whom host ``me`` asks how many of the rows."""
    written = decide(leases, me="me", now=NOW)
    return Counter(lease.owner for lease in written if lease.next_owner == "me")


# Claim and renew


def test_free_row_is_claimed(lease: Callable[..., Lease]) -> None:
    """A row of nobody is owned from now on for thirty seconds."""
    expected = lease(
        owner="me",
        owned_since=NOW,
        renewed_at=NOW,
        expires_at=plus_ms(NOW, 30_000),
    )

    assert expected == one(lease())


def test_expired_row_is_claimed(lease: Callable[..., Lease]) -> None:
    """A host that has not renewed for thirty seconds has lost its row."""
    claimed = one(lease("other", at=LONG_AGO))

    assert claimed is not None
    assert ("me", NOW) == (claimed.owner, claimed.owned_since)


def test_row_one_tick_before_its_end_is_not_claimed(
    lease: Callable[..., Lease],
) -> None:
    """Until the very end a row belongs to its owner."""
    assert one(lease("other", at=plus_ms(LONG_AGO, 0.0001))) is None


def test_row_without_an_end_never_expires(lease: Callable[..., Lease]) -> None:
    """No ExpiresAt is no end, not one long ago."""
    assert one(lease("other", expires_at=None)) is None


def test_expired_row_is_claimed_though_another_asks(
    lease: Callable[..., Lease],
) -> None:
    """A third host that has asked for a row does not keep it from others."""
    claimed = one(lease("other", at=LONG_AGO, next_owner="third"))

    assert claimed is not None
    assert ("me", None) == (claimed.owner, claimed.next_owner)


def test_row_let_go_for_me_is_claimed(lease: Callable[..., Lease]) -> None:
    """What another host has let go on request is taken, the request cleared."""
    claimed = one(lease(next_owner="me", expires_at=plus_ms(NOW, 1)))

    assert claimed is not None
    assert ("me", None) == (claimed.owner, claimed.next_owner)


def test_row_let_go_for_a_third_is_left(lease: Callable[..., Lease]) -> None:
    """What was let go for somebody else is his."""
    assert one(lease(next_owner="third", expires_at=plus_ms(NOW, 1))) is None


def test_own_row_is_renewed_in_time(lease: Callable[..., Lease]) -> None:
    """A row is renewed well before a third of its time is over."""
    renewed = one(lease("me", at=EARLIER))

    assert renewed == lease("me", at=NOW)


def test_own_row_is_renewed_at_once_after_a_start(
    lease: Callable[..., Lease],
) -> None:
    """The lease that an earlier life of the host left may be about to end."""
    young = lease("me", at=plus_ms(NOW, -1))

    assert lease("me", at=NOW) == one(young, renew_after_ms=0)


def test_own_row_is_not_renewed_too_often(lease: Callable[..., Lease]) -> None:
    """A row that was renewed a moment ago costs no request."""
    assert one(lease("me", at=plus_ms(EARLIER, 1))) is None


def test_own_expired_row_is_renewed(lease: Callable[..., Lease]) -> None:
    """A lease that ran out and that nobody took is ours still, since the same time."""
    assert lease("me", at=NOW) == one(lease("me", at=LONG_AGO))


def test_own_draining_row_is_kept_after_all(lease: Callable[..., Lease]) -> None:
    """A host that comes back under its name goes on with what it was letting go."""
    assert lease("me", at=NOW) == one(lease("me", at=NOW, is_draining=True))


def test_row_of_another_is_left(lease: Callable[..., Lease]) -> None:
    """A row that another host owns and renews stays as it is."""
    assert one(lease("other")) is None


def test_names_of_hosts_are_compared_exactly(lease: Callable[..., Lease]) -> None:
    """A host whose name differs in case is another host."""
    assert one(lease("ME", at=EARLIER)) is None


def test_writes_carry_the_etag_that_was_read(lease: Callable[..., Lease]) -> None:
    """Who writes over what he has not read comes second and does nothing."""
    claimed = one(lease(etag="W/7"))

    assert claimed is not None
    assert "W/7" == claimed.etag


# Give up and take over


def test_row_that_another_asks_for_drains_first(lease: Callable[..., Lease]) -> None:
    """While there is work for a row its owner renews it and takes no more."""
    expected = lease("me", at=NOW, next_owner="other", is_draining=True)

    assert expected == one(lease("me", at=EARLIER, next_owner="other"))


def test_draining_row_is_renewed(lease: Callable[..., Lease]) -> None:
    """Work that takes long does not lose its row."""
    draining = lease("me", at=EARLIER, next_owner="other", is_draining=True)

    assert draining.renewed(NOW) == one(draining)


def test_draining_row_is_not_renewed_too_often(lease: Callable[..., Lease]) -> None:
    """A host that leaves looks often whether it may."""
    draining = lease("me", at=NOW, next_owner="other", is_draining=True)

    assert one(draining) is None


def test_drained_row_is_let_go(lease: Callable[..., Lease]) -> None:
    """Once nothing is in work only the owner goes; who asked for it stays."""
    draining = lease("me", at=EARLIER, next_owner="other", is_draining=True)

    assert replace(draining, owner=None, is_draining=False) == one(
        draining, drained={QUEUES[0]}
    )


def test_row_of_a_leaving_host_is_asked_for(lease: Callable[..., Lease]) -> None:
    """A host that drains without being asked leaves: its rows get a next owner."""
    draining = lease("other", is_draining=True)

    assert replace(draining, next_owner="me") == one(draining)


def test_row_of_a_leaving_host_goes_to_who_asked_first(
    lease: Callable[..., Lease],
) -> None:
    """A row that has a next owner is not asked for again."""
    assert one(lease("other", is_draining=True, next_owner="third")) is None


def test_stopping_host_drains(lease: Callable[..., Lease]) -> None:
    """A host that stops announces it on every row of its own."""
    expected = lease("me", at=NOW, is_draining=True)

    assert expected == one(lease("me", at=EARLIER), is_stopping=True)


def test_stopping_host_lets_go(lease: Callable[..., Lease]) -> None:
    """A drained row of a stopping host is free at once, whatever ExpiresAt says."""
    draining = lease("me", at=EARLIER, is_draining=True)
    free = one(draining, is_stopping=True, drained={QUEUES[0]})

    assert free == replace(draining, owner=None, is_draining=False)
    assert one(free, me="other") is not None


@pytest.mark.parametrize("owner", [None, "other"])
def test_stopping_host_claims_nothing(
    lease: Callable[..., Lease], owner: str | None
) -> None:
    """A host that stops leaves free and expired rows to others."""
    assert one(lease(owner, at=LONG_AGO), is_stopping=True) is None


def test_stopping_host_takes_its_wishes_back(lease: Callable[..., Lease]) -> None:
    """What is let go for a host that is gone would be nobody's until it expires."""
    asked_for = lease("other", next_owner="me")
    let_go = lease(next_owner="me", expires_at=plus_ms(NOW, 1))

    for row in (asked_for, let_go):
        assert replace(row, next_owner=None) == one(row, is_stopping=True)


def test_stopping_host_leaves_the_wishes_of_others(
    lease: Callable[..., Lease],
) -> None:
    """They are not its own."""
    assert one(lease("other", next_owner="third"), is_stopping=True) is None


# Balance


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        (("a", "a", "a", "a"), {"a": 2}),
        (("a", "a", "a", "me"), {"a": 1}),
        (("a", "a", "me", "me"), {}),
        (("me", "me", "me", "me"), {}),
        (("a", "me", "me", "me"), {}),
        (("a", "a", "b", "b"), {"a": 1}),
        (("a", "a", "a", "b"), {"a": 1}),
        (("a", "b", "b", "b"), {"b": 1}),
        (("a", "b", "c", "c"), {"c": 1}),
        (("a", "b", "c", "me"), {}),
        (("a", "b", "c", "d"), {}),
        (("a", "a", "a", "b", "me"), {"a": 1}),  # at the share: from two above
        (("a", "a", "b", "b", "me"), {}),  # … and from none that is one above
    ],
)
def test_share_is_asked_for(
    owners: tuple[str, ...], expected: dict[str | None, int]
) -> None:
    """Partitions are asked for from hosts above the share, up to the own share."""
    assert expected == asked_for(many(*owners))


def test_row_that_is_asked_for_counts_for_who_asked() -> None:
    """What is on its way to me is not asked for twice."""
    leases = many("a", "a", "a", "a", next_owners=["me", "me"])

    assert [] == decide(leases, me="me", now=NOW)


def test_row_on_its_way_to_a_third_is_not_taken() -> None:
    """Only rows that nobody has asked for are asked for."""
    leases = many("a", "a", "a", "a", next_owners=["b", "b"])

    written = decide(leases, me="me", now=NOW)

    assert [(QUEUES[2], "me")] == [(x.queue, x.next_owner) for x in written]


def test_free_rows_are_claimed_before_any_is_asked_for() -> None:
    """What is free fills the share first."""
    written = decide(many("a", "a", None, None), me="me", now=NOW)

    assert [QUEUES[2], QUEUES[3]] == [lease.queue for lease in written]


# Several hosts


@dataclass
class Table:
    """The rows as hosts see them: who writes needs the ETag that he has read."""

    now: str = NOW
    rows: dict[str, Lease] = field(
        default_factory=lambda: {q: Lease(queue=q, etag="0") for q in QUEUES}
    )

    def write(self, lease: Lease) -> bool:
        """Replace a row; False when another was faster."""
        current = self.rows[lease.queue].etag
        if lease.etag != current:
            return False
        self.rows[lease.queue] = replace(lease, etag=str(int(current) + 1))
        return True

    def owners(self) -> list[str | None]:
        """Return the owners of the rows."""
        return [self.rows[queue].owner for queue in QUEUES]


@dataclass
class Host:
    """A host that listens to what its last pass told it to own."""

    name: str
    table: Table
    listens: set[str] = field(default_factory=set)
    is_stopping: bool = False

    def read(self) -> list[Lease]:
        """Read the table, and stop to listen to what is lost or asked for."""
        leases = list(self.table.rows.values())
        self.listens = {
            lease.queue
            for lease in leases
            if lease.queue in self.listens and self.is_mine(lease)
        }
        return leases

    def is_mine(self, lease: Lease) -> bool:
        """Whether this host may listen to a queue."""
        is_wanted = lease.next_owner is not None or self.is_stopping
        return lease.owner == self.name and not is_wanted

    def write(self, leases: list[Lease]) -> None:
        """Write what the protocol says, and listen to what was claimed."""
        wishes = decide(
            leases,
            me=self.name,
            now=self.table.now,
            drained=set(QUEUES) - self.listens,
            is_stopping=self.is_stopping,
        )
        written = {w.queue: w for w in wishes if self.table.write(w)}
        for lease in leases:
            if self.is_mine(written.get(lease.queue, lease)):
                self.listens.add(lease.queue)

    def make_pass(self) -> None:
        """Read and write, with nobody in between."""
        self.write(self.read())


def run(table: Table, hosts: list[Host], passes: int) -> None:
    """Let all hosts make some passes, a second apart."""
    for _ in range(passes):
        for host in hosts:
            host.make_pass()
        table.now = plus_ms(table.now, 1_000)


def started(*names: str) -> tuple[Table, list[Host]]:
    """Return a fresh table, and hosts of which the first owns everything."""
    table = Table()
    hosts = [Host(name=name, table=table) for name in names]
    run(table, hosts[:1], 1)
    return table, hosts


def test_one_host_owns_all_after_one_pass() -> None:
    """A fresh hub is listened to at once."""
    table, (host,) = started("a")

    assert ["a"] * 4 == table.owners()
    assert set(QUEUES) == host.listens


@pytest.mark.parametrize(
    ("names", "shares"), [("ab", [2, 2]), ("abc", [1, 1, 2]), ("abcd", [1, 1, 1, 1])]
)
def test_hosts_converge_within_few_passes(names: str, shares: list[int]) -> None:
    """Hosts that join one that owns all have their shares after six passes."""
    table, hosts = started(*names)

    run(table, hosts, 6)

    assert shares == sorted(len(host.listens) for host in hosts)
    assert sorted(Counter(table.owners()).values()) == shares


@pytest.mark.parametrize("names", ["ab", "abc", "abcd"])
def test_balanced_hosts_write_renewals_only(names: str) -> None:
    """Once balanced, nothing wanders to and fro."""
    table, hosts = started(*names)
    run(table, hosts, 10)
    owners = table.owners()

    run(table, hosts, 30)

    assert owners == table.owners()


def test_rows_of_a_killed_host_are_taken_after_thirty_seconds() -> None:
    """Nobody takes them earlier, and the one that is left has all of them then."""
    table, (first, second) = started("a", "b")
    run(table, [first, second], 6)

    run(table, [second], 20)
    assert 2 == len(second.listens)
    run(table, [second], 12)

    assert set(QUEUES) == second.listens


def test_rows_of_a_stopped_host_are_taken_at_once() -> None:
    """A host that ends properly leaves nothing to wait for."""
    table, (first, second) = started("a", "b")
    run(table, [first, second], 6)
    first.is_stopping = True

    run(table, [first, second], 2)

    assert (set(), set(QUEUES)) == (first.listens, second.listens)


def test_host_that_comes_back_under_its_name_goes_on_at_once() -> None:
    """A restart on the same port need not wait for its own lease to end."""
    table, _ = started("a")
    again = Host(name="a", table=table)

    run(table, [again], 1)

    assert set(QUEUES) == again.listens


def test_host_that_slept_sees_that_it_lost_its_rows() -> None:
    """A host that was stopped in the middle listens to nothing that is not its own."""
    table, (first, second) = started("a", "b")
    table.now = plus_ms(table.now, 45_000)
    run(table, [second], 1)

    first.read()

    assert (set(), set(QUEUES)) == (first.listens, second.listens)


def test_host_that_slept_leaves_what_was_taken_meanwhile() -> None:
    """Its leases ran out; it neither writes the rows nor asks for all of them."""
    table, (first, second) = started("a", "b")
    table.now = plus_ms(table.now, 31_000)
    run(table, [second], 1)

    first.make_pass()

    assert ["b"] * 4 == table.owners()
    assert Counter(r.next_owner for r in table.rows.values()) == {"a": 2, None: 2}


def test_host_that_slept_goes_on_with_what_nobody_took() -> None:
    """Its leases ran out, but it is alone."""
    table, (host,) = started("a")
    table.now = plus_ms(table.now, 10 * LEASE_MS)

    host.make_pass()

    assert ["a"] * 4 == table.owners()
    assert not any(lease.is_expired(table.now) for lease in table.rows.values())


_SCHEDULES = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcd"), min_size=1, max_size=2, unique=True),
        st.integers(0, 2_000),
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(schedule=_SCHEDULES, stops_at=st.integers(0, 60))
def test_nobody_owns_twice(
    schedule: list[tuple[list[str], int]], stops_at: int
) -> None:
    """Whatever the order of passes, no queue is listened to by two hosts at a time."""
    table, hosts = started(*"abcd")
    by_name = {host.name: host for host in hosts}
    for number, (names, pause_ms) in enumerate(schedule):
        by_name["b"].is_stopping = number >= stops_at
        read = [(by_name[name], by_name[name].read()) for name in names]
        for host, leases in read:
            host.write(leases)
            counts = Counter(queue for each in hosts for queue in each.listens)
            assert all(count == 1 for count in counts.values())
        table.now = plus_ms(table.now, pause_ms)
        _keep_alive(table, hosts)


def _keep_alive(table: Table, hosts: list[Host]) -> None:
    """Let hosts make a pass before their leases end, as every running host does."""
    for host in hosts:
        renewals = [
            lease.renewed_at
            for lease in table.rows.values()
            if lease.owner == host.name and lease.renewed_at is not None
        ]
        if any(to_ticks(table.now) > to_ticks(plus_ms(r, 20_000)) for r in renewals):
            host.make_pass()


# What the real host wrote


def recorded(data: Path, scenario: str) -> list[dict[str, Any]]:
    """Return the rows that a recorded host has written, with key and ETag read."""
    (path,) = (data / "storage").glob(f"{scenario}-*.jsonl")
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        line["body"]
        | {
            "RowKey": line["path"].split("'")[3],
            "odata.etag": line["headers"]["if-match"],
        }
        for line in lines
        if line["op"] == "PUT" and "Partitions(" in line["path"]
    ]


def is_alike(expected: Lease, actual: Lease | None) -> bool:
    """Whether two rows say the same; the real host looks at its clock several times."""
    if actual is None:
        return False
    names = ("owned_since", "renewed_at", "expires_at")
    for name in names:
        ours, theirs = getattr(actual, name), getattr(expected, name)
        if (ours is None) is not (theirs is None):
            return False
        if ours is not None and abs(to_ticks(ours) - to_ticks(theirs)) > 10_000:
            return False
    same = {name: getattr(expected, name) for name in (*names, "etag")}
    return replace(actual, **same) == expected


@pytest.mark.parametrize("scenario", ["40", "41", "42"])
def test_recorded_rows_are_written_as_read(data: Path, scenario: str) -> None:
    """Rows of the real host have the same columns, in the same order, when written."""
    rows = recorded(data, scenario)
    columns = [
        [(k, v) for k, v in row.items() if k not in ("RowKey", "odata.etag")]
        for row in rows
    ]

    assert len(rows) >= 8
    assert columns == [list(Lease.from_row(row).to_row().items()) for row in rows]


def test_recorded_claim(data: Path) -> None:
    """A fresh row is claimed as the real host claimed it."""
    for row in recorded(data, "40")[:4]:
        claimed = Lease.from_row(row)
        fresh = Lease(queue=claimed.queue, etag="1")

        assert is_alike(claimed, one(fresh, me="vm", now=str(claimed.renewed_at)))


def test_recorded_renewals(data: Path) -> None:
    """Each recorded renewal follows from the row that was there before."""
    rows = [*recorded(data, "40"), *recorded(data, "41")]
    last: dict[str, Lease] = {}
    for row in rows:
        lease = Lease.from_row(row)
        if lease.queue in last:
            now = str(lease.renewed_at)
            assert is_alike(lease, one(last[lease.queue], me="vm", now=now))
        last[lease.queue] = lease

    assert 4 == len(last)


def test_recorded_release(data: Path) -> None:
    """A stopping host announces that it drains, and then lets go."""
    rows = [Lease.from_row(row) for row in recorded(data, "42")]
    before = {r["RowKey"]: Lease.from_row(r) for r in recorded(data, "41")}
    for draining, free in zip(rows[:4], rows[4:], strict=True):
        now = str(draining.renewed_at)
        queue = draining.queue
        first = one(before[queue], me="vm", now=now, is_stopping=True)
        second = one(draining, me="vm", now=now, is_stopping=True, drained={queue})

        assert is_alike(draining, first)
        assert is_alike(free, second)
