from datetime import timedelta

import azure.durable_functions as df


def orchestrator_function(context: df.DurableOrchestrationContext):
    watch = context.get_input()
    is_there = yield context.call_activity("FileExists", watch["path"])
    if is_there:
        return "it is there"
    if watch["looks"] <= 1:
        return "it did not come"
    next_look = context.current_utc_datetime + timedelta(seconds=watch["every_s"])
    yield context.create_timer(next_look)
    context.continue_as_new({**watch, "looks": watch["looks"] - 1})


main = df.Orchestrator.create(orchestrator_function)
