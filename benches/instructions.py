"""Instructions an operation of the engine takes, counted by callgrind, beside the committed counts.

    make instructions            (status 1 when a count is more than 5 % above the committed one)
    make instructions WRITE=1    (writes the counts of today)

Counts do not depend on what else the machine does, so they show a loss that times would hide. Each
is a difference: a run over 150 frames less a run over 50, so start, seed and output fall out. They
depend on the compiler and on the libraries of the lock file; the file names the compiler.

Valgrind hides AVX-512, and newer instructions, from programs that ask the processor what it can do.
What is chosen at run time (crc32fast, memchr) may take another way here than in earnest: a count is
compared with counts only, never with a time.

Without valgrind nothing is counted, and that is said; the status is 0.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import native
import streams

COUNTS = Path(__file__).with_suffix(".json")
MARGIN = 0.05
FEW, MORE = 50, 150
# What `benches/stream.rs` is asked for: work and stream.
OPERATIONS = {
    "best:depth": "diff of 60 changes applied to a book alone, best read",
    "best:messy": "the same of the messy stream",
    "rare:depth": "the same through a session, no image",
    "image:depth": "the same through a session, an image of 400 levels a side",
    "usual:trade": "trade to a row",
    "best:okx": "OKX update, checksum verified",
}


def prepared(directory: Path) -> None:
    """The streams that are read; the same bytes every time."""
    depth, okx = streams.depth(MORE), streams.okx(MORE)
    messy = streams.messy(depth)
    for name, stream in (("depth", depth), ("messy", messy), ("okx", okx)):
        streams.store(directory / f"{name}.frames", [stream.seed, *stream.frames])
    streams.store(directory / "trade.frames", [depth.seed, *streams.trades(MORE)])


def total(program: Path, directory: Path, operation: str, count: int) -> int:
    """Instructions of a whole run over so many frames."""
    out = directory / "callgrind.out"
    words = [
        "valgrind",
        "--tool=callgrind",
        "--quiet",
        f"--callgrind-out-file={out}",
        str(program),
        str(directory),
        operation,
        str(count),
    ]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    found = re.search(r"^(?:summary|totals): (\d+)", out.read_text(encoding="utf-8"), re.M)
    if found is None:
        raise SystemExit(f"callgrind wrote no total for {operation}; is {out} whole?")
    return int(found[1])


def counted(program: Path) -> dict[str, int]:
    """Instructions a frame of every operation."""
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        prepared(directory)
        return {
            operation: round(
                (
                    total(program, directory, operation, MORE)
                    - total(program, directory, operation, FEW)
                )
                / (MORE - FEW)
            )
            for operation in OPERATIONS
        }


def compiler() -> str:
    """As `rustc --version` says it."""
    said = subprocess.run(["rustc", "--version"], stdout=subprocess.PIPE, text=True, check=True)
    return said.stdout.strip()


def lines(found: dict[str, int], known: dict[str, int]) -> list[str]:
    """The table, and what each count is of the committed one."""
    made = ["| operation | instructions | committed | |", "| --- | ---: | ---: | ---: |"]
    for operation, count in found.items():
        before = known.get(operation)
        change = f"{count / before - 1:+.1%}" if before else "new"
        name = f"{OPERATIONS[operation]} (`{operation}`)"
        made.append(f"| {name} | {count:,} | {f'{before:,}' if before else '-'} | {change} |")
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="write the counts of today")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("SKIPPED: no instructions are counted, valgrind is not installed", file=sys.stderr)
        return 0
    program = native.built()
    if program is None:
        raise SystemExit("cargo is needed to build the engine, and none was found")
    found = counted(program)
    if options.write:
        committed = {"compiler": compiler(), "instructions": found}
        COUNTS.write_text(json.dumps(committed, indent=2) + "\n", encoding="utf-8")
    committed = json.loads(COUNTS.read_text(encoding="utf-8"))
    known = committed["instructions"]
    print("\n".join(lines(found, known)))
    if compiler() != committed["compiler"]:
        print(f"counted by {compiler()}, committed by {committed['compiler']}", file=sys.stderr)
    more = [name for name, count in found.items() if count > (1 + MARGIN) * known.get(name, count)]
    lost = sorted(known.keys() - found.keys())
    if lost:
        print(f"committed, and no longer counted: {', '.join(lost)}", file=sys.stderr)
    if more:
        print(f"more than {MARGIN:.0%} above the committed: {', '.join(more)}", file=sys.stderr)
    return int(bool(more or lost))


if __name__ == "__main__":
    sys.exit(main())
