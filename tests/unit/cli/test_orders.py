"""What `orderbook place` refuses before it asks a node."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from orderbook.cli import app

PLACE = ("place", "bid", "ETH/USDC", "1", "5")


@pytest.mark.parametrize("options", [("--tif", "gtd"), ("--expires", "2030-01-01T00:00:00Z")])
def test_gtd_and_expires_go_together(options: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*PLACE, *options])
    assert result.exit_code == 2
    assert "--tif gtd and --expires go together" in " ".join(result.output.replace("│", " ").split())
