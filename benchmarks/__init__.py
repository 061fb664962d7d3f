"""The load-test harness: a fast upstream, a fast client, and what the proxy between them costs."""
