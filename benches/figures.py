"""Puts the newest reports of `make chaos`, `make soak` and `make load` on docs/figures.md.

    make figures
    python benches/figures.py --reports target --page docs/figures.md

Each report has its place between two marks, which is replaced; all that is written by hand stays.
The place ``rows`` is for rows of the fault matrix that another run tried than the one of ``chaos``
(`make chaos CHAOS_DIR=target/rows`). A report that is not there leaves its place as it is. The exit
status is 1 where there was none at all.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from proof import placed

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("chaos", "rows", "soak", "load")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reports", type=Path, default=ROOT / "target", metavar="DIR")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "figures.md")
    arguments = parser.parse_args()
    text, found = arguments.page.read_text(encoding="utf-8"), []
    for name in NAMES:
        report = arguments.reports / name / "report.md"
        if report.exists():
            text = placed(text, name, report.read_text(encoding="utf-8"))
            found.append(name)
        else:
            print(f"{report} is not there: its place stays as it is", file=sys.stderr)
    arguments.page.write_text(text, encoding="utf-8")
    print(f"{arguments.page}: {', '.join(found) or 'nothing'} of {', '.join(NAMES)}")
    return int(not found)


if __name__ == "__main__":
    sys.exit(main())
