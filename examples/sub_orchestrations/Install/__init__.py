_asked: set[str] = set()


def main(device: str) -> str:
    if device not in _asked:
        _asked.add(device)
        raise ConnectionError(f"{device} does not answer")  # the first time
    return "version 2"
