"""``marketprism top``: every stream of a running collector, the worst first, in a terminal.

Keys: Enter shows the book of a stream, ``g`` what is missing, ``r`` asks the collector to begin a
book anew (and asks you first), ``/`` narrows the list. It looks every two seconds; a look that
takes longer is not overtaken by the next.

Not here: where the numbers come from (``source``), and how a line looks (``tables``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Static

from .screens import AskFirst, BookScreen, GapsScreen
from .source import Key, Look, Row, Source
from .tables import COLUMNS, cells, headline

__all__ = ["Resync", "StreamsScreen", "Top"]

Resync = Callable[[Key], Awaitable[str]]
"""Asks that a book begin anew; returns what was answered, in words."""

LOOK_EVERY = 2.0
GAPS_EVERY = 15.0
ROWS_MAX = 500
"""Streams that are listed; the worst are first, so what is left out is well."""


class StreamsScreen(Screen[None]):
    """The list."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "book", show=True, priority=False),
        Binding("g", "gaps", "gaps"),
        Binding("r", "resync", "resync"),
        Binding("slash", "narrow", "filter"),
        Binding("escape", "widen", "all", show=False),
        Binding("q", "app.quit", "quit"),
    ]

    def __init__(self, source: Source, resync: Resync) -> None:
        super().__init__()
        self._source = source
        self._ask_resync = resync
        self.found = Look()
        self._wanted = ""

    def compose(self) -> ComposeResult:
        """The head, the filter, the list."""
        yield Static("looking …", id="head", markup=False)
        yield Input(placeholder="words that a line must have; Enter keeps, Esc ends", id="filter")
        table: DataTable[Any] = DataTable(cursor_type="row", zebra_stripes=True, id="streams")
        for name, _ in COLUMNS:
            table.add_column(name, key=name)
        yield table
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one("#streams").focus()
        self._look()
        self._look_for_gaps()
        self.set_interval(LOOK_EVERY, self._look)
        self.set_interval(GAPS_EVERY, self._look_for_gaps)

    # --- looking ---

    def _look(self) -> None:
        if not any(w.group == "look" and w.is_running for w in self.workers):
            self.run_worker(self._look_once(), group="look")

    async def _look_once(self) -> None:
        self.found = await asyncio.to_thread(self._source.look)
        self.show()

    def _look_for_gaps(self) -> None:
        if not any(w.group == "gaps" and w.is_running for w in self.workers):
            self.run_worker(self._look_for_gaps_once(), group="gaps")

    async def _look_for_gaps_once(self) -> None:
        _, why = await asyncio.to_thread(self._source.look_for_gaps, time.time_ns())
        if why:
            self.notify(why, title="gaps", severity="warning")
        self._look()

    def show(self) -> None:
        """Draw what was found. The cursor stays on its stream."""
        self.query_one("#head", Static).update(headline(self.found))
        if self.found.trouble:
            # What was seen last stays, with the head saying that it is of the past.
            return
        table: DataTable[Any] = self.query_one("#streams", DataTable)
        rows = [row for row in self.found.rows if self._fits(row)][:ROWS_MAX]
        keys = _named(rows)
        there = [str(key.value) for key in table.rows]
        if there == list(keys):
            for key, row in keys.items():
                for (name, _), cell in zip(COLUMNS, cells(row), strict=True):
                    if table.get_cell(key, name) != cell:
                        table.update_cell(key, name, cell, update_width=True)
            return
        chosen = (
            there[table.cursor_row] if there and table.is_valid_row_index(table.cursor_row) else ""
        )
        table.clear()
        for key, row in keys.items():
            table.add_row(*cells(row), key=key)
        if chosen in keys:
            table.move_cursor(row=list(keys).index(chosen), animate=False)

    def _fits(self, row: Row) -> bool:
        text = " ".join((*row.key, row.verdict.word, str(row.stream["state"]))).lower()
        return all(word in text for word in self._wanted.lower().split())

    def chosen(self) -> Row | None:
        """The stream under the cursor."""
        table: DataTable[Any] = self.query_one("#streams", DataTable)
        if not table.is_valid_row_index(table.cursor_row):
            return None
        key = str(table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value)
        return _named(self.found.rows).get(key)

    # --- keys ---

    @on(DataTable.RowSelected, "#streams")
    def action_open(self) -> None:
        """The book of the stream under the cursor, whatever data type the line is of."""
        if row := self.chosen():
            self.app.push_screen(BookScreen(self._source, (*row.key[:3], "orderbook")))

    def action_gaps(self) -> None:
        """All that is missing of the last day."""
        self.app.push_screen(GapsScreen(self._source))

    def action_resync(self) -> None:
        """Begin a book anew, once it is said that this is meant."""
        row = self.chosen()
        if row is None:
            return
        exchange, _, symbol, _ = row.key
        question = f"Begin the book of {symbol} on {exchange} anew?"

        def answered(yes: bool | None) -> None:
            if yes:
                self.run_worker(self._resync(row.key))

        self.app.push_screen(AskFirst(question), answered)

    async def _resync(self, key: Key) -> None:
        self.notify(await self._ask_resync(key), title=f"{key[0]} {key[2]}")

    def action_narrow(self) -> None:
        """Type what lines must have."""
        field = self.query_one("#filter", Input)
        field.add_class("open")
        field.focus()

    def action_widen(self) -> None:
        """All lines again."""
        field = self.query_one("#filter", Input)
        field.value = ""
        field.remove_class("open")
        self.query_one("#streams").focus()

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        self._wanted = event.value
        self.show()

    @on(Input.Submitted, "#filter")
    def _kept(self) -> None:
        self.query_one("#streams").focus()


def _named(rows: Any) -> dict[str, Row]:
    """By what names a line: two connections may have the same stream."""
    return {" ".join((*row.key, row.stream["connection"])): row for row in rows}


class Top(App[None]):
    """The list, and what opens from it."""

    TITLE = "MarketPrism"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: auto; padding: 0 1; }
    #filter { display: none; border: none; height: 1; background: $boost; }
    #filter.open { display: block; }
    DataTable { height: 1fr; }
    .page { padding: 0 1; }
    #asked { width: 64; height: auto; padding: 1 2; border: round $accent; background: $surface; }
    AskFirst { align: center middle; }
    """

    def __init__(self, source: Source, resync: Resync) -> None:
        super().__init__()
        self._source = source
        self._ask_resync = resync

    def get_default_screen(self) -> Screen[None]:
        """The list is what everything opens from."""
        return StreamsScreen(self._source, self._ask_resync)
