"""A bot's traceback in a few lines."""

from commands.terminal.tracebacks import folded

LIBRARY = (
    '  File "fastapi_poe/base.py", line 874, in handle_query\n    async for event in answer:\n'
)
OWN = '  File "bot/{}.py", line {}, in f\n    g()\n    ~^^\n'
BEGIN = "Traceback (most recent call last):\n"


def test_the_last_frames_of_the_bots_own_and_the_error_are_left() -> None:
    own = [OWN.format("bot", 1), OWN.format("bot", 2), OWN.format("words", 3)]
    text = BEGIN + LIBRARY + own[0] + own[1] + LIBRARY + own[2] + LIBRARY + "ValueError: a\n  b"
    assert folded(text) == [
        '  File "bot/bot.py", line 2, in f',
        "    g()",
        '  File "bot/words.py", line 3, in f',
        "    g()",
        "ValueError: a",
        "  b",
    ]


def test_a_hint_comes_first_and_of_a_chain_the_last_error_is_left() -> None:
    chain = f"{BEGIN}{OWN.format('bot', 1)}KeyError: 1\n\nThe above …:\n\n{BEGIN}{LIBRARY}"
    assert folded(f"write this\n\n{chain}TypeError: 2") == ["write this", "TypeError: 2"]


def test_a_group_keeps_its_own_frames_and_a_line_of_its_last_error() -> None:
    text = (
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "bot/bot.py", line 3, in f\n'
        "  |     async with asyncio.TaskGroup() as group:\n"
        "  | ExceptionGroup: unhandled (1 sub-exception)\n"
        "  +-+---------------- 1 ----------------\n"
        "    | Traceback (most recent call last):\n"
        '    |   File "bot/bot.py", line 5, in g\n'
        "    |     raise ValueError('x')\n"
        "    | ValueError: x\n"
        "    +------------------------------------"
    )
    shown = folded(text)
    assert '    |   File "bot/bot.py", line 5, in g' in shown
    assert "    | ValueError: x" in shown


def test_long_texts_are_cut() -> None:
    assert folded(BEGIN + LIBRARY + "ValueError: " + "line\n" * 20)[-1] == "…"
    assert folded("line\n" * 20) == ["line"] * 4 + ["…"]
    assert folded("x" * 2000) == ["x" * 300 + "…"]
    assert folded("") == []
