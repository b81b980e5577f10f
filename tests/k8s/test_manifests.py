"""The manifests: rendered by kubectl, valid for Kubernetes, and in keeping with what the services really read, serve and need."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest

from tests.k8s.rendering import FOLDERS, ROOT, containers, environment, named, of_kind, ours, pods, rendered
from waypost_io.pools import read_pools
from waypost_io.settings import unknown_variables

NATIVE = re.compile(r"^(v1|apps/v1|batch/v1|policy/v1|networking\.k8s\.io/v1)$")
every_folder = pytest.mark.parametrize("folder", FOLDERS)


@every_folder
def test_everything_is_valid_for_kubernetes(folder: str) -> None:
    assert len(rendered(folder)) >= 20
    for document in rendered(folder):
        assert NATIVE.match(document["apiVersion"]), f"{document['apiVersion']} has no schema here"
        kubernetes_validate.validate(document, "1.37", strict=True)


@every_folder
def test_every_pod_may_run_where_pods_are_restricted(folder: str) -> None:
    for name, pod in pods(folder):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        for container in containers(pod):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name


@every_folder
def test_probes_and_metrics_are_asked_for_where_they_are_served(folder: str) -> None:
    services = [(name, pod) for name, pod in ours(folder) if name != "waypost-migrate"]
    assert len(services) >= 4
    for name, pod in services:
        (container,) = pod["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        # secrets of an overlay without a generator are not here to be read
        address = named(folder, "ConfigMap", container["envFrom"][0]["configMapRef"]["name"])["data"]["WAYPOST_OPS_ADDR"]
        assert address == f":{ports['ops']}", name
        assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "ops"}, name
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "ops"}, name
    for document in of_kind(folder, "Deployment", "StatefulSet"):
        notes = document["spec"]["template"]["metadata"].get("annotations", {})
        if document["metadata"]["name"] in dict(services):
            assert notes["prometheus.io/port"] == "8421"


@every_folder
def test_a_service_has_drained_before_it_is_killed(folder: str) -> None:
    seconds = {
        float(document["data"]["WAYPOST_DRAIN_SECONDS"])
        for document in of_kind(folder, "ConfigMap")
        if "WAYPOST_DRAIN_SECONDS" in document["data"]
    }
    assert len(seconds) == 1
    for name, pod in ours(folder):
        if name != "waypost-migrate":
            assert pod["terminationGracePeriodSeconds"] >= seconds.copy().pop() + 5, name


@every_folder
def test_names_that_are_referred_to_are_there(folder: str) -> None:
    maps = {document["metadata"]["name"] for document in of_kind(folder, "ConfigMap")}
    accounts = {document["metadata"]["name"] for document in of_kind(folder, "ServiceAccount")}
    claimed = {"desk-tool-secrets", "waypost-audit-keys", "waypost-identities", "waypost-nats", "waypost-postgres", "waypost-supervisors"}
    made = {re.sub(r"-[a-z0-9]{10}$", "", document["metadata"]["name"]) for document in of_kind(folder, "Secret")}
    page = (ROOT.parent / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    for _, pod in ours(folder):
        assert pod["serviceAccountName"] in accounts
        text = str(pod)
        assert set(re.findall(r"'configMap(?:Ref|KeyRef)?': \{[^}]*'name': '([^']+)'", text)) <= maps
        for secret in re.findall(r"'secret(?:Name|KeyRef)': (?:\{[^}]*'name': )?'([^']+)'", text):
            plain = secret if secret in claimed else re.sub(r"-[a-z0-9]{10}$", "", secret)
            assert plain in claimed | made
            assert f"`{plain}`" in page, f"docs/kubernetes.md does not say what the secret {plain} holds"


@every_folder
def test_each_budget_of_disruption_and_each_selector_finds_its_pods(folder: str) -> None:
    labels = [document["spec"]["template"]["metadata"]["labels"] for document in of_kind(folder, "Deployment", "StatefulSet")]
    selectors = [
        document["spec"]["selector"]["matchLabels"] for document in of_kind(folder, "Deployment", "StatefulSet", "PodDisruptionBudget")
    ]
    selectors += [document["spec"]["selector"] for document in of_kind(folder, "Service")]
    for selector in selectors:
        assert sum(selector.items() <= label.items() for label in labels) == 1, selector


@every_folder
def test_no_variable_is_set_that_nobody_reads(folder: str) -> None:
    names = {entry["name"] for _, pod in ours(folder) for container in containers(pod) for entry in container.get("env", [])}
    names |= {name for document in of_kind(folder, "ConfigMap") for name in document["data"] if name.isupper()}
    assert not unknown_variables(dict.fromkeys(names, "x"))


@every_folder
def test_one_image_of_one_version_runs_everything(folder: str) -> None:
    import tomllib

    version = tomllib.loads((ROOT.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    images = {container["image"] for _, pod in ours(folder) for container in containers(pod)}
    assert images == {f"waypost:{version}"}


def test_in_production_every_service_has_its_own_key_and_callers_sign(tmp_path: Path) -> None:
    folder = "overlays/production"
    keys = {}
    for name, pod in ours(folder):
        if name == "waypost-migrate":
            continue
        (container,) = pod["containers"]
        variables = {entry["name"]: entry.get("value") for entry in container["env"]}
        if name == "waypost-edge":
            assert variables["WAYPOST_AUTH"] == "required"
        keys[name] = Path(str(variables["WAYPOST_NATS_CREDS"])).name
        assert variables["WAYPOST_NATS_INBOX"] == f"_INBOX_{Path(keys[name]).stem}"
    assert keys == {
        "waypost-coordinator": "coordinator.nk",
        "waypost-audit-logger": "audit.nk",
        "waypost-edge": "client.nk",
        "desk": "desk.nk",
        "desk-gateway": "desk.nk",
    }
    coordinator = named(folder, "Deployment", "waypost-coordinator")["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "WAYPOST_AUTH", "value": "required"} in coordinator["env"]
    done = subprocess.run(
        [sys.executable, "-m", "waypost_cli", "nats-config", str(ROOT / folder / "pools.toml"), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("*.nk")} >= set(keys.values())
    (pool,) = read_pools(ROOT / folder / "pools.toml").values()
    assert named(folder, "StatefulSet", "desk")["spec"]["replicas"] <= pool.workers


def test_the_image_runs_as_the_user_that_the_pods_run_as() -> None:
    text = (ROOT.parent / "Dockerfile").read_text(encoding="utf-8")
    users = {pod["securityContext"]["runAsUser"] for _, pod in ours("base")}
    assert users == {10001}
    assert "USER 10001:10001" in text
    assert 'ENTRYPOINT ["waypost"]' in text
    for _, pod in ours("base"):
        for container in pod["containers"]:
            assert "command" not in container, "the image's entry point is `waypost`"
    assert environment("base", named("base", "Job", "waypost-migrate")["spec"]["template"]["spec"]["containers"][0] | {"env": []})
