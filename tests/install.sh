#!/usr/bin/env bash
# What the tests need beside Python: curl, Node, and npm's packages in tests/node_modules. Does nothing where all is there.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v node >/dev/null || ! command -v npm >/dev/null || ! command -v curl >/dev/null; then
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then
        sudo=$(command -v sudo || true)
    fi
    if ! command -v apt-get >/dev/null || { [ "$(id -u)" -ne 0 ] && [ -z "$sudo" ]; }; then
        echo "The tests need curl and Node 18 or later with npm: install curl, nodejs and npm, then run make test again." >&2
        exit 1
    fi
    log=$(mktemp)
    if ! { $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends ca-certificates curl nodejs npm; } >"$log" 2>&1; then
        cat "$log" >&2
        exit 1
    fi
    rm -f "$log"
fi

if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    npm ci --silent
    touch node_modules/.package-lock.json
fi
