import asyncio


async def main(order: dict) -> str:
    await asyncio.sleep(order["seconds"])
    return f"The report on {order['topic']} is ready"
