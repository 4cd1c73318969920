"""What Poe reports about a bot's answers: likes and dislikes, reactions, and errors.

They go to the log, one line each (`make run` shows it, `make logs` on Lambda); a variable would
be gone with its environment. Texts are left out: what users write doesn't belong in the log.
"""

import logging
from collections.abc import AsyncIterable

import fastapi_poe as fp

logger = logging.getLogger(__name__)


class ListeningBot(fp.PoeBot):
    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        yield fp.PartialResponse(text="How do you like this answer?")

    async def on_feedback(self, feedback_request: fp.ReportFeedbackRequest) -> None:
        feedback = feedback_request
        logger.info("a %s for message %s", feedback.feedback_type, feedback.message_id)

    async def on_reaction_with_context(
        self, reaction_request: fp.ReportReactionRequest, context: fp.RequestContext
    ) -> None:
        logger.info("a reaction to message %s", reaction_request.message_id)

    async def on_error(self, error_request: fp.ReportErrorRequest) -> None:
        # The metadata has the message's id, and may have its text.
        message_id = error_request.metadata.get("message_id")
        logger.warning("Poe could not use the answer %s", message_id)


bot = ListeningBot()
