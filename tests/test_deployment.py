"""What is deployed is well-formed: compose's profiles, Kubernetes' manifests, passwords as files.

No container runs here. Compose itself reads each profile, kubectl's kustomize builds the manifests
and a validator judges them by Kubernetes' own schemas, each where it is installed (skipped,
visibly, where it is not). What both are to hold beyond their form, and that our programs take each
setting that they are given, is looked at everywhere.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from clickhouse_connect.driver.exceptions import DatabaseError

from marketprism.config import Settings, loaded
from marketprism.store.query import connect

ROOT = Path(__file__).resolve().parent.parent
PROFILES = {
    "minimal": {"minimal"},
    "full": {
        *("nats", "clickhouse", "store", "cold", "collector", "api"),
        *("prometheus", "alertmanager", "grafana"),
    },
    "cluster": {
        *("nats-1", "nats-2", "nats-3", "clickhouse-1", "clickhouse-2", "clickhouse-3"),
        *("collector-1", "collector-2", "collector-3"),
        *("store-cluster", "cold-cluster", "api-cluster"),
    },
    "watch": {"prometheus", "alertmanager", "grafana"},
}
K8S = ROOT / "config" / "k8s"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``config/secrets.sh`` makes them."""
    directory = tmp_path_factory.mktemp("deployed") / "secrets"
    subprocess.run(["sh", ROOT / "config" / "secrets.sh", directory], check=True)
    return directory


def of_profile(profile: str) -> dict[str, dict[str, Any]]:
    whole = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    found: dict[str, dict[str, Any]] = whole["services"]
    return {name: each for name, each in found.items() if profile in each["profiles"]}


def understood(name: str, given: dict[str, str]) -> Settings:
    """What one of our programs makes of these variables. Fails where it would not start with them,
    or would warn."""
    environ = {k: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", v) for k, v in given.items()}
    said = loaded(environ=environ)
    assert not said.warnings, f"{name}: {said.warnings}"
    for url in (said.settings.nats.url, said.settings.clickhouse.url):
        assert url is None or re.search(r"//\w+:\w{20,}@", url), f"{name}: a password is there"
    return said.settings


def given_in_compose(service: dict[str, Any], secrets: Path) -> dict[str, str]:
    """The variables of a service, with the host's name as it would be there."""
    values = {k: str(v) for k, v in service["environment"].items()}
    if "hostname" in service:
        values.setdefault("MARKETPRISM_COLLECTOR", service["hostname"])
    return {k: v.replace("/run/secrets", str(secrets)) for k, v in values.items()}


def test_passwords_are_files_of_one_reader_and_are_kept(secrets: Path) -> None:
    before = {file.name: file.read_bytes() for file in secrets.iterdir()}
    assert {stat.S_IMODE(file.stat().st_mode) for file in secrets.iterdir()} == {0o400}
    (secrets / "nats_reader").unlink()
    subprocess.run(["sh", ROOT / "config" / "secrets.sh", secrets], check=True)
    after = {file.name: file.read_bytes() for file in secrets.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {
        "nats_reader",
        "nats_passwords.conf",
    }, "what is there is kept; what is gone is made anew, also where it stands a second time"
    alone = [v for k, v in after.items() if not k.endswith(".conf") and "_server" not in k]
    assert len(set(alone)) == len(alone), "no two have the same"


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_of_compose_is_whole(profile: str, secrets: Path) -> None:
    services = of_profile(profile)
    assert services.keys() == PROFILES[profile]
    ports = [port.rpartition(":")[0] for each in services.values() for port in each["ports"]]
    assert len(set(ports)) == len(ports), "two services cannot publish one port"
    for name, each in services.items():
        waits = each.get("depends_on", {}).keys()
        assert waits <= services.keys(), f"{name} waits for what this profile has not"
        # ClickHouse's own start-up script writes to its root.
        assert each["read_only"] or name.startswith("clickhouse"), name
        for mount in each.get("volumes", []):
            source = mount.partition(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), f"{name} mounts {source}"
        if each.get("build"):
            given = {k: str(v) for k, v in each["environment"].items()}
            mounted = {f"/run/secrets/{secret}" for secret in each.get("secrets", [])}
            named = set(re.findall(r"/run/secrets/\w+", " ".join(given.values())))
            assert named == mounted, f"{name}: what it reads is what is mounted"
            understood(name, given_in_compose(each, secrets))


def test_prometheus_in_compose_has_the_jobs_that_the_alerts_know() -> None:
    def jobs(name: str) -> set[str]:
        text = (ROOT / "config" / "prometheus" / name).read_text(encoding="utf-8")
        return {each["job_name"] for each in yaml.safe_load(text)["scrape_configs"]}

    here = yaml.safe_load((ROOT / "config/prometheus/compose.yml").read_text(encoding="utf-8"))
    assert jobs("prometheus.yml") <= jobs("compose.yml")
    targets = [each["static_configs"][0]["targets"] for each in here["scrape_configs"]]
    hosts = {target.partition(":")[0] for each in targets for target in each}
    assert hosts <= PROFILES["full"], "each is a service"
    by_name = [one for each in here["scrape_configs"] for one in each.get("dns_sd_configs", [])]
    found = {name for one in by_name for name in one["names"]}
    for profile, known in (("minimal", hosts - {"cold", "alertmanager"}), ("cluster", hosts)):
        networks = [each.get("networks", {}) for each in of_profile(profile).values()]
        aliases = {name for each in networks for name in each.get("default", {}).get("aliases", [])}
        # The replicas share one name, and are no job; so do members beyond the first one.
        assert aliases - {"clickhouse", *found} == known - {"alertmanager"}, f"{profile}, `watch`"
        assert profile != "cluster" or found < aliases


def test_the_replicas_of_compose_know_each_other_as_the_tables_name_them() -> None:
    found = ElementTree.parse(ROOT / "config" / "clickhouse" / "cluster.xml").getroot()
    services = {n: e for n, e in of_profile("cluster").items() if n.startswith("clickhouse-")}
    for path in (".//remote_servers//host", ".//zookeeper//host", ".//keeper_server//hostname"):
        assert [each.text for each in found.iterfind(path)] == sorted(services), path
    macros = {each.tag for each in found.iterfind(".//macros/*")}
    golden = (ROOT / "tests" / "golden" / "replicated.sql").read_text(encoding="utf-8")
    assert set(re.findall(r"\{(\w+)\}", golden)) == macros
    ids = {each.text for each in found.iterfind(".//raft_configuration//id")}
    assert {each["environment"]["KEEPER_ID"] for each in services.values()} == ids
    clusters = {each.tag for each in found.iterfind(".//remote_servers/*")}
    for name in ("store-cluster", "cold-cluster", "collector-1", "collector-2", "collector-3"):
        given = of_profile("cluster")[name]["environment"]
        assert {given["MARKETPRISM_CLICKHOUSE__CLUSTER"]} == clusters, name
        assert given["MARKETPRISM_CLICKHOUSE__REPLICATED"] == "true", name
    for element in found.iter():
        if variable := element.get("from_env"):
            assert all(variable in each["environment"] for each in services.values()), variable


def test_several_collectors_are_members_of_one_group(secrets: Path) -> None:
    """Else each of them would collect everything."""
    compose = {n: e for n, e in of_profile("cluster").items() if n.startswith("collector-")}
    (spec,) = [
        each["spec"]
        for each in manifests()
        if (each["kind"], each["metadata"]["name"]) == ("StatefulSet", "collector")
    ]
    pods = [f"collector-{n}" for n in range(spec["replicas"])]
    for some in (
        {name: given_in_compose(each, secrets) for name, each in compose.items()},
        {pod: given_to("collector", spec, secrets, pod) for pod in pods},
    ):
        settings = [understood(name, given) for name, given in some.items()]
        assert len({each.collector for each in settings}) == len(settings) == 3
        members = {each.members for each in settings}
        assert [(one.group, one.redundancy, bool(one.address)) for one in members] == [
            ("collector", 2, True)
        ]
    volumes = [mount for each in compose.values() for mount in each["volumes"]]
    assert len(set(volumes)) == 3, "each has a spool of its own"
    # Two copies of a symbol are not to be on one machine, and not to be taken away at once.
    rules = spec["template"]["spec"]["affinity"]["podAntiAffinity"]
    (rule,) = rules["requiredDuringSchedulingIgnoredDuringExecution"]
    assert rule["topologyKey"] == "kubernetes.io/hostname"
    assert rule["labelSelector"] == spec["selector"]
    (budget,) = [
        each["spec"]
        for each in manifests()
        if (each["kind"], each["metadata"]["name"]) == ("PodDisruptionBudget", "collector")
    ]
    assert budget["maxUnavailable"] < members.pop().redundancy


@pytest.mark.parametrize("profile", PROFILES)
def test_compose_reads_each_profile(profile: str, secrets: Path) -> None:
    compose = ["docker", "compose"]
    if (
        not shutil.which("docker")
        or subprocess.run([*compose, "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("docker compose (version 2) is not installed")
    environ = {**os.environ, "SECRETS_DIR": str(secrets)}
    told = subprocess.run(
        [*compose, "--profile", profile, "config", "--services"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert set(told.stdout.split()) == PROFILES[profile]


def test_the_limits_that_the_threat_model_names_are_in_the_code() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    table = text.partition("## Limits")[2].partition("## Secrets")[0]
    cells = [line.split("|")[3] for line in table.splitlines() if line.startswith("|")]
    named = {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}
    sources = [*(ROOT / "python").rglob("*.py"), *(ROOT / "rust").rglob("*.rs")]
    code = "\n".join(file.read_text(encoding="utf-8") for file in sources)
    keys = yaml.safe_load((ROOT / "config" / "marketprism.yaml").read_text(encoding="utf-8"))
    assert len(named) > 40
    for word in named:
        section, _, key = word.rpartition(".")
        if word.isupper() or key.isupper():
            assert re.search(rf"(?m)^.*\b{key}\b[^=\n]* = ", code), f"{word} is no constant"
        elif "/" not in word:
            assert key in (keys[section] if section else keys), f"{word} is no key"


def test_the_accounts_of_clickhouse_are_sql(tmp_path: Path) -> None:
    """chDB has no users, but the same parser."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    (sql,) = re.findall(r"```sql\n(.+?)```", text, re.DOTALL)
    script = (ROOT / "config" / "clickhouse" / "reader.sh").read_text(encoding="utf-8")
    (own,) = re.findall(r"<<SQL\n(.+?)\nSQL", script, re.DOTALL)
    statements = [one.strip() for one in f"{sql};{own}".split(";") if one.strip()]
    assert len(statements) == 13
    wrong: list[str] = []
    client = connect(f"chdb://{tmp_path / 'clickhouse'}")
    try:
        for statement in statements:
            try:
                client.command(statement)
            except DatabaseError as error:
                # What it has no users for is another error.
                wrong += [statement] * ("SYNTAX_ERROR" in str(error))
    finally:
        client.close()
    assert wrong == []


def manifests() -> list[dict[str, Any]]:
    named = yaml.safe_load((K8S / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert {*named, "kustomization.yaml"} == {file.name for file in K8S.glob("*.yaml")}
    texts = [(K8S / name).read_text(encoding="utf-8") for name in named]
    return [each for text in texts for each in yaml.safe_load_all(text)]


def given_to(name: str, spec: dict[str, Any], secrets: Path, pod: str) -> dict[str, str]:
    """What the programs of a pod find in their environment."""
    lines = (K8S / "config.env").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    fields = {
        "metadata.name": pod,
        **{
            f"metadata.labels['{label}']": value
            for label, value in spec["template"]["metadata"]["labels"].items()
        },
    }
    (container,) = spec["template"]["spec"]["containers"]
    for one in container["env"]:
        source = one.get("valueFrom", {})
        if by := source.get("secretKeyRef"):
            assert by["name"] == "marketprism-secrets", name
            given[one["name"]] = (secrets / by["key"]).read_text(encoding="utf-8")
        elif by := source.get("fieldRef"):
            given[one["name"]] = fields[by["fieldPath"]]
        else:
            given[one["name"]] = one["value"]
    return given


def test_every_pod_is_confined_probed_and_bounded(secrets: Path) -> None:
    """As the namespace demands (Pod Security Standards, restricted), and as our programs need."""
    found = manifests()
    pods = {
        each["metadata"]["name"]: each["spec"]
        for each in found
        if each["kind"] in ("StatefulSet", "Deployment")
    }
    assert pods.keys() == {"collector", "store", "cold", "api"}
    for name, spec in pods.items():
        pod = spec["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["terminationGracePeriodSeconds"] > 10, f"{name}: it drains for up to 10 s"
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
        assert "memory" in container["resources"]["limits"], name
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] in ports, name
        understood(name, given_to(name, spec, secrets, f"{name}-0"))
    covered = {
        each["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        for each in found
        if each["kind"] == "PodDisruptionBudget"
    }
    assert covered == pods.keys() - {"cold"}, "of one that may wait there is no budget"
    closed = [each for each in found if each["metadata"]["name"] == "nothing-comes-in"]
    assert closed[0]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_kustomize_builds_what_kubernetes_schemas_allow() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not there")
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    built = subprocess.run(["kubectl", "kustomize", K8S], capture_output=True, check=True).stdout
    found = [each for each in yaml.safe_load_all(built) if each]
    assert len(found) > len(manifests())
    for each in found:
        assert each["kind"] == "Namespace" or each["metadata"]["namespace"] == "marketprism"
        validate.validate(each, "1.33", strict=True)
