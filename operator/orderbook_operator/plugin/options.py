"""What users may say on several command lines of ``kubectl orderbook``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

SUBJECT = "kubectl-orderbook"  # of the tokens that are made for a call
_WHERE = "Which cluster"
_WHO = "Who asks"

GroupName = Annotated[str, typer.Argument(metavar="GROUP", help="Name of the OrderBookGroup.", show_default=False)]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="The group's; left out: the context's.", rich_help_panel=_WHERE),
]
Context = Annotated[
    str | None, typer.Option(help="Of the kubeconfig; left out: the current one.", rich_help_panel=_WHERE)
]
Token = Annotated[
    str | None, typer.Option(help="A token (JWT) instead of one made for this call.", rich_help_panel=_WHO)
]
TokenFile = Annotated[
    Path | None, typer.Option(help="A file with one; read again as it is renewed.", rich_help_panel=_WHO)
]
Authorities = Annotated[
    Path | None,
    typer.Option(help="PEM: whom to trust, instead of reading it from the credentials Secret.", rich_help_panel=_WHO),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


@dataclass(frozen=True)
class Place:
    """Where to look for groups. None: what the kubeconfig says."""

    namespace: str | None = None
    context: str | None = None


@dataclass(frozen=True)
class Asker:
    """Whose token is made, and what it allows; or the user's own instead."""

    subject: str
    role: str
    token: str | None = None
    token_file: Path | None = None
    ca: Path | None = None

    @property
    def has_own_token(self) -> bool:
        return self.token is not None or self.token_file is not None
