"""The project's documents, taken apart: their code, their commands, their links."""

import re
from dataclasses import dataclass
from pathlib import Path

from infra.toolchain.folders import ROOT

_CODE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
_PROGRAMS = r"(?:make|cd|aws|gh|npx|apt-get|cloudflared|git|\.) [\w./]|\.venv/bin/"
_COMMAND = re.compile(rf"(?:[A-Z_]+=\S+ )*(?:{_PROGRAMS})")


@dataclass(frozen=True)
class Document:
    file: Path

    @property
    def text(self) -> str:
        return self.file.read_text("utf-8")

    @property
    def prose(self) -> str:
        return _CODE.sub("", self.text)

    def blocks(self, language: str, having: str = "") -> list[str]:
        """The blocks of code in a language; "" for commands and their output."""
        found = _CODE.findall(self.text)
        return [code for name, code in found if name == language and having in code]

    @property
    def commands(self) -> list[str]:
        """Every command line, in text and in blocks, without its comment."""
        blocks = "".join(self.blocks("")).replace("\\\n", " ").splitlines()
        written = [*re.findall(r"`([^`\n]+)`", self.prose), *blocks]
        return [re.split(r"\s+#", line)[0] for line in written if _COMMAND.match(line)]

    @property
    def links(self) -> list[tuple[Path, str]]:
        """Links within the project: the file, and the heading in it or ""."""
        found = re.findall(r"(?:\]\(|src(?:set)?=\")(?!https?:)([^)#\"]*)#?([^)\"]*)", self.prose)
        return [(self.file.parent / name if name else self.file, anchor) for name, anchor in found]

    @property
    def anchors(self) -> set[str]:
        headings = re.findall(r"^#+ (.+)$", self.prose, re.M)
        return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


README = Document(ROOT / "README.md")
DOCUMENTS = [
    README,
    *(Document(ROOT / name) for name in ("CONTRIBUTING.md", "SECURITY.md")),
    *map(Document, sorted((ROOT / "docs").glob("*.md"))),
]
