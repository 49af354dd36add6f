"""Runs as many steps as its input says; returns when each of them ran."""

from collections.abc import Generator
from typing import Any

import azure.durable_functions as df


def orchestrator_function(
    context: df.DurableOrchestrationContext,
) -> Generator[Any, Any, list[float]]:
    steps: Any = context.get_input()
    times_s = []
    for step in range(steps):
        time_s = yield context.call_activity("Clock", step)
        times_s.append(time_s)
    return times_s


main = df.Orchestrator.create(orchestrator_function)
