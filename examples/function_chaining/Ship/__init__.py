def main(order: dict) -> str:
    return f"{order['count']} x {order['item']} for {order['total']} is on its way"
