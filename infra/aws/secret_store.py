"""The stack's secret, read and changed member by member."""

import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from botocore.exceptions import ClientError

from infra.aws.client import AwsError, client, explained
from infra.aws.secret_members import KEY, BadMember, Members, check_key, check_value, encode, parse

Edit = Callable[[Members], Members]

PAUSE = 0.5  # seconds after another's change came in between
ATTEMPTS = 6

# What a version's successor is derived from: any fixed namespace does.
_SUCCESSORS = uuid.uuid5(uuid.NAMESPACE_OID, "successor of a secret's version")


@dataclass(frozen=True)
class Version:
    """One version of the secret: `members` is None where its text isn't a JSON object."""

    id: str
    members: Members | None


class SecretStore:
    """The secret `arn`. Every method raises AwsError."""

    def __init__(self, arn: str) -> None:
        self.arn = arn
        with explained():
            self._client = client("secretsmanager")

    def access_key(self, name: str = KEY) -> str:
        """Poe's access key, in the member `name`, as the function would take it. Raises BadMember,
        too."""
        members = self._members(self._read())
        if name not in members:
            command = "make set-key" if name == KEY else f"make set-secret NAME={name}"
            raise BadMember(f"the secret {self.arn} has no {name}: run `{command}`")
        return check_key(check_value(name, members[name]))

    def names(self) -> set[str]:
        """The members' names."""
        return {*self._members(self._read())}

    def keys(self) -> dict[str, str]:
        """The members that a bot may have for its access key, by name, the likeliest first."""
        members = self._members(self._read())
        found: dict[str, str] = {}
        for name in sorted(members, key=lambda name: (name != KEY, "ACCESS_KEY" not in name)):
            with suppress(BadMember):
                found[name] = check_key(check_value(name, members[name]))
        return found

    def change(self, edit: Edit, *, from_scratch: bool = False) -> Members:
        """Store what `edit` returns for the current members. Gives the members as stored.

        Nothing that another change puts in the meantime is lost: it is read, and `edit` asked
        again. With `from_scratch`, a secret that isn't a JSON object is treated as empty.
        """
        conflicts: dict[str, int] = {}
        for _ in range(ATTEMPTS):
            version = self._read()
            before = {} if from_scratch and version.members is None else self._members(version)
            after = edit(dict(before))
            if after == before:
                return after
            times = conflicts.get(version.id, 0)
            if self._put(after, _successor(version.id, times)):
                return after
            conflicts[version.id] = times + 1
            time.sleep(PAUSE)
        raise AwsError("others keep changing the secret: try again later")

    def _members(self, version: Version) -> Members:
        if version.members is None:
            raise AwsError(
                f"the secret {self.arn} isn't a JSON object, or has a member twice. Nothing was "
                "changed: to start it from scratch, run `make set-key RESET=yes`"
            )
        return version.members

    def _read(self) -> Version:
        with explained():
            try:
                answer = self._client.get_secret_value(SecretId=self.arn, VersionStage="AWSCURRENT")
            except ClientError as error:
                self._raise_unusable(error)
        return Version(answer["VersionId"], parse(answer.get("SecretString", "")))

    def _put(self, members: Members, token: str) -> bool:
        """Make `members` the version `token`; False if another change took that place first."""
        text = encode(members)
        with explained():
            try:
                self._client.put_secret_value(
                    SecretId=self.arn, SecretString=text, ClientRequestToken=token
                )
            except ClientError as error:
                if error.response["Error"]["Code"] == "ResourceExistsException":
                    return False
                raise
        return True

    def _raise_unusable(self, error: ClientError) -> NoReturn:
        match error.response["Error"]["Code"]:
            case "ResourceNotFoundException":
                raise AwsError(
                    f"the secret {self.arn} is gone, or has no value: run `make destroy`, then "
                    "`make deploy`"
                ) from None
            case "InvalidRequestException":
                raise AwsError(
                    f"the secret {self.arn} is marked for deletion: bring it back with "
                    f"`aws secretsmanager restore-secret --secret-id {self.arn}`"
                ) from None
        raise error


def _successor(version: str, conflicts: int) -> str:
    """The id of the version that follows `version`.

    Secrets Manager can't put conditionally, but refuses a second version of the same id with
    another text (API reference, PutSecretValue, ClientRequestToken). As everyone who changes
    `version` asks for the same id, only the first succeeds. A secret that was set back to an old
    version has its successor already: `conflicts`, how often that was met, gives it another.
    """
    return str(uuid.uuid5(_SUCCESSORS, f"{version} {conflicts}"))
