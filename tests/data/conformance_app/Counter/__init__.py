
import azure.durable_functions as df
def entity(context):
    v = context.get_state(lambda: 0)
    op = context.operation_name
    if op == "add":
        v += context.get_input()
        context.set_result(v)
    elif op == "reset":
        v = 0
    elif op == "get":
        context.set_result(v)
    elif op == "explode":
        raise RuntimeError("entity exploded")
    elif op == "delete":
        context.destruct_on_exit()
        return
    context.set_state(v)
main = df.Entity.create(entity)
