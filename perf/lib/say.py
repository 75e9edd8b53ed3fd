"""Words for whoever watches: all of them go to standard error, results go to files."""

import sys
import time

_BEGIN = time.monotonic()


def say(text):
    """One line, with the minutes and seconds since the start in front of it."""
    seconds = int(time.monotonic() - _BEGIN)
    print(f"[{seconds // 60:3}:{seconds % 60:02}] {text}", file=sys.stderr, flush=True)


class Trouble(Exception):
    """Ends a benchmark, or all of them, with a sentence for people."""
