"""What the operator decides of the API: who may ask, how often, and what it reckons with.

A section of the settings, which ``config`` reads with all others.

Not here: how a request is judged (``serve.access``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
)

from .settings import forms
from .settings.amounts import Seconds
from .settings.mistakes import ConfigError

__all__ = ["Api", "Fees", "Token"]

HttpUrl = Annotated[str, AfterValidator(forms.http_url)]
# A number is a token too, and none of it is ever shown.
_Token = Annotated[SecretStr, BeforeValidator(lambda value: str(value) if value else value)]


class Section(BaseModel):
    """A key nobody knows is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Token(Section):
    """Who may ask, and for what: ``read``, and ``control`` (what is collected). One of the three
    keys says the token."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    scopes: tuple[Literal["read", "control"], ...] = Field(("read",), min_length=1)
    token: _Token | None = Field(None, repr=False)
    token_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    token_file: Path | None = None

    def secret(self, environ: Mapping[str, str] | None = None) -> str:
        """The token itself. Raises ``ConfigError``, which does not repeat it."""
        if sum(each is not None for each in (self.token, self.token_env, self.token_file)) != 1:
            raise ConfigError(
                f"api.tokens: {self.name}: expected one of token, token_env and token_file"
            )
        if self.token:
            text = self.token.get_secret_value()
        elif self.token_env:
            text = (os.environ if environ is None else environ).get(self.token_env, "")
        else:
            assert self.token_file
            try:
                text = self.token_file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(
                    f"api.tokens: {self.token_file}: cannot be read ({error.__class__.__name__})"
                ) from None
        if not (text := text.strip()):
            raise ConfigError(f"api.tokens: {self.name}: empty or not there; expected the token")
        return text


Fee = Annotated[float, Field(ge=0, lt=1)]


class Fees(Section):
    """The share of a trade's value that a taker pays, by exchange, as the venues' price lists have
    it for whoever trades little."""

    binance_spot: Fee = 0.001
    binance_derivatives: Fee = 0.0005
    okx_spot: Fee = 0.001
    okx_derivatives: Fee = 0.0005
    deribit_spot: Fee = 0.0
    deribit_derivatives: Fee = 0.0005


class Api(Section):
    """``run``: the collector starts it as a child. Without ``tokens`` everybody who reaches it may
    read, and control where it listens on this machine alone. ``rate`` requests a second a client
    are answered, ``burst`` at once. ``rows_max``: of one answer. ``cors``: origins whose pages may
    ask. ``processes``: pages of collectors and stores elsewhere whose errors ``logs/errors`` shows,
    too. ``fees`` and ``stale`` are of ``stats/arbitrage``; a book that is older is left out."""

    run: bool = True
    tokens: tuple[Token, ...] = Field((), max_length=64)
    cors: tuple[HttpUrl, ...] = Field((), max_length=64)
    rate: float = Field(50.0, gt=0, le=1e6)
    burst: int = Field(100, ge=1, le=1_000_000)
    rows_max: int = Field(10_000_000, ge=1_000, le=1_000_000_000)
    sockets_max: int = Field(200, ge=1, le=10_000)
    processes: tuple[HttpUrl, ...] = Field((), max_length=32)
    control_timeout: Seconds = Field(10.0, gt=0, le=120)
    stale: Seconds = Field(5.0, gt=0)
    fees: Fees = Fees()
