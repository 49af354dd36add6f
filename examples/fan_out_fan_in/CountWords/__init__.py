def main(text: str) -> int:
    return len(text.split())
