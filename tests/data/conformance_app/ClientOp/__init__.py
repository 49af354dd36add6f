
import json
import azure.functions as func
import azure.durable_functions as df
async def main(req: func.HttpRequest, starter: str) -> func.HttpResponse:
    c = df.DurableOrchestrationClient(starter)
    op = req.route_params["op"]
    a = json.loads(req.get_body() or b"[]")
    try:
        if op in ("signal_entity", "read_entity_state"):
            a[0] = df.EntityId(*a[0])
        r = await getattr(c, op)(*a)
        if hasattr(r, "to_json"):
            r = r.to_json()
        elif hasattr(r, "instances_deleted"):
            r = {"deleted": r.instances_deleted}
        elif hasattr(r, "entity_exists"):
            r = {"exists": r.entity_exists, "state": r.entity_state}
        elif isinstance(r, list):
            r = [x.to_json() if hasattr(x, "to_json") else str(x) for x in r]
        return func.HttpResponse(json.dumps({"ok": r}, default=str), mimetype="application/json")
    except Exception as e:
        return func.HttpResponse(json.dumps({"error": type(e).__name__, "text": str(e)}), status_code=200, mimetype="application/json")
