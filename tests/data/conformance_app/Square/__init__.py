def main(name: int) -> int:
    return name * name
