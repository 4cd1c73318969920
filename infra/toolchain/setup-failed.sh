#!/bin/sh
# Why setting up .venv failed, by its log: one line where the cause is known, else the log's end.
log=build/venv.log
again="and run the same command again (whole log: $log)"
has() { grep -qiE "$1" "$log"; }

if has 'name resolution|name or service not known|nodename nor servname|network is unreachable|dns error'; then
	echo "error: .venv can't be set up without a network: connect to one, $again" >&2
elif has 'no space left on device'; then
	echo "error: the disk is full: make room, $again" >&2
else
	tail -n 30 "$log" >&2
	echo "error: setting up .venv failed, see above: fix that, $again" >&2
fi
