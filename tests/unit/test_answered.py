"""Answers in hand: when there are too many to begin more work."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from localhost.delivery.answers_in_hand import (
    FEW_ANSWERS,
    LATE_S,
    MOST_ANSWERS,
    AnswersInHand,
)
from localhost.delivery.messages import WorkItem


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What ``time.monotonic`` says, in seconds."""
    clock = [1_000.0]
    time = SimpleNamespace(monotonic=lambda: clock[0])
    monkeypatch.setattr("localhost.delivery.answers_in_hand.time", time)
    return clock


def holding(count: int) -> AnswersInHand:
    answers = AnswersInHand()
    for _ in range(count):
        answers.take(WorkItem(message=None))
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
    answers, oldest = AnswersInHand(), WorkItem(message=None)
    answers.take(oldest)
    clock[0] += LATE_S
    for _ in range(FEW_ANSWERS + 1):
        answers.take(WorkItem(message=None))
    assert answers.are_many

    answers.release(oldest)

    assert not answers.are_many


def test_one_may_be_released_twice(clock: list[float]) -> None:
    """Who completes an answer does not know whether it was given back before."""
    answers, item = AnswersInHand(), WorkItem(message=None)
    answers.take(item)

    answers.release(item)
    answers.release(item)

    assert not answers.are_many
