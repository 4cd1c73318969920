"""The workflows for GitHub: pinned, with least permissions, and true to the Makefile and docs."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.stack.names import DEFAULT_STACK
from infra.toolchain.folders import ROOT
from infra.toolchain.node import CDK

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.y*ml"))
GUIDE = (ROOT / "docs" / "deploy-from-github.md").read_text()


def workflow(name: str) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true.
    parsed = yaml.safe_load((FOLDER / name).read_text())
    return {"on" if key is True else key: value for key, value in parsed.items()}


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


def scripts(name: str) -> list[str]:
    return [step["run"] for step in steps(name) if "run" in step]


def guides_json() -> list[dict[str, Any]]:
    """The trust policy and the permissions."""
    return [json.loads(block) for block in re.findall(r"```json\n(.*?)```", GUIDE, re.S)]


def test_there_are_three() -> None:
    assert [file.name for file in FILES] == ["deploy.yml", "nightly.yml", "test.yml"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_action_is_pinned_by_its_commit_with_the_version_next_to_it(file: Path) -> None:
    lines = [line.strip() for line in file.read_text().splitlines() if "uses:" in line]
    assert len(lines) == sum("uses" in step for step in steps(file.name)) > 0
    for line in lines:
        assert re.fullmatch(r"- uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_the_workflows_agree_on_what_they_use() -> None:
    used = {step["uses"] for file in FILES for step in steps(file.name) if "uses" in step}
    assert len(used) == len({each.split("@")[0] for each in used})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_workflow_keeps_githubs_token_in_the_checkout_or_reads_a_secret(file: Path) -> None:
    checkouts = [step for step in steps(file.name) if "checkout@" in step.get("uses", "")]
    assert {step["with"]["persist-credentials"] for step in checkouts} == {False}
    assert len(checkouts) == len(workflow(file.name)["jobs"])
    assert "secrets." not in file.read_text()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_script_has_an_expression_in_it(file: Path) -> None:
    """What was typed into a form would be run as a command."""
    assert not any("${{" in script for script in scripts(file.name))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_make_target_that_a_workflow_calls_exists(file: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    called = [found for script in scripts(file.name) for found in re.findall(r"make (\S+)", script)]
    assert called
    assert set(called) <= set(targets)


def test_the_tests_run_on_each_python_and_may_only_read() -> None:
    tests = workflow("test.yml")
    (job,) = tests["jobs"].values()
    assert set(tests["on"]) == {"push", "pull_request"}
    assert tests["permissions"] == {"contents": "read"}
    assert "permissions" not in job
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert job["env"]["VENV_PYTHON"] == "${{ matrix.python }}"
    assert scripts("test.yml")[-2:] == ["make lint", "make test"]


def test_each_night_all_tests_run_and_may_only_read() -> None:
    nightly = workflow("nightly.yml")
    assert set(nightly["on"]) == {"schedule", "workflow_dispatch"}
    assert nightly["permissions"] == {"contents": "read"}
    assert "make test-all" in scripts("nightly.yml")


def test_every_locked_list_is_audited() -> None:
    (audit,) = (script for script in scripts("nightly.yml") if "pip-audit" in script)
    find = audit.split("|")[0]
    found = subprocess.run(["bash", "-c", find], cwd=ROOT, capture_output=True, text=True).stdout
    hashed = {
        str(path.relative_to(ROOT))
        for folder in (".", "handler", "infra", "local", "local/aws", "bench/peers", "bot")
        for path in ROOT.glob(f"{folder}/requirements*.*")
        if "--hash=" in path.read_text()
    }
    assert set(found.split()) == hashed


def test_newer_versions_are_looked_for_of_everything_that_is_pinned() -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    assert {each["package-ecosystem"] for each in updates} == {"pip", "npm", "github-actions"}
    inputs = {"pip": "requirements*.in", "npm": "package-lock.json"}
    for each in updates:
        for folder in each.get("directories", ()):
            pattern = f"{folder.strip('/') or '.'}/{inputs[each['package-ecosystem']]}"
            assert any(ROOT.glob(pattern)), pattern


def test_every_npm_package_is_locked_with_its_hash_and_of_no_registry() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "*package.json"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "package.json" in tracked
    for name in tracked:
        packages = json.loads((ROOT / name).with_name("package-lock.json").read_text())["packages"]
        packages.pop("")
        assert packages
        assert all(each["integrity"].startswith("sha512-") for each in packages.values())
        assert not any("resolved" in each for each in packages.values())


def test_the_deployment_starts_by_hand_alone_on_main_and_only_where_it_was_switched_on() -> None:
    deploy = workflow("deploy.yml")
    (job,) = deploy["jobs"].values()
    assert set(deploy["on"]) == {"workflow_dispatch"}
    assert job["if"] == "vars.AWS_DEPLOY_ROLE != '' && github.ref == 'refs/heads/main'"
    assert deploy["permissions"] == {}
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    used = set(re.findall(r"vars\.(\w+)", (FOLDER / "deploy.yml").read_text()))
    assert used == set(re.findall(r"gh variable set (\w+)", GUIDE))


def test_the_deployment_takes_the_python_and_the_stack_of_a_plain_make_deploy() -> None:
    inputs = workflow("deploy.yml")["on"]["workflow_dispatch"]["inputs"]
    (python,) = (step for step in steps("deploy.yml") if "setup-python@" in step.get("uses", ""))
    assert python["with"] == {"python-version-file": ".python-version"}
    assert inputs["stack"]["default"] == DEFAULT_STACK
    assert set(re.findall(r"-f (\w+)=", GUIDE)) == set(inputs)


@pytest.mark.parametrize(
    ("typed", "context"),
    [
        ({}, ["-c", "stack=My Bot"]),
        ({"BOT_DIR": "a b"}, ["-c", "stack=My Bot", "-c", "bot_dir=a b"]),
        ({"BOT_FILE": "$(false) ;'"}, ["-c", "stack=My Bot", "-c", "bot_file=$(false) ;'"]),
    ],
)
def test_what_was_typed_into_the_form_reaches_the_cdk_as_it_is(
    typed: dict[str, str], context: list[str], tmp_path: Path
) -> None:
    cdk = tmp_path / "node_modules" / ".bin" / "cdk"
    cdk.parent.mkdir(parents=True)
    cdk.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    cdk.chmod(0o755)
    done = subprocess.run(
        ["bash", "-e", "-c", scripts("deploy.yml")[-1]],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "STACK": "My Bot", **typed},
        capture_output=True,
        text=True,
        check=True,
    )
    flags = ["deploy", "--require-approval", "never", "--progress", "events"]
    assert done.stdout.splitlines() == [*flags, *context]


def test_the_guides_role_is_for_one_branch_of_one_repository() -> None:
    (statement,) = guides_json()[0]["Statement"]
    (operator,) = statement["Condition"]
    conditions = statement["Condition"][operator]
    assert (statement["Action"], operator) == ("sts:AssumeRoleWithWebIdentity", "StringEquals")
    assert conditions["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"
    subject = conditions["token.actions.githubusercontent.com:sub"]
    assert re.fullmatch(r"repo:[\w@]+/[\w@]+:ref:refs/heads/main", subject)


def test_the_guides_role_may_assume_roles_of_the_cdk_and_nothing_else() -> None:
    (statement,) = guides_json()[1]["Statement"]
    assert (statement["Effect"], statement["Action"]) == ("Allow", "sts:AssumeRole")
    account, region = "111122223333", "us-east-1"
    names = [arn.removeprefix(f"arn:aws:iam::{account}:role/") for arn in statement["Resource"]]
    kinds = ["deploy", "file-publishing"]
    assert names == [f"cdk-hnb659fds-{kind}-role-{account}-{region}" for kind in kinds]


@pytest.mark.node
def test_the_cdk_still_calls_its_roles_so() -> None:
    template = (CDK / "lib" / "api" / "bootstrap" / "bootstrap-template.yaml").read_text()
    names = re.findall(r"RoleName:\s+Fn::Sub: (\S+)", template)
    for kind in ("deploy", "file-publishing"):
        assert f"cdk-${{Qualifier}}-{kind}-role-${{AWS::AccountId}}-${{AWS::Region}}" in names
