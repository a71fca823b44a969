"""Credentials from files: what is loaded whole, what is refused by name, and what changes while a node runs."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest
import pytest_asyncio

from orderbook.network.certificates import Issued, issue_peer, issue_server, new_authority
from orderbook.server.credentials import CredentialError, CredentialFiles, Credentials, CredentialWatch, load
from orderbook.server.runtime import AsyncioRuntime
from unit.server.members import until
from unit.server.tokens import Minter

HOUR = 3600.0


class Secret:
    """A mounted Secret: files behind a ``..data`` link that is swapped, as Kubernetes does it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._versions = 0
        self.content: dict[str, str] = {}

    def write(self, **content: str) -> None:
        self.content |= content
        self._versions += 1
        version = self._root / f"..{self._versions}"
        version.mkdir(parents=True)
        for name, text in self.content.items():
            (version / name.replace("_", ".")).write_text(text)
            link = self._root / name.replace("_", ".")
            if not link.is_symlink():
                link.symlink_to(Path("..data") / link.name)
        fresh = self._root / "..data_tmp"
        fresh.symlink_to(version.name)
        fresh.rename(self._root / "..data")

    def path(self, name: str) -> Path:
        return self._root / name

    @property
    def files(self) -> CredentialFiles:
        return CredentialFiles(
            self.path("tls.crt"), self.path("tls.key"), self.path("ca.crt"), token_keys=self.path("tokens.json")
        )


def peer(authority: Issued, lifetime: float = HOUR) -> Issued:
    return issue_peer(authority, "g", ["localhost"], time.time(), lifetime)


def chain(issued: Issued) -> dict[str, str]:
    return {"tls_crt": issued.certificate, "tls_key": issued.key}


AUTHORITY = new_authority("ca", time.time(), HOUR)
OTHER = new_authority("other", time.time(), HOUR)
MINTER = Minter()


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    secret = Secret(tmp_path)
    secret.write(**chain(peer(AUTHORITY)), ca_crt=AUTHORITY.certificate, tokens_json=MINTER.jwks)
    return secret


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def test_the_report_names_the_content_of_the_files(secret: Secret) -> None:
    report = load(secret.files).report
    assert report.certificate == digest(secret.content["tls_crt"])
    assert report.trust == digest(secret.content["ca_crt"])
    assert report.token_keys == digest(secret.content["tokens_json"])
    assert report.certificate_expires == pytest.approx(time.time() + HOUR, abs=60)
    assert report.client_certificate is None


def test_without_files_there_is_nothing() -> None:
    assert load(CredentialFiles()).report == (None,) * 6


def test_another_certificate_for_clients(secret: Secret) -> None:
    listener = issue_server(OTHER, "eth.example", ["eth.example"], time.time(), HOUR / 2)
    secret.write(client_crt=listener.certificate, client_key=listener.key)
    files = secret.files._replace(client_certificate=secret.path("client.crt"), client_key=secret.path("client.key"))
    report = load(files).report
    assert report.client_certificate == digest(listener.certificate)
    assert report.client_certificate_expires == pytest.approx(time.time() + HOUR / 2, abs=60)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"tls_crt": "x"}, r"tls.certificate = '.*tls.crt': no certificates in PEM"),
        ({"tls_crt": ""}, r"tls.certificate = '.*tls.crt': 1 to 1048576 bytes"),
        ({"tls_key": peer(AUTHORITY).key}, r"tls.certificate = '.*tls.crt' and its key '.*tls.key' can't be used"),
        ({"tls_key": "x"}, r"and its key '.*tls.key' can't be used"),
        ({"ca_crt": "x"}, r"tls.ca = '.*ca.crt': no certificates in PEM"),
        ({"ca_crt": OTHER.certificate}, "no peer that trusts '.*ca.crt' would take it: certificate verify failed"),
        (chain(peer(AUTHORITY, -60.0)), "certificate has expired"),
        (chain(issue_server(AUTHORITY, "s", ["h"], time.time(), HOUR)), "no peer that trusts"),
        ({"tokens_json": "{}"}, r"auth.keys = '.*tokens.json': a JWKS is"),
        ({"tokens_json": "é"}, r"auth.keys = '.*tokens.json': not JSON"),
    ],
)
def test_what_can_not_be_used_is_refused_by_name(secret: Secret, changed: dict[str, str], told: str) -> None:
    secret.write(**changed)
    with pytest.raises(CredentialError, match=told):
        load(secret.files)


def test_a_missing_file_is_named(secret: Secret) -> None:
    secret.path("tls.key").unlink()
    with pytest.raises(CredentialError, match=r"tls.key = '.*tls.key': No such file"):
        load(secret.files)


# --- while it runs ----------------------------------------------------------------------------------------------------


class Watched:
    def __init__(self, secret: Secret) -> None:
        self.failures: list[BaseException] = []
        self.changes: list[Credentials] = []
        self.watch = CredentialWatch(AsyncioRuntime(self.failures.append), secret.files, load(secret.files), 0.01)
        self.watch.on_change = self.changes.append
        self.watch.start()


@pytest_asyncio.fixture
async def watched(secret: Secret) -> AsyncIterator[Watched]:
    watched = Watched(secret)
    yield watched
    watched.watch.close()
    assert watched.failures == []


async def test_a_swapped_directory_is_taken_whole(secret: Secret, watched: Watched) -> None:
    watch, newer = watched.watch, Minter()
    assert watch.clients is not None and watch.peer_server is not None
    before = watch.clients.current, watch.peer_server.current
    both = AUTHORITY.certificate + OTHER.certificate
    secret.write(**chain(peer(OTHER)), ca_crt=both, tokens_json=newer.jwks)
    await until(lambda: watch.loaded == 1, "the new set is in force")
    assert watch.current.report.trust == digest(both)
    assert watch.current.report.token_keys == digest(newer.jwks)
    assert watch.clients.current is not before[0] and watch.peer_server.current is not before[1]
    assert [change.report for change in watched.changes] == [watch.current.report]


async def test_a_bad_set_changes_nothing_and_is_told_once(secret: Secret, watched: Watched, caplog) -> None:
    watch = watched.watch
    good = dict(secret.content)
    before = watch.current
    secret.write(ca_crt=OTHER.certificate)  # its own certificate would not be believed any more
    await until(lambda: watch.refused == 1, "it is refused")
    secret.write(tokens_json="{}", ca_crt=good["ca_crt"])
    await until(lambda: watch.refused == 2, "so is the next")
    assert watch.current is before and watched.changes == []
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 2 and "ca.crt" in told[0].fields["detail"] and "tokens.json" in told[1].fields["detail"]
    secret.write(**good)
    newer = Minter()
    secret.write(tokens_json=newer.jwks)
    await until(lambda: watch.loaded == 1, "a good one is taken")
    assert watch.refused == 2 and watch.current.report.token_keys == digest(newer.jwks)
