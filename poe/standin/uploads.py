"""Files that travel with a message: those that a bot uploads, and those that a user attaches."""

import mimetypes
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import HeaderParser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

ATTACHMENTS_URL = "https://www.quora.com/poe_api/attachments/"
DEFAULT_TYPE = "application/octet-stream"
PARSED_TYPES = "text/"

_POLL_SECONDS = 0.05


def guess_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or DEFAULT_TYPE


@dataclass(frozen=True)
class FormPart:
    """One field of a form; `filename` is None unless it is a file."""

    name: str
    filename: str | None
    content: bytes


def parse_multipart(content_type: str, body: bytes) -> list[FormPart]:
    """The parts of a multipart/form-data body (RFC 7578); ValueError if it is none."""
    boundary = HeaderParser().parsestr(f"Content-Type: {content_type}").get_boundary()
    if not boundary:
        raise ValueError("the form's content type has no boundary")
    delimiter = b"\r\n--" + boundary.encode()
    _, *pieces = (b"\r\n" + body).split(delimiter)
    if not pieces or not pieces[-1].startswith(b"--"):
        raise ValueError("the form does not end with its boundary")
    return [_part(piece) for piece in pieces[:-1]]


def _part(piece: bytes) -> FormPart:
    head, _, content = piece.partition(b"\r\n\r\n")
    headers = HeaderParser().parsestr(head.decode("utf-8", "replace").lstrip())
    name = str(headers.get_param("name", header="content-disposition"))
    return FormPart(name, headers.get_filename(), content)


class AttachmentStore:
    """Uploaded files in a folder, each under an identifier that cannot be guessed."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self._folder = folder
        self._base_url = base_url

    def add(self, name: str, content: bytes) -> str:
        """Keep the file; gives the URL where it can be downloaded."""
        safe_name = Path(name.replace("\\", "/")).name or "file"
        identifier = secrets.token_hex(16)
        path = self._folder / identifier / safe_name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return f"{self._base_url}{identifier}/{quote(safe_name)}"

    def find(self, identifier: str, name: str) -> Path | None:
        path = self._folder / identifier / name
        inside = path.resolve().is_relative_to(self._folder.resolve())
        return path if inside and path.is_file() else None


@contextmanager
def served_files(paths: Sequence[Path]) -> Iterator[list[dict[str, Any]]]:
    """The files as a user's attachments, downloadable from loopback while this is entered.

    Texts come along in `parsed_content`, as Poe sends them to a bot with
    `expand_text_attachments`. Raises OSError where a file cannot be read.
    """
    files = {f"/{secrets.token_hex(16)}/{quote(path.name)}": path for path in paths}
    contents = {url_path: (path.name, path.read_bytes()) for url_path, path in files.items()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in contents:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            name, content = contents[self.path]
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", guess_type(name))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Stay silent: the terminal belongs to the conversation."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True)
        serving.start()
        base_url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield [attachment(base_url + path, *file) for path, file in contents.items()]
        finally:
            server.shutdown()


def attachment(url: str, name: str, content: bytes) -> dict[str, Any]:
    """A user's file as a message carries it (specification, "Attachment")."""
    kind = guess_type(name)
    parsed = content.decode("utf-8", "replace") if kind.startswith(PARSED_TYPES) else None
    return {"url": url, "content_type": kind, "name": name, "parsed_content": parsed}
