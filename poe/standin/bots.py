"""The bots that the stand-in plays: by the bot folder's own file of answers, or by its models."""

from collections.abc import Callable

from poe.standin import models
from poe.standin.answers import Answers
from poe.standin.models import MODELS, NO_SUCH_BOT, Answer
from poe.standin.question import Question


class Bots:
    """Every name is a bot; `say` gets a line for each that is asked."""

    def __init__(self, answers: Answers | None, say: Callable[[str], object]) -> None:
        self._answers = answers
        self._say = say

    def answer(self, bot: str, question: Question) -> Answer:
        """The events of its answer, at its pace, without the last one, `done`."""
        if self._answers and (own := self._answers.find(bot, question)):
            self._say(f"poe: {bot} is called; {self._answers.file.name} answers")
            return own
        self._say(f"poe: {bot} is called; its stand-in answers")
        return models.answer(bot, question)

    def names(self) -> list[str]:
        """Those that it makes sense to list."""
        own = self._answers.names() if self._answers else []
        return [*dict.fromkeys([*own, *(name for name in MODELS if name != NO_SUCH_BOT)])]
