#!/usr/bin/env bash
# Runs a command as root: through sudo where that needs no password or there is
# somebody to give it, else as it is, with a word about what will be skipped.
set -euo pipefail

export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
[ "$(id -u)" -ne 0 ] || exec "$@"
if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
	# What root builds in a test must not land in the user's own cache.
	exec sudo env PATH="$PATH" HOME="$HOME" GOCACHE=/var/tmp/holdfast-root-gocache GOFLAGS="${GOFLAGS:-}" GOMODCACHE="$(go env GOMODCACHE)" "$@"
fi
echo "not root, and no sudo: what needs network namespaces is skipped" >&2
exec "$@"
