"""What the chat page makes of a text: code, mathematics, task lists, and nothing that runs."""

from collections.abc import Iterator
from itertools import product

import fastapi_poe as fp
import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from tests.support.bots import served
from tests.support.page import ScriptedBot, served_page

pytestmark = pytest.mark.browser

SCRIPT = "window.hacked=1"
HTML = [
    f"<script>{SCRIPT}</script>",
    f"<img src=x onerror={SCRIPT}>",
    f"<svg onload={SCRIPT}>",
    f"<svg><script>{SCRIPT}</script></svg>",
    f"<math><mtext><style><img src=x onerror={SCRIPT}></style></mtext></math>",
    f"<math><annotation-xml encoding='text/html'><img src=x onerror={SCRIPT}>",
    f"<details open ontoggle={SCRIPT}>",
    f"<iframe srcdoc='<script>parent.{SCRIPT}</script>'></iframe>",
    f"<input type=checkbox checked autofocus onfocus={SCRIPT}>",
    f"<a href='javascript:{SCRIPT}'>x</a>",
    f"<form action='javascript:{SCRIPT}'><button>x</button></form>",
    f"</span></code></pre><img src=x onerror={SCRIPT}>",
    f'"><img src=x onerror="{SCRIPT}">',
    f"</textarea></title></style><img src=x onerror={SCRIPT}>",
]
TEX = [
    rf"\href{{javascript:{SCRIPT}}}{{x}}",
    rf"\url{{javascript:{SCRIPT}}}",
    rf"\includegraphics{{x\" onerror=\"{SCRIPT}}}",
    rf"\htmlClass{{\" onclick=\"{SCRIPT}}}{{x}}",
    r"\htmlId{app}{x}",
    rf"\htmlStyle{{background:url(javascript:{SCRIPT})}}{{x}}",
    rf"\htmlData{{onclick={SCRIPT}}}{{x}}",
    rf"\text{{<img src=x onerror={SCRIPT}>}}",
    r"\textcolor{red;background:url(/x)}{x}",
    rf"\color{{#\" onclick=\"{SCRIPT}}}x",
    r"\def\a{\a\a}\a",
    r"\rule{99999em}{99999em}",
    r"\unclosed{",
]
PLACES = [
    "{}",
    "${}$",
    "\\({}\\)",
    "$$\n{}\n$$",
    "\\[{}\\]",
    "```js\n{}\n```",
    "```{}\nx\n```",
    "~~~html\n{}",
    "- [x] {}",
    "| a |\n| - |\n| {} |",
    '[x](https://example.com/ "{}")',
    "![{}](https://example.com/a.png)",
    "[x]({})",
    "> # {}",
]
RENDER = """async (source) => {
    const { render, showRendered } = await import("./markdown.js");
    const holder = document.createElement("div");
    holder.className = "text";
    document.getElementById("log").replaceChildren(holder);
    showRendered(holder, render(source, {}));
    return holder.innerHTML;
}"""
WRONG = """() => {
    const nodes = [...document.querySelectorAll("#log *")];
    const odd = ["SCRIPT", "IFRAME", "FORM", "INPUT", "STYLE", "OBJECT", "IMG", "BASE", "META"];
    const runs = (node) => odd.includes(node.nodeName.toUpperCase())
        || node.getAttributeNames().some((name) => /^on|^id$|^srcdoc$/i.test(name))
        || /^\\s*javascript:/i.test(node.getAttribute("href") ?? "");
    const found = nodes.filter(runs).map((node) => node.outerHTML);
    return { hacked: window.hacked ?? null, found };
}"""


@pytest.fixture(scope="module")
def page(chromium, tmp_path_factory) -> Iterator[Page]:
    bot = ScriptedBot({}, fp.SettingsResponse())
    folder = tmp_path_factory.mktemp("page")
    complaints: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    with served(fp.make_app(bot)) as bot_url, served_page(bot_url, folder=folder) as chat:
        page = chromium.new_page()
        page.on("console", complain)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(chat.address)
        yield page
        page.close()
    assert complaints == []  # so the page's policy had nothing to refuse either


@pytest.mark.parametrize("place", PLACES)
def test_nothing_runs_wherever_it_stands(page, place):
    for payload in [*HTML, *TEX]:
        source = place.replace("{}", payload)
        page.evaluate(RENDER, source)
        assert page.evaluate(WRONG) == {"hacked": None, "found": []}, source


def test_payloads_in_pairs_run_neither(page):
    for first, second in product(HTML, TEX):
        page.evaluate(RENDER, f"${second}$ {first} \\({first}\\)\n\n$$\n{first}{second}\n$$")
    assert page.evaluate(WRONG) == {"hacked": None, "found": []}


@pytest.mark.parametrize(
    ("source", "inline", "displayed"),
    [
        (r"so \(a^2\) it is", 1, 0),
        ("so $a^2$ it is", 1, 0),
        ("$$\na^2\n$$", 0, 1),
        ("\\[\na^2\n\\]", 0, 1),
        ("it costs $5 or $10", 0, 0),
        ("`$a^2$` and\n\n```\n\\(a^2\\)\n```", 0, 0),
    ],
)
def test_mathematics_is_set(page, source, inline, displayed):
    page.evaluate(RENDER, source)
    expect(page.locator("#log .katex")).to_have_count(inline + displayed)
    expect(page.locator("#log .katex-display")).to_have_count(displayed)


def test_mathematics_has_its_fonts_and_its_sizes(page):
    page.evaluate(RENDER, r"\(\frac{a}{b}\)")
    expect(page.locator(".katex .mord.mathnormal").first).to_have_css("font-family", "KaTeX_Math")
    fonts = "document.fonts.ready.then(() => document.fonts.check('1em KaTeX_Math'))"
    assert page.evaluate(fonts)
    assert page.locator(".katex [style]").count() > 0
    assert page.locator(".katex-mathml mfrac").count() == 1  # what a screen reader reads


def test_what_is_no_mathematics_stays_as_it_was_written(page):
    page.evaluate(RENDER, r"\(\frac{a\)")
    expect(page.locator("#log .unread")).to_have_text(r"\frac{a")


def test_mathematics_paints_over_nothing_else(page):
    page.evaluate(RENDER, r"$\kern{-8em}\rule{5em}{5em}$")
    painted = page.evaluate(
        """() => {
            const { x, y, height } = document.querySelector("#log .text").getBoundingClientRect();
            const rule = document.querySelector("#log .katex-rule").getBoundingClientRect();
            const inside = document.elementFromPoint(rule.x + 10, y + height / 2);
            return { isOutside: rule.right < x, painted: inside.closest(".math") !== null };
        }"""
    )
    assert painted == {"isOutside": True, "painted": False}


def test_code_is_coloured_by_its_language(page):
    page.evaluate(RENDER, '```python\nprint("a")  # b\n```\n\n```nonsense\nprint\n```')
    [python, other] = page.locator("#log pre").all()
    expect(python.locator(".hljs-string")).to_have_text('"a"')
    expect(other.locator("span")).to_have_count(0)
    assert python.get_attribute("aria-label") == "Code in python"
    assert python.get_attribute("tabindex") == "0"


def test_a_task_list_says_what_is_done(page):
    page.evaluate(RENDER, "- [x] one\n- [ ] two\n- three")
    marks = [mark.get_attribute("aria-label") for mark in page.locator("#log .task").all()]
    assert marks == ["done", "open"]


def test_only_what_has_changed_is_drawn_again_and_the_focus_stays(page):
    page.evaluate(
        """async () => {
            const { render, showRendered } = await import("./markdown.js");
            const holder = document.createElement("div");
            document.getElementById("log").replaceChildren(holder);
            const grow = (source) => showRendered(holder, render(source, {}));
            grow("$a$ one\\n\\n```js\\nlet a");
            const first = holder.firstChild;
            holder.querySelector("pre").focus();
            grow("$a$ one\\n\\n```js\\nlet a = 1;\\nlet b");
            window.kept = first === holder.firstChild;
        }"""
    )
    assert page.evaluate("window.kept")
    assert page.evaluate("document.activeElement.textContent") == "let a = 1;\nlet b"
