"""A deployed function, fetched from AWS (or MiniStack) to run in the local Lambda."""

import io
import os
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.aws.client import AwsError, client, explained
from infra.aws.outputs import function_name
from infra.stack.names import ALIAS
from infra.toolchain.pythons import runtime_python
from local.aws_lambda.config import FunctionConfig

TASK_ROOT = "/var/task"
WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"


@dataclass(frozen=True)
class Deployed:
    """What Lambda holds for the alias `live`."""

    configuration: Mapping[str, Any]  # as GetFunction gives it
    package: bytes  # a zip

    def unpack(self, folder: Path) -> Path:
        """Write the package's files with their modes, as Lambda does. Gives `folder`."""
        with zipfile.ZipFile(io.BytesIO(self.package)) as archive:
            for entry in archive.infolist():
                path = Path(archive.extract(entry, folder))
                if not entry.is_dir():
                    path.chmod(entry.external_attr >> 16 & 0o777)
        return folder

    def config(self, folder: Path, more: Mapping[str, str] | None = None) -> FunctionConfig:
        """For the package unpacked in `folder`, with the variables that the stack gave it.

        `more` variables take precedence. Raises LookupError where its Python isn't installed.
        """
        variables = dict(self.configuration["Environment"]["Variables"])
        wrapper = variables.pop(WRAPPER, None)
        return FunctionConfig(
            folder,
            runtime_python(self.configuration["Runtime"].removeprefix("python")),
            handler=self.configuration["Handler"],
            # There the package lies in /var/task, here in `folder`.
            wrapper=os.path.relpath(wrapper, TASK_ROOT) if wrapper else None,
            environment={**variables, **(more or {})},
            memory_mb=self.configuration["MemorySize"],
            timeout_s=self.configuration["Timeout"],
            name=self.configuration["FunctionName"],
        )


def fetch(stack: str) -> Deployed:
    """Raises AwsError."""
    name = function_name(stack)
    if name is None:
        raise AwsError(f"the stack {stack} has no function: run `make deploy`")
    with explained():
        function = client("lambda").get_function(FunctionName=name, Qualifier=ALIAS)
    with urllib.request.urlopen(function["Code"]["Location"]) as reply:
        return Deployed(function["Configuration"], reply.read())
