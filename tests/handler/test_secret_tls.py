"""Whom a read of the secret trusts."""

import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from handler.secret import signed_call
from infra.package.certificates import write_directory
from infra.toolchain.folders import ROOT
from tests.support.secrets_double import (
    ARN,
    SECRET,
    TEXT,
    environ,
    read,
    refusal_of,
    serving,
)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def authority_file(authority, tmp_path):
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    return str(tmp_path / "authority.pem")


def test_a_read_over_tls_imports_no_codec_for_names(authority, authority_file):
    code = "import os, sys; from handler.secret.reader import SecretReader\n"
    code += f"reader = SecretReader({ARN!r}, os.environ); reader.start(); reader.text()\n"
    code += "print(sorted({'encodings.idna', 'ssl'} & set(sys.modules)))"
    with serving(SECRET, tls=authority.issue_cert("127.0.0.1")) as server:
        variables = environ(server.url.replace("http:", "https:"), AWS_CA_BUNDLE=authority_file)
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "['ssl']\n", done.stderr


def test_tls_with_an_authority_of_ones_own(authority, authority_file):
    with serving(SECRET, tls=authority.issue_cert("127.0.0.1")) as server:
        url = server.url.replace("http:", "https:")
        assert read(ARN, environ(url, AWS_CA_BUNDLE=authority_file)) == TEXT
        assert read(ARN, environ(url, SSL_CERT_FILE=authority_file)) == TEXT


@pytest.mark.parametrize("name", ["another authority", "another host", "the public authorities"])
def test_a_wrong_certificate_is_refused_without_a_second_attempt(authority, authority_file, name):
    signer = trustme.CA() if name == "another authority" else authority
    certificate = signer.issue_cert("localhost" if name == "another host" else "127.0.0.1")
    more = {} if name == "the public authorities" else {"AWS_CA_BUNDLE": authority_file}
    with serving(SECRET, tls=certificate) as server:
        url = server.url.replace("http:", "https:")
        text = refusal_of(ARN, environ(url, **more))
        assert "certificate of 127.0.0.1 is not trusted" in text
        assert "AWS_CA_BUNDLE" in text
        assert not server.asked


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_an_unusable_bundle_is_named(tmp_path, content):
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_bytes(content)
    text = refusal_of(ARN, environ("https://127.0.0.1", AWS_CA_BUNDLE=str(bundle)))
    assert f"AWS_CA_BUNDLE isn't a file of certificates: {bundle}" in text


def test_the_packages_directory_of_authorities_is_used_where_none_is_named(
    authority, authority_file, tmp_path, monkeypatch
):
    write_directory(Path(authority_file), tmp_path / "certificates")
    monkeypatch.setattr(signed_call, "CERTIFICATES", tmp_path / "certificates")
    with serving(SECRET, tls=authority.issue_cert("127.0.0.1")) as server:
        url = server.url.replace("http:", "https:")
        assert read(ARN, environ(url)) == TEXT
    with serving(SECRET, tls=trustme.CA().issue_cert("127.0.0.1")) as server:
        url = server.url.replace("http:", "https:")
        assert "is not trusted" in refusal_of(ARN, environ(url))


def test_without_a_package_the_public_authorities_are_certifis():
    import certifi

    assert signed_call._public_authorities() == certifi.where()


def test_a_proxy_for_the_bots_own_calls_is_not_asked():
    with serving(SECRET) as server, serving((500, b"")) as proxy:
        variables = {"HTTP_PROXY": proxy.url, "http_proxy": proxy.url}
        assert read(ARN, environ(server.url, **variables)) == TEXT
        assert not proxy.asked
