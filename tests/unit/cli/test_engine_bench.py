"""``orderbook bench --engine``: the figures are there, and the flow is what it says it is."""

import json

from orderbook.book.constants import CANCEL, IOC, PLACE
from orderbook.cli.order_flow import OrderFlow
from unit.cli.run import run


def test_the_engine_bench_prints_the_mix_and_json() -> None:
    result = run("bench", "--engine", "--commands", "3000", "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout.splitlines()[-1])
    assert figures["commands"] == 3000
    assert figures["commands_per_second"] > 0
    assert "55 % new, 35 % cancel, 10 % crossing" in result.output


def test_the_flow_has_the_proportions_that_it_claims() -> None:
    rows = OrderFlow(seed=1).batch(20_000)
    crossing = sum(row[0] == PLACE and row[8:] == (IOC,) for row in rows)
    cancels = sum(row[0] == CANCEL for row in rows)
    shares = [round(100 * count / len(rows)) for count in (len(rows) - crossing - cancels, cancels, crossing)]
    assert shares == [55, 35, 10]
    assert len({row[2] for row in rows if row[0] == PLACE}) == 10


def test_flows_on_one_group_keep_out_of_each_others_way() -> None:
    one, other = OrderFlow(1, first_id=1, step=2), OrderFlow(2, first_id=2, step=2)
    ids = [{row[1] for row in flow.batch(500) if row[0] == PLACE} for flow in (one, other)]
    assert not ids[0] & ids[1]
