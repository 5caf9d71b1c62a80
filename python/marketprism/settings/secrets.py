"""Passwords: from a variable, or from a file that only its owner reads.

A section that has a URL with a user in it may have ``password_env`` or ``password_file`` beside it;
the password is put into the URL here, and from then on shown nowhere.

A password goes to the server that it is of and to no other: ``cold_url`` has ``cold_password_env``
and ``cold_password_file``, and the password of ``url`` only where it names the same server and
user.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path as File
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from pydantic import BaseModel, SecretStr

from .keys import Path, at, dotted
from .mistakes import Mistake, Origin, origin
from .sources import Tree

__all__ = ["fill_in", "secrets_in"]

_BYTES_MAX = 4096
_COLD = "cold_"
_PASSWORDS = ("password_env", "password_file", f"{_COLD}password_env", f"{_COLD}password_file")
# Keys that name where a secret is; ``ca_file`` is none of them.
_NAMES = re.compile(r"(password|token|key|secret)_(env|file)$")
_OTHERS = stat.S_IRWXO
_GROUP = stat.S_IRWXG


class _Wrong(Exception):
    """Why a password cannot be had; the message is for the operator."""


def fill_in(
    tree: Tree, environ: Mapping[str, str], urls: tuple[str, ...], model: type[BaseModel]
) -> None:
    """Put passwords into the URLs that lack them, and judge files that hold some. ``urls`` are the
    names of keys that hold URLs."""
    for path, section in _sections(tree.values):
        for name, value in section.items():
            key = at(model, (*path, name))
            if key and key.secret and value:
                _judge_file(tree, (*path, name))
            elif (
                name in urls
                and isinstance(value, str)
                and any(map(_has_password, value.split(",")))
            ):
                _judge_file(tree, (*path, name), "password_")
        for name in _PASSWORDS:
            if isinstance(section.get(name), str) and section[name]:
                try:
                    _fill(tree, path, section, name, environ, urls)
                except _Wrong as error:
                    here = (*path, name)
                    there = origin(tree.origins, here)
                    tree.mistakes.append(Mistake(there, dotted(here), str(error)))


def secrets_in(settings: BaseModel, environ: Mapping[str, str]) -> set[str]:
    """Every password and token of the settings, as it is and as a URL has it. What cannot be read
    is nobody's secret here: whoever needs it says so."""
    return {each for each in _secrets(settings, environ) if each}


def _secrets(node: Any, environ: Mapping[str, str]) -> Iterator[str]:
    if isinstance(node, BaseModel):
        for name in type(node).model_fields:
            value = getattr(node, name)
            found = _NAMES.search(name)
            if found and value:
                yield _named(str(value), found[2], environ)
            else:
                yield from _secrets(value, environ)
    elif isinstance(node, Mapping):
        for each in node.values():
            yield from _secrets(each, environ)
    elif isinstance(node, list | tuple):
        for each in node:
            yield from _secrets(each, environ)
    elif isinstance(node, SecretStr):
        yield node.get_secret_value()
    elif isinstance(node, str) and "@" in node:
        for url in node.split(","):
            # The parts of a URL that has a password in it are as they were written.
            _, _, user = url.rpartition("@")[0].rpartition("//")
            password = user.partition(":")[2]
            yield from (password, unquote(password))


def _named(name: str, kind: str, environ: Mapping[str, str]) -> str:
    """The secret that a variable or a file holds; empty where it cannot be had."""
    if kind == "env":
        return environ.get(name, "")
    try:
        with open(name, "rb") as file:
            return file.read(_BYTES_MAX).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _sections(values: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    if isinstance(values, dict):
        yield path, values
        for name, value in values.items():
            yield from _sections(value, (*path, name))
    elif isinstance(values, list):
        for i, value in enumerate(values):
            yield from _sections(value, (*path, i))


def _judge_file(tree: Tree, path: Path, apart: str = "") -> None:
    """A password in a configuration that others may read is known to them, and warned of: what
    ran before runs on."""
    there = origin(tree.origins, path)
    if there.kind != "file":
        return
    mode = _mode(there.name)
    variable = dotted((*path[:-1], f"{apart or f'{path[-1]}_'}env"))
    do = f"chmod 600 {there.name}, or name it by {variable} or {variable[:-3]}file"
    if mode & (_OTHERS | _GROUP):
        who = "everybody" if mode & _OTHERS else "its group"
        said = f"holds a password in a file that {who} may read (mode {mode:04o}); {do}"
        tree.warnings.append(str(Mistake(there, dotted(path), said)))


def _fill(
    tree: Tree,
    path: Path,
    section: dict[str, Any],
    name: str,
    environ: Mapping[str, str],
    urls: tuple[str, ...],
) -> None:
    of = _COLD if name.startswith(_COLD) else ""
    if name.endswith("_file") and section.get(f"{of}password_env"):
        raise _Wrong(f"{of}password_env is given, too; remove one of them")
    if name.endswith("_env"):
        password, source = _variable(section[name], environ), f"${section[name]}"
    else:
        password, source = _content(tree, (*path, name), section[name]), str(section[name])
    said = [key for key in urls if isinstance(section.get(key), str) and section[key]]
    wanted = [key for key in said if key.startswith(_COLD) == bool(of)]
    if not of:
        wanted += [key for key in said if key.startswith(_COLD) and _shares(path, section, key)]
    if not wanted:
        key = next(each for each in urls if each.startswith(_COLD) == bool(of))
        known = dotted((*path, key)) if len(path) < 2 else "a URL"
        raise _Wrong(f"there is no URL beside it whose password it could be; add {known}")
    filled = 0
    for key in wanted:
        there = origin(tree.origins, (*path, key))
        if any(_has_password(url) for url in section[key].split(",")):
            if there.kind != "file":
                filled += 1  # a whole URL of the environment or --set is stronger
                continue
            raise _Wrong(f"{dotted((*path, key))} holds a password already; remove one of them")
        section[key], count = _with_password(section[key], password)
        if count:
            beside = f"password from {source}"
            tree.origins[(*path, key)] = Origin(there.kind, there.name, there.line, beside)
        filled += count
    if not filled:
        raise _Wrong(
            f"{dotted((*path, wanted[0]))} names no user; write it as scheme://USER@host:port"
        )


def _shares(path: Path, section: dict[str, Any], cold: str) -> bool:
    """Whether the password of ``url`` is also that of ``cold_url``. Raises ``_Wrong`` where that
    lacks one and is another server, or names another user: it is told no password but its own."""
    there = _parts(section[cold])
    if there is None or not there.username or there.password is not None:
        return False
    if any(section.get(name) for name in _PASSWORDS if name.startswith(_COLD)):
        return False
    here = _parts(section.get("url") or "")
    if here and (here.scheme, here.username, here.hostname, here.port) == (
        there.scheme,
        there.username,
        there.hostname,
        there.port,
    ):
        return True
    raise _Wrong(
        f"it is the password of {dotted((*path, 'url'))}, and {dotted((*path, cold))} is another "
        f"server or names another user: add {_COLD}password_env or {_COLD}password_file"
    )


def _parts(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError:
        return None
    return parts


def _variable(name: str, environ: Mapping[str, str]) -> str:
    if not environ.get(name):
        raise _Wrong(
            f"the environment variable {name} is not set; export {name}=…, then start again"
        )
    return environ[name]


def _content(tree: Tree, path: Path, name: str) -> str:
    try:
        mode = _mode(name)
        with open(name, "rb") as file:
            raw = file.read(_BYTES_MAX + 1)
        password = raw.decode("utf-8").rstrip("\r\n")
    except OSError as error:
        raise _Wrong(
            f"{name}: cannot be read ({error.strerror}); write the password to it"
        ) from None
    except UnicodeDecodeError:
        raise _Wrong(f"{name}: not UTF-8; write nothing but the password to it") from None
    if mode & _OTHERS:
        raise _Wrong(f"{name}: everybody may read it (mode {mode:04o}); chmod 600 {name}")
    if not password or len(raw) > _BYTES_MAX or "\n" in password:
        raise _Wrong(f"{name}: expected the password in one line, and nothing else")
    if mode & _GROUP:
        said = f"{name}: its group may read it (mode {mode:04o}); chmod 600 {name}"
        tree.warnings.append(str(Mistake(origin(tree.origins, path), dotted(path), said)))
    return password


def _mode(name: str | File) -> int:
    try:
        return stat.S_IMODE(os.stat(name).st_mode)
    except OSError:
        return 0


def _has_password(url: str) -> bool:
    """Whether a password stands in it."""
    try:
        return urlsplit(url.strip()).password is not None
    except ValueError:
        return "@" in url


def _with_password(text: str, password: str) -> tuple[str, int]:
    """The URLs, those with a user and no password filled in; how many there were."""
    done, count = [], 0
    for url in text.split(","):
        try:
            parts = urlsplit(url.strip())
        except ValueError:
            done.append(url)
            continue
        if parts.username and parts.password is None:
            user, _, host = parts.netloc.rpartition("@")
            netloc = f"{user}:{quote(password, safe='')}@{host}"
            url = urlunsplit(parts._replace(netloc=netloc))
            count += 1
        done.append(url)
    return ",".join(done), count
