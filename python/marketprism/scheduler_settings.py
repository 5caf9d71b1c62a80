"""What the operator decides of scheduled questions: what is asked of the venues, and how often.

A section of the settings, which ``config`` reads with all others.

Not here: when each job runs (``schedule``), and what it does.
"""

from __future__ import annotations

from pydantic import Field

from .api_settings import Section
from .settings.amounts import Seconds

__all__ = ["Jobs", "Scheduler"]


class Job(Section):
    """One scheduled question to the venues, every ``interval`` of their time."""

    enabled: bool = True
    interval: Seconds = Field(300.0, ge=1, le=86_400)


class HourlyJob(Job):
    interval: Seconds = Field(3600.0, ge=1, le=86_400)


class MinuteJob(Job):
    interval: Seconds = Field(60.0, ge=1, le=86_400)


class BarsJob(Section):
    """Without an ``interval`` bars are asked for as they end: every minute to every day."""

    enabled: bool = True
    interval: Seconds | None = Field(None, ge=1, le=86_400)


class WatchJob(Job):
    """``quiet``: so long may go by without a forced order on an exchange."""

    interval: Seconds = Field(60.0, ge=1, le=86_400)
    quiet: Seconds = Field(3600.0, ge=60)


class QualityJob(Job):
    """``deviation``: the share of its index by which a mark price may differ from it."""

    deviation: float = Field(0.02, gt=0, le=1)


class Jobs(Section):
    """FEATURES S1-08. ``instruments`` are the venues' lists, for what is listed and delisted since;
    ``funding_rate`` is what was paid; ratios are of five minutes; ``kline`` asks for bars that no
    stream brought; ``audit`` compares a live book of each section with the venue's own; ``clock``
    compares our clock with the venues'; ``health`` writes down how the collector is when that has
    changed; ``liquidations`` looks whether forced orders are still told of; ``quality`` compares
    what is stored with itself."""

    funding_rate: HourlyJob = HourlyJob()
    open_interest: Job = Job()
    lsr_top_position: Job = Job()
    lsr_all_account: Job = Job()
    volatility_index: MinuteJob = MinuteJob()
    kline: BarsJob = BarsJob()
    instruments: Job = Job()
    audit: MinuteJob = MinuteJob()
    clock: Job = Job()
    health: Job = Job()
    liquidations: WatchJob = WatchJob()
    quality: QualityJob = QualityJob()


class Scheduler(Section):
    """When venues are asked for what they do not stream; never where it is not ``enabled``."""

    enabled: bool = True
    jobs: Jobs = Jobs()
