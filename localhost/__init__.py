"""A local host that runs function.json Python apps with Durable Functions."""
