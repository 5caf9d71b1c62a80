"""Where the rows of a page most likely are, by the pages before it.

The engine reads along the key of a table from where a page begins, of every part that may have rows
from there on, and knows only of the last of its rows that it is done. With a bound in time behind
which nothing is looked for it opens the parts that have rows of the page, and no others.

A bound is a guess, by how close rows lay in the last page of the same question. Whoever finds fewer
rows than were asked for asks again without one; so a wrong guess costs time and no row.

Not here: how the question is put (``paging``).
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil

from .paging import Page

__all__ = ["Near"]

QUESTIONS_MAX = 1_000
"""Questions of which it is remembered how close their rows lie."""
_MARGIN = 4
_MS = 1_000_000


class Near:
    """What was seen of pages. Times are milliseconds UTC."""

    def __init__(self) -> None:
        # By the hash of a question: where its first page began, and the milliseconds of a row.
        # Two questions of one hash would have guesses of each other, and no more.
        self._seen: OrderedDict[int, tuple[int, float]] = OrderedDict()

    def bound(self, page: Page, rows: int) -> int | None:
        """No row of the page is looked for beyond this; None: it is not known."""
        seen = self._seen.get(_question(page))
        if seen is None:
            return None
        edge, apart = seen
        reach = ceil(_MARGIN * apart * rows) + 1
        if page.order == "desc":
            begin = page.cursor.milliseconds if page.cursor else min(edge, page.until // _MS)
            return begin - reach if begin - reach > page.since // _MS else None
        begin = page.cursor.milliseconds if page.cursor else max(edge, page.since // _MS)
        return begin + reach if begin + reach < page.until // _MS else None

    def saw(self, page: Page, rows: int, first: int, last: int) -> None:
        """A page had all the rows that were asked for, from and to these times."""
        question = _question(page)
        edge, _ = self._seen.pop(question, (first, 0.0))
        self._seen[question] = (edge if page.cursor else first, abs(first - last) / rows)
        if len(self._seen) > QUESTIONS_MAX:
            self._seen.popitem(last=False)

    def ended(self, page: Page) -> None:
        """It had not: there are no more rows, and a bound would only be asked in vain."""
        self._seen.pop(_question(page), None)


def _question(page: Page) -> int:
    names = (page.table.data_type, page.order, *page.equal.items())
    return hash((names, page.every or tuple(page.streams)))
