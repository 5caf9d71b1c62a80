"""Configuration: where values come from, every mistake by its place, passwords, what is published.

The wrong configurations and their messages are a table, ``wrong_configurations.yaml``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import published
from marketprism.config import SITES, ConfigError, Settings, load, loaded
from marketprism.directory import PORTS
from marketprism.settings.amounts import duration, told_bytes, told_seconds
from marketprism.settings.effective import as_json, as_yaml, effective
from marketprism.settings.keys import keys, variables
from marketprism.venues import VENUES

WRONG = published.wrong()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to stand in, so that messages name a file as the operator did."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(text: str, name: str = "marketprism.yaml", mode: int = 0o600) -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


# --- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", WRONG, ids=[case["wrong"] for case in WRONG])
def test_a_wrong_configuration_is_told_with_place_key_value_and_remedy(
    case: dict[str, Any], place: Path
) -> None:
    written("sesame\n", "open.password", 0o644)
    path = written(case["file"]) if "file" in case else None
    with pytest.raises(ConfigError) as failure:
        load(path, case.get("set", []), case.get("environ", {}))
    assert [str(mistake) for mistake in failure.value.mistakes] == case["says"]
    assert "sesame" not in str(failure.value)
    for mistake in failure.value.mistakes:
        said = mistake.as_json()
        assert said["from"] in ("file", "environment", "option")
        assert said["from"] != "file" or (said["file"] == str(path) and said["line"] > 0)


def test_there_are_thirty_wrong_configurations_and_more() -> None:
    assert len({case["wrong"] for case in WRONG}) == len(WRONG) >= 30


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"collector: \xff\n", "not UTF-8"),
        (b"collector: a\x00b\n", "may not stand there"),
        (b"x: " + b"[" * 1000, "not YAML|nested too deep"),
        (b"a: &a [1,1]\n" + b"".join(b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (
            (98 + i, 98 + i, *[97 + i] * 8)) for i in range(8)), "too many values"),
        (b"# \n" * 400_000, "larger than"),
        (b"? [a, b]\n: 1\n", "a key is one word"),
        (b"collector: 2026-13-45\n", "quotes"),
        (b"collector: !!python/object:os.system x\n", "not YAML"),
    ],
)  # fmt: skip
def test_what_is_no_configuration_is_refused(raw: bytes, says: str, place: Path) -> None:
    (place / "c.yaml").write_bytes(raw)
    with pytest.raises(ConfigError, match=says) as failure:
        load(place / "c.yaml", environ={})
    assert str(place / "c.yaml") in str(failure.value)


def test_a_file_that_is_not_there_is_named(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read .*--config"):
        load(Path("none.yaml"), environ={})


# --- where values come from ---------------------------------------------------------------------


def test_the_strongest_source_wins_and_is_named(place: Path) -> None:
    path = written("nats:\n  url: nats://file:1\n  ack_timeout: 3s\nlog: {level: ERROR}\n")
    environ = {"NATS_URL": "nats://weak:1", "MARKETPRISM_NATS_URL": "nats://a:1,nats://b:2"}
    environ |= {"MARKETPRISM_NATS__ACK_TIMEOUT": "4s", "ENVIRONMENT": "development"}
    read = loaded(path, ["nats.publish_window=7", "nats.ack_timeout=5s"], environ)
    assert read.settings.nats.url == "nats://a:1,nats://b:2"
    assert read.settings.nats.ack_timeout == 5.0
    assert read.settings.log.level == "ERROR", "a file is stronger than ENVIRONMENT"
    told = as_json(effective(read.settings, read.origins))
    assert told["nats.url"]["where"] == "environment MARKETPRISM_NATS_URL"
    assert told["nats.ack_timeout"] == {
        "value": "5s",
        "from": "option",
        "where": "--set nats.ack_timeout",
    }
    assert told["log.level"]["where"] == "marketprism.yaml:4"
    assert told["journal.keep"] == {"value": "24h", "from": "default", "where": "default"}


@pytest.mark.parametrize(
    ("environ", "key", "value"),
    [
        ({"NATS_URL": "nats://a:1"}, "nats.url", "nats://a:1"),
        ({"MARKETPRISM_NATS_SERVERS": "nats://a:1,nats://b:1"}, "nats.url", "nats://a:1,nats://b:1"),
        ({"CLICKHOUSE_HOST": "ch"}, "clickhouse.url", "http://ch:8123/"),
        ({"CLICKHOUSE_HOST": "ch:81", "MARKETPRISM_CLICKHOUSE_URL": "http://x/"}, "clickhouse.url", "http://x/"),
        ({"ENVIRONMENT": "production"}, "log.level", "WARNING"),
        ({"ENVIRONMENT": "staging"}, "log.level", "INFO"),
        ({"ENVIRONMENT": "production", "LOG_LEVEL": "info"}, "log.level", "INFO"),
        ({"LOG_LEVEL": "error", "MARKETPRISM_LOG_LEVEL": "debug"}, "log.level", "DEBUG"),
        ({"HEALTH_CHECK_PORT": "8187"}, "ports.health", 8187),
        ({"METRICS_PORT": "9193"}, "ports.metrics", 9193),
        ({"HOT_STORAGE_HTTP_PORT": "8185"}, "ports.store", 8185),
        ({"MARKETPRISM_NATS_PUBLISH_WINDOW": "9"}, "nats.publish_window", 9),
        ({"MARKETPRISM_NATS__STREAMS__ORDERBOOK_SNAP__MAX_AGE": "1h"},
         "nats.streams.ORDERBOOK_SNAP.max_age", "1h"),
        ({"MARKETPRISM_SIM__SYMBOLS": "A-USDT, B-USDT"}, "sim.symbols", ["A-USDT", "B-USDT"]),
        ({"MARKETPRISM_COLLECTOR": "007"}, "collector", "007"),
        ({"MARKETPRISM_EXCHANGES": "[{exchange: okx_spot, top: 3}]"}, "exchanges.0.top", 3),
    ],
)  # fmt: skip
def test_each_name_of_the_environment_means_its_key(
    environ: dict[str, str], key: str, value: object
) -> None:
    read = loaded(environ=environ)
    told = as_json(effective(read.settings, read.origins))
    assert told[key]["value"] == value
    assert told[key]["from"] == ("environment" if "staging" not in environ.values() else "default")


def test_every_key_has_one_variable() -> None:
    names = variables(Settings)
    plain = [key for key in keys(Settings) if not any(isinstance(part, int) for part in key.path)]
    regular = ["MARKETPRISM_" + "__".join(map(str, key.path)).upper() for key in plain]
    assert [names[name] for name in regular] == [key.path for key in plain]
    assert {name.replace("__", "_") for name in regular} <= set(names)


def test_an_unknown_variable_of_ours_is_warned_of() -> None:
    environ = {"MARKETPRISM_NATS_ULR": "nats://a:1", "MARKETPRISM_CONFIG_PATH": "", "NATS_X": "1"}
    environ |= {"MARKETPRISM_PORT_80_TCP": "tcp://10.0.0.1:80"}
    warnings = loaded(environ=environ).warnings
    assert len(warnings) == 2
    assert "environment MARKETPRISM_NATS_ULR: no setting has this name" in warnings[0]
    assert "did you mean MARKETPRISM_NATS_URL?" in warnings[0]


def test_a_list_of_a_file_is_overridden_item_by_item(place: Path) -> None:
    path = written("exchanges:\n  - {exchange: okx_spot}\n  - {exchange: deribit_spot}\n")
    settings = load(path, ["exchanges.1.symbols=[BTC-USDC]", "exchanges.0.top=4"], {})
    assert settings.exchanges[1].symbols == ("BTC-USDC",)
    assert settings.exchanges[0].top == 4
    with pytest.raises(ConfigError, match=r"--set exchanges\.2\.top.*has no item 2"):
        load(path, ["exchanges.2.top=4"], {})


def test_a_section_of_which_all_is_commented_out_is_the_default(place: Path) -> None:
    path = written("store:\n  # run: false\nscheduler:\n  jobs:\n")
    assert load(path, environ={}) == Settings()


# --- passwords ----------------------------------------------------------------------------------


def test_passwords_come_from_variables_and_files_and_are_never_shown(place: Path) -> None:
    written("open/sesame\n", "nats.password")
    path = written(
        "nats: {url: 'nats://ann@a:1,nats://ann@b:1,tls://c:1', password_file: nats.password}\n"
        "clickhouse: {url: 'https://ann@ch:8443/', password_env: CH}\n"
        "exchanges:\n  - exchange: okx_spot\n"
        "    proxy: {socks_proxy: 'socks5h://ann@p:1', password_env: PROXY}\n"
    )
    read = loaded(path, environ={"CH": "open@sesame", "PROXY": "sesame:0"})
    nats, clickhouse = read.settings.nats, read.settings.clickhouse
    assert nats.url == "nats://ann:open%2Fsesame@a:1,nats://ann:open%2Fsesame@b:1,tls://c:1"
    assert clickhouse.url == "https://ann:open%40sesame@ch:8443/"
    proxy = read.settings.exchanges[0].proxy
    assert proxy is not None
    assert proxy.socks_proxy == "socks5h://ann:sesame%3A0@p:1"
    assert read.warnings == ()
    told = effective(read.settings, read.origins)
    text = as_yaml(told) + str(as_json(told))
    assert "sesame" not in text
    assert "https://***@ch:8443/" in text
    assert "password from nats.password" in text
    assert yaml.safe_load(as_yaml(told))["clickhouse"]["password_env"] == "CH"


@pytest.mark.parametrize(("mode", "who"), [(0o644, "everybody"), (0o640, "its group")])
def test_a_password_in_a_file_that_others_read_is_warned_of_with_the_remedy(
    mode: int, who: str, place: Path
) -> None:
    path = written("clickhouse:\n  url: http://ann:sesame@ch:8123/\n", mode=mode)
    [warning] = loaded(path, environ={}).warnings
    assert warning.startswith("marketprism.yaml:2: clickhouse.url: holds a password in a file that")
    assert who in warning
    assert "chmod 600 marketprism.yaml" in warning
    assert "sesame" not in warning
    path.chmod(0o600)
    assert loaded(path, environ={}).warnings == ()


@pytest.mark.parametrize(
    ("content", "says"),
    [("", "in one line"), ("a\nb\n", "in one line"), ("x" * 5000, "in one line"), (None, "read")],
)
def test_a_file_that_is_no_password_is_refused(content: str | None, says: str, place: Path) -> None:
    if content is not None:
        written(content, "p")
    with pytest.raises(ConfigError, match=f"clickhouse.password_file: p: .*{says}"):
        load(None, ["clickhouse.url=http://ann@ch/", "clickhouse.password_file=p"], {})


def test_a_url_with_a_password_of_a_stronger_source_is_left_as_it_is(place: Path) -> None:
    path = written("clickhouse: {url: 'http://ann@ch/', password_env: CH}\n")
    environ = {"CH": "weak", "MARKETPRISM_CLICKHOUSE_URL": "http://bob:strong@ch/"}
    assert load(path, environ=environ).clickhouse.url == "http://bob:strong@ch/"


# --- the models, the file and what is published -------------------------------------------------


def test_the_file_of_all_keys_has_the_defaults() -> None:
    settings, default = load(published.YAML, environ={}), Settings()
    for name in Settings.model_fields:
        if name != "exchanges":
            assert getattr(settings, name) == getattr(default, name), name
    taken = [(e.exchange, e.named, e.data_types, e.klines) for e in settings.exchanges]
    assert taken == [(e.exchange, e.named, e.data_types, e.klines) for e in default.exchanges]


def test_what_is_commented_out_in_the_file_of_all_keys_may_stand_there(place: Path) -> None:
    text = published.YAML.read_text(encoding="utf-8")
    hidden = [line for line in published.lines(text) if not line.live]
    paths = {line.path for line in hidden}
    tried = 0
    for line in hidden:
        if line.path[:-1] in paths or (0 in line.path[-2:-1] and line.path[:-2] in paths):
            continue  # it is tried with the section, or the list of them, that it stands in
        inside = [each.number for each in hidden if each.path[: len(line.path)] == line.path]
        if len(line.path) == 2:
            # What belongs to a server needs its URL, a password one with a user.
            cold = str(line.path[-1]).startswith("cold_")
            beside = [e for e in hidden if e.path[:-1] == line.path[:-1] and "@" in e.value]
            inside += [e.number for e in beside if str(e.path[-1]).startswith("cold_") == cold]
        if "_proxy" in str(line.path[-1]):
            continue  # names a user: it is tried with each way to have the password
        shown = text.splitlines()
        for number in set(inside):
            shown[number - 1] = shown[number - 1].replace("# ", "", 1)
        path = written("\n".join(shown).replace("/etc/marketprism/", ""), "c.yaml")
        secrets = {}
        for name in ("proxy", "nats", "clickhouse", "clickhouse-cold"):
            written("sesame", f"{name}.password")
            secrets[f"{name.upper().replace('-', '_')}_PASSWORD"] = "sesame"
        load(path, environ=secrets)
        tried += 1
    assert tried > 10


def test_lists_that_stand_twice_agree() -> None:
    for venue, module in VENUES.items():
        sites = {
            s for exchange, there in SITES.items() if exchange.startswith(venue) for s in there
        }
        assert sites == set(module.SITES), venue
    ports = Settings().ports.model_dump()
    assert {name: PORTS[name] for name in ports} == ports


@pytest.mark.parametrize("text", ["250ms", "1s", "90s", "2m", "24h", "48h", "3d", "1500ms"])
def test_times_are_told_as_they_may_be_written(text: str) -> None:
    seconds = duration(text)
    assert isinstance(seconds, float)
    assert duration(told_seconds(seconds)) == seconds
    assert told_seconds(duration("48h")) == "48h"  # type: ignore[arg-type]
    assert told_bytes(2 * 1024**3) == "2GiB"
    assert told_bytes(1500) == "1500"
