"""Returns what comes with the event ``Go``."""

from collections.abc import Generator
from typing import Any

import azure.durable_functions as df


def orchestrator_function(
    context: df.DurableOrchestrationContext,
) -> Generator[Any, Any, Any]:
    content = yield context.wait_for_external_event("Go")
    return content


main = df.Orchestrator.create(orchestrator_function)
