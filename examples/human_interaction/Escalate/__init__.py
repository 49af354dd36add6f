def main(who: str) -> str:
    return f"nobody answered {who}; the department head is asked"
