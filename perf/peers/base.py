"""What every program that is measured has: how to start it, where it writes, how to read that."""

import os
import signal


class Peer:
    """A program at work in one run."""

    name = ""
    # Benchmarks that it can't take part in, and why.
    unfit = {}
    # Whether its output has stdout and stderr in the order in which the Engine has them.
    one_order = True

    def __init__(self, engine, accounts, out_dir, drains):
        self.engine = engine
        self.accounts = accounts
        self.out_dir = out_dir
        # The logs are there to be read to their ends, and nothing will be added to them.
        self.drains = drains
        # How often it was started; what it writes after a kill may have to go elsewhere.
        self.starts = 0

    @classmethod
    def missing(cls):
        """Why it can't be measured here, or None."""
        return None

    @classmethod
    def prepare(cls):
        """Gets what it needs; missing() is asked afterwards."""

    def start(self, containers, resume_at=None):
        """Starts it on running containers, from the beginning of their logs.

        resume_at: it was killed, or the Engine was away; the Unix time at which it last ran. A program
        that remembers by itself has no use for it.
        """
        raise NotImplementedError

    def engine_returned(self, containers, resume_at):
        """What its user would have to do after the Engine was restarted: by default nothing."""

    def paths(self, containers):
        """Every file that its lines may come to, there already or not."""
        raise NotImplementedError

    def feed(self, containers, check):
        """Hands each line that it has written to check.take."""
        raise NotImplementedError

    def errors_path(self):
        """Where what it says goes, but for lines."""
        return os.path.join(self.out_dir, "errors")

    def complaints(self):
        """The end of what it said."""
        try:
            with open(self.errors_path(), encoding="utf-8", errors="replace") as file:
                return file.read()[-2000:]
        except FileNotFoundError:
            return "and said nothing"

    def spawn(self, command, output=None, errors=None):
        """A process with its output in files; what has no file of its own goes to errors_path."""
        rest = self.errors_path()
        with open(output or rest, "ab") as stdout, open(errors or rest, "ab") as stderr:
            return self.accounts.spawn(command, stdout=stdout, stderr=stderr)


def text_lines(path):
    """Whole lines of a file, without their ends; nothing if there is no such file."""
    try:
        with open(path, "rb", buffering=1 << 20) as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line[:-1]
    except FileNotFoundError:
        return


class PerContainer(Peer):
    """A program that follows one container: there is a process of it for each."""

    # Endings of the files for its standard output, and for its standard error if that has lines too.
    endings = ("out",)

    def command(self, container, resume_at):
        raise NotImplementedError

    def files(self, container, start):
        """Of one process. What a killed one left may end in half a line, so the next has its own."""
        stem = os.path.join(self.out_dir, f"{container.name}.{start}.")
        return [stem + ending for ending in self.endings]

    def start(self, containers, resume_at=None):
        for container in containers:
            files = self.files(container, self.starts)
            self.spawn(self.command(container, resume_at), *files)
        self.starts += 1

    def engine_returned(self, containers, resume_at):
        """Such a program ends with the Engine, and somebody has to start it anew."""
        self.accounts.signal(signal.SIGTERM)
        self.start(containers, resume_at)

    def paths(self, containers):
        return [path for c in containers for start in (0, 1) for path in self.files(c, start)]
