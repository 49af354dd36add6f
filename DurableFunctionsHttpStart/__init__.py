# This function an HTTP starter function for Durable Functions.
# Before running this sample, please:
# - create a Durable orchestration function
# - create a Durable activity function (default name is "Hello")
# - add azure-functions-durable to requirements.txt
# - run pip install -r requirements.txt

import logging

import azure.functions as func
import azure.durable_functions as df


async def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
    client = df.DurableOrchestrationClient(starter)
    try:
        instance_id = await client.start_new(req.route_params["functionName"], None, None)
    except Exception as exc:
        # Added to the template, which answers an empty 500 to a name that does not exist.
        if str(exc).startswith("The function '"):
            return func.HttpResponse(str(exc), status_code=404)
        raise

    logging.info(f"Started orchestration with ID = '{instance_id}'.")

    return client.create_check_status_response(req, instance_id)
