"""An example of each command, shown at the end of its ``--help``.

Each is parsed by a test, so none is out of date.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

__all__ = ["EXAMPLES", "parsers", "show"]

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("marketprism collect --demo", "marketprism audit --from 6h --data-dir data"),
    "collect": (
        "marketprism-collect --demo --duration 30 --json",
        "marketprism-collect --config marketprism.yaml --data-dir data",
        "marketprism-collect --exchanges okx_spot,binance_spot --symbols BTC-USDT,SOL-USDT",
        "marketprism-collect --set exchanges.0.top=20 --config marketprism.yaml",
        "marketprism-collect --mode launcher --config marketprism.yaml",
        "marketprism-collect --mode test --json",
    ),
    "record": ("marketprism record --config marketprism.yaml --duration 3600",),
    "reload": ("marketprism reload --data-dir data", "marketprism reload --data-dir data --json"),
    "subscribe": ("marketprism subscribe binance_spot SOL-USDT XRP-USDT --data-types trade",),
    "unsubscribe": ("marketprism unsubscribe okx_spot ETH-USDT --data-dir data",),
    "resync": ("marketprism resync binance_spot BTC-USDT --data-dir data",),
    "replay": ("marketprism replay data/journal/okx_spot/2026-11-29/*.zst --json --verify",),
    "rederive": ("marketprism rederive data/journal/okx_spot/2026-11-29/*.zst --data-dir data",),
    "sql": (
        "marketprism sql 'SELECT * FROM marketprism_hot.trades LIMIT 3' --data-dir data",
        "marketprism sql 'SELECT count() FROM marketprism_hot.trades FORMAT TSV'",
    ),
    "audit": (
        "marketprism audit --from 6h --level 99.9",
        "marketprism audit --quality --json",
    ),
    "gaps": ("marketprism gaps --from 2026-11-22T10:00 --to 2026-11-22T11:00",),
    "incidents": ("marketprism incidents --from 24h",),
    "verify": (
        "marketprism verify --data-dir data",
        "marketprism verify --json --report logs/verify.txt --samples 1000",
    ),
    "latency": ("marketprism latency --window-sec 60 --jsonl logs/ab_latency.jsonl",),
    "up": (
        "marketprism up --config marketprism.yaml --data-dir data",
        "marketprism up --demo --ports auto --data-dir tried",
    ),
    "down": ("marketprism down --data-dir data",),
    "status": ("marketprism status --data-dir data --json",),
    "members": (
        "marketprism members --config marketprism.yaml",
        "marketprism members --group desk --nats nats://10.0.0.5:4222 --json",
    ),
    "top": ("marketprism top --data-dir data", "marketprism top --once"),
    "books": (
        "marketprism books BTC-USDT --depth 10",
        "marketprism books BTC-USDT --exchange okx_spot --json",
    ),
    "backfill": ("marketprism backfill --from 6h --exchanges binance_spot --data-types trade",),
    "export": (
        "marketprism export --to archive --data-dir data",
        "marketprism export --to archive --from 2d --exchanges binance_spot --data-types trade",
    ),
    "store": ("marketprism store hot --config marketprism.yaml",),
    "store hot": (
        "marketprism store hot --nats nats://127.0.0.1:4222 --clickhouse http://127.0.0.1:8123/",
        "marketprism store hot --config one.yaml --set 'store.data_types=[trade.binance_spot]'",
    ),
    "store cold": ("marketprism store cold --once --data-dir data --set cold.age=10m",),
    "store divide": (
        "marketprism store divide trade.binance_spot trade.okx_spot --nats nats://127.0.0.1:4222",
        "marketprism store divide trade.binance_spot trade.okx_spot --data-dir data --dry-run",
    ),
    "store unite": ("marketprism store unite trade --nats nats://127.0.0.1:4222",),
    "api": (
        "marketprism api --data-dir data",
        "marketprism api --port 8090 --nats nats://10.0.0.5:4222 --clickhouse http://10.0.0.6:8123/",
    ),
    "requeue": ("marketprism requeue --where \"reason LIKE '%price%'\"",),
    "init-db": ("marketprism init-db --clickhouse http://127.0.0.1:8123/ --dry-run",),
    "backup": (
        "marketprism backup --to /mnt/backups --keep 30d --data-dir data",
        "marketprism backup --to /mnt/backups --list",
    ),
    "restore": (
        "marketprism restore --from /mnt/backups --verify --data-dir data",
        "marketprism restore --from /mnt/backups --into looked_at --data-dir data",
    ),
    "sim": (
        "marketprism sim --faults 17 --duration 60",
        "marketprism sim check --data-dir data --json",
    ),
    "plan": (
        "marketprism plan --config marketprism.yaml",
        "marketprism plan --measured data --set exchanges.0.top=200 --json",
    ),
    "doctor": ("marketprism doctor --config marketprism.yaml", "marketprism doctor --json"),
    "config": ("marketprism config check marketprism.yaml",),
    "config check": ("marketprism config check marketprism.yaml --json",),
    "config show": (
        "marketprism config show --config marketprism.yaml",
        "marketprism config show --set nats.publish_window=2000 --json",
    ),
    "config schema": ("marketprism config schema > marketprism.schema.json",),
    "init": (
        "marketprism init --exchanges binance,okx --symbols BTC-USDT,ETH-USDT --data-dir data",
        "marketprism init --symbols '*-USDT' --output all.yaml --force",
    ),
    "completion": (
        "marketprism completion bash > ~/.local/share/bash-completion/completions/marketprism",
        "marketprism completion zsh > ~/.zfunc/_marketprism",
        "marketprism completion fish > ~/.config/fish/completions/marketprism.fish",
    ),
}


def show(parser: argparse.ArgumentParser) -> None:
    """Put the examples at the end of each help, and above its options what the command does."""
    for name, each, says in parsers(parser):
        if examples := EXAMPLES.get(name):
            word = "example" if len(examples) == 1 else "examples"
            lines = "".join(f"\n  {line}" for line in examples)
            each.epilog = f"{word}:{lines}"
            each.formatter_class = argparse.RawDescriptionHelpFormatter
        if says and not each.description:
            each.description = f"{says[0].upper()}{says[1:]}."


def parsers(
    parser: argparse.ArgumentParser, name: str = "", says: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Each command, by the words that call it, with what the list of commands says of it."""
    yield name, parser, says
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {each.dest: each.help or "" for each in action._choices_actions}
            for word, below in action.choices.items():
                yield from parsers(below, f"{name} {word}".strip(), helps.get(word, ""))
