"""Files that belong to a message: those that a bot uploads, and those that a user attaches."""

import mimetypes
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from infra.toolchain.private import private_folder

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

ATTACHMENTS_URL = "https://www.quora.com/poe_api/attachments/"
DEFAULT_TYPE = "application/octet-stream"
PARSED_TYPES = "text/"


def guess_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or DEFAULT_TYPE


class AttachmentStore:
    """Uploaded files in a folder for its owner alone, each under an identifier that can't be
    guessed. On disk a file is named after that: its own name may be one that no disk takes."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self._folder = folder
        self._base_url = base_url
        self._names: dict[str, str] = {}  # by identifier

    def add(self, name: str, content: bytes) -> str:
        """Keep the file; gives the URL where it can be downloaded. Raises OSError."""
        identifier = secrets.token_hex(16)
        (private_folder(self._folder) / identifier).write_bytes(content)
        self._names[identifier] = in_url = _url_name(name)
        return f"{self._base_url}{identifier}/{quote(in_url)}"

    def find(self, identifier: str, name: str) -> Path | None:
        known = self._names.get(identifier) == name
        return self._folder / identifier if known else None

    async def download(self, request: "Request") -> "Response":
        """Answer a GET of `…/{identifier}/{name}`: the file, or 404."""
        from starlette.exceptions import HTTPException
        from starlette.responses import FileResponse

        path = self.find(**request.path_params)
        if path is None:
            raise HTTPException(404, "There is no such attachment.")
        return FileResponse(path, media_type=guess_type(request.path_params["name"]))


def _url_name(name: str) -> str:
    """The end of a path in a URL: no folder, and nothing that a client would resolve or refuse."""
    last = name.replace("\\", "/").rpartition("/")[2].encode("utf-8", "replace").decode()
    return "file" if last in ("", ".", "..") else last


@contextmanager
def served_files(paths: Sequence[Path]) -> Iterator[list[dict[str, Any]]]:
    """The files as a user's attachments, which loopback can download while this is entered.

    Texts come along in `parsed_content`, as Poe sends them to a bot with
    `expand_text_attachments`. The server runs in a thread: a bot may download while the caller
    waits for its user. Raises OSError where a file can't be read.
    """
    contents = [(path.name, path.read_bytes()) for path in paths]
    if not contents:
        yield []
        return
    # Here, for the many chats without attachments.
    from anyio.from_thread import start_blocking_portal
    from starlette.applications import Starlette
    from starlette.routing import Route

    from poe.asgi_server import listener, served

    with TemporaryDirectory() as folder, start_blocking_portal() as portal:
        sockets = listener(0)
        store = AttachmentStore(Path(folder), "http://{}:{}/".format(*sockets.getsockname()))
        app = Starlette(routes=[Route("/{identifier}/{name}", store.download)])
        with portal.wrap_async_context_manager(served(app, sockets)):
            yield [attachment(store.add(*file), *file) for file in contents]


def attachment(url: str, name: str, content: bytes) -> dict[str, Any]:
    """A user's file as a message carries it (specification, "Attachment")."""
    kind = guess_type(name)
    parsed = content.decode("utf-8", "replace") if kind.startswith(PARSED_TYPES) else None
    return {"url": url, "content_type": kind, "name": name, "parsed_content": parsed}
