NAME = 'UnknownActivity'

import datetime, json, os, uuid, pathlib
import azure.durable_functions as df
from azure.durable_functions import RetryOptions, EntityId

def record(context):
    d = os.environ.get("RECORD_DIR")
    if d:
        body = getattr(context, "body", context)
        p = json.loads(body)
        n = len([e for e in p["history"] if e["EventType"] == 12])
        (pathlib.Path(d) / f"{NAME}.{p['instanceId'][:12]}.{n:02}.{uuid.uuid4().hex[:4]}.json").write_text(body)

def create(fn):
    inner = df.Orchestrator.create(fn)
    def main(context):
        record(context)
        out = inner(context)
        d = os.environ.get("RECORD_DIR")
        if d:
            p = json.loads(getattr(context, "body", context))
            (pathlib.Path(d) / f"{NAME}.{p['instanceId'][:12]}.out.{len(p['history']):03}.json").write_text(out if isinstance(out, str) else repr(out))
        return out
    main.orchestrator_function = fn
    return main

def f(context):
    r = yield context.call_activity("Nope", "x")
    return r

main = create(f)
