import azure.durable_functions as df


def entity_function(context: df.DurableEntityContext):
    readings = context.get_state(list)
    if context.operation_name == "add":
        readings.append(context.get_input()["value"])
    elif context.operation_name == "reset":
        readings.clear()
    context.set_state(readings)


main = df.Entity.create(entity_function)
