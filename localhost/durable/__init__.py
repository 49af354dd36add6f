"""Who decides: turns of orchestrations, batches of entities, activities."""
