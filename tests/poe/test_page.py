"""The chat page in a real browser, in front of a bot of fastapi_poe."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import fastapi_poe as fp
import pytest
from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
)

from poe.client.served_bot import ServedBot
from poe.page.guard import NO_TOKEN
from poe.page.server import ChatPage
from tests.support.bots import KEY, served
from tests.support.browser import answers, message, say
from tests.support.closed import CLOSED
from tests.support.page import CONTROLS, ScriptedBot, served_page

pytestmark = pytest.mark.browser

INTRODUCTION = "I do as I am told."
WICKED = """**bold** <b>raw</b>

<script>window.hacked = 1</script>
<img src="x" onerror="window.hacked = 2">

[a link](javascript:window.hacked=3) and [another](https://example.com/)

| left | right |
| :--- | ----: |
| 1 | 2 |
"""
WIDE = f"{'w' * 300}\n\n```\n{'c' * 300}\n```\n\n|{'t' * 30}{('|' + 't' * 30) * 9}|\n|{'-|' * 10}\n"
PICTURE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30">'
    b'<rect width="40" height="30" fill="teal"/></svg>'
)


def reply(text: str) -> fp.PartialResponse:
    return fp.PartialResponse(text=text, is_suggested_reply=True)


def replacement(text: str) -> fp.PartialResponse:
    return fp.PartialResponse(text=text, is_replace_response=True)


def attached(**fields: str) -> fp.PartialResponse:
    return fp.PartialResponse(text="", attachment=fp.Attachment(**fields))


SCRIPTS = {
    "steps": ["one ", ScriptedBot.WAIT, "two ", 0.3, "three"],
    "at once": [0.5, "held ", "back ", "until ", "the ", "end"],
    "fail": ["half", ValueError("never shown")],
    "try later": [fp.ErrorResponse(text="Too busy.", allow_retry=True)],
    "wicked": [WICKED],
    "wide": [WIDE],
    "replace": ["a draft", replacement("another draft"), replacement("the text")],
    "replies": ["Well?", reply("Go on"), reply("Stop")],
    "plain": [fp.MetaResponse(text="", content_type="text/plain"), "**as\nit is**"],
}


class Tab:
    """A tab that is used again and again, with all that it asked for and complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requested: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requested.append(request.url))
        page.on("console", self._complain)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _complain(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)


@pytest.fixture(scope="module")
def browser(chromium) -> BrowserContext:
    """One window of a browser; opening one for each test takes a second each."""
    return chromium.new_context()


@pytest.fixture(scope="module")
def pictures() -> Iterator[str]:
    async def app(scope, receive, send):
        headers = [(b"content-type", b"image/svg+xml")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": PICTURE})

    with served(app, lifespan="off") as url:
        yield url


@pytest.fixture(scope="module")
def bot(pictures) -> ScriptedBot:
    inline = attached(
        url=f"{pictures}a.svg", content_type="image/svg+xml", name="a.svg", inline_ref="one"
    )
    files = [
        attached(url=f"{pictures}b.svg", content_type="image/svg+xml", name="b.svg"),
        attached(url=f"{pictures}c.pdf", content_type="application/pdf", name="c.pdf"),
    ]
    linked = f"![inline][one] ![linked]({pictures}d%20e.svg)"
    settings = fp.SettingsResponse(
        introduction_message=INTRODUCTION,
        server_bot_dependencies={"Echo": 2},
        parameter_controls=CONTROLS,
    )
    return ScriptedBot({**SCRIPTS, "files": [linked, inline, *files]}, settings)


@pytest.fixture(scope="module")
def served_chat(bot, pictures, tmp_path_factory) -> Iterator[ChatPage]:
    folder = tmp_path_factory.mktemp("page")
    with (
        served(fp.make_app(bot)) as bot_url,
        served_page(bot_url, folder=folder, own=[pictures]) as page,
    ):
        yield page


@pytest.fixture(scope="module")
def url(served_chat) -> str:
    return served_chat.url


@pytest.fixture(scope="module")
def tab(browser, served_chat) -> Tab:
    """A tab that has opened the printed address once."""
    page = browser.new_page()
    page.goto(served_chat.address)
    return Tab(page)


@pytest.fixture
def page(tab, bot, url) -> Iterator[Page]:
    """The page as it is opened; in the end, nothing outside was asked for, and nothing failed."""
    bot.go_on.clear()
    page = tab.page
    page.set_viewport_size({"width": 1180, "height": 800})
    page.emulate_media(color_scheme="light")
    page.goto(url)
    expect(page.locator(".introduction")).to_have_text(INTRODUCTION)
    page.evaluate("localStorage.clear()")
    page.get_by_role("button", name="New chat").click()
    yield page
    assert [each for each in tab.requested if not each.startswith(url)] == []
    assert tab.complaints == []


def test_text_grows_as_it_arrives(page, bot):
    say(page, "steps", whole=False)
    expect(answers(page)).to_have_text("one")
    expect(page.locator(".pill")).to_have_text("streaming")
    bot.go_on.set()
    expect(answers(page)).to_have_text("one two")
    expect(answers(page)).to_have_text("one two three")
    expect(page.locator(".pill")).to_have_text("streamed")
    expect(page.locator(".figures")).to_contain_text("first")
    page.get_by_role("button", name="streamed").click()
    expect(page.locator(".timeline dl")).to_contain_text("Events4")


def test_an_answer_that_was_held_back_is_told_at_a_glance(page):
    say(page, "at once")
    expect(page.locator(".pill")).to_have_text("all at once")
    expect(page.get_by_role("button", name="all at once")).to_have_attribute(
        "title", re.compile("5 pieces of text came within")
    )


def test_a_failing_bot_shows_its_error(page):
    say(page, "fail")
    expect(answers(page)).to_have_text("half")
    expect(page.locator(".problem:visible")).to_contain_text(
        "The bot encountered an unexpected issue."
    )
    expect(page.locator(".pill")).to_have_text("failed")
    expect(page.locator(".retry")).to_be_hidden()  # fastapi_poe's error does not allow it


def test_an_error_that_allows_it_can_be_tried_again(page, bot):
    say(page, "try later")
    bot.scripts["try later"] = ["Now."]
    page.get_by_role("button", name="Try again").click()
    expect(answers(page)).to_have_text("Now.")
    assert [message.content for message in bot.told[-1].query] == ["try later"]


def test_markdown_is_rendered_and_a_script_in_it_does_not_run(page):
    say(page, "wicked")
    text = answers(page)
    expect(text.locator("strong")).to_have_text("bold")
    expect(text.locator("td").nth(1)).to_have_css("text-align", "right")
    expect(text).to_contain_text("<b>raw</b>")
    expect(text.locator("script, b, [onerror], [href^='javascript']")).to_have_count(0)
    [link] = text.locator("a").all()
    assert link.get_attribute("href") == "https://example.com/"
    assert link.get_attribute("rel") == "noopener noreferrer"
    assert page.evaluate("window.hacked") is None


def test_html_that_a_renderer_lets_through_is_sanitised_all_the_same(browser, served_chat):
    page = browser.new_page()
    page.goto(served_chat.address)
    made = page.evaluate(
        """async () => {
          const { render } = await import("./markdown.js");
          const renderer = window.markdownit.prototype.render;
          window.markdownit.prototype.render = (source) => source;
          const fragment = render("<p onclick='1' style='color: red'>x<script>1</script></p>", {});
          window.markdownit.prototype.render = renderer;
          const holder = document.createElement("div");
          holder.append(fragment);
          return holder.innerHTML;
        }"""
    )
    page.close()
    assert made == "<p>x</p>"


def test_plain_text_stays_as_it_is(page):
    say(page, "plain")
    assert answers(page).inner_text() == "**as\nit is**"


def test_replaced_text_gives_way(page):
    say(page, "replace")
    expect(answers(page)).to_have_text("the text")
    expect(page.locator(".note")).to_have_text("The text was replaced 2 times.")


def test_a_suggested_reply_is_said_by_a_click(page, bot):
    say(page, "replies")
    page.get_by_role("button", name="Go on").click()
    expect(answers(page).nth(1)).to_have_text("You said Go on")
    expect(page.locator(".replies:visible")).to_have_count(0)
    said = [message.content for message in bot.told[-1].query]
    assert said == ["replies", "Well?", "Go on"]


def test_images_and_files_are_shown(page):
    say(page, "files")
    for image in page.locator(".answer img").all():
        expect(image).to_have_js_property("naturalWidth", 40)
    alts = [image.get_attribute("alt") for image in page.locator(".answer img").all()]
    assert alts == ["inline", "linked", "b.svg"]
    with page.expect_download() as download:
        page.get_by_role("link", name="c.pdf").click()
    assert download.value.suggested_filename == "c.pdf"


def test_an_attachment_reaches_the_bot(page, bot):
    page.locator("#files").set_input_files(
        [
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"some notes"},
            {"name": "no.txt", "mimeType": "text/plain", "buffer": b"not these"},
        ]
    )
    page.get_by_label("Remove no.txt").click()
    expect(page.locator(".chip")).to_have_count(1)
    say(page, "look")
    expect(page.locator(".said .file")).to_have_text("notes.txt")
    expect(page.locator(".chip")).to_have_count(0)
    [attachment] = bot.told[-1].query[-1].attachments
    assert (attachment.name, attachment.content_type) == ("notes.txt", "text/plain")
    assert attachment.parsed_content == "some notes"


def test_an_odd_file_name_is_refused_and_reorders_nothing_but_itself(browser, served_chat):
    page = browser.new_page()
    page.goto(served_chat.address)
    name = "a\u202etxt.exe"
    odd = {"name": name, "mimeType": "text/plain", "buffer": b"x"}
    page.locator("#files").set_input_files([odd])
    chip = page.locator(".chip.bad")
    expect(chip.locator("bdi")).to_have_text(name)
    expect(chip).to_contain_text("characters that can't be shown: rename it.")
    say(page, "hello")
    expect(answers(page).last).to_have_text("You said hello")
    page.close()


def test_the_keyboard_is_enough(page):
    keys = page.keyboard
    expect(message(page)).to_be_focused()
    keys.type("two")
    keys.press("Shift+Enter")
    keys.type("lines")
    keys.press("Enter")
    expect(page.locator(".said p")).to_have_text("two\nlines", use_inner_text=True)
    expect(answers(page)).to_contain_text("You said two")
    keys.press("ArrowUp")
    expect(message(page)).to_have_value("two\nlines")
    keys.press("Shift+Tab")  # to the button before it
    expect(page.get_by_role("button", name="Attach files")).to_be_focused()


def test_escape_stops_an_answer_and_the_bot_behind_it(page, bot):
    bot.was_left.clear()
    say(page, "steps", whole=False)
    expect(answers(page)).to_have_text("one")
    page.keyboard.press("Escape")
    expect(page.locator(".note")).to_have_text("Stopped.")
    assert bot.was_left.wait(5)
    say(page, "on")
    expect(answers(page).nth(1)).to_have_text("You said on")


def test_raw_events_are_there_on_demand(page):
    say(page, "replies")
    assert page.locator(".raw tr").count() == 1
    page.get_by_role("button", name="complete").click()
    page.get_by_role("button", name="Raw events").click()
    rows = page.locator(".raw tbody tr")
    names = [row.locator("td").nth(3).inner_text() for row in rows.all()]
    assert names == ["text", "suggested_reply", "suggested_reply", "done"]
    expect(rows.first.locator("td").last).to_have_text('{"text": "Well?"}')


def test_settings_are_shown_and_controls_go_with_a_message(page, bot):
    page.get_by_role("button", name="Settings").click()
    expect(page.locator("#settings-list")).to_contain_text("Echo × 2")
    page.keyboard.press("Escape")
    page.get_by_text("Controls", exact=True).click()
    expect(page.get_by_label("Name")).to_be_hidden()
    page.get_by_label("Marks").fill("3")
    say(page, "one")
    assert bot.told[-1].query[-1].parameters == {"marks": 3, "more": False}
    page.get_by_label("More").check()
    page.get_by_label("Name").fill("Ann")
    say(page, "two")
    assert bot.told[-1].query[-1].parameters == {"marks": 3, "more": True, "name": "Ann"}


def test_a_new_chat_begins_anew(page, bot):
    say(page, "one")
    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.locator(".introduction")).to_have_text(INTRODUCTION)
    say(page, "two")
    assert [message.content for message in bot.told[-1].query] == ["two"]


def test_a_narrow_screen_has_nothing_to_scroll_sideways(page):
    page.set_viewport_size({"width": 320, "height": 640})
    say(page, "wide")
    say(page, "replies")
    page.locator(".line").last.click()
    page.get_by_role("button", name="Raw events").last.click()
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    expect(message(page)).to_be_in_viewport()


def test_the_scheme_follows_the_system(page):
    def darkness() -> int:
        colour = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    light = darkness()
    page.emulate_media(color_scheme="dark")
    assert darkness() < 150 < 600 < light


def test_a_bot_that_is_not_there_is_told(browser, tmp_path):
    with served_page(f"http://{CLOSED}/", folder=tmp_path) as chat:
        page = browser.new_page()
        page.goto(chat.address)
        expect(page.get_by_role("alert")).to_contain_text("nothing answers at")
        say(page, "hello")
        expect(page.locator(".answer .problem")).to_contain_text(
            f"nothing answers at http://{CLOSED}/"
        )
        page.close()


def test_a_page_that_is_loaded_before_its_bot_runs_waits_for_it(browser, bot, tmp_path):
    with served(fp.make_app(bot)) as bot_url, served_page(folder=tmp_path) as chat:
        page = browser.new_page()
        page.goto(chat.address)
        expect(page.locator("#status-word")).to_have_text("starting")
        chat.serve([ServedBot(bot_url, KEY)])
        expect(page.locator(".introduction")).to_have_text(INTRODUCTION)
        page.close()


def test_each_of_several_bots_can_be_chosen(browser, tmp_path):
    settings = fp.SettingsResponse()
    first = ScriptedBot({"hi": ["first"]}, settings)
    second = ScriptedBot({"hi": ["second"]}, settings)
    first.path, second.path = "/first", "/second"
    with (
        served(fp.make_app([first, second])) as base,
        served_page(f"{base}first", f"{base}second", folder=tmp_path) as chat,
    ):
        page = browser.new_page()
        page.goto(chat.address)
        page.get_by_label("Bot", exact=True).select_option("/second")
        say(page, "hi")
        expect(answers(page)).to_have_text("second")
        page.close()


def test_the_page_never_has_the_key(page):
    say(page, "hello")
    assert KEY not in page.content()


@pytest.fixture
def elsewhere() -> Iterator[Callable[[str], str]]:
    """Serves another site; gives its address under another name of this machine."""
    with ExitStack() as stack:

        def site(html: str) -> str:
            async def app(scope, receive, send):
                headers = [(b"content-type", b"text/html")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": html.encode()})

            url = stack.enter_context(served(app, lifespan="off"))
            return url.replace("127.0.0.1", "localhost")

        yield site


def test_the_printed_address_opens_the_page_and_leaves_no_token_in_the_bar(chromium, served_chat):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(served_chat.url)
    assert page.inner_text("body").strip() == NO_TOKEN.strip()
    page.goto(served_chat.address)
    assert page.url == served_chat.url
    expect(page.locator(".introduction")).to_have_text(INTRODUCTION)
    assert page.evaluate("document.cookie") == ""  # it's for no script
    page.reload()
    expect(page.locator(".introduction")).to_have_text(INTRODUCTION)
    context.close()


def test_a_link_of_another_site_to_the_address_works_too(chromium, served_chat, elsewhere):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(elsewhere(f'<a href="{served_chat.address}">the terminal in a web page</a>'))
    page.get_by_role("link").click()
    expect(page.locator(".introduction")).to_have_text(INTRODUCTION)
    assert page.url == served_chat.url
    context.close()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_no_other_site_can_frame_the_page(tab, chromium, served_chat, elsewhere, name):
    page = tab.page.context.new_page()  # where the browser has the cookie
    site = elsewhere(f'<iframe src="{served_chat.url}"></iframe>')
    page.goto(site.replace("localhost", name))
    [_, frame] = page.frames
    until = time.monotonic() + 10
    while frame.url in ("", "about:blank") and time.monotonic() < until:
        page.wait_for_timeout(50)
    assert frame.url == "chrome-error://chromewebdata/"
    page.close()


def test_a_page_whose_token_no_longer_counts_says_what_to_do(browser, served_chat, tmp_path):
    port = urlsplit(served_chat.url).port
    page = browser.new_page()
    page.goto(served_chat.address)
    expect(page.locator(".introduction")).to_have_text(INTRODUCTION)
    page.context.clear_cookies(name=f"poe-bot-page-{port}")
    say(page, "hello")
    expect(page.locator(".answer .problem").last).to_contain_text(NO_TOKEN.strip())
    page.goto(served_chat.address)  # which gives the cookie back
    page.close()
