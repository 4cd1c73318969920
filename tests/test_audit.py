"""What the audit says of pinned lists, by the real pip-audit and a double of its databases."""

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from pip_audit._dependency_source.interface import PYPI_URL
from pip_audit._service.osv import OsvService

from infra import audit

HASH = f"--hash=sha256:{'0' * 64}"
NOBODY_ANSWERS = "not audited: no vulnerability database can be reached (asked: PyPI, OSV)\n"
# Where pip-audit asks, by its own word.
NAMES = {
    str(urlsplit(PYPI_URL).hostname): "PyPI",
    str(urlsplit(OsvService.DEFAULT_OSV_URL).hostname): "OSV",
}
CANARY = {audit.VULNERABLE: ("PYSEC-2014-8", [], ["2.7.2"])}

# release: its vulnerability's id, other ids and the versions that mend it; None for a sound one
Known = dict[str, tuple[str, list[str], list[str]] | None]


class Databases(ThreadingHTTPServer):
    """PyPI's JSON API and OSV's behind a proxy that ends their TLS. `known` says what
    each host knows; a host that is not in it is one that the proxy can't reach. Only what the two
    services document is answered."""

    daemon_threads = False  # closing waits for each

    def __init__(self, authority: trustme.CA) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.known: dict[str, Known] = {}
        self.silent = threading.Event()  # set: requests get their answers 10 s late
        self.over = threading.Event()
        self.asked: list[str] = []
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*NAMES).configure_cert(self.tls)


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Databases
    host = ""

    def do_CONNECT(self) -> None:
        host = NAMES[self.path.removesuffix(":443")]
        if host not in self.server.known:
            self.send_error(502)
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", 0)
        self.host = host
        self.close_connection = False

    def do_GET(self) -> None:
        """PyPI's JSON API, "Get a release"."""
        root, pypi, name, version, kind = self.path.split("/")
        assert (self.host, root, pypi, kind) == ("PyPI", "", "pypi", "json")
        known, release = self.server.known[self.host], f"{name}=={version}"
        if self._says_nothing(release):
            return
        if release not in known:
            self._answer({"message": "Not Found"}, 404)
            return
        vulnerabilities = []
        if vulnerability := known[release]:
            id_, aliases, fixed_in = vulnerability
            texts = {"summary": None, "details": "Bad\nthings.", "link": "", "source": "osv"}
            ids = {"id": id_, "aliases": aliases, "withdrawn": None}
            vulnerabilities = [{**texts, **ids, "fixed_in": fixed_in}]
        self._answer({"info": {}, "urls": [], "vulnerabilities": vulnerabilities})

    def do_POST(self) -> None:
        """google.github.io/osv.dev/post-v1-query."""
        assert (self.host, self.path) == ("OSV", "/v1/query")
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = query["package"]["name"]
        assert query == {
            "package": {"name": name, "ecosystem": "PyPI"},
            "version": query["version"],
        }
        release = f"{name}=={query['version']}"
        if self._says_nothing(release):
            return
        vulnerability = self.server.known[self.host].get(release)
        if not vulnerability:
            self._answer({})
            return
        id_, aliases, fixed_in = vulnerability
        events = [{"introduced": "0"}, *({"fixed": version} for version in fixed_in)]
        affected = {
            "package": {"name": name, "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": events}],
        }
        vuln = {"schema_version": "1.7.0", "id": id_, "aliases": aliases, "affected": [affected]}
        self._answer({"vulns": [vuln]})

    def _says_nothing(self, release: str) -> bool:
        self.server.asked.append(f"{self.host} {release}")
        return self.server.silent.is_set() and self.server.over.wait(10)

    def _answer(self, body: dict[str, Any], status: int = 200) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def finish(self) -> None:
        """Closes the TLS socket; the server knows only the one below it."""
        super().finish()
        self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def databases(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Databases]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with Databases(authority) as server:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        monkeypatch.setattr(audit, "CACHE", tmp_path / "cache")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def lists(tmp_path: Path) -> list[Path]:
    """Two lists as uv writes them; the second has all of the first."""
    first, second = tmp_path / "bot.txt", tmp_path / "all.txt"
    first.write_text(f"httpx==0.28.1 \\\n    {HASH}\n    # via bot.in\n")
    second.write_text(
        f"# written\nhttpx==0.28.1 \\\n    {HASH}\n"
        f"ruff==0.9.1 ; python_version >= '3.11' \\\n    {HASH}\n"
        f"win==1.0 ; sys_platform == 'other' \\\n    {HASH}\n"
    )
    return [first, second]


def audited(lists: list[Path]) -> int:
    return audit.main([str(each) for each in lists])


def test_sound_libraries_pass_with_one_line(
    databases: Databases, lists: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    databases.known["PyPI"] = {**CANARY, "httpx==0.28.1": None, "ruff==0.9.1": None}
    assert audited(lists) == 0
    assert capsys.readouterr().out == ("Libraries audited by PyPI: 2, known vulnerabilities: 0\n")
    assert sorted(databases.asked) == [
        "PyPI httpx==0.28.1",
        "PyPI jinja2==2.4.1",
        "PyPI ruff==0.9.1",
    ]


def test_each_vulnerability_fails_with_a_line_that_says_what_to_do(
    databases: Databases, lists: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    databases.known["PyPI"] = {
        **CANARY,
        "httpx==0.28.1": ("PYSEC-2099-1", ["GHSA-a", "CVE-2099-1"], ["0.29.0", "1.0.1"]),
        "ruff==0.9.1": ("PYSEC-2099-2", [], []),
    }
    assert audited(lists) == 1
    bot, everything = lists
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(
        [
            f"{bot}: httpx 0.28.1 has PYSEC-2099-1, CVE-2099-1, GHSA-a, fixed in 0.29.0, 1.0.1:"
            f" let {bot.with_suffix('.in')} ask for httpx>=1.0.1, then `make lock`",
            f"{everything}: ruff 0.9.1 has PYSEC-2099-2, and no release without it: leave the"
            f" library out of {everything.with_suffix('.in')}, or say in infra/audit.py (ACCEPTED)"
            " why PYSEC-2099-2 does no harm here",
            "Libraries audited by PyPI: 2, known vulnerabilities: 2",
        ]
    )


def test_a_vulnerability_that_was_accepted_passes(
    databases: Databases, lists: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.known["PyPI"] = {
        **CANARY,
        "httpx==0.28.1": None,
        "ruff==0.9.1": ("PYSEC-2099-2", ["CVE-2099-2"], []),
    }
    monkeypatch.setattr(audit, "ACCEPTED", {"CVE-2099-2": "reads our own files alone"})
    assert audited(lists) == 0


def test_a_mirror_that_knows_releases_but_no_vulnerability_gives_way_to_the_other_database(
    databases: Databases, lists: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    databases.known["PyPI"] = dict.fromkeys([audit.VULNERABLE, "httpx==0.28.1", "ruff==0.9.1"])
    databases.known["OSV"] = {**CANARY, "ruff==0.9.1": ("GHSA-b", [], ["0.9.2"])}
    assert audited(lists) == 1
    said = capsys.readouterr().out.splitlines()
    assert "ruff 0.9.1 has GHSA-b, fixed in 0.9.2" in said[0]
    assert said[1] == "Libraries audited by OSV: 2, known vulnerabilities: 1"


def test_a_mirror_that_knows_no_release_is_no_database(
    databases: Databases, lists: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    databases.known["PyPI"] = {}
    assert audited(lists) == 0
    assert capsys.readouterr().out == NOBODY_ANSWERS


def test_a_network_that_swallows_everything_is_given_up_soon(
    databases: Databases,
    lists: list[Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    databases.known["PyPI"] = {**CANARY, "httpx==0.28.1": None, "ruff==0.9.1": None}
    databases.silent.set()
    monkeypatch.setattr(audit, "ANSWER_WITHIN", 30)
    monkeypatch.setattr(audit, "FIRST_ANSWER_WITHIN", 1.0)
    assert audited(lists) == 0
    assert capsys.readouterr().out == NOBODY_ANSWERS


def test_a_database_that_falls_silent_midway_is_no_pass(
    databases: Databases,
    lists: list[Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit, "_is_one", lambda database: True)
    monkeypatch.setattr(audit, "ANSWER_WITHIN", 1)
    databases.known["PyPI"] = {}
    databases.silent.set()
    assert audited(lists) == 0
    assert capsys.readouterr().out == "not audited: PyPI answered at first, and then no more\n"


def test_a_library_that_the_database_does_not_know_is_named(
    databases: Databases, lists: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    databases.known["PyPI"] = {**CANARY, "ruff==0.9.1": None}
    assert audited(lists) == 0
    assert capsys.readouterr().out.splitlines() == [
        "not audited: httpx, which PyPI does not know",
        "Libraries audited by PyPI: 1, known vulnerabilities: 0",
    ]


def test_a_pin_without_a_hash_fails_in_pip_audits_words(
    databases: Databases, lists: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    databases.known["PyPI"] = dict(CANARY)
    lists[0].write_text("httpx==0.28.1\n")
    assert audited(lists) == 1
    assert capsys.readouterr().err == (
        "error: pip-audit gave up: requirement httpx==0.28.1 does not contain a hash"
        " (`make lock` makes the lists)\n"
    )
