#!/usr/bin/env python3
"""Count the instructions that the message paths execute per message, and compare them with those on record.

    instructions.py PROGRAM            fails where a path takes more than TOLERANCE more than bench/instructions.json says
    instructions.py PROGRAM --record   writes that file

PROGRAM is the binary `instructions` of this package. Counted by callgrind, of the gateway's own code and the scanning of bytes: not the cipher, not the
C library, which differ from processor to processor. Instructions do not depend on what else the machine does, so that a slower path is seen on
a noisy one; they do depend on the compiler: with another one than that of the record, nothing is compared.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
RECORD = HERE / "instructions.json"
TOLERANCE = 0.03
PATHS = [("publish", 128), ("publish", 1024), ("deliver", 128), ("deliver", 1024), ("relay-publish", 128), ("relay-deliver", 128)]
OWN = re.compile(r"\bkeyway(?:_envelope)?::|\bmemchr::")


def valgrind():
    found = subprocess.run([sys.executable, HERE.parent / "tests" / "tools.py", "path", "valgrind"], stdout=subprocess.PIPE, text=True)
    if found.returncode != 0:
        sys.exit("instructions: there is no valgrind; see above")
    return found.stdout.strip()


def count(tool, program, path, size):
    """Instructions of our own per message."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        command = [tool, "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=*measured*", program, path, str(size)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"instructions: {' '.join(map(str, command))} failed:\n{done.stderr}")
        return round(own(out.read_text()) / int(done.stdout))


def own(text):
    """What the lines of callgrind's format, version 1, add up to for functions of our own."""
    names, ours, total, calls = {}, False, 0, False
    for line in text.splitlines():
        if line.startswith(("fn=", "cfn=")):
            number, name = re.match(r"c?fn=\((\d+)\) ?(.*)", line).groups()
            names.setdefault(number, name)
            if line.startswith("fn="):
                ours = bool(OWN.search(names[number]))
        elif line.startswith("calls="):
            calls = True
        elif match := re.match(r"(?:[+-]?\d+|\*) (\d+)$", line):
            # What a call costs stands behind it, and with the function that was called too.
            if not calls and ours:
                total += int(match[1])
            calls = False
    return total


def compiler():
    return re.search(r"\d+\.\d+\.\d+", subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout)[0]


def main(program, record=False):
    tool = valgrind()
    counted = {f"{path} {size} B": count(tool, program, path, size) for path, size in PATHS}
    if record:
        RECORD.write_text(json.dumps({"rustc": compiler(), "instructions": counted}, indent=2) + "\n")
    known = json.loads(RECORD.read_text())
    same = known["rustc"] == compiler()
    worse = []
    for name, found in counted.items():
        before = known["instructions"][name]
        print(f"{name:<20}{found:>8}{before:>8}{found / before:>8.3f}")
        if found > before * (1 + TOLERANCE):
            worse.append(name)
    if not same:
        print(f"not compared: the record is of rustc {known['rustc']}, this is {compiler()}")
    elif worse:
        sys.exit(f"instructions: more than on record: {', '.join(worse)}; if that is worth it, say why and run `make instructions RECORD=1`")


if __name__ == "__main__":
    main(sys.argv[1], "--record" in sys.argv[2:])
