"""The times by which things have to end, in one table.

Constants and pure functions that import nothing, so that `app` and `secret` may use them too.

Theory of operation
===================

Two clocks run against an invocation. Poe gives up when the first byte takes 5 s, or the whole
answer 600 s. Lambda's deadline, D below, comes with each event; when it passes, Lambda kills the
process, the client sees a cut response, and the next user waits for a cold start. So everything
ends itself earlier, the most graceful way first, and each way has time to work before the next one
is tried:

    D - 1.0 s   The bot of a query is cancelled (QUERY_MARGIN). So it is POE_LIMIT after its answer
                began, if that comes first.
    D - 0.9 s   The bot was slow to clean up, or swallowed its cancellation: its answer is ended
                without it (CLEAN_UP). Either way Poe gets `error` and `done`, and the response is
                whole. That took 5 to 9 ms with the CPU of 128 MB; the rest is for the network.
    D - 0.7 s   A request that is still running is cancelled by the loop (REQUEST_MARGIN): a
                report, settings, a route of the user's own, or a query whose bot does not let go.
                Before a response, the invocation is reported as an error; a response that has
                begun is cut, with trailers that report it.
    D - 0.6 s   The request was slow to clean up, or swallowed its cancellation: the same is
                reported without it (CLEAN_UP), and it is left behind. A process that has left
                several behind is replaced.
    D - 0.4 s   The event loop is stuck: the watchdog, a thread, reports the same for every
                invocation and ends the process (WATCHDOG_MARGIN). That took up to 120 ms. All of
                its steps on the network together have LAST_WRITE twice: to write, and to wait.
    D           Lambda kills the process; one that serves several at once lives on.
    D + 2.0 s   An answer that is whole, but that Lambda has not taken, is given up (DELIVERY).

Where several invocations share one event loop, a bot that blocks it stalls all of them, and their
deadlines may be minutes away. So while it serves, a thread watches the loop (`blocks`). When the
loop has had no turn for BLOCK_NOTICE, a line says what blocks it; after BLOCK_LIMIT, or what
BOT_BLOCK_LIMIT has instead, the process does what it does at D - 0.4 s. The limit is short because
Lambda keeps handing out invocations to a stalled process, and nobody reads them. Only time in which
the process can run is counted: the thread's own pauses of BLOCK_BEAT, and beyond them the CPU time
of code that lets no other thread run. A machine that sleeps and a process that is stopped don't
block. With one invocation at a time nobody else waits, and nothing of this exists.

Before an answer begins, the secret may have to be read again: because it is old, or because the
request's key did not match. A user waits meanwhile, so it gets FRESH_READ, which leaves 2 of Poe's
5 s for the network and the rest of the way; if it fails, the known key stays valid.

A start has 10 s before Lambda begins it again. The secret is read while Python imports, three
times at most. START_READ bounds all of that, even if a resolver hangs or a server sends a byte a
second: each attempt may hang at one step for READ_STEP, and 3 x 2.5 s and the pauses between are
8.0 s. What is left of the 10 s is for reporting the failure. A user's first message waits for a
start, so one beyond SLOW_START is warned of: too little of Poe's 5 s is left for the rest of the
way.

Under SnapStart that happens long before a user waits, and without the 10 s. An environment that is
restored from the snapshot has 10 s of its own, in which the secret is read again. A key of the
snapshot's may have been revoked, so this read can't be given up for a known key: it gets
RESTORE_READ, two attempts that hang. What is left until RESTORE is for the bot's hooks: one that is
not done by then is reported, while Lambda still listens.
"""

# Counted back from Lambda's deadline, in seconds.
QUERY_MARGIN = 1.0
REQUEST_MARGIN = 0.7
WATCHDOG_MARGIN = 0.4

# Counted from where each begins, in seconds.
POE_LIMIT = 600 - 12  # its clock runs earlier: by the network, and by a cold start of up to 10 s
CLEAN_UP = 0.1
SHUTDOWN = 1.0  # the app's own, before a process is replaced
DELIVERY = 2.0
LAST_WRITE = 0.2
BLOCK_BEAT = 0.25
BLOCK_NOTICE = 1.0
BLOCK_LIMIT = 5.0
LONGEST_BLOCK_LIMIT = 900  # as long as Lambda's longest invocation
START_READ = 8.5
RESTORE_READ = 6.0
RESTORE = 9.0
SLOW_START = 4.0
FRESH_READ = 3.0
READ_STEP = 2.5  # to connect, to agree on TLS, to get an answer


def query_seconds(remaining: float | None) -> float:
    """How long a query's bot may run. `remaining`: seconds to Lambda's deadline, if there is one.
    Not negative."""
    if remaining is None:
        return POE_LIMIT
    return max(0.0, min(POE_LIMIT, remaining - QUERY_MARGIN))


def request_seconds(remaining: float) -> float:
    """How long the app may run, whatever the request. `remaining`: seconds to Lambda's deadline.
    Not negative."""
    return max(0.0, remaining - REQUEST_MARGIN)
