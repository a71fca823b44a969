"""Certificates made here: an authority, and what it issues to peers and to the listener of clients.

For whoever runs a group: the operator, a local group, tests. A node itself never issues anything. Keys are ECDSA on
P-256; everything is PEM. Times are seconds since the epoch.

Keys and serial numbers come from ``draw``, signatures from the keys alone (RFC 6979): equal draws make equal files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orderbook.network.tls import PEER_NAME

BACKDATED_SECONDS = 300  # clocks of nodes differ
_MAX_COMMON_NAME = 64
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

Draw = Callable[[int], bytes]  # so many random bytes


class Issued(NamedTuple):
    """PEM of the certificate and of its private key (PKCS 8, not encrypted)."""

    certificate: str
    key: str


def new_authority(name: str, now: float, lifetime: float, draw: Draw = os.urandom) -> Issued:
    """A self-signed authority whose certificates are leaves. ``lifetime`` in seconds."""
    key = _new_key(draw)
    subject = _named(name)
    builder = _builder(subject, subject, key.public_key(), now, lifetime, draw)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return _issued(builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True), key)


def issue_peer(
    authority: Issued, name: str, hosts: Sequence[str], now: float, lifetime: float, draw: Draw = os.urandom
) -> Issued:
    """For all members of a group: both sides of a handshake between peers, and the listener of clients.

    ``hosts``: the DNS names and addresses at which clients find it; ``PEER_NAME`` is added.
    """
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return _leaf(authority, name, [PEER_NAME, *hosts], uses, now, lifetime, draw)


def issue_server(
    authority: Issued, name: str, hosts: Sequence[str], now: float, lifetime: float, draw: Draw = os.urandom
) -> Issued:
    """For the listener of clients only: whoever holds it is no peer."""
    return _leaf(authority, name, hosts, [ExtendedKeyUsageOID.SERVER_AUTH], now, lifetime, draw)


def _leaf(
    authority: Issued,
    name: str,
    hosts: Sequence[str],
    uses: Sequence[x509.ObjectIdentifier],
    now: float,
    lifetime: float,
    draw: Draw,
) -> Issued:
    if not hosts:
        raise ValueError("a certificate is for at least one DNS name or address")
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    signer = serialization.load_pem_private_key(authority.key.encode(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)  # as ``new_authority`` makes it
    key = _new_key(draw)
    builder = _builder(_named(name), issuer.subject, key.public_key(), now, lifetime, draw)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    builder = builder.add_extension(
        x509.SubjectAlternativeName([_general_name(host) for host in dict.fromkeys(hosts)]), critical=False
    )
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    )
    return _issued(builder.sign(signer, hashes.SHA256(), ecdsa_deterministic=True), key)


def _new_key(draw: Draw) -> ec.EllipticCurvePrivateKey:
    """Uniform to within 2^-128: 48 bytes are drawn for 32."""
    return ec.derive_private_key(1 + int.from_bytes(draw(48)) % (_P256_ORDER - 1), ec.SECP256R1())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: float, lifetime: float, draw: Draw
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(1 + (int.from_bytes(draw(20)) >> 2))  # positive, at most 20 bytes (RFC 5280)
        .not_valid_before(datetime.fromtimestamp(int(now) - BACKDATED_SECONDS, UTC))
        .not_valid_after(datetime.fromtimestamp(int(now + lifetime), UTC))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_MAX_COMMON_NAME])])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _issued(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Issued:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private = key.private_bytes(encoding, form, serialization.NoEncryption())
    return Issued(certificate.public_bytes(encoding).decode(), private.decode())
