"""A ClickHouse server as far as an ordinary client needs one: chDB behind HTTP, writing included.

No server can be installed here, so what is meant for one is tried on this: the same engine, over
the protocol that clickhouse-connect speaks, in a process of its own that can be killed. Started as
``python clickhouse_server.py DIRECTORY PORT``; it says ``ready`` on stdout.

Not here: anything that only a server has (users, Keeper, clusters), and rights: whoever reaches it
may do everything.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import chdb
from aiohttp import web

# Of HTTP and not of a statement.
TRANSPORT = frozenset(
    {"query", "database", "query_id", "session_id", "compress", "decompress", "wait_end_of_query"}
    | {"default_format", "client_protocol_version", "enable_http_compression", "role"}
    | {"send_progress_in_http_headers", "http_headers_progress_interval_ms"}
)


class Server:
    """One directory; each request has a connection of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.threads = ThreadPoolExecutor(4)
        # The engine lives as long as its last client.
        self.kept = chdb.connect(str(directory))

    def run(self, query: dict[str, str], body: bytes) -> bytes:
        handle = chdb.connect(str(self.directory))
        try:
            for name, value in query.items():
                if name not in TRANSPORT and not name.startswith("param_"):
                    handle.query(f"SET {name} = '{value}'", "TabSeparated")
            database = query.get("database", "default").replace("__default__", "default")
            handle.query(f"USE `{database}`", "TabSeparated")
            form = query.get("default_format", "TabSeparated")
            whole = query.get("query", "").encode() + b"\n" * ("query" in query) + body
            insert = re.match(rb"\s*INSERT\b[^\n]*?\bFORMAT\s+(\w+)\s*\n", whole, re.IGNORECASE)
            if insert is None:
                found = handle.query(whole.decode(), form)
                return bytes(found.bytes() or b"")
            # The rows of an INSERT come from a file: the embedded engine has no other way in.
            head = insert[0].decode().rstrip().removesuffix(insert[1].decode()).rstrip()
            with tempfile.NamedTemporaryFile(dir=self.directory.parent) as file:
                file.write(whole[insert.end() :])
                file.flush()
                into = f"{head.removesuffix('FORMAT')} FROM INFILE '{file.name}'"
                handle.query(f"{into} FORMAT {insert[1].decode()}", "TabSeparated")
            return b""
        finally:
            handle.close()

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        loop = asyncio.get_running_loop()
        headers = {"X-ClickHouse-Summary": "{}", "X-ClickHouse-Timezone": "UTC"}
        try:
            data = await loop.run_in_executor(self.threads, self.run, dict(request.query), body)
        except RuntimeError as error:
            code = re.search(r"Code: (\d+)", str(error))
            headers["X-ClickHouse-Exception-Code"] = code[1] if code else "1002"
            return web.Response(status=500, text=str(error), headers=headers)
        return web.Response(body=data, headers=headers)


async def main(directory: str, port: str) -> None:
    app = web.Application(client_max_size=1024**3)
    app.router.add_route("*", "/", Server(Path(directory)).answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(port)).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    # Ends with whoever started it.
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
