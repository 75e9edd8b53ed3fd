#!/usr/bin/env python3
"""Compares every #include with the table of rooms; looks for cycles; compiles each header alone."""

import sys

sys.dont_write_bytecode = True

import concurrent.futures
import glob
import os
import posixpath
import re
import shlex
import subprocess

import tree

# The one place that says who may include whom. A room may always include itself.
ROOMS = {
    "base": set(),
    "io": {"base"},
    "docker": {"base"},
    "record": {"base"},
    "codec": {"base", "record"},
    "sink": {"base", "io", "record", "codec"},
    "spool": {"base", "io", "record"},
    "deliver": {"base", "io", "record", "codec", "sink", "spool"},
    "control": {"base", "io", "docker", "record", "codec", "sink", "spool", "deliver"},
    "sim": {"base"},
}
# Whatever is not in a room, such as main.c and the tests of the whole, may open every door.
ANYWHERE = set(ROOMS)

# Headers that betray a thing which only these rooms know.
ONLY_IN = {
    "liburing.h": {"io"},
    "linux/io_uring.h": {"io"},
    "llhttp.h": {"io"},
    "yaml.h": {"base"},
    "microhttpd.h": {"control"},
    "seccomp.h": {"control"},
    "curl/curl.h": {"sink"},
    "librdkafka/rdkafka.h": {"sink"},
    "zlib.h": {"codec", "sink"},
    "zstd.h": {"codec", "sink"},
}
# These rooms do no I/O at all.
NO_IO_ROOMS = {"docker", "record", "codec"}
IO_HEADERS = {"fcntl.h", "poll.h", "sys/epoll.h", "sys/socket.h", "sys/uio.h", "sys/un.h", "unistd.h"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
LIBRARIES = ("liburing", "libllhttp", "yyjson", "yaml-0.1", "libmicrohttpd", "cmocka")


def room_of(path):
    """(room, is a test): the room that owns the file, or None."""
    match = re.match(r"(include/ringtail|src|tests/unit|perf/micro)/([a-z]+)/", path)
    if match and match.group(2) in ROOMS:
        return match.group(2), match.group(1) in ("tests/unit", "perf/micro")
    return None, path.startswith("tests/")


def resolve(path, name, known):
    """The project's file that a quoted name means, or None."""
    for directory in (posixpath.dirname(path), "include", "src", "tests", ""):
        candidate = posixpath.normpath(posixpath.join(directory, name))
        if candidate in known:
            return candidate
    return None


def check_include(path, kind, name, target, findings, line):
    room, is_test = room_of(path)
    allowed = ANYWHERE if room is None else ROOMS[room] | {room}

    if kind == "<":
        if name.startswith("ringtail/"):
            findings.add(path, line, f'ours are included with quotes: "{name}"')
        if room and room not in ONLY_IN.get(name, {room}):
            findings.add(path, line, f"<{name}> belongs to {', '.join(sorted(ONLY_IN[name]))}")
        if room in NO_IO_ROOMS and not is_test and name in IO_HEADERS:
            findings.add(path, line, f"{room} does no I/O, so it has no use for <{name}>")
        return
    if target is None:
        findings.add(path, line, f'no such file in the project: "{name}"')
        return
    for tree_of, who in (("tests/", "tests"), ("perf/", "benchmarks")):
        if target.startswith(tree_of):
            if not path.startswith(tree_of):
                findings.add(path, line, f'only {who} include what is in {tree_of[:-1]}: "{name}"')
            return
    owner, _ = room_of(target)
    if target.startswith("include/"):
        if name != target[len("include/") :]:
            findings.add(path, line, f'write it in full: "{target[len("include/"):]}"')
        if owner not in allowed:
            reach = ", ".join(sorted(allowed - {room})) or "no other room"
            findings.add(path, line, f"{room} may include {reach}, and not {owner}")
    elif owner != room:
        findings.add(path, line, f"{target} is private to {owner}")


def check_own_first(path, includes, known, findings):
    match = re.fullmatch(r"src/([a-z]+)/([^/]+)\.c", path)
    if not match:
        return
    own = f"include/ringtail/{match.group(1)}/{match.group(2)}.h"
    if own not in known:
        own = f"src/{match.group(1)}/{match.group(2)}.h"
    if own in known and (not includes or includes[0][3] != own):
        line = includes[0][0] if includes else 1
        findings.add(path, line, f"the own header comes first: {own}")


def check_cycles(graph, findings):
    """A depth-first walk; an edge to a file that is on the way here closes a cycle."""
    done = set()

    def visit(path, way):
        if path in way:
            cycle = way[way.index(path) :] + [path]
            findings.add(path, 1, "include cycle: " + " -> ".join(cycle))
            return
        if path in done:
            return
        for _, target in graph.get(path, ()):
            visit(target, way + [path])
        done.add(path)

    for path in sorted(graph):
        visit(path, [])


def library_flags(root):
    env = dict(os.environ)
    private = glob.glob(os.path.join(root, ".deps/usr/lib/*/pkgconfig"))
    env["PKG_CONFIG_PATH"] = os.pathsep.join(private + [env.get("PKG_CONFIG_PATH", "")])
    flags = []
    for library in LIBRARIES:
        out = subprocess.run(
            ["pkg-config", "--cflags", library], env=env, capture_output=True, text=True, check=False
        )
        if out.returncode == 0:
            flags += shlex.split(out.stdout)
    return flags


def check_self_contained(root, headers, findings):
    compiler = shlex.split(os.environ.get("CC", "gcc"))
    flags = ["-std=gnu17", "-D_GNU_SOURCE", '-DRINGTAIL_VERSION="0"', "-fsyntax-only"]
    flags += ["-Iinclude", "-Isrc", "-Itests", "-I.", "-xc"] + library_flags(root)

    def compile_alone(header):
        # Through standard input, so that the compiler does not warn about #pragma once in a main file.
        return header, subprocess.run(
            compiler + flags + ["-"],
            input=f'#include "{header}"\n',
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for header, result in pool.map(compile_alone, headers):
            if result.returncode != 0:
                errors = [text for text in result.stderr.splitlines() if "error:" in text]
                findings.add(header, 1, "does not compile alone: " + (errors or ["?"])[0])


def main():
    root = tree.project_root()
    findings = tree.Findings(root)
    sources = [
        path
        for path in tree.files(root)
        if path.endswith((".c", ".h")) and path.startswith(("include/", "src/", "tests/", "perf/"))
    ]
    known = set(sources)
    graph = {}

    for path in sources:
        text = tree.read_text(root, path) or ""
        includes = []
        for match in INCLUDE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            kind, name = match.groups()
            target = resolve(path, name, known) if kind == '"' else None
            includes.append((line, kind, name, target))
            check_include(path, kind, name, target, findings, line)
        check_own_first(path, includes, known, findings)
        graph[path] = [(line, target) for line, _, _, target in includes if target]
        if path.endswith(".h") and not re.search(r"^#pragma once$", text, re.M):
            findings.add(path, 1, "a header says #pragma once")

    check_cycles(graph, findings)
    check_self_contained(root, [path for path in sources if path.endswith(".h")], findings)
    return findings.finish(f"{len(sources)} files")


if __name__ == "__main__":
    sys.exit(main())
