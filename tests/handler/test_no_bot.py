"""A bot.py without a bot: what is there instead, and what to write."""

from types import ModuleType

import pytest

from handler.app.load import _bots
from handler.app.user_module import BadBot

CLASS = "class MyBot(fp.PoeBot): pass\n"
RULE = "bot.py has to end with `bot = …`"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (CLASS, "defines the class MyBot, but no bot: end it with `bot = MyBot()`"),
        (CLASS + "bot = MyBot", "defines the class MyBot, but no bot: end it with `bot = "),
        (CLASS + "bot = [MyBot(), MyBot]", "defines the class MyBot, but no bot"),
        (CLASS + "my_bot = MyBot()", "the bot in bot.py has the name `my_bot`: rename it to `bot`"),
        (CLASS + "bots = [MyBot()]", "the bot in bot.py has the name `bots`: rename it to `bot`"),
        (CLASS + "a = MyBot()\nb = MyBot()", "`a`: rename it to `bot`, or write `bot = [a, b]`"),
        ("class A:\n  async def get_response(self, request): yield\n", "`class A(fp.PoeBot):`"),
        ("class A:\n  def get_response(self, request): 1\nbot = A()", "`class A(fp.PoeBot):`"),
        ("bot = 1", f"`bot` in bot.py holds an object of type int, which isn't a bot: {RULE}"),
        ("bot = []", RULE),
        ("", RULE),
    ],
)
def test_what_is_there_instead_is_named(source: str, words: str) -> None:
    module = ModuleType("bot")
    exec(f"import fastapi_poe as fp\n{source}", module.__dict__)
    with pytest.raises(BadBot) as raised:
        _bots(getattr(module, "bot", None), module)
    assert words in str(raised.value)
