"""Answers in hand: when there are too many to begin more work."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from localhost.delivery.answers_in_hand import (
    FEW_ANSWERS,
    LATE_S,
    MOST_ANSWERS,
    Answered,
)
from localhost.taskhub.port import Received


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What ``time.monotonic`` says, in seconds."""
    clock = [1_000.0]
    time = SimpleNamespace(monotonic=lambda: clock[0])
    monkeypatch.setattr("localhost.taskhub.answered.time", time)
    return clock


def work_item(number: int, receipt: str = "first", until_s: float = 5.0) -> Received:
    return Received(
        queue="workitems",
        message_id=str(number),
        pop_receipt=receipt,
        dequeue_count=1,
        locked_until_s=until_s,
        message=None,
    )


def holding(count: int) -> Answered:
    answers = Answered()
    for number in range(count):
        answers.take(work_item(number))
    return answers


def test_fresh_answers_are_not_too_many(clock: list[float]) -> None:
    assert not holding(MOST_ANSWERS - 1).are_many


def test_a_thousand_are_too_many(clock: list[float]) -> None:
    assert holding(MOST_ANSWERS).are_many


def test_late_ones_are_too_many(clock: list[float]) -> None:
    answers = holding(FEW_ANSWERS + 1)
    clock[0] += LATE_S

    assert answers.are_many


def test_a_few_may_be_late(clock: list[float]) -> None:
    """Their instance is slow; those of other instances go on."""
    answers = holding(FEW_ANSWERS)
    clock[0] += 60

    assert not answers.are_many


def test_the_oldest_counts(clock: list[float]) -> None:
    answers = holding(1)
    clock[0] += LATE_S
    for number in range(1, FEW_ANSWERS + 2):
        answers.take(work_item(number))
    assert answers.are_many

    assert answers.let_go(work_item(0))

    assert not answers.are_many


def test_one_that_is_let_go_is_none(clock: list[float]) -> None:
    answers = holding(1)

    assert answers.let_go(work_item(0))
    assert not answers.let_go(work_item(0))
    assert not answers.recognise(work_item(0))


def test_one_that_comes_again_brings_its_receipt(clock: list[float]) -> None:
    answers = Answered()
    ours = work_item(1)
    answers.take(ours)

    assert answers.recognise(work_item(1, receipt="second", until_s=9.0))
    assert not answers.recognise(work_item(2))

    assert ("second", 9.0) == (ours.pop_receipt, ours.locked_until_s)
