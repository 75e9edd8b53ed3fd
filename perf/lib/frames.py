"""The Engine's log stream as it comes with timestamps=1, saved to a file."""

HEAD_BYTES = 8
TIMESTAMP_BYTES = len("2006-01-02T15:04:05.000000000Z ")
LETTERS = {1: b"o", 2: b"e"}


def lines(path):
    """(stream letter, line) of each whole line. A long line comes in parts, each with a timestamp."""
    parts = {1: [], 2: []}
    with open(path, "rb", buffering=1 << 20) as file:
        while len(head := file.read(HEAD_BYTES)) == HEAD_BYTES:
            size = int.from_bytes(head[4:], "big")
            payload = file.read(size)
            kind = head[0]
            if len(payload) != size or kind not in parts:
                return
            if not payload.endswith(b"\n"):
                parts[kind].append(payload[TIMESTAMP_BYTES:])
            elif parts[kind]:
                parts[kind].append(payload[TIMESTAMP_BYTES:-1])
                yield LETTERS[kind], b"".join(parts[kind])
                parts[kind].clear()
            else:
                yield LETTERS[kind], payload[TIMESTAMP_BYTES:-1]
