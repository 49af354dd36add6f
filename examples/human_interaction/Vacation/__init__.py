from datetime import timedelta

import azure.durable_functions as df


def orchestrator_function(context: df.DurableOrchestrationContext):
    request = context.get_input()
    yield context.call_activity("AskManager", request["who"])
    due = context.current_utc_datetime + timedelta(seconds=request["patience_s"])
    timeout = context.create_timer(due)
    answer = context.wait_for_external_event("Approval")
    winner = yield context.task_any([answer, timeout])
    if winner == timeout:
        return (yield context.call_activity("Escalate", request["who"]))
    timeout.cancel()
    return "approved" if answer.result else "rejected"


main = df.Orchestrator.create(orchestrator_function)
