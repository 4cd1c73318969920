"""A bundle of authorities as a directory in which OpenSSL finds each by its name.

A bundle is read and parsed whole by every process that trusts it, which takes 15 ms; of a hashed
directory only the authority that a handshake needs. Files are named `<hash of the subject>.<n>`:
`openssl rehash` creates the same, but isn't installed everywhere. Source: OpenSSL,
SSL_CTX_load_verify_dir.
"""

import re
from collections import Counter
from pathlib import Path

PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", re.DOTALL)


def write_directory(bundle: Path, directory: Path) -> None:
    """Create `directory`, which trusts what `bundle` (PEM) does."""
    # Here: most builds find the libraries, and with them the directory, from the time before.
    from OpenSSL.crypto import FILETYPE_PEM, load_certificate

    directory.mkdir()
    seen: Counter[str] = Counter()
    for pem in PEM.findall(bundle.read_text("utf-8")):
        name = f"{load_certificate(FILETYPE_PEM, pem.encode()).subject_name_hash():08x}"
        (directory / f"{name}.{seen[name]}").write_text(pem)
        seen[name] += 1
