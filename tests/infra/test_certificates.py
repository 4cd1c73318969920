"""The package's directory of authorities trusts what certifi's bundle does, and nothing else."""

import shutil
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import certifi
import pytest
import trustme
from OpenSSL.crypto import FILETYPE_PEM, load_certificate

from infra.package.certificates import PEM, write_directory

BUNDLE = Path(certifi.where())


def handshake(server_certificate: trustme.LeafCert, client: ssl.SSLContext) -> None:
    """Raises the client's error about the server's certificate."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_certificate.configure_cert(server)
    near, far = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(far, server_side=True) as connection:
                connection.recv(1)
        except OSError:
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(near, server_hostname="secrets.example") as connection:
            connection.sendall(b"x")
    finally:
        near.close()
        thread.join()


def test_every_authority_of_the_bundle_is_in_the_directory_once(tmp_path: Path) -> None:
    write_directory(BUNDLE, tmp_path / "certificates")
    found = [path.read_text("utf-8") for path in (tmp_path / "certificates").iterdir()]
    assert sorted(found) == sorted(PEM.findall(BUNDLE.read_text("utf-8")))
    in_the_bundle = ssl.create_default_context(cafile=BUNDLE).get_ca_certs(binary_form=True)
    assert {ssl.PEM_cert_to_DER_cert(pem) for pem in found} == {*in_the_bundle}


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl on this machine")
def test_every_authority_has_the_name_that_openssl_looks_for(tmp_path: Path) -> None:
    write_directory(BUNDLE, tmp_path / "certificates")
    for file in (tmp_path / "certificates").iterdir():
        asked = subprocess.run(
            ["openssl", "x509", "-noout", "-subject_hash", "-in", file],
            capture_output=True,
            text=True,
            check=True,
        )
        assert file.stem == asked.stdout.strip()


@pytest.mark.parametrize(
    "name",
    ["Plain", "  MANY   Spaces and CAPITALS ", "Größe & ŁÓDŹ 認証局", "x" * 64],
)
def test_a_handshake_finds_an_authority_whatever_its_name(tmp_path: Path, name: str) -> None:
    authorities = [named(name), named(name), trustme.CA()]
    first, second, _ = (
        load_certificate(FILETYPE_PEM, each.cert_pem.bytes()) for each in authorities
    )
    assert first.subject_name_hash() == second.subject_name_hash()
    bundle = tmp_path / "bundle.pem"
    for authority in authorities:
        authority.cert_pem.write_to_path(str(bundle), append=True)
    write_directory(bundle, tmp_path / "certificates")
    client = ssl.create_default_context(capath=tmp_path / "certificates")
    for authority in authorities:
        handshake(authority.issue_cert("secrets.example"), client)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(named(name).issue_cert("secrets.example"), client)


def named(name: str) -> trustme.CA:
    # Without a unit, each gets one at random.
    return trustme.CA(organization_name=name, organization_unit_name="the same")


def test_the_package_trusts_by_its_directory(package: Path) -> None:
    found = {path.read_text("utf-8") for path in (package / "certificates").iterdir()}
    bundle = (package / "certifi" / "cacert.pem").read_text("utf-8")
    assert found == {*PEM.findall(bundle)}
