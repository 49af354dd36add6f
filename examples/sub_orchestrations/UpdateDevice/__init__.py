import azure.durable_functions as df


def orchestrator_function(context: df.DurableOrchestrationContext):
    device = context.get_input()
    three_times = df.RetryOptions(
        first_retry_interval_in_milliseconds=200, max_number_of_attempts=3
    )
    version = yield context.call_activity_with_retry("Install", three_times, device)
    return f"{device} runs {version}"


main = df.Orchestrator.create(orchestrator_function)
