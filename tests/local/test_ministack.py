"""The local AWS's process, with a stub in MiniStack's place."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from infra.toolchain.folders import ROOT
from tests.support.bot_folder import write_folder

STUB = {
    "ministack/app.py": """
import os, time
def main():
    alive = open(os.environ["ALIVE"], "w")
    print("begun", file=alive, flush=True)
    time.sleep(60)
""",
    "ministack/core/iam_evaluator.py": "_resolve_condition_key = None",
    "ministack/services/lambda_svc.py": "_create_function_url_config = None",
    "ministack/services/cloudformation/provisioners.py": """
_RESOURCE_HANDLERS = {"AWS::SecretsManager::Secret": dict.fromkeys(["create", "update", "delete"])}
""",
}
STARTER = """
import os, sys, time
from pathlib import Path
from local.aws.ministack import _started
process = _started(Path(sys.executable), os.environ, Path(os.environ["ALIVE"]).with_name("log"))
time.sleep(60)
"""


def test_the_local_aws_ends_with_a_command_that_is_killed(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    stub = write_folder(tmp_path / "stub", STUB)
    variables = os.environ | {"PYTHONPATH": str(stub), "ALIVE": str(alive)}
    with (
        subprocess.Popen([sys.executable, "-c", STARTER], cwd=ROOT, env=variables) as starter,
        alive.open() as opened,
    ):
        assert opened.readline() == "begun\n"
        starter.send_signal(signal.SIGKILL)
        assert opened.read() == ""  # when the last process that has it open ends
