def main(name: str) -> str:
    raise ValueError('boom: ' + name)
