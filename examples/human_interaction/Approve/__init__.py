import azure.durable_functions as df
import azure.functions as func


async def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
    client = df.DurableOrchestrationClient(starter)
    instance_id = req.route_params["instanceId"]
    await client.raise_event(instance_id, "Approval", req.get_json())
    return func.HttpResponse(status_code=202)
