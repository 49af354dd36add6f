
import json
import azure.functions as func
def main(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(json.dumps({"method": req.method, "url": req.url, "params": dict(req.params), "route": dict(req.route_params),
        "headers": {k: v for k, v in req.headers.items() if k.lower().startswith(("x-", "content-"))}, "body": req.get_body().decode("utf-8", "replace")}),
        status_code=int(req.params.get("code", 200)), headers={"X-Custom": "1"}, mimetype="application/json")
