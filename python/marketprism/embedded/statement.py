"""What a statement would do, judged before it runs: by its text, then by the engine's own parse.

``examine`` looks at the text with literals and comments taken out, for what the engine does not
show in its parse (a second statement, what stands in a SHOW) or must not even parse for us.
``judge`` looks at the answer to ``EXPLAIN AST``, where a name is a name however it was quoted, and
a table function is one wherever it stands.

Promises of both: nothing but SELECT, SHOW, DESCRIBE, EXPLAIN and EXISTS, over the databases that
are named and a list of system tables, with table functions that make rows out of nothing.

Not here: running it (``clickhouse``), and the engine's own ``readonly``, which stands behind this.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = [
    "HARMLESS",
    "READONLY",
    "SYSTEM_TABLES",
    "Reach",
    "Refused",
    "Statement",
    "examine",
    "forbidden_of",
    "judge",
    "reach_database",
]

READONLY, SYNTAX_ERROR, ACCESS_DENIED = 164, 62, 497

_STATEMENTS = frozenset({"SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS"})

_HARMLESS_NAMES = """
format generaterandom generateseries generate_series null numbers numbers_mt primes
sqlstandardvalues values view viewifpermitted zeros zeros_mt
"""
HARMLESS = frozenset(_HARMLESS_NAMES.split())
"""Table functions that reach neither outside the engine nor to a table that only they name."""

# Functions of values that read files, run models, wait, or look into the process.
_WORDS_THAT_REACH = """
addresstoline addresstolinewithinlines addresstosymbol aigenerate aiclassify aiextract aitranslate
catboostevaluate demangle getmacro getserverport joinget jointgetornull joingetornull
showcertificate sleep sleepeachrow hascolumnintable
"""
_FUNCTIONS = frozenset(_WORDS_THAT_REACH.split())

_SYSTEM_NAMES = """
aggregate_function_combinators asynchronous_metrics build_options codecs collations columns
contributors current_roles data_skipping_indices data_type_families database_engines databases
detached_parts enabled_roles errors events formats functions keywords licenses merge_tree_settings
merges metrics mutations numbers numbers_mt one parts parts_columns primes projection_parts
projections settings settings_changes table_engines table_functions tables time_zones warnings
zeros zeros_mt
"""
RESTORED = "_restore_"
"""Stands between the name of a database and the time of a copy of it that a backup became."""
SYSTEM_TABLES = frozenset(_SYSTEM_NAMES.split())
"""Of the database ``system``: what there is and how it does, not who asks what, users or keys."""

_LITERAL = re.compile(
    r"""
      (?P<text> '(?:[^'\\]|\\.|'')*' )
    | (?P<heredoc> \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$ )
    | (?P<name> "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*` )
    | (?P<comment> --[^\n]* | \#[\ !][^\n]* | /\*.*?\*/ )
    """,
    re.VERBOSE | re.DOTALL,
)
# What is left of a literal or comment that did not end, or a quote that only the engine knows.
_UNCLEAR = re.compile(r"['\"`$‘’“”]|/\*")
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*$", re.IGNORECASE)


class Refused(Exception):
    """A query that is not answered, with ClickHouse's number for the reason."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Statement:
    """A query whose text may run; ``format`` is what it asks for itself, ``bare`` its text without
    literals and comments."""

    sql: str
    format: str | None
    bare: str


@dataclass(frozen=True)
class Reach:
    """What may be read: ``databases`` by name; ``database`` is where a name without one is looked
    up; ``forbidden`` are functions in lower case."""

    databases: frozenset[str]
    database: str
    forbidden: frozenset[str]


# --- the text ----------------------------------------------------------------------------------


def _bare(match: re.Match[str]) -> str:
    if match["text"] is not None or match["heredoc"] is not None:
        return " '' "
    if match["name"] is not None:
        # A quoted name can be the name of a function, so a plain one stays visible.
        inner = match["name"][1:-1]
        return f" {inner} " if re.fullmatch(r"\w+", inner) else " quoted_name "
    return " "


def examine(sql: str, forbidden: frozenset[str]) -> Statement:
    """The statement, if its text only reads; ``forbidden`` are functions in lower case.

    Literals and comments are taken out before anything is looked for, so a text that merely
    mentions a word is no reason. Raises ``Refused``.
    """
    text = _LITERAL.sub(_bare, sql)
    bare = text.replace("''", "").strip()
    if _UNCLEAR.search(bare):
        raise Refused(SYNTAX_ERROR, "Syntax error: a quote or comment does not end")
    bare = bare.rstrip("; \n\t\r")
    if not bare:
        raise Refused(SYNTAX_ERROR, "Syntax error: empty query")
    if ";" in bare:
        raise Refused(READONLY, "one statement a request")
    first = re.match(r"[\s(]*(\w+)", bare)
    if first is None or first[1].upper() not in _STATEMENTS:
        raise Refused(
            READONLY, "this gateway only reads: SELECT, WITH, SHOW, DESCRIBE, EXPLAIN, EXISTS"
        )
    if re.search(r"\bINTO\s+OUTFILE\b", bare, re.IGNORECASE):
        raise Refused(READONLY, "INTO OUTFILE writes a file: redirect the answer instead")
    if first[1].upper() == "SHOW" and re.search(r"\(|\bWHERE\b|\bSELECT\b", bare, re.IGNORECASE):
        # The engine's parse does not show what a SHOW compares with.
        raise Refused(READONLY, "SHOW takes LIKE here: for WHERE ask system.tables or its like")
    for name in re.findall(r"(\w+)\s*\(", bare):
        if name.lower() in forbidden:
            raise _reaches(name)
    named = _FORMAT.search(bare)
    # A last semicolon would end the statement before the format that is added to it.
    return Statement(sql.rstrip("; \n\t\r"), named[1] if named else None, bare)


def forbidden_of(table_functions: frozenset[str]) -> frozenset[str]:
    """What no statement may call, given all the table functions that the engine has."""
    return (table_functions - HARMLESS) | _FUNCTIONS


def _reaches(name: str) -> Refused:
    return Refused(READONLY, f"{name}() reaches outside the tables")


# --- the engine's parse ------------------------------------------------------------------------

_LINE = re.compile(
    r"(?P<indent> *)(?P<kind>\w+)(?: (?P<name>.*?))??(?: \(alias .*?\))?"
    r"(?: \(children (?P<children>\d+)\))?"
)
_SELECTS = frozenset(
    {
        "SelectWithUnionQuery",
        "SelectQuery",
        "SelectIntersectExceptQuery",
        "TablesInSelectQuery",
    }
)
_ABOUT_TABLES = frozenset(
    {
        "ExistsTableQuery",
        "ExistsViewQuery",
        "ExistsDictionaryQuery",
        "ShowCreateTableQuery",
        "ShowCreateViewQuery",
    }
)
_ABOUT_DATABASES = frozenset({"ExistsDatabaseQuery", "ShowCreateDatabaseQuery"})
# Lists of names; what they show of tables is in system.tables and system.columns, too.
_LISTS = frozenset({"ShowTables", "ShowColumns", "ShowFunctions", "ShowEngineQuery"})
# APPLY with the name of a function: the parse does not show what else stands there.
_APPLY = re.compile(r"\bAPPLY\s*(?:\(\s*\w+\s*\)|\w+\b(?!\s*\())", re.IGNORECASE)
_MEMBERSHIP = re.compile(r"(?:global)?(?:not)?(?:null)?in(?:ignoreset)?", re.IGNORECASE)


@dataclass
class _Node:
    kind: str
    name: str
    children: list[_Node] = field(default_factory=list)

    def walk(self) -> Iterator[_Node]:
        yield self
        for child in self.children:
            yield from child.walk()


def judge(ast: str, statement: Statement, reach: Reach) -> None:
    """Raises ``Refused`` unless the parse, as ``EXPLAIN AST`` writes it, is of a statement that
    only reads within ``reach``."""
    root = _parsed(ast)
    children = root.children
    if root.kind == "Explain":
        explained = [child for child in children if child.kind != "Set"]
        if not explained or explained[0].kind != "SelectWithUnionQuery":
            raise Refused(READONLY, "EXPLAIN explains a SELECT here")
        _selects(explained[0], statement, reach)
    elif root.kind == "SelectWithUnionQuery":
        if any(child.kind == "Literal" for child in children):
            raise Refused(READONLY, "INTO OUTFILE writes a file: redirect the answer instead")
        _selects(root, statement, reach)
    elif root.kind == "DescribeQuery":
        _selects(root, statement, reach)
    elif root.kind in _ABOUT_TABLES:
        database, _, table = root.name.partition(" ")
        _table(f"{database or reach.database}.{table}", reach)
    elif root.kind in _ABOUT_DATABASES:
        reach_database(root.name.strip(), reach)
    elif root.kind == "ShowTables":
        named = [child.name for child in children if child.kind == "Identifier"]
        for database in named[: len(named) - bool(statement.format)]:
            reach_database(database, reach)
    elif root.kind not in _LISTS:
        raise Refused(READONLY, "this gateway only reads: SELECT, SHOW, DESCRIBE, EXPLAIN, EXISTS")


def _parsed(ast: str) -> _Node:
    """The tree. A line that does not fit into one (a name with a line break in it would make such)
    is refused."""
    unclear = Refused(READONLY, "a name with a line break, or a statement that cannot be judged")
    path: list[tuple[_Node, int]] = []
    root: _Node | None = None
    for line in ast.rstrip("\n").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            raise unclear
        depth = len(match["indent"])
        while len(path) > depth:
            node, expected = path.pop()
            if len(node.children) != expected:
                raise unclear
        if len(path) != depth or (depth == 0 and root is not None):
            raise unclear
        node = _Node(match["kind"], match["name"] or "")
        if path:
            path[-1][0].children.append(node)
        else:
            root = node
        path.append((node, int(match["children"] or 0)))
    if root is None or any(len(node.children) != expected for node, expected in path):
        raise unclear
    return root


def _selects(root: _Node, statement: Statement, reach: Reach) -> None:
    applied = sum(node.kind == "ColumnsApplyTransformer" for node in root.walk())
    if applied > len(_APPLY.findall(statement.bare)):
        raise Refused(READONLY, "APPLY takes the name of a function here, and nothing else")
    for node in root.walk():
        if node.kind == "WindowListElement":
            # Nor what a named window is.
            raise Refused(READONLY, "a window is written within OVER (...) here, not by a name")
        if node.kind == "Set":
            raise Refused(READONLY, "SETTINGS are parameters of the request here, not of the query")
        if node.kind.endswith("Query") and node.kind not in _SELECTS and node is not root:
            raise Refused(READONLY, "this gateway only reads")
        if node.kind == "TableIdentifier":
            _table(node.name, reach)
        elif node.kind == "Function":
            if node.name.lower() in reach.forbidden:
                raise _reaches(node.name)
            if _MEMBERSHIP.fullmatch(node.name):
                _membership(node, reach)


def _membership(node: _Node, reach: Reach) -> None:
    """``x IN database.table``: the parse shows a name, and only its place says that it is one of a
    table."""
    for arguments in node.children:
        if len(arguments.children) == 2 and arguments.children[1].kind == "Identifier":
            _table(arguments.children[1].name, reach)


def _table(name: str, reach: Reach) -> None:
    """``name`` as ``database.table`` or ``table``; a dot within a quoted name of ours is none of
    another database's."""
    database, dot, table = name.partition(".")
    if not dot:
        database, table = reach.database, name
    if "/" in name or "\\" in name or ":" in name:
        raise Refused(ACCESS_DENIED, f"{name}: a path is no table")
    if database == "system":
        if table not in SYSTEM_TABLES:
            raise Refused(
                ACCESS_DENIED, f"Not enough privileges: system.{table} is not among what is shown"
            )
    elif not _ours(database, reach):
        raise _foreign(database, reach)


def reach_database(name: str, reach: Reach) -> None:
    """Raises ``Refused`` for a database that is not to be read."""
    if name != "system" and not _ours(name, reach):
        raise _foreign(name, reach)


def _ours(database: str, reach: Reach) -> bool:
    if database in reach.databases or database in ("information_schema", "INFORMATION_SCHEMA"):
        return True
    return any(database.startswith(f"{ours}{RESTORED}") for ours in reach.databases)


def _foreign(database: str, reach: Reach) -> Refused:
    known = ", ".join(sorted(reach.databases))
    return Refused(
        ACCESS_DENIED,
        f"Not enough privileges: {database} is none of {known}, system, information_schema",
    )
