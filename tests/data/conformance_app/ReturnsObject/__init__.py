def main(name: str):
    return object()
