"""Histories in memory: how many, for how long, and what outlives them."""

from __future__ import annotations

from collections.abc import Callable

from localhost.durable.history_cache import HistoryCache, InstanceHistory
from localhost.durable.pending import PendingMessage
from localhost.history import HistoryEvent
from localhost.records import TaskMessage

Event = Callable[..., HistoryEvent]
MB = 1024 * 1024


def history(instance_id: str, event: Event, *, chars: int = MB // 4) -> InstanceHistory:
    made = InstanceHistory(instance_id=instance_id)
    made.add([event("TaskCompleted", TaskScheduledId=0, Result="x" * chars)])
    return made


def cache_of(most_bytes: int) -> HistoryCache[InstanceHistory]:
    return HistoryCache(most_bytes=most_bytes)


def test_histories_are_bounded_by_their_bytes(event: Event) -> None:
    """The one that was used longest ago goes."""
    cache = cache_of(2 * MB)
    for number in range(10):
        cache.keep(history(f"i{number}", event), age=cache.age)

    kept = [n for n in range(10) if cache.take(f"i{n}") is not None]
    assert [7, 8, 9] == kept


def test_one_that_is_larger_than_all_memory_is_not_kept(event: Event) -> None:
    """It is read again."""
    cache = cache_of(MB)
    cache.keep(history("i", event, chars=MB), age=cache.age)

    assert cache.take("i") is None


def test_what_others_may_have_changed_meanwhile_is_not_kept(event: Event) -> None:
    """It was in work when the partition went and came back."""
    cache, age = cache_of(MB), 0
    cache.drop(lambda instance_id: True)
    cache.keep(history("i", event), age=age)

    assert cache.take("i") is None


def test_a_history_that_is_taken_leaves_its_memory(event: Event) -> None:
    """Whoever works on it puts it back."""
    cache = cache_of(2 * MB)
    for _ in range(10):
        cache.keep(cache.take("i") or history("i", event), age=cache.age)
        cache.keep(history("other", event), age=cache.age)

    assert cache.take("i") and cache.take("other")


def test_what_is_pending_outlives_an_execution(event: Event, started: Event) -> None:
    """As messages: its numbers are those of events that are gone."""
    made = history("i", event)
    message = TaskMessage(event=event("TimerFired"), instance_id="i", execution_id="e")
    made.pending.add([PendingMessage(number=3), PendingMessage(number=4)])

    made.restart({3: message})

    [left] = made.pending.left()
    assert (None, message) == (left.number, left.message)
    assert ([], 0, None) == (made.events, made.next_row, made.started)


def test_an_answer_settles_what_it_answers(event: Event) -> None:
    """Once it is in the history."""
    made = InstanceHistory(instance_id="i")
    made.pending.add([PendingMessage(number=0), PendingMessage(number=1)])

    made.add([event("TaskCompleted", TaskScheduledId=0)])

    assert [1] == [each.number for each in made.pending.left()]


def test_what_is_pending_of_a_history_outlives_it(event: Event) -> None:
    """Read again as it was, it has nothing to recover; changed meanwhile, it may."""
    cache = cache_of(0)
    let_go, changed = history("i", event), history("j", event)
    let_go.etag, changed.etag = "1", "1"
    for each in (let_go, changed):
        cache.keep(each, age=cache.age)

    assert cache.take("i") is None
    assert let_go.pending is cache.pending_of("i", "1")
    assert cache.pending_of("j", "2") is None


def test_what_is_pending_is_forgotten_with_the_partition(event: Event) -> None:
    """Others may have sent it, or taken it back."""
    cache = cache_of(0)
    cache.keep(history("i", event), age=cache.age)
    cache.drop(lambda instance_id: True)

    assert cache.pending_of("i", None) is None
