import logging


def main(who: str) -> None:
    logging.info("Dear manager, may %s go on vacation?", who)
