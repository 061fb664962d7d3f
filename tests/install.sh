#!/usr/bin/env bash
# What the tests need beside Python: the programs below, and npm's packages in tests/node_modules. Does nothing where
# all is there.
set -euo pipefail
cd "$(dirname "$0")"
PATH="$PATH:/usr/sbin:$(echo /usr/lib/postgresql/*/bin | tr ' ' :)" # Debian keeps Postgres' programs out of the PATH

missing=()
for tool in curl:curl node:nodejs npm:npm nginx:nginx chromium:chromium caddy:caddy \
    systemd-analyze:systemd objcopy:binutils initdb:postgresql; do # the command, and Debian's package of it
    command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
done
# PyInstaller needs Python as a library too, which Debian has in a package of its own.
library=$(readlink -f "$(command -v ../.venv/bin/python || command -v python3)" | sed -n 's|^/usr/bin/python\(3[.0-9]*\)$|libpython\1|p')
if [ -n "$library" ] && [[ "$(ldconfig -p)" != *"/$library.so"* ]]; then
    missing+=("$library")
fi

if [ "${#missing[@]}" -gt 0 ]; then
    sudo=""
    if [ "$(id -u)" -ne 0 ]; then
        sudo=$(command -v sudo || true)
    fi
    if ! command -v apt-get >/dev/null || { [ "$(id -u)" -ne 0 ] && [ -z "$sudo" ]; }; then
        echo "The tests need programs that are not here: install ${missing[*]}, then run make test again." >&2
        exit 1
    fi
    log=$(mktemp)
    # RUNLEVEL: a server that is installed is not started.
    if ! { $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -qq --no-install-recommends ca-certificates "${missing[@]}"; } >"$log" 2>&1; then
        cat "$log" >&2
        exit 1
    fi
    rm -f "$log"
fi

if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    npm ci --silent
    touch node_modules/.package-lock.json
fi
