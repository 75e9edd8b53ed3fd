"""Whether an output has what the Engine has: nothing lost, doubled, garbled or out of order.

Each line names its container, its stream and its number (tests/docker/writer.c), and all else in it
follows from these. The Engine's own log says which lines there are, and in which order.
"""

from lib import frames

ALPHABET = bytes(range(ord("a"), ord("z") + 1))
STAMP_BYTES = len("@ ") + 20
KINDS = ("lost", "doubled", "garbled", "out_of_order")


class Lines:
    """The lines of one container in the order in which they come."""

    def __init__(self, writer):
        self.line_bytes = writer.line_bytes
        self.stamp_bytes = STAMP_BYTES if writer.stamp else 0
        self.padding = ALPHABET * (writer.line_bytes // len(ALPHABET) + 2)
        # Per stream: the next number if all goes well, and a mark for each number that was there.
        self.next = {b"o": 1, b"e": 1}
        self.seen = {letter: bytearray(writer.count + 1) for letter in self.next}
        self.order = bytearray()
        self.doubled = self.garbled = self.moved = 0

    def take(self, text, stream):
        """stream is what the program says, or None if it says nothing."""
        words = text.split(b" ", 3)
        if len(words) != 4 or words[1] not in self.next or not words[2].isdigit():
            self.garbled += 1
            return
        _, letter, number, rest = words
        at = len(text) - len(rest) + self.stamp_bytes
        whole = max(at, self.line_bytes)
        if len(text) != whole or text[at:] != self.padding[at:whole] or stream not in (None, letter):
            self.garbled += 1
            return
        self.take_number(letter, int(number))

    def take_number(self, letter, number):
        seen = self.seen[letter]
        if not 0 < number < len(seen):
            self.garbled += 1
        elif seen[number]:
            self.doubled += 1
        else:
            if number < self.next[letter]:
                self.moved += 1
            else:
                self.next[letter] = number + 1
            seen[number] = 1
            self.order += letter

    def count(self):
        return len(self.order)


class Check:
    """All lines of a program's output, or of the Engine's logs."""

    def __init__(self, containers):
        self.lines = {c.name.encode(): Lines(c.writer) for c in containers}
        self.strange = 0

    def take(self, text, name=None, stream=None):
        """A line, and of which container and stream (o or e) the program says it is, if it does."""
        own = text[: text.find(b" ")]
        lines = self.lines.get(own)
        if lines is None or name not in (None, own):
            self.strange += 1
        else:
            lines.take(text, stream)

    def count(self):
        return sum(lines.count() for lines in self.lines.values())

    def compared(self, reference, one_order):
        """What is wrong with this, if the reference is right. one_order: of both streams together."""
        found = dict.fromkeys(KINDS, 0)
        found["garbled"] = self.strange
        for name, lines in self.lines.items():
            right = reference.lines[name]
            lost = 0
            for letter, seen in lines.seen.items():
                if seen != right.seen[letter]:
                    lost += sum(1 for a, b in zip(right.seen[letter], seen) if a and not b)
            moved = lines.moved
            # How the streams alternate can only be compared when all is there.
            whole = lost == 0 and lines.count() == right.count()
            if one_order and whole and lines.order != right.order:
                moved += sum(1 for a, b in zip(lines.order, right.order) if a != b)
            found["lost"] += lost
            found["doubled"] += lines.doubled
            found["garbled"] += lines.garbled
            found["out_of_order"] += moved
        return found


def reference_of(engine, containers, path):
    """What the Engine itself has, read once more and slowly."""
    reference = Check(containers)
    for container in containers:
        engine.log_save(container, path)
        for stream, text in frames.lines(path):
            reference.take(text, container.name.encode(), stream)
    return reference
