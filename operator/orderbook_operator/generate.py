"""``python -m orderbook_operator.generate``: write the CRD's manifests anew from the models.

Takes the repository's root as its argument (default: the working directory) and prints the files that it wrote.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

from orderbook_operator.crd import crd

FILES = (Path("k8s/crd.yaml"), Path("charts/orderbook-operator/files/crd.yaml"))
_HEADER = "# Generated from operator/orderbook_operator by `make generate`. Edit the models there, not this file.\n"


def document() -> str:
    """The text of each file."""
    separate = json.loads(json.dumps(crd()))  # no two places share an object, which YAML would write as an alias
    body: str = yaml.safe_dump(separate, sort_keys=False, width=120, allow_unicode=True)
    return _HEADER + body


def main(root: Path) -> None:
    text = document()
    for file in FILES:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)
        sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
