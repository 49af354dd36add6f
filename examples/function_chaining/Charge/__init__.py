def main(order: dict) -> dict:
    return {**order, "paid": True}
