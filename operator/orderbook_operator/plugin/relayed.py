"""Commands of ``orderbook`` for a group in a cluster: the same functions, options and exit codes, with an entrance made
for them first. In place of ``--node`` they take the group's name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from orderbook.cli import admin, market
from orderbook.cli import orders as trading
from orderbook.cli import watch as watching
from orderbook.cli.connection import ask_with
from orderbook_operator.plugin.entrance import entered
from orderbook_operator.plugin.kubernetes import told
from orderbook_operator.plugin.options import (
    SUBJECT,
    Asker,
    Authorities,
    Context,
    GroupName,
    Namespace,
    Place,
    Token,
    TokenFile,
)

_WHERE: dict[str, Any] = {"namespace": Namespace, "context": Context, "token": Token, "token_file": TokenFile}
_WHERE["ca"] = Authorities


def relayed(command: Callable[..., Any], role: str, example: str) -> Callable[..., None]:
    """``command`` of ``orderbook``, which takes ``node``, as one that takes a group's name first."""

    def called(**values: Any) -> None:
        place = Place(values.pop("namespace"), values.pop("context"))
        asker = Asker(SUBJECT, role, **{name: values.pop(name) for name in ("token", "token_file", "ca")})
        with entered(place, values.pop("group"), asker) as entrance:
            ask_with(entrance.credentials)
            command(node=",".join(entrance.addresses), **values)

    own = inspect.signature(command, eval_str=True).parameters
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("group", kind, annotation=GroupName),
        *(parameter.replace(kind=kind) for name, parameter in own.items() if name != "node"),
        *(inspect.Parameter(name, kind, default=None, annotation=annotation) for name, annotation in _WHERE.items()),
    ]
    what = inspect.getdoc(command) or ""
    called.__name__ = command.__name__
    called.__doc__ = f"{what.partition('Example:')[0]}Example: kubectl orderbook {example}"
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return told(called)


place = relayed(trading.place, "admin", "place eth bid ETH/USDC 1.5 3005.00 --trader bob")
cancel = relayed(trading.cancel, "admin", "cancel eth 17 --quantity 0.5")
amend = relayed(trading.amend, "admin", "amend eth 17 --price 3004.50 --quantity 2")
orders = relayed(trading.orders, "admin", "orders eth --trader bob --pair ETH/USDC")
book = relayed(market.book, "observer", "book eth ETH/USDC --depth 5")
fills = relayed(market.fills, "observer", "fills eth --pair ETH/USDC --limit 20")
watch = relayed(watching.watch, "observer", "watch eth ETH/USDC --depth 8")
transfer_leader = relayed(admin.transfer, "admin", "transfer-leader eth eth-2")
snapshot = relayed(admin.snapshot, "admin", "snapshot eth --all")
halt = relayed(admin.halt, "admin", "halt eth ETH/USDC --cancel")
resume = relayed(admin.resume, "admin", "resume eth ETH/USDC")
