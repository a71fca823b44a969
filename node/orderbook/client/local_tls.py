"""Certificates for a group on this machine: an authority that signs once and is forgotten, and what it signed."""

from __future__ import annotations

import os
from pathlib import Path

from orderbook.network.certificates import issue_peer, new_authority

CA_FILE = "ca.crt"
CERTIFICATE_FILE = "tls.crt"
KEY_FILE = "tls.key"
LIFETIME_SECONDS = 30 * 86400.0
HOSTS = ("localhost", "127.0.0.1", "::1")


def write_certificates(directory: Path, now: float) -> None:
    """Anew, in place of what is there. ``now`` in seconds since the epoch."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = new_authority("a group on this machine", now, LIFETIME_SECONDS)
    issued = issue_peer(authority, "a node on this machine", HOSTS, now, LIFETIME_SECONDS)
    write_private(directory / KEY_FILE, issued.key)
    (directory / CERTIFICATE_FILE).write_text(issued.certificate)
    (directory / CA_FILE).write_text(authority.certificate)


def write_private(file: Path, text: str) -> None:
    """Readable by its owner only, from its first byte on."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)


def environment(directory: Path) -> dict[str, str]:
    """What a node needs to be told of these files."""
    return {
        "ORDERBOOK_TLS__MODE": "mutual",
        "ORDERBOOK_TLS__CERTIFICATE": str(directory / CERTIFICATE_FILE),
        "ORDERBOOK_TLS__KEY": str(directory / KEY_FILE),
        "ORDERBOOK_TLS__CA": str(directory / CA_FILE),
    }
