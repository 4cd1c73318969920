"""What a server bot promises to Poe, and how each promise is proved: `PROMISES` is the whole list.

Promises follow Poe's protocol specification, version 1.2
(creator.poe.com/docs/poe-protocol-specification). They are proved in the list's order; later
ones use what earlier ones learned.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
from fastapi_poe.types import SettingsResponse
from pydantic import ValidationError

from poe.check.finding import Finding, Verdict, duration, failed, passed, unproved
from poe.check.probe import Probe, QueryResult, Reply, another_key
from poe.check.streaming import Arrivals, lateness, streams
from poe.client.conversation import LOOPBACK, Conversation, identifier, one_line
from poe.client.turn import POE_LIMITS, Turn
from poe.standin.declared import describe

Proof = Callable[[Probe], Awaitable[Finding]]

FIRST_RESPONSE = POE_LIMITS.first_response_seconds
REFUSALS = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
NOT_DECLARED = "call count in settings"  # of Poe's words for a call that was not declared
NO_ANSWER = unproved("there is no answer to examine")


@dataclass(frozen=True)
class Promise:
    name: str
    prove: Proof


async def first_answer(probe: Probe) -> Finding:
    """The first question, which may meet a cold start, is answered in time."""
    probe.first = await probe.ask()
    return _in_time(probe.first)


async def https(probe: Probe) -> Finding:
    """Keys and messages travel over HTTPS only."""
    url = httpx.URL(probe.url)
    if url.scheme == "https":
        return passed((await probe.get()).tls or "the certificate is trusted")
    if url.host in LOOPBACK:
        return unproved("http on this machine; Poe needs an https:// URL")
    return failed("http: keys and messages can be read on the way")


async def get(probe: Probe) -> Finding:
    """A browser that opens the URL gets an answer of the server, if only a 404."""
    reply = await probe.get()
    if reply.status == httpx.codes.FORBIDDEN:
        return failed("status 403: is the URL public? A Function URL needs two permissions for it")
    if not reply.status or reply.status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return failed(reply.figure)
    return passed(f"{reply.figure} in {duration(reply.seconds)}")


async def no_key(probe: Probe) -> Finding:
    return _refused(await probe.post("settings", key=None))


async def wrong_key(probe: Probe) -> Finding:
    return _refused(await probe.post("settings", key=another_key()))


def _refused(reply: Reply) -> Finding:
    return _judge(reply.status in REFUSALS, reply.figure, ", not 401")


async def settings(probe: Probe) -> Finding:
    """The settings are ones that Poe takes."""
    reply = await probe.tell(Conversation.settings)
    if reply.value is None:
        return failed(reply.refusal)
    probe.settings = reply.value
    try:
        SettingsResponse.model_validate(probe.settings)
    except ValidationError as error:
        newer = all(fault["type"] == "extra_forbidden" for fault in error.errors())
        return (
            unproved(f"fields unknown here: {describe(error)}")
            if newer
            else failed(describe(error))
        )
    return passed(f"{len(probe.settings)} fields in {duration(reply.seconds)}")


async def warm_answer(probe: Probe) -> Finding:
    """A question to a warm server is answered in time; its answer is what is looked at below."""
    probe.warm = await probe.ask()
    return _in_time(probe.warm)


def _in_time(result: QueryResult) -> Finding:
    """Poe's clock stops at the first byte, a user's at the first event."""
    turn = result.turn
    if turn is None:
        return failed(result.refusal)
    if turn.first_response_seconds is None:
        return failed("; ".join(turn.broken))
    figure = f"first byte after {duration(turn.first_response_seconds)}"
    if not turn.events:
        return unproved(f"{figure}, no event in {duration(turn.seconds)}")
    figure += f", first event after {duration(turn.events[0].seconds)}"
    return passed(figure) if turn.events[0].seconds <= FIRST_RESPONSE else unproved(figure)


async def answers(probe: Probe) -> Finding:
    """An answer is more than an error."""
    both = (probe.first.turn, probe.warm.turn)
    turns = [turn for turn in both if turn and turn.events]
    if not turns:
        return NO_ANSWER
    error = turns[-1].error
    if error is None:
        return passed(f"{len(turns[-1].text):,} characters")
    if any(turn.error is None for turn in turns):
        return unproved(f"one of {len(turns)} answers is an error: {one_line(error)}")
    if NOT_DECLARED not in error and _calls_failed(probe, turns[-1]):
        return unproved(f"only an error, from this check: {one_line(error)}")
    return failed(f"each answer is an error: {one_line(error)}")


def _calls_failed(probe: Probe, turn: Turn) -> bool:
    """Whether an error can be Poe's refusal of a call to another bot: it has never seen the check's
    messages. An exception of another kind is the bot's own."""
    raw = [(event.fields or {}).get("raw_response") for event in turn.events]
    own = any(each and not re.match(r"BotError|InvalidBotSettings", str(each)) for each in raw)
    return bool(probe.settings.get("server_bot_dependencies")) and not own


async def query_streams(probe: Probe) -> Finding:
    """Text is sent as it is written. An answer that looks buffered is asked for again: a hiccup of
    the network looks the same."""
    finding = _from_arrivals(probe, streams)
    if finding.verdict is Verdict.FAIL:
        probe.warm = await probe.ask()
        finding = _from_arrivals(probe, streams)
    return finding


async def events_are_not_late(probe: Probe) -> Finding:
    """No event is held on the way. An answer that looks so is asked for again, as above."""
    finding = _from_arrivals(probe, lateness)
    if finding.verdict is not Verdict.FAIL:
        return finding
    probe.warm = await probe.ask()
    if (again := _from_arrivals(probe, lateness)).verdict is Verdict.FAIL:
        return again
    return unproved(f"{finding.figure}; not when asked again: {again.figure}")


def _from_arrivals(probe: Probe, judge: Callable[[Arrivals], Finding]) -> Finding:
    turn = probe.warm.turn
    arrivals = Arrivals.of(turn, probe.overhead) if turn else None
    if turn is None or arrivals is None:
        return NO_ANSWER
    finding = judge(arrivals)
    if turn.error is not None and not turn.text and finding.verdict is not Verdict.PASS:
        return unproved(f"the answer is only an error: {one_line(turn.error)}")
    return finding


async def done_is_last(probe: Probe) -> Finding:
    """The answer is an event stream of events that Poe knows, and `done` ends it."""
    turn = probe.warm.turn
    if turn is None:
        return NO_ANSWER
    if not probe.warm.complete:
        return unproved(
            f"it didn't end within {duration(turn.seconds)}: ask for a shorter answer with TEXT=…"
        )
    count = f"{len(turn.events)} events, {len(turn.text):,} characters"
    return _judge(not turn.broken, count, f": {'; '.join(turn.broken)}")


async def calls_are_declared(probe: Probe) -> Finding:
    """Each call to another bot stands in the settings' `server_bot_dependencies`."""
    turn = probe.warm.turn
    if turn is None or not turn.events:
        return NO_ANSWER
    error = turn.error or ""
    if NOT_DECLARED in error:
        return failed(one_line(error))
    declared = probe.settings.get("server_bot_dependencies") or {}
    names = ", ".join(f"{name} × {count}" for name, count in sorted(declared.items()))
    if error:
        # Poe has never seen the check's messages, so it refuses the calls that they cause.
        return unproved(f"declared: {names or 'none'}; only a chat on Poe shows whether they work")
    return passed(names or "none are declared, none were needed")


async def unknown_type(probe: Probe) -> Finding:
    reply = await probe.post_with_key("type-that-comes-later")
    return _judge(reply.status == httpx.codes.NOT_IMPLEMENTED, reply.figure, ", not 501")


async def unknown_role(probe: Probe) -> Finding:
    """A message of a role that Poe adds later is left out, not refused."""
    result = await probe.ask(strange_role=True)
    if result.turn is None:
        return failed(result.refusal)
    if not result.turn.events:
        return failed("; ".join(result.turn.broken))
    if result.turn.error is not None and not (probe.warm.turn and probe.warm.turn.error):
        return failed(f"an error instead of an answer: {one_line(result.turn.error)}")
    return passed("the rest of the conversation was answered")


async def reports_are_accepted(probe: Probe) -> Finding:
    message = identifier("m")
    replies = {
        "feedback": await probe.tell(lambda bot: bot.report_feedback(message, "like")),
        "reaction": await probe.tell(lambda bot: bot.report_reaction(message, "heart")),
        "error": await probe.tell(lambda bot: bot.report_error("a report of `make check`", {})),
    }
    figure = ", ".join(f"{name} {reply.status or reply.words}" for name, reply in replies.items())
    taken = all(reply.status == httpx.codes.OK for reply in replies.values())
    return _judge(taken, figure, ": each has to be 200")


def _judge(kept: bool, figure: str, otherwise: str = "") -> Finding:
    return passed(figure) if kept else failed(figure + otherwise)


PROMISES = (
    Promise("first answer in 5 s", first_answer),  # first of all, to meet a cold start
    Promise("HTTPS", https),
    Promise("GET answers", get),
    Promise("no key refused", no_key),
    Promise("wrong key refused", wrong_key),
    Promise("settings valid", settings),
    Promise("warm answer in 5 s", warm_answer),
    Promise("answers not errors", answers),
    Promise("query streams", query_streams),
    Promise("no event late", events_are_not_late),
    Promise("done last", done_is_last),
    Promise("calls declared", calls_are_declared),
    Promise("unknown type 501", unknown_type),
    Promise("unknown role ignored", unknown_role),
    Promise("reports accepted", reports_are_accepted),
)
