"""The root of the command line. ``--help`` imports click and nothing else: each command's module waits for its use."""

from __future__ import annotations

from streamrouter.cli.lazy import LazyGroup

EXIT_CODES = """\b
Exit codes:
  0  done
  1  refused or at fault: an unknown name, a value out of range, a wrong configuration
  2  wrong usage of the command line
  3  the ledger cannot be reached: the server does not answer, another process holds it, or its file is unusable
With --json, a result is one JSON line on stdout and an error is {"error": {"code", "message"}} on stderr."""

cli = LazyGroup(
    name="streamrouter",
    help="A streaming, OpenAI-compatible LLM proxy with exact caps and balances.",
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    commands_at={
        "init": ("streamrouter.cli.init:init", "Write a first configuration and make a first key."),
        "serve": ("streamrouter.cli.serve:serve", "Start the proxy."),
        "user": ("streamrouter.cli.user:user", "Accounts and their caps: create, list, set, disable, enable."),
        "admin": ("streamrouter.cli.admin:admin", "Admins of the console and admin tokens: create, list, reset."),
        "key": ("streamrouter.cli.key:key", "API keys: create, list, set, revoke, rotate."),
        "topup": ("streamrouter.cli.account:topup", "Add to a user's prepaid balance."),
        "refund": ("streamrouter.cli.account:refund", "Take money back out of a user's balance."),
        "adjust": ("streamrouter.cli.account:adjust", "Correct a user's balance."),
        "balance": ("streamrouter.cli.account:balance", "What a user has paid, spent and left."),
        "usage": ("streamrouter.cli.usage:usage", "What a user has used today, or reports of the last days."),
        "ledger": ("streamrouter.cli.ledger:ledger", "The books: check, explain, export, backup, copy, day."),
        "bench": ("streamrouter.cli.bench:bench", "Load any OpenAI-compatible server and measure it."),
        "check": ("streamrouter.cli.check:check", "Say what the configuration would do, or what is wrong with it."),
        "doctor": (
            "streamrouter.cli.doctor.command:doctor",
            "Look for what is wrong around the server, and say what to do.",
        ),
        "connect": ("streamrouter.cli.connect:connect", "Print the configuration of a client."),
        "tail": ("streamrouter.cli.tail:tail", "Show the requests of a running server as they end."),
        "export": ("streamrouter.cli.export:export", "Write the whole books into a directory, as JSON lines or CSV."),
        "healthcheck": ("streamrouter.cli.healthcheck:healthcheck", "Exit 0 if the server is well: for containers."),
        "completion": ("streamrouter.cli.completion:completion", "Print the completion for bash, zsh or fish."),
        "version": ("streamrouter.cli.version:version", "Say which version this is."),
    },
)
