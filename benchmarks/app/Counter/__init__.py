"""Adds up what it is sent."""

import azure.durable_functions as df


def entity_function(context: df.DurableEntityContext) -> None:
    total = context.get_state(lambda: 0)
    if context.operation_name == "add":
        context.set_state(total + context.get_input())


main = df.Entity.create(entity_function)
