"""Answers snmpd's pass_persist protocol for a printer: the lines of the file named by the first argument are
NAME TYPE VALUE, in any order."""

import bisect
import sys


def arcs(name):
    return tuple(int(arc) for arc in name.strip().strip(".").split("."))


rows = {}
with open(sys.argv[1], encoding="latin-1") as table:
    for line in table:
        fields = line.rstrip("\n").split(" ", 2)
        if len(fields) == 3 and not line.startswith("#"):
            rows[arcs(fields[0])] = fields[1:]
names = sorted(rows)


def say(*lines):
    sys.stdout.buffer.write(("\n".join(lines) + "\n").encode("latin-1"))
    sys.stdout.buffer.flush()


def tell(name):
    if name is None:
        say("NONE")
    else:
        say("." + ".".join(map(str, name)), *rows[name])


for line in sys.stdin:
    command = line.strip().lower()
    if command == "ping":
        say("PONG")
    elif command == "get":
        wanted = arcs(sys.stdin.readline())
        tell(wanted if wanted in rows else None)
    elif command == "getnext":
        place = bisect.bisect_right(names, arcs(sys.stdin.readline()))
        tell(names[place] if place < len(names) else None)
    elif command == "set":
        sys.stdin.readline()
        sys.stdin.readline()
        say("not-writable")
    elif not command:
        break
