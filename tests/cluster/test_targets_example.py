"""The targets file and the kustomization in docs/installing.md work as they stand there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import yaml

from monlat_ebpf.discovery.peers_file import parse
from tests.cluster.rendering import output_of
from tests.manifest_files import MANIFESTS, ROOT, agent_of, objects_in, of_kind, pod_of


def test_example_gives_the_agents_the_targets(kubectl: str, tmp_path: Path) -> None:
    """The agent accepts the file, which is mounted where MONLAT_TARGETS says; nothing else of the base changes."""
    text = (ROOT / "docs/installing.md").read_text()
    chapter = text.partition("## Targets beside the nodes")[2].partition("\n## ")[0]
    targets, kustomization = re.findall(r"```yaml\n(.*?)```", chapter, re.DOTALL)
    shutil.copytree(MANIFESTS / "base", tmp_path / "base")
    own = tmp_path / "own"
    own.mkdir()
    (own / "targets.yaml").write_text(targets)
    (own / "kustomization.yaml").write_text(f"namespace: monlat\nresources: [../base]\n{kustomization}")
    objects = objects_in(output_of(kubectl, "kustomize", own))
    content = of_kind(objects, "ConfigMap")["data"]["targets.yaml"]
    assert [peer.name for peer in parse(content, file="targets.yaml").peers] == ["gateway", "dns"]
    assert of_kind(objects, "ConfigMap")["metadata"] == {"name": "monlat-targets", "namespace": "monlat"}
    (variable,) = (each for each in agent_of(objects)["env"] if each["name"] == "MONLAT_TARGETS")
    (mount,) = (each for each in agent_of(objects)["volumeMounts"] if each["name"] == "targets")
    assert variable["value"] == f"{mount['mountPath']}/targets.yaml"
    (volume,) = (each for each in pod_of(objects)["volumes"] if each["name"] == "targets")
    assert volume["configMap"] == {"name": "monlat-targets"}
    base = objects_in(output_of(kubectl, "kustomize", MANIFESTS / "base"))
    agent_of(objects)["env"].remove(variable)
    agent_of(objects)["volumeMounts"].remove(mount)
    pod_of(objects)["volumes"].remove(volume)
    objects.remove(of_kind(objects, "ConfigMap"))
    assert sorted(map(yaml.safe_dump, objects)) == sorted(map(yaml.safe_dump, base))
