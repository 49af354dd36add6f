"""What the console says of other hosts on the same hub."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from localhost.taskhub.leases import LEASE_MS, Lease
from localhost.taskhub.neighbours import OWN_HUB_ADVICE, Neighbours
from localhost.timestamps import plus_ms

NOW = "2026-11-22T04:00:00Z"


@pytest.fixture(name="neighbours")
def _neighbours() -> Neighbours:
    """A host ``me`` that has just started."""
    return Neighbours(hub="Hub", me="me")


def rows(*owners: str | None, at: str = NOW) -> list[Lease]:
    """Return rows by their owners, renewed at a time."""
    leases = [
        Lease(queue=f"hub-control-{number:02}", etag="1").renewed(at)
        for number in range(len(owners))
    ]
    return [replace(x, owner=owner) for x, owner in zip(leases, owners, strict=True)]


def said(neighbours: Neighbours, leases: list[Lease], now: str = NOW) -> list[str]:
    return [note.text for note in neighbours.look(leases, now)]


@pytest.mark.parametrize("owners", [("me", "me"), (None, None)])
def test_a_host_alone_says_nothing(
    neighbours: Neighbours, owners: tuple[str | None, ...]
) -> None:
    """It works on a fresh hub, or was restarted in the place of the one before."""
    assert [] == said(neighbours, rows(*owners))
    assert [] == said(neighbours, rows("me", "me"))


def test_a_host_that_works_is_told_of_at_the_start(neighbours: Neighbours) -> None:
    """By its name and the hub's; with what to do, also when it was just killed."""
    (note,) = neighbours.look(rows("other", "other", at=plus_ms(NOW, -9_000)), NOW)

    assert logging.WARNING == note.level
    assert note.text.startswith(
        "Another host, other, works on 2 of the 2 partitions of task hub Hub. They"
        " share them from now on"
    )
    assert "(If that one was killed, they pass to this host in 21 s.)" in note.text
    assert note.text.endswith(OWN_HUB_ADVICE)


def test_a_host_that_no_longer_renews_seems_to_be_gone(neighbours: Neighbours) -> None:
    """Until its leases end the instances of its partitions wait, and it is said."""
    (text,) = said(neighbours, rows("other", "me", at=plus_ms(NOW, -20_000)))

    assert text.startswith(
        "A host that seems to be gone, other, still has 1 of the 2 partitions of task"
        " hub Hub: it renewed them last 20 s ago. Instances of these partitions wait"
        " until they pass to this host, in 10 s."
    )


def test_leases_that_are_over_are_no_host(neighbours: Neighbours) -> None:
    """They are claimed at once."""
    assert [] == said(neighbours, rows("other", at=plus_ms(NOW, -LEASE_MS)))


def test_the_same_host_is_told_of_once(neighbours: Neighbours) -> None:
    """Until it has gone and comes again; the advice comes once only."""
    first = said(neighbours, rows("other", "me"))

    assert [] == said(neighbours, rows("other", "me"))
    said(neighbours, rows("me", "me"))
    second = said(neighbours, rows("other", "me"))
    assert first != second
    assert second[0].startswith("Another host, other, has come to task hub Hub.")
    assert OWN_HUB_ADVICE not in second[0]


def test_a_host_that_asks_for_a_partition_is_told_of(neighbours: Neighbours) -> None:
    """The host that was there first hears of the second in its next pass."""
    leases = rows("me", "me")
    said(neighbours, leases)

    (text,) = said(neighbours, [leases[0], replace(leases[1], next_owner="second")])

    assert text.startswith("Another host, second, has come to task hub Hub. They share")


def test_who_has_which_partition_is_said_when_it_changes(
    neighbours: Neighbours,
) -> None:
    """One line, for the host and its neighbours; none when nothing changed."""
    said(neighbours, rows("a", "a", "b", "a"))

    (text,) = said(neighbours, rows("me", "a", "b", "me"))

    assert "Partitions of task hub Hub: 00, 03: this host; 01: a; 02: b." == text
    assert [] == said(neighbours, rows("me", "a", "b", "me"))


def test_a_partition_on_its_way_is_of_who_gets_it(neighbours: Neighbours) -> None:
    """It has been given up and not been claimed yet."""
    leases = rows("me", "me")
    said(neighbours, leases)

    texts = said(
        neighbours, [leases[0], replace(leases[1], owner=None, next_owner="b")]
    )

    assert "Partitions of task hub Hub: 00: this host; 01: b." == texts[-1]


def test_that_all_partitions_have_come_back_is_said(neighbours: Neighbours) -> None:
    """The other host has gone, so nobody waits any more."""
    said(neighbours, rows("other", "me"))

    assert ["Partitions of task hub Hub: 00, 01: this host."] == said(
        neighbours, rows("me", "me")
    )


def test_a_host_that_lost_everything_says_so(neighbours: Neighbours) -> None:
    """It stood still for too long, and another took what it had."""
    said(neighbours, rows("me", "me"))

    texts = said(neighbours, rows("other", "other"))

    assert "Partitions of task hub Hub: none: this host; 00, 01: other." == texts[-1]
