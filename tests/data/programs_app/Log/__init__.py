"""An entity that keeps what it is given, in the order in which it comes."""

from __future__ import annotations

import azure.durable_functions as df


def entity_function(context: df.DurableEntityContext) -> None:
    entries = context.get_state(list)
    if context.operation_name == "append":
        entry = context.get_input()
        context.set_state([*entries, entry])
        context.set_result(entry)
    elif context.operation_name == "read":
        context.set_result(entries)
    else:
        raise RuntimeError(f"<<{context.get_input()}>>")


main = df.Entity.create(entity_function)
