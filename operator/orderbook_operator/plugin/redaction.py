"""What must not leave the cluster in a bug report is taken out of it. Pure.

Two nets. Private keys and group keys that the Secrets hold are known: wherever one stands, as it is or in base64, it is
taken out. Whatever looks like a token, a private key or a password is taken out without being known.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

Json = dict[str, Any]

REDACTED = "(redacted)"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MOUNTED = "/etc/orderbook/"  # where nodes find their files
SHORTEST_SECRET = 8  # bytes: what is shorter is no key, and would be found everywhere

_SECRET_WORD = re.compile(r"token|passw|secret|credential|(?:^|[_.-])(?:api)?keys?(?:$|[_.-])", re.IGNORECASE)
_PATTERNS = (
    re.compile(r"-----BEGIN (?P<what>[A-Z0-9 ]*PRIVATE KEY)-----.*?(?:-----END (?P=what)-----|\Z)", re.DOTALL),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),  # a JWT
    re.compile(r"(?<=[Bb]earer[ .])[A-Za-z0-9_.~+/=-]{8,}"),
    re.compile(r'(?<="d": ")[A-Za-z0-9_-]{20,}|(?<="d":")[A-Za-z0-9_-]{20,}'),  # of a private JWK
)


class Redactor:
    """Knows the secrets of one group."""

    def __init__(self, secrets: Iterable[Mapping[str, bytes]] = ()) -> None:
        """``secrets``: data of Secrets by key. Those that hold private matter are told by their key's name."""
        known: set[str] = set()
        for data in secrets:
            for name, value in data.items():
                if is_private(name) and len(value.strip()) >= SHORTEST_SECRET:
                    known |= _forms(value)
        self._known = sorted(known, key=len, reverse=True)

    def text(self, text: str) -> str:
        for secret in self._known:
            text = text.replace(secret, REDACTED)
        for pattern in _PATTERNS:
            text = pattern.sub(REDACTED, text)
        return text

    def document(self, document: Any) -> Any:
        """JSON: every text, values of environment variables whose names speak of secrets, and what kubectl apply keeps
        of them in an annotation."""
        if isinstance(document, dict):
            if _is_secret_variable(document):
                document = {**document, "value": REDACTED}
            return {key: self.document(value) for key, value in document.items() if key != LAST_APPLIED}
        if isinstance(document, list):
            return [self.document(one) for one in document]
        return self.text(document) if isinstance(document, str) else document


def _is_secret_variable(document: Json) -> bool:
    """Its name speaks of a secret. Those of the nodes name files."""
    name, value = document.get("name"), document.get("value")
    if not isinstance(name, str) or not isinstance(value, str) or value.startswith(MOUNTED):
        return False
    return _SECRET_WORD.search(name) is not None


def is_private(key: str) -> bool:
    """Whether this key of a Secret of ours, or of type kubernetes.io/tls, holds what nobody else may know."""
    return key == "key" or key.endswith(".key")


def _forms(value: bytes) -> set[str]:
    """A secret as text may hold it: whole, its lines, both encodings; hex of bytes that are no text."""
    forms = {base64.b64encode(value).decode(), base64.urlsafe_b64encode(value).decode().rstrip("="), value.hex()}
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return forms
    lines = (line.strip() for line in text.splitlines() if not line.startswith("-----"))
    return forms | {text.strip()} | {line for line in lines if len(line) >= SHORTEST_SECRET}


def secret_summary(secret: Json) -> Json:
    """Of a Secret as the API server gives it: names of its keys, sizes and digests; nothing that can be used."""
    data = {name: base64.b64decode(value) for name, value in (secret.get("data") or {}).items()}
    metadata = secret["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "ownerReferences", "labels")
    return {
        "kind": "Secret",
        "type": secret.get("type", ""),
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "keys": {name: {"bytes": len(value), "sha256": sha256(value).hexdigest()} for name, value in data.items()},
    }
