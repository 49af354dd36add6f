"""Waits for many activities at once; returns the sum of what they returned."""

from collections.abc import Generator
from typing import Any

import azure.durable_functions as df


def orchestrator_function(
    context: df.DurableOrchestrationContext,
) -> Generator[Any, Any, int]:
    count: Any = context.get_input()
    tasks = [context.call_activity("Echo", number) for number in range(count)]
    numbers = yield context.task_all(tasks)
    return sum(numbers)


main = df.Orchestrator.create(orchestrator_function)
