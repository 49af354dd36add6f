import azure.durable_functions as df


def orchestrator_function(context: df.DurableOrchestrationContext):
    texts = context.get_input()
    tasks = [context.call_activity("CountWords", text) for text in texts]
    counts = yield context.task_all(tasks)
    return {"counts": counts, "total": sum(counts)}


main = df.Orchestrator.create(orchestrator_function)
