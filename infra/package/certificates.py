"""A bundle of authorities as a directory in which OpenSSL finds each by its name.

A bundle is read and parsed whole by every process that trusts it, which takes 15 ms; of a hashed
directory only the authority that a handshake needs. Files are named `<hash of the subject>.<n>`:
`openssl rehash` makes the same, but is not everywhere. Sources: OpenSSL, SSL_CTX_load_verify_dir
and X509_NAME_hash; X.690 (DER); RFC 5280, 4.1.
"""

import hashlib
import re
import ssl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", re.DOTALL)

SEQUENCE, SET, UTF8_STRING, VERSION = 0x30, 0x31, 0x0C, 0xA0
# How each type of string spells its text: names are compared as UTF-8.
ENCODINGS = {
    UTF8_STRING: "utf-8",
    0x13: "ascii",  # PrintableString
    0x14: "latin-1",  # T61String, as OpenSSL takes it
    0x16: "ascii",  # IA5String
    0x1A: "ascii",  # VisibleString
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}


def write_directory(bundle: Path, directory: Path) -> None:
    """Make `directory` trust what `bundle` (PEM) does."""
    directory.mkdir()
    seen: Counter[str] = Counter()
    for pem in PEM.findall(bundle.read_text("utf-8")):
        name = subject_hash(ssl.PEM_cert_to_DER_cert(pem))
        (directory / f"{name}.{seen[name]}").write_text(pem)
        seen[name] += 1


def subject_hash(certificate: bytes) -> str:
    """Eight hexadecimal digits, as `openssl x509 -hash` prints. `certificate`: DER."""
    canonical = b"".join(_canonical_part(part) for _, part in _elements(_subject(certificate)))
    digest = hashlib.sha1(canonical, usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


def _subject(certificate: bytes) -> bytes:
    """The content of `subject`; serial, signature, issuer and validity stand before it."""
    [(_, whole)] = _elements(certificate)
    [(_, signed), *_] = _elements(whole)
    fields = [content for tag, content in _elements(signed) if tag != VERSION]
    return fields[4]


def _canonical_part(part: bytes) -> bytes:
    """A RelativeDistinguishedName, its texts in the form in which OpenSSL compares them."""
    pairs = []
    for _, pair in _elements(part):
        [(oid_tag, oid), (tag, value)] = _elements(pair)
        if tag in ENCODINGS:
            text = value.decode(ENCODINGS[tag])
            tag, value = UTF8_STRING, _canonical_text(text).encode()
        pairs.append(_encode(SEQUENCE, _encode(oid_tag, oid) + _encode(tag, value)))
    return _encode(SET, b"".join(sorted(pairs)))


def _canonical_text(text: str) -> str:
    """Without white space around it, one space for several, and in lower case: ASCII's only."""
    text = re.sub(r"[ \t\n\v\f\r]+", " ", text).strip(" ")
    return re.sub(r"[A-Z]+", lambda letters: letters[0].lower(), text)


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The tag and content of each DER element in `content`."""
    while content:
        tag, length, start = content[0], content[1], 2
        if length >= 0x80:  # then it is how many bytes of length follow
            start += length & 0x7F
            length = int.from_bytes(content[2:start])
        yield tag, content[start : start + length]
        content = content[start + length :]


def _encode(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size) + content
