"""inotify instances, of which the Engine needs one for each log that is followed.

Where they run out, Engine 20.10 looks at a log only five times a second, and every program is as slow.
"""

from lib.accounts import read
from lib.say import say

LIMIT = "/proc/sys/fs/inotify/max_user_instances"
WANTED = 1024


class Raised:
    """The system's limit while something is measured; it is put back afterwards."""

    def __enter__(self):
        self.before = int(read(LIMIT))
        self.now = self.before
        if self.before < WANTED:
            try:
                self.write(WANTED)
                self.now = WANTED
                say(f"fs.inotify.max_user_instances is {WANTED} until the end, and was {self.before}")
            except OSError:
                say(f"fs.inotify.max_user_instances stays {self.before}: latencies may be the Engine's")
        return self

    def __exit__(self, *error):
        if self.now != self.before:
            self.write(self.before)

    @staticmethod
    def write(number):
        with open(LIMIT, "w", encoding="ascii") as file:
            file.write(f"{number}\n")
