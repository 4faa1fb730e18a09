"""A pass_persist program of snmpd: it serves what the file named by its argument holds, as it stands at each request.

A line of the file is an OID, a type of snmpd.conf(5) and a value, with tabs between; the lines are in the OIDs' order. Below
the OID of a line of the type endless there is always one object more.
"""
import bisect
import os
import sys


def parse(text):
    return tuple(int(arc) for arc in text.strip().strip(".").split("."))


class Table:
    def __init__(self, path):
        self.path, self.read_of = path, None

    def load(self):
        status = os.stat(self.path)
        version = (status.st_ino, status.st_mtime_ns)  # a new file stands in the place of the old one
        if version == self.read_of:
            return
        with open(self.path, encoding="utf-8") as lines:
            self.rows = [line.rstrip("\n").split("\t", 2) for line in lines]
        self.endless = [parse(row[0]) for row in self.rows if row[1] == "endless"]
        self.rows = [row for row in self.rows if row[1] != "endless"]
        self.oids = [parse(row[0]) for row in self.rows]
        self.read_of = version

    def find(self, oid, after):
        self.load()
        for base in self.endless:
            if after and base <= oid < base[:-1] + (base[-1] + 1,):
                last = oid[len(base) + 1] if len(oid) > len(base) + 1 else 0
                return ["." + ".".join(map(str, base + (1, last + 1))), "string", "Toner"]
        i = (bisect.bisect_right if after else bisect.bisect_left)(self.oids, oid)
        if i == len(self.oids) or not after and self.oids[i] != oid:
            return ["NONE"]
        return self.rows[i]


def main():
    table = Table(sys.argv[1])
    for line in iter(sys.stdin.readline, ""):
        command = line.strip().lower()
        if command == "ping":
            answer = ["PONG"]
        elif command in ("get", "getnext"):
            answer = table.find(parse(sys.stdin.readline()), command == "getnext")
        elif command == "set":
            sys.stdin.readline()
            sys.stdin.readline()
            answer = ["not-writable"]
        else:
            continue
        print("\n".join(answer), flush=True)


main()
