"""kind-config.yaml, read as strictly as kind reads it, by kind's own types. Needs Go and its module proxy."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
READER = ROOT / "tests" / "tools" / "kindconfig"
ZONE = "topology.kubernetes.io/zone"

pytestmark = [
    pytest.mark.skipif(shutil.which("go") is None, reason="needs go, to build kind's types"),
    pytest.mark.xdist_group("go"),
]


def read(path: Path, fails: bool = False) -> str:
    ended = subprocess.run(
        ["go", "run", ".", str(path)], cwd=READER, capture_output=True, text=True, timeout=280, check=False
    )
    assert (ended.returncode != 0) == fails, ended.stderr
    return ended.stderr if fails else ended.stdout


@pytest.fixture(scope="module")
def cluster() -> Any:
    return json.loads(read(ROOT / "kind-config.yaml"))


def test_one_control_plane_and_three_workers_in_three_zones(cluster: Any) -> None:
    roles = [node["role"] for node in cluster["nodes"]]
    assert sorted(roles) == ["control-plane", "worker", "worker", "worker"]
    zones = [node["labels"][ZONE] for node in cluster["nodes"] if node["role"] == "worker"]
    assert len(set(zones)) == 3


def test_a_port_for_the_page_that_only_this_machine_reaches(cluster: Any) -> None:
    [mapping] = [mapping for node in cluster["nodes"] for mapping in node.get("extraPortMappings", ())]
    assert 30000 <= mapping["containerPort"] <= 32767, "only node ports reach a Service"
    assert mapping["listenAddress"] == "127.0.0.1"


def test_a_key_that_kind_does_not_know_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnods: []\n")
    assert "nods" in read(wrong, fails=True)
