import azure.durable_functions as df


def orchestrator_function(context: df.DurableOrchestrationContext):
    devices = context.get_input()
    updates = [
        context.call_sub_orchestrator("UpdateDevice", device) for device in devices
    ]
    return (yield context.task_all(updates))


main = df.Orchestrator.create(orchestrator_function)
