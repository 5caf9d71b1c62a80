"""Writes docs/demo.svg: the first commands of the README, run in order, and what they print."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tempfile
import textwrap
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from conftest import command

PLACE = Path(__file__).parents[2] / "docs" / "demo.svg"
COLUMNS, BYTES_MAX = 120, 60_000
COUNT = (
    "SELECT exchange, symbol, count() AS trades, max(price) FROM marketprism_hot.trades "
    "GROUP BY ALL ORDER BY ALL FORMAT PrettySpaceNoEscapes"
)
SESSION = (
    # In a clone: `make run` is this command with --demo before its ARGS.
    ('make run ARGS="--duration 30"', ("collect", "--demo", "--duration", "30")),
    (f'marketprism sql "{COUNT}"', ("sql", COUNT)),
    ("marketprism sim check", ("sim", "check")),
)
"""What is typed, and the words of the command that it is."""


def main() -> None:
    """Runs them in an empty directory, as somebody does who tries it."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False)
    environ = {**os.environ, "MARKETPRISM_API__RUN": "true"}
    with tempfile.TemporaryDirectory() as directory:
        for typed, words in SESSION:
            _show(console, f"$ {typed}", style="bold green")
            done = subprocess.run(
                command(*words),
                cwd=directory,
                env=environ,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            for line in done.stdout.strip("\n").splitlines():
                _show(console, line.rstrip())
            _show(console, "")
    drawn = console.export_svg(title="marketprism", theme=MONOKAI)
    # Whoever looks at it asks nobody else for a font.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    drawn = "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"
    assert len(drawn) <= BYTES_MAX, f"{PLACE}: {len(drawn)} bytes"
    PLACE.write_text(drawn, encoding="utf-8")
    print(f"{PLACE.name}: {len(drawn):,} bytes")


def _show(console: Console, line: str, style: str = "") -> None:
    """A line, gone on with below what it says where it is too long."""
    below = " " * 13 if re.match(r"\w+ {3,}", line) else "  "
    for part in textwrap.wrap(line, COLUMNS, subsequent_indent=below) or [""]:
        console.print(Text(part, style=style))


if __name__ == "__main__":
    main()
