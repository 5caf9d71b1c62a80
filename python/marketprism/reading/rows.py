"""An answer that is fetched when it is looked at, as Arrow, pandas, polars or plain Python.

Promises: decimals stay exact unless ``float`` is asked for by name, whole numbers stay whole
numbers where some are missing (pandas alone would make floats of nanoseconds), and who iterates
holds one page at a time, whatever the size of the answer.

Not here: what is asked for (``reader``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from ..store.query import StoreError

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

__all__ = ["Decimals", "Rows"]

Decimals = Literal["exact", "float", "text"]
"""What decimals become: ``exact`` ones, ``float`` (64 bits, rounded) or ``text``."""

BATCH_ROWS = 65_536
_DIGITS = 38  # of a decimal of 128 bits


class Rows:
    """Rows that were asked for. Nothing is fetched before one of these methods is called, and each
    call asks anew: what was stored since is there."""

    def __init__(self, pages: Callable[[], Iterator[pyarrow.Table]]) -> None:
        # At least one page, which may be empty: it says what columns there are.
        self._pages = pages

    def arrow(self, decimals: Decimals = "exact") -> pyarrow.Table:
        """All of it as one Arrow table: ``decimal128`` and ``decimal256``, levels as lists of
        ``struct<price, quantity>``. Raises ``StoreError``."""
        import pyarrow

        return _decided(pyarrow.concat_tables(self._pages()), decimals)

    def batches(
        self, rows: int = BATCH_ROWS, decimals: Decimals = "exact"
    ) -> Iterator[pyarrow.RecordBatch]:
        """One after the other, of at most so many rows; one page is held at a time. Raises
        ``StoreError``."""
        if rows < 1:
            raise ValueError(f"rows={rows}: expected at least 1")
        for page in self._pages():
            yield from _decided(page, decimals).combine_chunks().to_batches(max_chunksize=rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each row as a dictionary; decimals are ``decimal.Decimal``."""
        for batch in self.batches():
            yield from batch.to_pylist()

    def pandas(self, decimals: Decimals = "exact") -> pandas.DataFrame:
        """All of it as a data frame: exact decimals are ``decimal.Decimal``, whole numbers have
        pandas' own types that may be missing (``Int64``). Raises ``StoreError``."""
        try:
            import pandas
        except ImportError:
            raise StoreError("pandas is not installed: pip install 'marketprism[pandas]'") from None
        import pyarrow

        whole = {
            getattr(pyarrow, name.lower())(): getattr(pandas, f"{name}Dtype")()
            for name in ("Int64", "UInt64", "UInt32", "UInt16", "UInt8")
        }
        whole[pyarrow.bool_()] = pandas.BooleanDtype()
        frame: pandas.DataFrame = self.arrow(decimals).to_pandas(types_mapper=whole.get)
        return frame

    def polars(self, decimals: Decimals = "exact") -> polars.DataFrame:
        """All of it as a data frame. polars has decimals of 38 digits: a total or rate that has
        more is a ``StoreError`` that names its column."""
        try:
            import polars
        except ImportError:
            raise StoreError("polars is not installed: pip install 'marketprism[polars]'") from None
        frame = polars.from_arrow(_narrowed(self.arrow(decimals)))
        assert isinstance(frame, polars.DataFrame)
        return frame


def _decided(table: pyarrow.Table, decimals: Decimals) -> pyarrow.Table:
    """Decimals as they were asked for, wherever in a column they are."""
    import pyarrow

    if decimals == "exact":
        return table
    if decimals not in ("float", "text"):
        raise ValueError(f"decimals={decimals!r}: expected 'exact', 'float' or 'text'")
    text, real = (_with(table.schema, kind()) for kind in (pyarrow.string, pyarrow.float64))
    # By their digits: a whole number divided by a power of ten may miss the nearest float.
    table = table.cast(text)
    return table.cast(real) if decimals == "float" else table


def _with(schema: pyarrow.Schema, target: pyarrow.DataType) -> pyarrow.Schema:
    """The schema with another type for decimals."""
    import pyarrow

    fields = [field.with_type(_replaced(field.type, target)) for field in schema]
    return pyarrow.schema(fields, schema.metadata)


def _replaced(kind: pyarrow.DataType, target: pyarrow.DataType) -> pyarrow.DataType:
    import pyarrow
    import pyarrow.types

    if pyarrow.types.is_decimal(kind):
        return target
    if pyarrow.types.is_list(kind):
        inner = kind.value_field
        return pyarrow.list_(inner.with_type(_replaced(inner.type, target)))
    if pyarrow.types.is_struct(kind):
        inner = [kind.field(at) for at in range(kind.num_fields)]
        return pyarrow.struct([f.with_type(_replaced(f.type, target)) for f in inner])
    return kind


def _narrowed(table: pyarrow.Table) -> pyarrow.Table:
    import pyarrow
    import pyarrow.types

    for at, field in enumerate(table.schema):
        if not pyarrow.types.is_decimal256(field.type):
            continue
        narrow = pyarrow.decimal128(_DIGITS, field.type.scale)
        try:
            table = table.set_column(at, field.with_type(narrow), table.column(at).cast(narrow))
        except pyarrow.ArrowInvalid:
            raise StoreError(
                f"{field.name} has more digits than polars' decimals hold: ask for "
                "decimals='text' or decimals='float'"
            ) from None
    return table
