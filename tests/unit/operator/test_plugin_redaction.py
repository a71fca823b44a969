"""Nothing secret leaves in a bug report, whichever way it got there."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import tarfile
import time
from pathlib import Path

import pytest

from orderbook import tokens
from orderbook_operator import names
from orderbook_operator.credentials import token
from orderbook_operator.plugin.archive import Archive
from orderbook_operator.plugin.redaction import LAST_APPLIED, REDACTED, Redactor, secret_summary
from unit.operator.secret_store import SecretStore

GROUP_KEY = bytes(range(200, 232))


@pytest.fixture(scope="module")
def secrets() -> dict[str, dict[str, bytes]]:
    """Of a group, as the operator makes them, and the user's own certificate."""
    store = SecretStore()
    store.look()
    identity = {"key": GROUP_KEY, "initial-size": b"3", "incarnation": b"0123456789abcdef" * 2}
    own = {"tls.crt": b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "tls.key": pem().encode()}
    return {
        "eth-identity": identity,
        "eth-authority": dict(store.authority.data),
        "eth-credentials": dict(store.credentials.data),
        "own": own,
    }


def pem() -> str:
    return tokens.new_private_key()


def private(secrets: dict[str, dict[str, bytes]]) -> list[bytes]:
    return [value for data in secrets.values() for name, value in data.items() if name == "key" or ".key" in name]


def forms(value: bytes) -> list[str]:
    """How a log or an object may hold it."""
    encodings = [base64.b64encode(value).decode(), value.hex(), base64.urlsafe_b64encode(value).decode()]
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return encodings
    return [*encodings, text, text.strip(), *(line for line in text.splitlines() if not line.startswith("---"))]


def test_known_keys_are_taken_out_in_every_form(secrets: dict[str, dict[str, bytes]]) -> None:
    redactor = Redactor(secrets.values())
    assert len(private(secrets)) == 6
    for value in private(secrets):
        for form in forms(value):
            told = redactor.text(f"before {form} after")
            assert form not in told and told.startswith("before ") and REDACTED in told


def test_what_is_no_secret_stays(secrets: dict[str, dict[str, bytes]]) -> None:
    text = "incarnation 0123456789abcdef0123456789abcdef of 3 members, 33 entries\n" + "".join(
        secrets["eth-credentials"][name].decode() for name in (names.TRUST, names.PEER_CERTIFICATE, names.TOKEN_KEYS)
    )
    assert Redactor(secrets.values()).text(text) == text


def test_tokens_are_taken_out_without_being_known() -> None:
    store = SecretStore()
    store.look()
    minted = token(store.authority, "alice", "trader", "eth.trading", 60, time.time())
    for text in (f"GET /v1 Authorization: Bearer {minted}", f'protocol "bearer.{minted}"', f"?token={minted}&x=1"):
        told = Redactor().text(text)
        assert minted not in told and minted.split(".")[2] not in told and REDACTED in told


def test_private_keys_are_taken_out_without_being_known() -> None:
    for key in (pem(), pem().replace("PRIVATE KEY", "EC PRIVATE KEY"), pem().partition("-----END")[0]):
        told = Redactor().text(f"a\n{key}\nb")
        assert key.splitlines()[1] not in told
    assert Redactor().text(f"a\n{pem()}\nb") == f"a\n{REDACTED}\n\nb"


def test_a_private_jwk_loses_its_key() -> None:
    row = {"kty": "OKP", "x": "public-part-public-part-public", "d": "private-part-private-part-pri"}
    told = Redactor().text(json.dumps(row))
    assert "private-part" not in told and "public-part" in told


@pytest.mark.parametrize("name", ["DB_PASSWORD", "API_TOKEN", "AWS_SECRET_ACCESS_KEY", "apikey", "X_CREDENTIALS_FILE"])
def test_variables_whose_names_speak_of_secrets_lose_their_values(name: str) -> None:
    pod = {"env": [{"name": name, "value": "hunter2"}, {"name": "ORDERBOOK_LOG", "value": "json"}]}
    told = Redactor().document(pod)
    assert told["env"] == [{"name": name, "value": REDACTED}, {"name": "ORDERBOOK_LOG", "value": "json"}]


def test_where_nodes_find_their_files_is_kept() -> None:
    variable = {"name": "ORDERBOOK_KEY_FILE", "value": "/etc/orderbook/identity/key"}
    assert Redactor().document([variable]) == [variable]


def test_what_kubectl_apply_remembers_is_left_out() -> None:
    metadata = {"annotations": {LAST_APPLIED: '{"env": [{"name": "PASSWORD", "value": "hunter2"}]}', "note": "x"}}
    assert Redactor().document(metadata) == {"annotations": {"note": "x"}}


def test_a_secret_is_told_by_names_sizes_and_digests(secrets: dict[str, dict[str, bytes]]) -> None:
    for name, data in secrets.items():
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        annotations = {LAST_APPLIED: json.dumps({"data": encoded})}
        secret = {"metadata": {"name": name, "annotations": annotations}, "data": encoded, "type": "Opaque"}
        summary = secret_summary(secret)
        assert set(summary["keys"]) == set(data)
        told = json.dumps(summary)
        assert not [value for key, value in data.items() for form in forms(value) if "key" in key and form in told]


def test_an_archive_holds_no_secret_and_is_its_owner_s_only(
    secrets: dict[str, dict[str, bytes]], tmp_path: Path
) -> None:
    archive = Archive("report", Redactor(secrets.values()))
    everything = "\n".join(form for value in private(secrets) for form in forms(value))
    archive.add_text("logs/eth-0.log", everything)
    archive.add_json("pods.json", {"a": [{"b": everything}]})
    archive.missing("nodes", f"no answer, and {everything}")
    file = tmp_path / "report.tar.gz"
    archive.write(file, 1.8e9)
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    with tarfile.open(fileobj=io.BytesIO(file.read_bytes())) as opened:
        members = {member.name: opened.extractfile(member) for member in opened.getmembers()}
        texts = {name: member.read().decode() for name, member in members.items() if member}
    assert set(texts) == {"report/logs/eth-0.log", "report/pods.json", "report/problems.json"}
    for form in (form for value in private(secrets) for form in forms(value)):
        assert not [name for name, text in texts.items() if form in text]
    with pytest.raises(FileExistsError):
        archive.write(file, 1.8e9)
