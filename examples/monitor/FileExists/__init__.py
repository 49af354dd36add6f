import os


def main(path: str) -> bool:
    return os.path.exists(path)
