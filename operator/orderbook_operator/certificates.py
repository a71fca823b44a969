"""Certificates as they are found in Secrets: what one is for, until when, and whose it is.

Times are seconds since the epoch. To make one, see ``orderbook.network.certificates``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from orderbook.network.certificates import BACKDATED_SECONDS

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")


@dataclass(frozen=True)
class Certificate:
    """Two are the same if they have the same ``pem``. ``hosts``: the DNS names and addresses that it is for."""

    pem: str
    begins: float = field(compare=False)
    ends: float = field(compare=False)
    hosts: frozenset[str] = field(compare=False)
    is_authority: bool = field(compare=False)
    _x509: x509.Certificate = field(compare=False, repr=False)

    def is_issued_by(self, issuer: Certificate) -> bool:
        return _is_issued_by(self, issuer)

    def has_key(self, pem: str) -> bool:
        """``pem`` is this certificate's private key, not encrypted."""
        try:
            key = serialization.load_pem_private_key(pem.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            return False
        form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        return key.public_key().public_bytes(*form) == self._x509.public_key().public_bytes(*form)


def read_certificate(pem: str) -> Certificate | None:
    """The first certificate of a text. None if there is none that can be read."""
    found = read_bundle(pem)
    return found[0] if found else None


def read_bundle(pem: str) -> tuple[Certificate, ...]:
    """All certificates of a text that can be read, in order, each once."""
    found = (_read(block) for block in _PEM.findall(pem))
    return tuple(dict.fromkeys(certificate for certificate in found if certificate is not None))


@lru_cache(maxsize=1024)  # every pass over every group asks the same again
def _is_issued_by(certificate: Certificate, issuer: Certificate) -> bool:
    try:
        certificate._x509.verify_directly_issued_by(issuer._x509)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


@lru_cache(maxsize=1024)
def _read(pem: str) -> Certificate | None:
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        extensions = certificate.extensions
        constraints = _extension(extensions, x509.BasicConstraints)
        names = _extension(extensions, x509.SubjectAlternativeName)
        hosts = () if names is None else (*names.get_values_for_type(x509.DNSName), *_addresses(names))
        return Certificate(
            certificate.public_bytes(serialization.Encoding.PEM).decode(),
            certificate.not_valid_before_utc.timestamp() + BACKDATED_SECONDS,
            certificate.not_valid_after_utc.timestamp(),
            frozenset(hosts),
            constraints is not None and constraints.ca,
            certificate,
        )
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return None


def _addresses(names: x509.SubjectAlternativeName) -> tuple[str, ...]:
    return tuple(str(address) for address in names.get_values_for_type(x509.IPAddress))


def _extension(extensions: x509.Extensions, kind: type[_Kind]) -> _Kind | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
