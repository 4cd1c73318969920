"""Has a pinned library a known vulnerability? The last part of `make lint`.

Usage: python -m infra.audit REQUIREMENTS_TXT…

pip-audit asks a public database about every pin that holds on this machine. Left alone it also
passes where nothing was asked: a mirror of PyPI that knows no single release, or one that leaves
vulnerabilities out, looks to it like a clean bill. So a database counts only if it knows the
vulnerabilities of a release that has had them for years. Without one that does, it says so,
and nothing fails.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.folders import BUILD, ROOT
from infra.pythons import environment_for_tools

# As pip-audit calls them, best first: PyPI's answers come quicker, and are kept for minutes.
DATABASES = {"pypi": "PyPI", "osv": "OSV"}
VULNERABLE = "jinja2==2.4.1"

# Vulnerabilities without a cure that do no harm here: the id, and why not.
ACCEPTED: dict[str, str] = {}

CACHE = BUILD / "pip-audit"
FIRST_ANSWER_WITHIN = 6.0  # seconds, most of which pip-audit takes to start on a busy machine
ANSWER_WITHIN = 3  # seconds of silence within one request
ALL_WITHIN = 120.0  # seconds

# In what pip-audit writes where it got no answer, or none that it can read.
_NO_ANSWER = (
    "requests.exceptions.",
    "ServiceError",
    "Could not connect to",
    "PyPI is not redirecting",
)

Dependency = dict[str, Any]  # pip-audit's JSON: name, then version and vulns or skip_reason


class NoAnswer(Exception):
    """A database did not answer, or not in time."""


class NotAuditable(Exception):
    """pip-audit will not do it: its own words."""


@dataclass(frozen=True)
class Finding:
    library: str
    version: str
    ids: tuple[str, ...]  # such as PYSEC-2021-66, CVE-2020-28493; the first is pip-audit's
    fixed_in: tuple[str, ...]  # ascending

    def line(self, pinned_in: Path) -> str:
        """What it is and what to do."""
        source = pinned_in.with_suffix(".in")
        what = f"{pinned_in}: {self.library} {self.version} has {', '.join(self.ids)}"
        if not self.fixed_in:
            return (
                f"{what}, and no release without it: leave the library out of {source}, or say in"
                f" infra/audit.py (ACCEPTED) why {self.ids[0]} does no harm here"
            )
        return (
            f"{what}, fixed in {', '.join(self.fixed_in)}: let {source} ask for"
            f" {self.library}>={self.fixed_in[-1]}, then `make lock`"
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.audit", description=__doc__)
    parser.add_argument("lists", nargs="+", type=Path, metavar="REQUIREMENTS_TXT")
    lists = parser.parse_args(arguments).lists
    try:
        return audit(lists)
    except NotAuditable as error:
        print(f"error: pip-audit gave up: {error} (`make lock` makes the lists)", file=sys.stderr)
        return 1


def audit(lists: list[Path]) -> int:
    """Print what is known of the pins; an exit status. Raises NotAuditable."""
    database = next((each for each in DATABASES if _is_one(each)), None)
    if database is None:
        asked = ", ".join(DATABASES.values())
        print(f"not audited: no vulnerability database can be reached (asked: {asked})")
        return 0
    try:
        dependencies = _pip_audit(database, ["--require-hashes"], lists, ALL_WITHIN)
    except NoAnswer:
        print(f"not audited: {DATABASES[database]} answered at first, and then no more")
        return 0
    return _report(dependencies, lists, DATABASES[database])


def _report(dependencies: list[Dependency], lists: list[Path], host: str) -> int:
    for skipped in [each for each in dependencies if "version" not in each]:
        print(f"not audited: {skipped['name']}, which {host} does not know")
    audited = [each for each in dependencies if "version" in each]
    found = [finding for each in audited for finding in _findings(each)]
    for finding in found:
        print(finding.line(_list_of(finding, lists)))
    print(f"Libraries audited by {host}: {len(audited)}, known vulnerabilities: {len(found)}")
    return 1 if found else 0


def _findings(dependency: Dependency) -> list[Finding]:
    return [
        Finding(
            dependency["name"],
            dependency["version"],
            (vulnerability["id"], *sorted(vulnerability["aliases"])),
            tuple(vulnerability["fix_versions"]),
        )
        for vulnerability in dependency["vulns"]
    ]


def _list_of(finding: Finding, lists: list[Path]) -> Path:
    """The first list that has the pin: what it asks for, the lists after it take over."""
    pin = f"\n{finding.library}=={finding.version} "
    return next((each for each in lists if pin in "\n" + each.read_text()), lists[-1])


def _is_one(database: str) -> bool:
    """Whether it answers, and knows of vulnerabilities. Raises NotAuditable."""
    with tempfile.TemporaryDirectory() as folder:
        vulnerable = Path(folder, "requirements.txt")
        vulnerable.write_text(f"{VULNERABLE}\n")
        try:
            [answer] = _pip_audit(database, ["--no-deps"], [vulnerable], FIRST_ANSWER_WITHIN)
        except NoAnswer:
            return False
    return bool(answer.get("vulns"))


def _pip_audit(database: str, how: list[str], lists: list[Path], within: float) -> list[Dependency]:
    """What it says of each pin. Raises NoAnswer and NotAuditable."""
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", database]
    command += ["--disable-pip", *how, "--timeout", str(ANSWER_WITHIN), "--cache-dir", str(CACHE)]
    command += ["--format", "json", "--progress-spinner", "off"]
    command += [f"--requirement={each}" for each in lists]
    command += [f"--ignore-vuln={each}" for each in ACCEPTED]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment_for_tools(),
            capture_output=True,
            text=True,
            timeout=within,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswer from None
    try:
        return json.loads(done.stdout)["dependencies"]  # type: ignore[no-any-return]
    except ValueError:
        if any(sign in done.stderr for sign in _NO_ANSWER):
            raise NoAnswer from None
        raise NotAuditable(_last_line(done.stderr)) from None


def _last_line(said: str) -> str:
    lines = said.strip().splitlines() or ["nothing at all"]
    return lines[-1].removeprefix("ERROR:pip_audit._cli:")


if __name__ == "__main__":
    sys.exit(main())
