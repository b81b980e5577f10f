"""What `kubectl apply -k` would send: rendered by kubectl itself, without a cluster."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2] / "k8s"
FOLDERS = ("base", "overlays/dev", "overlays/production")

Document = dict[str, Any]


@functools.cache
def rendered(folder: str) -> tuple[Document, ...]:
    """Every object of an overlay. Raises `AssertionError` with kubectl's own words."""
    done = subprocess.run(["kubectl", "kustomize", str(ROOT / folder)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(folder: str, *kinds: str) -> list[Document]:
    return [document for document in rendered(folder) if document["kind"] in kinds]


def named(folder: str, kind: str, name: str) -> Document:
    return next(document for document in of_kind(folder, kind) if document["metadata"]["name"] == name)


def pods(folder: str) -> Iterator[tuple[str, Document]]:
    """Name of the workload and its pod's spec, of everything that runs pods."""
    for document in of_kind(folder, "Deployment", "StatefulSet", "Job"):
        yield document["metadata"]["name"], document["spec"]["template"]["spec"]


def ours(folder: str) -> list[tuple[str, Document]]:
    """Those that run Waypost's image, with their containers."""
    return [(name, pod) for name, pod in pods(folder) if all(c["image"].startswith("waypost") for c in pod["containers"])]


def containers(pod: Document) -> list[Document]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def data_of(folder: str, kind: str, name: str) -> Mapping[str, str]:
    """The texts in a ConfigMap or Secret, decoded."""
    import base64

    found = named(folder, kind, name)
    if kind == "Secret":
        return {key: base64.b64decode(value).decode() for key, value in found.get("data", {}).items()}
    return dict(found.get("data", {}))


def environment(folder: str, container: Document) -> dict[str, str]:
    """What the container would find in its environment. Optional secrets that are not there leave no variable."""
    made: dict[str, str] = {}
    for source in container.get("envFrom", []):
        made.update(data_of(folder, "ConfigMap", source["configMapRef"]["name"]))
    for entry in container.get("env", []):
        value = _value(folder, entry)
        if value is not None:
            made[entry["name"]] = value
    return made


def _value(folder: str, entry: Document) -> str | None:
    match entry.get("valueFrom"):
        case None:
            return str(entry.get("value", ""))
        case {"secretKeyRef": {"name": name, "key": key, **more}}:
            if more.get("optional") and not any(s["metadata"]["name"] == name for s in of_kind(folder, "Secret")):
                return None
            return data_of(folder, "Secret", name)[key]
        case {"configMapKeyRef": {"name": name, "key": key}}:
            return data_of(folder, "ConfigMap", name)[key]
        case other:
            raise AssertionError(f"{entry['name']} comes from {other}, which this test does not know")


def arguments(container: Document, made: Mapping[str, str]) -> list[str]:
    """`args` with `$(NAME)` replaced, as Kubernetes does it."""
    parts = []
    for part in container.get("args", []):
        text = part
        for name, value in made.items():
            text = text.replace(f"$({name})", value)
        parts.append(text)
    return parts
