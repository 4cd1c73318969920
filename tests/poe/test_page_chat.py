"""What one does with a conversation on the chat page: copy, ask again, edit, come back."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import fastapi_poe as fp
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from poe.client.served_bot import ServedBot
from poe.page.server import ChatPage
from tests.support.bots import KEY, served
from tests.support.browser import answers, say
from tests.support.page import ScriptedBot, served_page

pytestmark = pytest.mark.browser

CODE = "```python\nprint('a')\n```\n\nand **more**"


class Verbatim(str):
    """As the host sends an exception: fastapi_poe sends the `repr` of what it gets."""

    __repr__ = str.__str__


TRACEBACK = 'Traceback (most recent call last):\n  File "bot/bot.py", line 7\nKeyError: 7'
MANY = f"{CODE}\n\n- [x] done\n\n\\(a^2\\)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n" + "long " * 200
SCRIPTS = {
    "code": [CODE],
    "many": [MANY],
    "explained": [fp.ErrorResponse(text="It failed.", raw_response=Verbatim(TRACEBACK))],
    "mistaken": [
        fp.ErrorResponse(text="It failed.", raw_response=Verbatim(f"write `yield`\n\n{TRACEBACK}"))
    ],
    "endless": ["half of it", ScriptedBot.WAIT],
    "replies": ["Well?", fp.PartialResponse(text="Go on", is_suggested_reply=True)],
}


@pytest.fixture(scope="module")
def bot() -> ScriptedBot:
    hello = "I do **as** I am told.\n\n![none](https://example.com/a.png)"
    return ScriptedBot(SCRIPTS, fp.SettingsResponse(introduction_message=hello))


@pytest.fixture(scope="module")
def bot_url(bot) -> Iterator[str]:
    with served(fp.make_app(bot)) as url:
        yield url


@pytest.fixture(scope="module")
def chat(bot_url, tmp_path_factory) -> Iterator[ChatPage]:
    with served_page(bot_url, folder=tmp_path_factory.mktemp("page")) as page:
        yield page


@pytest.fixture
def context(chromium) -> Iterator[BrowserContext]:
    context = chromium.new_context()
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield context
    context.close()


@pytest.fixture
def page(context, chat) -> Page:
    return opened(context, chat)


def opened(context: BrowserContext, chat: ChatPage) -> Page:
    page = context.new_page()
    page.goto(chat.address)
    expect(page.locator(".introduction")).to_be_visible()
    return page


def queried(bot: ScriptedBot) -> list[str]:
    return [message.content for message in bot.told[-1].query]


def clipboard(page: Page) -> str:
    return page.evaluate("navigator.clipboard.readText()")


def focused(page: Page) -> str:
    return page.evaluate("document.activeElement.id || document.activeElement.tagName")


def test_the_introduction_is_markdown_without_images(page):
    introduction = page.locator(".introduction")
    expect(introduction.locator("strong")).to_have_text("as")
    expect(introduction.locator("img")).to_have_count(0)


def test_an_answer_and_each_block_of_code_can_be_copied(page):
    say(page, "code")
    page.get_by_role("button", name="Copy answer").click()
    assert clipboard(page) == CODE
    page.get_by_role("button", name="Copy code").click()
    assert clipboard(page) == "print('a')\n"
    expect(page.locator("#announcement")).to_have_text("Copied")


def test_an_answer_can_be_made_again(page, bot):
    say(page, "hello")
    bot.scripts["hello"] = ["another"]
    page.get_by_role("button", name="Regenerate").click()
    expect(answers(page)).to_have_text("another")
    del bot.scripts["hello"]
    assert queried(bot) == ["hello"]
    assert focused(page) == "text"


def test_only_the_last_answer_can_be_made_again(page):
    say(page, "one")
    say(page, "two")
    expect(page.get_by_role("button", name="Regenerate")).to_have_count(1)


def test_a_message_is_edited_and_what_came_after_it_goes(page, bot):
    for text in ("one", "two", "three"):
        say(page, text)
    page.get_by_role("button", name="Edit message").nth(1).click()
    field = page.get_by_role("textbox", name="Edited message")
    expect(field).to_be_focused()
    field.fill("another")
    page.keyboard.press("Enter")
    expect(answers(page)).to_have_text(["You said one", "You said another"])
    assert queried(bot) == ["one", "You said one", "another"]
    identifiers = {query.conversation_id for query in bot.told[-4:]}
    assert len(identifiers) == 1
    assert focused(page) == "text"


def test_an_edit_can_be_left_and_the_focus_stays(page):
    say(page, "one")
    page.get_by_role("button", name="Edit message").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Edit message")).to_be_focused()
    expect(page.locator(".said p")).to_have_text("one")


def test_a_suggested_reply_leaves_the_focus_where_one_writes(page):
    say(page, "replies")
    page.get_by_role("button", name="Go on").click()
    assert focused(page) == "text"


def test_the_keyboard_reaches_code(page):
    say(page, "code")
    page.get_by_role("button", name="Copy code").focus()
    page.keyboard.press("Tab")
    expect(page.locator("pre").first).to_be_focused()


def test_a_reload_keeps_the_conversation_and_it_goes_on(page, bot):
    say(page, "one")
    say(page, "code")
    page.reload()
    expect(answers(page).first).to_have_text("You said one")
    expect(answers(page).last.locator("strong")).to_have_text("more")
    expect(page.locator(".pill")).to_have_text(["complete", "complete"])
    say(page, "three")
    assert queried(bot) == ["one", "You said one", "code", CODE, "three"]


def test_a_reload_in_the_middle_keeps_what_had_come(page, bot):
    bot.go_on.clear()
    say(page, "endless", whole=False)
    expect(answers(page)).to_have_text("half of it")
    page.reload()
    expect(page.locator(".note")).to_contain_text(re.compile("Stopped|Interrupted"))
    say(page, "next")
    assert queried(bot)[0] == "endless"


def test_a_new_chat_stays_new_after_a_reload_and_the_old_one_is_found(page):
    say(page, "the first words")
    page.get_by_role("button", name="New chat").click()
    page.reload()
    expect(page.locator(".introduction")).to_be_visible()
    expect(page.locator(".turn")).to_have_count(0)
    page.get_by_role("button", name="Chats").click()
    page.get_by_role("button", name="the first words").click()
    expect(answers(page)).to_have_text("You said the first words")


def test_all_chats_can_be_deleted(page):
    say(page, "secret")
    page.get_by_role("button", name="Chats").click()
    page.get_by_role("button", name="Delete all").click()
    expect(page.locator(".turn")).to_have_count(0)
    page.get_by_role("button", name="Chats").click()
    expect(page.get_by_text("No chats yet.")).to_be_visible()


def test_another_run_goes_on_and_its_attachments_are_gone(context, bot, bot_url, tmp_path):
    def attach(page: Page) -> None:
        notes = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"some notes"}
        page.locator("#files").set_input_files([notes])
        expect(page.locator(".chip")).to_have_count(1)

    with served_page(bot_url, folder=tmp_path / "1") as first:
        page = opened(context, first)
        port = int(re.search(r":(\d+)/", first.url)[1])
        attach(page)
        say(page, "one")
    expect(page.locator("#status-word")).to_have_text("stopped", timeout=3000)
    expect(page.get_by_role("alert").first).to_contain_text("`make run` has stopped")
    say(page, "lost")
    expect(page.locator(".answer .problem:visible")).to_contain_text("Start it with `make run`")
    with served_page(bot_url, folder=tmp_path / "2", port=port) as second:
        expect(page.locator(".dot.ready")).to_be_visible(timeout=3000)
        page.get_by_role("button", name="Try again").click()
        expect(answers(page).last).to_have_text("You said lost")
        assert queried(bot) == ["one", "You said one", "lost"]
        assert bot.told[-1].query[0].attachments[0].parsed_content == "some notes"
        other = opened(context, second)  # a tab of its own
        expect(other.locator(".file.gone")).to_contain_text("notes.txt (gone")
        expect(answers(other)).to_have_text(["You said one", "You said lost"])


def test_who_takes_the_port_of_a_run_that_has_stopped_gets_no_cookie(context, bot_url, tmp_path):
    with served_page(bot_url, folder=tmp_path) as chat:
        page = opened(context, chat)
        port = urlsplit(chat.url).port
    expect(page.locator("#status-word")).to_have_text("stopped", timeout=3000)
    seen: list[tuple[str, str | None]] = []

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path.partition("/")[2][:6], self.headers["Cookie"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"00" * 32)

        do_POST = do_PUT = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", port), Stranger) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            expect(page.locator("#banner")).to_contain_text("Another server answers")
            say(page, "hello")
            expect(page.locator(".answer .problem:visible")).to_contain_text("Start it with")
        finally:
            server.shutdown()
    assert set(seen) == {("proof/", None)}


def test_the_page_says_at_once_why_a_change_does_not_start(page, bot, bot_url, chat):
    reason = "bot.py:3: invalid syntax"
    chat.state.starting()
    expect(page.locator("#status-word")).to_have_text("starting", timeout=2000)
    chat.state.broken(reason)
    expect(page.locator("#banner")).to_contain_text(reason, timeout=2000)
    expect(page.locator("#status-word")).to_have_text("broken")
    bot.settings = fp.SettingsResponse(introduction_message="fixed")
    chat.serve([ServedBot(bot_url, KEY)])
    expect(page.locator("#banner")).to_be_hidden(timeout=2000)
    expect(page.locator(".introduction")).to_have_text("fixed")


def test_an_exception_is_shown_and_its_traceback_folded_under_it(context, bot_url, tmp_path):
    def rename(text: str) -> str:
        return text.replace("bot/bot.py", "/home/me/bot.py")

    with served_page(bot_url, folder=tmp_path, rename=rename) as chat:
        page = opened(context, chat)
        say(page, "explained")
        problem = page.locator(".answer .problem")
        expect(problem.locator("summary")).to_have_text("KeyError: 7")
        expect(problem.locator("pre")).to_be_hidden()
        problem.locator("summary").click()
        expect(problem.locator("pre")).to_contain_text('File "/home/me/bot.py", line 7')
        say(page, "mistaken")
        expect(problem.last.locator("summary")).to_have_text("write `yield`")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(page, chat, scheme, width):
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 844})
    assert serious(page) == []
    say(page, "many")
    page.locator(".line").click()
    page.get_by_role("button", name="Raw events").click()
    assert serious(page) == []
    say(page, "explained")
    page.locator(".answer summary").last.click()
    chat.state.broken("bot.py:3: invalid syntax")
    expect(page.locator("#banner")).to_be_visible()
    page.get_by_role("button", name="Edit message").first.click()
    assert serious(page) == []
    for name in ("Chats", "Settings"):
        page.get_by_role("button", name=name, exact=True).click()
        assert serious(page) == []
        page.keyboard.press("Escape")
    chat.state.ready()


def serious(page: Page) -> list[str]:
    """What axe-core finds of serious and critical impact."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html']}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
