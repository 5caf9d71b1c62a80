"""What opens from the list of ``top``: a book, what is missing, and a question.

Not here: the list (``top``), and where the numbers come from (``source``).
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Footer, Label, Static

from .source import Key, Source
from .tables import ladder, when

__all__ = ["AskFirst", "BookScreen", "GapsScreen"]

BOOK_EVERY = 1.0
GAPS_MAX = 1000


class AskFirst(ModalScreen[bool]):
    """A question that is answered by y or n."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "yes"),
        Binding("n,escape", "dismiss(False)", "no"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question and how to answer it."""
        with Vertical(id="asked"):
            yield Label(self._question, markup=False)
            yield Label("Its images pause until the venue has answered.   y yes   n no")


class BookScreen(Screen[None]):
    """The newest image of one book."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "app.pop_screen", "back"),
        Binding("plus", "deeper(10)", "more levels"),
        Binding("minus", "deeper(-10)", "fewer"),
    ]
    DEPTH_MIN, DEPTH, DEPTH_MAX = 10, 20, 100

    def __init__(self, source: Source, key: Key) -> None:
        super().__init__()
        self._source = source
        self._key = key
        self.depth = self.DEPTH

    def compose(self) -> ComposeResult:
        """The ladder."""
        with VerticalScroll(classes="page"):
            yield Static("asking …", id="book", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Ask each second, and never while an answer is under way."""
        self._ask()
        self.set_interval(BOOK_EVERY, self._ask)

    def action_deeper(self, by: int) -> None:
        """Show more levels a side, or fewer."""
        self.depth = min(self.DEPTH_MAX, max(self.DEPTH_MIN, self.depth + by))
        self._ask()

    def _ask(self) -> None:
        if not any(w.group == "book" and w.is_running for w in self.workers):
            self.run_worker(self._ask_once(), group="book")

    async def _ask_once(self) -> None:
        depth = self.depth
        book, why = await asyncio.to_thread(self._source.book, self._key, depth)
        name = f"{self._key[2]} {self._key[1]} on {self._key[0]}"
        shown = ladder(book, depth) if book else f"{name}: {why}"
        self.query_one("#book", Static).update(shown)


class GapsScreen(Screen[None]):
    """Everything that is not complete of the last day, the newest first."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,g", "app.pop_screen", "back")]
    COLUMNS = ("from", "lasts s", "exchange", "symbol", "data type", "ids", "state", "cause")

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source

    def compose(self) -> ComposeResult:
        """The list."""
        yield Static("asking …", id="said", classes="page", markup=False)
        table: DataTable[Any] = DataTable(cursor_type="row", zebra_stripes=True, id="gaps")
        table.add_columns(*self.COLUMNS)
        yield table
        yield Footer()

    def on_mount(self) -> None:
        """Ask once: the list is of the moment at which it was opened."""
        self.query_one("#gaps").focus()
        self.run_worker(self._ask_once())

    async def _ask_once(self) -> None:
        gaps, why = await asyncio.to_thread(self._source.look_for_gaps, time.time_ns())
        table: DataTable[Any] = self.query_one("#gaps", DataTable)
        for gap in gaps[:GAPS_MAX]:
            ids = "" if gap["from_id"] is None else f"{gap['from_id']}…{gap['to_id']}"
            sign = "● healed" if gap["state"] == "healed" else "✖ lost"
            table.add_row(
                when(gap["from"]),
                f"{(gap['to'] - gap['from']) / 1e9:,.3f}",
                *(gap[name] for name in ("exchange", "symbol", "data_type")),
                ids,
                sign,
                gap["cause"],
            )
        states = [gap["state"] for gap in gaps]
        said = f"{states.count('lost')} lost and {states.count('healed')} healed in the last day"
        self.query_one("#said", Static).update(why or (said if gaps else "nothing is missing"))
