import azure.durable_functions as df


def orchestrator_function(context: df.DurableOrchestrationContext):
    order = context.get_input()
    order = yield context.call_activity("Price", order)
    order = yield context.call_activity("Charge", order)
    return (yield context.call_activity("Ship", order))


main = df.Orchestrator.create(orchestrator_function)
