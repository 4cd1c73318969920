"""Files to the user: a picture inside the text, and a table to download."""

import struct
import zlib
from collections.abc import AsyncIterable

import fastapi_poe as fp

TABLE = b"hour,temperature\n9,14\n12,19\n15,21\n"


class SendFilesBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        picture = await self.post_message_attachment(
            message_id=request.message_id,
            file_data=_png(120, 40, colour=b"\x2b\x6c\xb0"),
            filename="sea.png",
            is_inline=True,
        )
        # Inline: the picture stands where the text names its reference.
        yield fp.PartialResponse(text=f"The sea today: ![the sea][{picture.inline_ref}]\n\n")
        await self.post_message_attachment(
            message_id=request.message_id, file_data=TABLE, filename="temperatures.csv"
        )
        yield fp.PartialResponse(text="The temperatures are attached.")


def _png(width: int, height: int, colour: bytes) -> bytes:
    """A picture of one colour (PNG specification, sections 5.2 and 11.2)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + colour * width) * height
    chunks = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


bot = SendFilesBot()
