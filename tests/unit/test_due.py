"""When a message is due, while the clock of the machine is set back or forward."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from localhost import timestamps
from localhost.history import EventType, HistoryEvent
from localhost.records import TaskMessage
from localhost.taskhub.due import due_at_s, hidden_for_s
from localhost.timestamps import TICKS_PER_S, Clock, SteadyTime, plus_ms, to_ticks

HOUR_S = 3600.0


class Machine:
    """The two clocks of a machine: one that is set, and one that only goes on."""

    def __init__(self) -> None:
        self.wall_s = 1_800_000_000.0
        self.monotonic_s = 50.0

    def go_on(self, seconds: float) -> None:
        self.wall_s += seconds
        self.monotonic_s += seconds

    def steady_time(self) -> SteadyTime:
        return SteadyTime(
            wall_ns=lambda: round(self.wall_s * 1e9),
            monotonic_ns=lambda: round(self.monotonic_s * 1e9),
        )


@pytest.fixture(name="machine")
def _machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The clocks of this process, from now on."""
    machine = Machine()
    monkeypatch.setattr(time, "monotonic", lambda: machine.monotonic_s)
    monkeypatch.setattr(timestamps, "_steady", machine.steady_time())
    return machine


def timer(clock: Clock, after_s: float) -> TaskMessage:
    now = clock.now()
    event = HistoryEvent(
        type=EventType.TimerFired,
        timestamp=now,
        fields={"TimerId": 1, "FireAt": plus_ms(now, after_s * 1000)},
    )
    return TaskMessage(event=event, instance_id="i1", execution_id="e1")


@pytest.mark.parametrize("back_s", [0.5, 5.0, HOUR_S, 24 * 365 * HOUR_S])
def test_a_step_back_delays_no_timer_that_waits(
    machine: Machine, back_s: float
) -> None:
    """What was to wait for ten seconds waits for ten seconds."""
    message = timer(Clock(), 10)

    machine.wall_s -= back_s
    machine.go_on(4)

    assert 6 == pytest.approx(due_at_s(message) - machine.monotonic_s, abs=0.11)


@pytest.mark.parametrize("back_s", [0.5, 5.0, HOUR_S])
def test_a_step_back_delays_no_timer_that_is_made_later(
    machine: Machine, back_s: float
) -> None:
    """Its time, and how long it is hidden, are told by the same clock."""
    clock = Clock()
    clock.now()
    machine.wall_s -= back_s
    machine.go_on(1)

    message = timer(clock, 10)

    assert hidden_for_s(message, clock.now()) in (9, 10)
    assert 10 == pytest.approx(due_at_s(message) - machine.monotonic_s, abs=0.01)


def test_time_goes_on_after_a_step_back(machine: Machine) -> None:
    """A function that measures by it sees a second for a second, not a standstill."""
    clock = Clock()
    before = to_ticks(clock.now())
    machine.wall_s -= HOUR_S
    machine.go_on(10)

    assert 10 == pytest.approx((to_ticks(clock.now()) - before) / TICKS_PER_S, rel=0.02)


@pytest.mark.parametrize("forward_s", [0.5, HOUR_S])
def test_a_step_forward_is_followed_at_once(machine: Machine, forward_s: float) -> None:
    """So a machine that slept has its timers fire when it wakes."""
    message = timer(Clock(), 10)

    machine.wall_s += forward_s

    assert 10 - forward_s == pytest.approx(due_at_s(message) - machine.monotonic_s)
    assert to_ticks(Clock().now()) == round(machine.wall_s * TICKS_PER_S)


def test_a_clock_that_was_set_back_is_caught_up_with(machine: Machine) -> None:
    """Slowly, so that times go on; a drift of the two clocks never adds up."""
    clock = Clock()
    clock.now()
    machine.wall_s -= 2
    for _ in range(300):
        machine.go_on(1)
        now = to_ticks(clock.now())

    assert now == pytest.approx(machine.wall_s * TICKS_PER_S, abs=10)


def test_another_clock_tells_the_same_time(machine: Machine) -> None:
    """There is one time in a process: due times are compared with it."""
    Clock().now()
    machine.wall_s -= HOUR_S

    assert to_ticks(Clock().now()) / TICKS_PER_S == pytest.approx(
        machine.wall_s + HOUR_S, abs=0.001
    )


def test_without_a_step_the_time_is_that_of_the_machine() -> None:
    """To the tick in which it is asked."""
    before = time.time_ns() // 100
    now = to_ticks(Clock().now())

    assert before <= now <= time.time_ns() // 100 + 1


def test_the_earliest_moment_is_never_too_early() -> None:
    """A message that is due when it is looked at is due at once."""
    make: Callable[[float], TaskMessage] = lambda s: timer(Clock(), s)  # noqa: E731

    assert due_at_s(make(0)) <= time.monotonic()
    assert due_at_s(make(1)) > time.monotonic()
