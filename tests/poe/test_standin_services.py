"""Settings, attachments and costs at the stand-in for Poe, by fastapi_poe's own client."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fastapi_poe as fp
import httpx
import pytest
from fastapi_poe.client import AttachmentUploadError, BotError

from poe.standin.standin import PoeStandIn
from poe.standin.uploads import AttachmentStore, served_files
from tests.support.closed import CLOSED

KEY = "k" * 32


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PoeStandIn]:
    async def settings() -> dict[str, Any]:
        return fp.SettingsResponse(introduction_message="Hi").model_dump()

    options = {"access_key": KEY, "bot_name": "Mine", "settings": settings}
    folder = tmp_path_factory.mktemp("poe")
    async with PoeStandIn(folder=folder, on_line=lambda line: None, **options) as poe:
        yield poe


@pytest.fixture
def poe(shared: PoeStandIn, monkeypatch: pytest.MonkeyPatch) -> PoeStandIn:
    """A stand-in that remembers nothing yet and that this process meets as a bot would."""
    for name, value in shared.environment.items():
        monkeypatch.setenv(name, value)
    for kind in (shared.record.uploads, shared.record.costs, shared.record.settings_pushed):
        kind.clear()
    return shared


def bot(key: str = KEY) -> fp.PoeBot:
    return fp.PoeBot(access_key=key)


def paid_query() -> fp.QueryRequest:
    ids = {"message_id": "m", "user_id": "u", "conversation_id": "c", "bot_query_id": "q-1"}
    return fp.QueryRequest(query=[], version="1.2", type="query", **ids)


async def sync(name: str, key: str, settings: dict[str, Any] | None = None) -> None:
    await asyncio.to_thread(fp.sync_bot_settings, name, key, settings=settings)


async def upload(**file: Any) -> fp.Attachment:
    return await fp.upload_file(**file, num_tries=1, on_error=lambda error, message: None)


@pytest.mark.anyio
async def test_settings_are_pushed_and_fetched(poe: PoeStandIn, capsys: Any) -> None:
    pushed = fp.SettingsResponse(server_bot_dependencies={"Echo": 1}).model_dump()
    await sync("Mine", KEY, pushed)
    await sync("Mine", KEY)
    assert list(poe.record.settings_pushed) == [pushed]
    assert capsys.readouterr().out == "Settings updated.\nSettings fetched.\n"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "key", "settings", "reason"),
    [
        ("Mine", "w" * 32, {}, "not the access key of Mine"),
        ("Mine", "w" * 32, None, "not the access key of Mine"),
        ("Yours", KEY, {}, "You have no bot Yours"),
        ("Mine", KEY, {"introduction": "Hi"}, "introduction: Extra inputs are not permitted"),
        ("Mine", KEY, {"server_bot_dependencies": {"A": "x"}}, "server_bot_dependencies.A"),
    ],
)
async def test_settings_are_refused_with_a_reason(
    poe: PoeStandIn, name: str, key: str, settings: dict[str, Any] | None, reason: str
) -> None:
    with pytest.raises(BotError, match=reason):
        await sync(name, key, settings)
    assert not poe.record.settings_pushed


@pytest.mark.anyio
async def test_an_uploaded_file_can_be_downloaded(poe: PoeStandIn) -> None:
    content = b"\r\n--\x00\xff\r\n" * 1000
    sent = await upload(file=io.BytesIO(content), file_name='ü "x".png', api_key=KEY)
    async with httpx.AsyncClient() as http:
        reply = await http.get(sent.url)
    assert (sent.content_type, reply.headers["content-type"]) == ("image/png", "image/png")
    assert reply.content == content
    assert poe.record.uploads[0].size == len(content)


@pytest.mark.anyio
async def test_a_file_is_taken_by_its_url(poe: PoeStandIn, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("by URL")
    with served_files([tmp_path / "notes.txt"]) as [attachment]:
        first = await upload(file_url=attachment["url"], api_key=KEY)
    again = await upload(file_url=first.url, file_name="again.txt", api_key=KEY)
    async with httpx.AsyncClient() as http:
        reply = await http.get(again.url)
    assert reply.text == "by URL"
    assert [u.name for u in poe.record.uploads] == ["notes.txt", "again.txt"]


@pytest.mark.anyio
async def test_uploads_are_refused_with_a_reason(poe: PoeStandIn) -> None:
    with pytest.raises(AttachmentUploadError, match="401"):
        await upload(file=b"x", file_name="x", api_key="w" * 32)
    with pytest.raises(AttachmentUploadError, match="was refused"):
        await upload(file_url=f"http://{CLOSED}/x", api_key=KEY)
    with pytest.raises(AttachmentUploadError, match="was refused"):
        await upload(file_url="no url", api_key=KEY)


@pytest.mark.anyio
async def test_a_file_outside_the_uploads_cannot_be_had(poe: PoeStandIn) -> None:
    await upload(file=b"x", file_name="x", api_key=KEY)
    assert poe.ca_file.name == "authorities.pem"
    async with httpx.AsyncClient() as http:
        replies = [
            await http.get(f"https://www.quora.com/poe_api/attachments/{path}")
            for path in ("x/y", "%2e%2e/authorities.pem", "a/..%2f..%2fauthorities.pem")
        ]
    assert [reply.status_code for reply in replies] == [404, 404, 404]


@pytest.mark.anyio
async def test_a_bot_attaches_a_file_to_its_answer(poe: PoeStandIn) -> None:
    sent = await bot().post_message_attachment(
        message_id="m", file_data=b"%PDF", filename="a.pdf", is_inline=True
    )
    assert sent.mime_type == "application/pdf"
    assert sent.inline_ref


@pytest.mark.anyio
async def test_costs_are_granted_up_to_what_the_user_has(poe: PoeStandIn) -> None:
    few = fp.CostItem(amount_usd_milli_cents=900_000, description="a picture")
    await bot().authorize_cost(paid_query(), few)
    await bot().capture_cost(paid_query(), [few])
    with pytest.raises(fp.InsufficientFundError):
        await bot().authorize_cost(paid_query(), [few, few])
    with pytest.raises(fp.CostRequestError, match="401 .*not the bot's access key"):
        await bot("w" * 32).capture_cost(paid_query(), few)
    assert [(c.action, c.bot_query_id, c.granted) for c in poe.record.costs] == [
        ("authorize", "q-1", True),
        ("capture", "q-1", True),
        ("authorize", "q-1", False),
    ]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("multipart/form-data", b"--B\r\n\r\n--B--\r\n", "boundary"),
        ("multipart/form-data; boundary=C", b"--B\r\n\r\n--B--\r\n", "Invalid multipart"),
        ("multipart/form-data; boundary=B", b"--B--\r\n", "neither a file nor a download_url"),
        ("application/x-www-form-urlencoded", b"file=x", "neither a file nor a download_url"),
        ("text/plain", b"x", "neither a file nor a download_url"),
    ],
)
async def test_an_upload_without_a_file_is_refused(
    poe: PoeStandIn, kind: str, body: bytes, reason: str
) -> None:
    url = "https://www.quora.com/poe_api/file_upload_3RD_PARTY_POST"
    async with httpx.AsyncClient() as http:
        reply = await http.post(
            url, content=body, headers={"Authorization": KEY, "Content-Type": kind}
        )
    assert reply.status_code == 400
    assert reason in reply.text
    assert not poe.record.uploads


@pytest.mark.anyio
async def test_no_other_user_can_list_or_read_what_was_uploaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path / "poe", tmp_path / "poe" / "attachments"):
        folder.mkdir(mode=0o755)  # as an earlier version left it
    options = {"access_key": KEY, "on_line": lambda line: None}
    async with PoeStandIn(folder=tmp_path / "poe", **options) as poe:
        for name, value in poe.environment.items():
            monkeypatch.setenv(name, value)
        for name in ("a.txt", "..", "n" * 300, "a\x00b", "\u202ea"):
            url = (await upload(file=b"x", file_name=name, api_key=KEY)).url
            async with httpx.AsyncClient() as http:
                assert (await http.get(url)).content == b"x"
    for folder in (tmp_path / "poe", tmp_path / "poe" / "attachments"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_attached_files_are_served_while_nobody_runs_a_loop(tmp_path: Path) -> None:
    """As `make chat` waits for its user's next message."""
    (tmp_path / "a b.txt").write_text("words")
    with served_files([tmp_path / "a b.txt"]) as [attachment]:
        assert attachment["parsed_content"] == "words"
        assert attachment["name"] == "a b.txt"
        assert httpx.get(attachment["url"], trust_env=False).text == "words"
        guessed = attachment["url"].replace(attachment["url"].split("/")[3], "0" * 32)
        assert httpx.get(guessed, trust_env=False).status_code == 404
    with pytest.raises(httpx.ConnectError):
        httpx.get(attachment["url"], trust_env=False)
    with pytest.raises(FileNotFoundError), served_files([tmp_path / "missing"]):
        pass


def test_an_upload_is_found_by_its_identifier_and_its_name_together(tmp_path: Path) -> None:
    store = AttachmentStore(tmp_path / "files", "http://store/")
    identifier, name = store.add("a.txt", b"x").split("/")[-2:]
    found = store.find(identifier, name)
    assert found
    assert found.read_bytes() == b"x"
    assert store.find(identifier, "b.html") is None
    assert store.find("another", name) is None
