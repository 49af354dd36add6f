"""What a crash scenario asks of its host: each request again until it is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.acceptance.asking import FINISHED, wait_for
from tests.chaos.crashing_host import CrashingHost
from tests.chaos.patterns import SIGNAL_BASE
from tests.chaos.wanted import Wanted, Wishes
from tests.integration.conftest import Judge

LAST_TRY = 5  # of a message that nobody can read
POLL_S = 0.5  # what the SDKs ask costs more than what the host does
_WAIT_LIMIT_S = 30.0


class Work:
    """Asks a host and takes notes of what must come of it.

    With ``asks_again`` what was not answered is asked again, as an impatient caller
    does; else a start is given up.
    """

    def __init__(
        self, host: CrashingHost, judge: Judge, *, asks_again: bool = True
    ) -> None:
        self.wishes = Wishes()
        self._host = host
        self._judge = judge
        self._asks_again = asks_again

    def start(self, instance_id: str, name: str, body: Any = None, **end: Any) -> None:
        """Start an instance that is to end so (see ``Wanted``)."""
        wanted = Wanted(instance_id=instance_id, name=name, body=body, **end)
        self.wishes.instances[instance_id] = wanted
        wanted.is_answered = self._ask("start_new", name, instance_id, body)

    def add_digits(self, instance_id: str, *, count: int) -> None:
        """Start an instance that adds so many digits of its own to the tally."""
        digits = [self._next_digit(is_answered=True) for _ in range(count)]
        self.start(instance_id, "AddsDigits", digits, output=count)

    def signal(self) -> None:
        """Let a client add a digit to the tally, once: nobody repeats a signal."""
        digit = self._next_digit(is_answered=False)
        arguments = ["Counter", "tally"], "add", digit
        is_answered = self._call("signal_entity", *arguments)
        self.wishes.tally.is_answered[-1] = is_answered

    def raise_event(self, instance_id: str, name: str) -> None:
        """Raise an event with a value of its own; again, with another, if need be."""
        wanted = self.wishes.instances[instance_id]
        is_answered = False
        while not is_answered:
            value = f"{instance_id}/{len(wanted.sent)}"
            wanted.sent.append(value)
            is_answered = self._raise(instance_id, name, value)
        wanted.answered.append(value)

    def end_events(self, instance_id: str) -> None:
        """Tell an eternal instance to end, once it has all that was answered."""
        answered = self.wishes.instances[instance_id].answered

        def has_all() -> bool:
            self._host.watched()
            [row] = self._judge.rows("Instances", instance_id)
            return all(value in str(row.get("Input")) for value in answered)

        self._wait(has_all, f"{instance_id} to take its events")
        if not self._raise(instance_id, "Item", "end"):
            self._raise(instance_id, "Item", "end")

    def terminate(self, instance_id: str) -> None:
        self._ask("terminate", instance_id, "enough")

    def suspend(self, instance_id: str) -> None:
        """Suspend an instance and wait until its row says so."""
        self._ask("suspend", instance_id, "a while")
        self.wait_for_status(instance_id, "Suspended")

    def resume(self, instance_id: str) -> None:
        self._ask("resume", instance_id, "enough")

    def stop_in_turn(self) -> None:
        """Ask the host to end while ``SlowTurn`` is in its second turn."""
        marker = self._host.scratch / "in-turn"
        self._wait(marker.exists, "the second turn of SlowTurn")
        self._host.ask_to_end()

    def rewind(self, instance_id: str) -> None:
        """Heal an instance that has failed, and rewind it."""
        self.wait_for_end(instance_id)
        for healed in (instance_id, f"{instance_id}-child"):
            (self._host.scratch / f"healed-{healed}").touch()
        self._ask("rewind", instance_id, "healed")

    def purge(self, instance_id: str) -> None:
        """Purge an instance that has ended."""
        self.wait_for_end(instance_id)
        del self.wishes.instances[instance_id]
        self.wishes.purged.add(instance_id)
        self._ask("purge_instance_history", instance_id)

    def put_poison(self) -> None:
        """Leave a text in a queue that the host is to try for the last time."""
        queue, text = f"{self._judge.hub.lower()}-control-00", "{no JSON"
        client = self._judge.queues.get_queue_client(queue)
        client.create_queue()
        client.send_message(text, time_to_live=-1)
        for _ in range(LAST_TRY - 1):
            for taken in list(client.receive_messages(visibility_timeout=30)):
                client.update_message(taken, visibility_timeout=0)
        self.wishes.poison[queue] = text

    def wait_for_end(self, instance_id: str) -> None:
        """Wait until an instance has ended, well or badly, under whichever host."""
        self.wait_for_status(instance_id, *FINISHED)

    def wait_for_status(self, instance_id: str, *statuses: str) -> None:
        """Wait until the row of an instance has one of some states."""

        def is_so() -> bool:
            self._host.watched()
            rows = self._judge.rows("Instances", instance_id)
            return bool(rows) and rows[0]["RuntimeStatus"] in statuses

        self._wait(is_so, f"{instance_id} to be one of {statuses}")

    def _ask(self, operation: str, *arguments: Any) -> bool:
        """Call a method of the client; whether it was answered, at last."""
        if self._call(operation, *arguments):
            return True
        if operation == "start_new" and not self._asks_again:
            return False
        return self._call(operation, *arguments, is_again=True)

    def _call(self, operation: str, *arguments: Any, is_again: bool = False) -> bool:
        """Call a method of the client once; False when the host ended over it."""
        answer = self._host.post(f"/api/client/{operation}", list(arguments))
        if answer is None:
            return False
        status, text = answer
        # An error of the second time tells that the first time had done it.
        if status != 200 or ('"ok"' not in text and not is_again):
            self.wishes.oddities.append(f"{operation}{arguments}: {status} {text}")
        return True

    def _raise(self, instance_id: str, name: str, value: str) -> bool:
        """Raise an event once; False when the host ended over it.

        Not by the client of the SDK, which wraps a text into JSON twice.
        """
        address = f"/runtime/webhooks/durabletask/instances/{instance_id}"
        answer = self._host.post(
            f"{address}/raiseEvent/{name}?code={self._host.code}", value
        )
        # 410: it has ended, with an event whose answer was lost.
        if answer is not None and answer[0] not in (202, 410):
            self.wishes.oddities.append(f"event {value}: {answer}")
        return answer is not None

    def _next_digit(self, *, is_answered: bool) -> int:
        digits = self.wishes.tally.is_answered
        digits.append(is_answered)
        return int(SIGNAL_BASE ** (len(digits) - 1))

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        wait_for(condition, what, limit_s=_WAIT_LIMIT_S, poll_s=POLL_S)
