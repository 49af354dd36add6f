"""The parts of crash scenarios: what is asked of a host, and how it is to end."""

from __future__ import annotations

from collections.abc import Callable

from tests.acceptance.asking import GREETINGS
from tests.chaos.work import Work

Part = Callable[[Work], None]


def chain(work: Work) -> None:
    work.start("chain", "HelloOrchestrator", output=GREETINGS)


def chains(work: Work) -> None:
    """What one of them happens to miss, another will meet."""
    for number in range(10):
        work.start(f"chain-{number}", "HelloOrchestrator", output=GREETINGS)


def fan_out(work: Work) -> None:
    work.start("fan-out", "FanOut", 20, output=_squares(20))


def few(work: Work) -> None:
    work.start("few", "FanOut", 3, output=_squares(3))


def wide(work: Work) -> None:
    """Schedule more than a transaction holds."""
    work.start("wide", "FanOut", 120, output=_squares(120))


def children(work: Work) -> None:
    output = [GREETINGS, {"x": 1}]
    work.start("parent", "SubOrch", output=output, child_count=2)
    work.start("parents", "ParallelSub", output=[0, 1, 2, 3], child_count=4)


def entities(work: Work) -> None:
    work.start("entity", "EntityOrch", output=7)
    work.signal()
    work.add_digits("adds", count=3)
    work.add_digits("adds-too", count=4)
    work.signal()


def last_signal(work: Work) -> None:
    """Tell an entity something in the turn that ends the instance."""
    work.add_digits("adds-last", count=1)


def eternal(work: Work) -> None:
    work.start("eternal", "Eternal", output=3)


def timers(work: Work) -> None:
    work.start("timer", "Timer", output=True)
    work.start("timer-past", "TimerPast", output="done")


def custom_status(work: Work) -> None:
    last = ["done", 3]
    work.start("custom", "CustomStatus", output="ok", custom_status=last)


def custom_statuses(work: Work) -> None:
    """See ``chains``."""
    for number in range(10):
        work.start(
            f"custom-{number}", "CustomStatus", output="ok", custom_status=["done", 3]
        )


def large(work: Work) -> None:
    """Have inputs, results and outputs that neither message nor row can hold."""
    text = "y" * 60_000
    nap = {"s": 1.0, "v": text}  # so long that its activity gets a message
    work.start("large-input", "Echo", text, output=text)
    work.start("large-nap", "Naps", [nap], output=[text])
    work.start("large-task", "PassesLarge", output=60_000)
    work.start("large-result", "LargePayload", 100_000, output=100_000)
    work.start("large-output", "LargeOutput", 100_000, output="x" * 100_000)


def events(work: Work) -> None:
    work.start("events", "EternalEvents")
    for _ in range(3):
        work.raise_event("events", "Item")
    work.end_events("events")


def terminated(work: Work) -> None:
    end = {"status": "Terminated", "output": "enough"}
    work.start("terminated", "EternalEvents", **end)
    work.terminate("terminated")


def suspended(work: Work) -> None:
    work.start("suspended", "EternalEvents")
    work.suspend("suspended")
    work.resume("suspended")
    work.raise_event("suspended", "Item")
    work.end_events("suspended")


def slow(work: Work) -> None:
    """Have activities that take so long that each gets a message of its own."""
    naps = [{"s": 1.0, "v": number} for number in range(3)]
    work.start("slow", "Naps", naps, output=[0, 1, 2])


def stopped(work: Work) -> None:
    """Stop the host while answers of activities wait for a turn to end."""
    work.start("stopped", "SlowTurn", output=[0, 1, 2])
    work.stop_in_turn()


def again(work: Work) -> None:
    """Start an instance over one that has ended."""
    for text in ("first", "second"):
        work.start("again", "Echo", text, output=text)
        work.wait_for_end("again")


def rewound(work: Work) -> None:
    work.start("rewound", "RewindMe", output=["Hello one!", "healed"])
    work.rewind("rewound")


def rewound_parent(work: Work) -> None:
    output = ["Hello one!", "healed"]
    work.start("rewound-parent", "CallsRewindMe", output=output, child_count=1)
    work.rewind("rewound-parent")


def purged_wide(work: Work) -> None:
    """Purge more rows than a transaction deletes."""
    work.start("purged-wide", "FanOut", 60)
    work.purge("purged-wide")


def purged_large(work: Work) -> None:
    """Purge rows and blobs."""
    work.start("purged-large", "LargePayload", 100_000)
    work.purge("purged-large")


def poison(work: Work) -> None:
    """Leave a text that nobody can read before the host begins."""
    work.put_poison()
    work.start("beside-poison", "HelloOrchestrator", output=GREETINGS)


def exits(work: Work) -> None:
    """Have an activity that kills the host, the first time."""
    work.start("exits", "CallsKillsOnce", output="ran again")


# Everything, in few passes; the first must come before the host begins.
ALL = (
    *(poison, chain, few, children, entities, eternal, timers, large, terminated),
    custom_status,
    *(events, suspended, again, rewound, rewound_parent, purged_large),
)


def _squares(count: int) -> int:
    return sum(number * number for number in range(count))
