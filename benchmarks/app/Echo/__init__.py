"""Returns the number that it gets."""


def main(number: int) -> int:
    return number
