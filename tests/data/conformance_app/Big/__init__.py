def main(name: int) -> str:
    return 'x' * name
