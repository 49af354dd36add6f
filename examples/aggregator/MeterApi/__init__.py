import json

import azure.durable_functions as df
import azure.functions as func


async def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
    client = df.DurableOrchestrationClient(starter)
    meter = df.EntityId("Meter", req.route_params["key"])
    if req.method == "POST":
        operation = req.route_params.get("operation", "add")
        reading = {"value": req.get_json()} if operation == "add" else None
        await client.signal_entity(meter, operation, reading)
        return func.HttpResponse(status_code=202)
    state = await client.read_entity_state(meter)
    if not state.entity_exists:
        return func.HttpResponse(status_code=404)
    readings = state.entity_state
    body = {"count": len(readings), "sum": sum(readings)}
    return func.HttpResponse(json.dumps(body), mimetype="application/json")
