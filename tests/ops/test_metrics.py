from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from streamrouter import __version__
from streamrouter.ops.metrics import UPSTREAM_STATES, Metrics
from streamrouter.ops.tallies import MOST_ROWS
from streamrouter.policy.breaker import Breaker


def samples(metrics: Metrics) -> dict[str, float]:
    """The page, parsed: ``name{label=value,…}`` → value."""
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def end(metrics: Metrics, model: str = "demo", source: str = "upstream", ttft_s: float | None = 0.3) -> None:
    metrics.ended(
        "streamrouter",
        model,
        "finished",
        source,
        input_tokens=10,
        output_tokens=20,
        cached=4,
        cost_nano=1_500_000_000,
        over_input=0,
        over_output=3,
        ttft_s=ttft_s,
        duration_s=2.0,
        gap_p99_s=0.04,
    )


def test_an_ended_request_is_counted_whole() -> None:
    metrics = Metrics(["demo"], ["main"])
    end(metrics)
    end(metrics, source="suspect", ttft_s=None)
    page = samples(metrics)
    assert page["streamrouter_requests_total{end=finished,model=demo,surface=streamrouter}"] == 2
    assert page["streamrouter_tokens_total{kind=input,model=demo}"] == 20
    assert page["streamrouter_tokens_total{kind=output,model=demo}"] == 40
    assert page["streamrouter_tokens_total{kind=cached,model=demo}"] == 8
    assert page["streamrouter_cost_usd_total{model=demo}"] == 3.0
    assert page["streamrouter_over_tokens_total{kind=output}"] == 6
    assert "streamrouter_over_tokens_total{kind=input}" not in page
    assert page["streamrouter_suspect_usage_total"] == 1
    assert page["streamrouter_ttft_seconds_count{model=demo}"] == 1
    assert page["streamrouter_ttft_seconds_bucket{le=0.2,model=demo}"] == 0
    assert page["streamrouter_ttft_seconds_bucket{le=0.35,model=demo}"] == 1
    assert page["streamrouter_duration_seconds_sum{model=demo}"] == 4.0
    assert page["streamrouter_gap_p99_seconds_bucket{le=0.035,model=demo}"] == 0
    assert page["streamrouter_gap_p99_seconds_bucket{le=0.05,model=demo}"] == 2


def test_refusals_streams_and_attempts() -> None:
    metrics = Metrics(["demo"], ["main"])
    metrics.refused("invalid_api_key")
    metrics.stream_opened()
    metrics.stream_opened()
    metrics.stream_closed()
    metrics.attempt("main", "ok")
    metrics.attempt("main", "upstream_timeout")
    metrics.attempt("gone", "ok")
    page = samples(metrics)
    assert page["streamrouter_refusals_total{code=invalid_api_key}"] == 1
    assert page["streamrouter_active_streams"] == 1
    assert page["streamrouter_upstream_attempts_total{outcome=ok,upstream=main}"] == 1
    assert page["streamrouter_upstream_attempts_total{outcome=upstream_timeout,upstream=main}"] == 1
    assert page["streamrouter_upstream_attempts_total{outcome=ok,upstream=other}"] == 1


def test_the_ledger_is_read_when_the_page_is() -> None:
    metrics = Metrics()
    waiting = [3]
    metrics.watch(lambda: waiting[0], lambda: 5)
    metrics.committed(0.0008)
    assert samples(metrics)["streamrouter_ledger_queue"] == 3
    waiting[0] = 7
    page = samples(metrics)
    assert page["streamrouter_ledger_queue"] == 7
    assert page["streamrouter_log_lines_dropped"] == 5
    assert page["streamrouter_ledger_commit_seconds_bucket{le=0.001}"] == 1


def test_labels_are_bounded() -> None:
    metrics = Metrics(["demo"])
    for number in range(50):
        end(metrics, model=f"model-{number}")
    page = samples(metrics)
    assert page["streamrouter_requests_total{end=finished,model=other,surface=streamrouter}"] == 50
    for number in range(MOST_ROWS + 50):
        metrics.refused(f"code-{number}")
    page = samples(metrics)
    assert page["streamrouter_refusals_total{code=other}"] == 50
    codes = [name for name in page if name.startswith("streamrouter_refusals_total")]
    assert len(codes) == MOST_ROWS + 1


def test_a_reload_changes_which_models_are_labels() -> None:
    metrics = Metrics(["old"])
    metrics.configured(["new"], [])
    end(metrics, model="old")
    end(metrics, model="new")
    page = samples(metrics)
    assert page["streamrouter_requests_total{end=finished,model=other,surface=streamrouter}"] == 1
    assert page["streamrouter_requests_total{end=finished,model=new,surface=streamrouter}"] == 1


def test_two_in_one_process_do_not_meet() -> None:
    one, two = Metrics(["demo"]), Metrics(["demo"])
    end(one)
    assert "streamrouter_requests_total{end=finished,model=demo,surface=streamrouter}" not in samples(two)


def test_every_name_is_ours_and_no_series_says_when_it_was_created() -> None:
    metrics = Metrics(["demo"], ["main"])
    end(metrics)
    metrics.refused("invalid_api_key")
    page = samples(metrics)
    assert page
    assert all(name.startswith(("streamrouter_", "process_")) for name in page)
    assert not any("_created" in name for name in page)
    assert not any("key=" in name for name in page)


def test_what_serves_is_asked_when_the_page_is() -> None:
    metrics = Metrics([], ["a", "b"])
    ready, states = [True], {"a": "closed", "b": "cooling"}
    metrics.watch_serving(lambda: ready[0], lambda: states)
    page = samples(metrics)
    assert page["streamrouter_ready"] == 1
    assert page["streamrouter_upstream_state{state=closed,upstream=a}"] == 1
    assert page["streamrouter_upstream_state{state=cooling,upstream=a}"] == 0
    assert page["streamrouter_upstream_state{state=cooling,upstream=b}"] == 1
    ready[0], states["b"] = False, "trial"
    page = samples(metrics)
    assert (page["streamrouter_ready"], page["streamrouter_upstream_state{state=trial,upstream=b}"]) == (0, 1)


def test_every_state_of_a_breaker_is_a_label() -> None:
    breaker = Breaker(10.0, threshold=1)
    found = [breaker.state(0.0)]
    breaker.failed(0.0)
    found += [breaker.state(1.0), breaker.state(11.0)]
    assert tuple(found) == UPSTREAM_STATES


def test_the_process_itself() -> None:
    metrics = Metrics()
    metrics.lagged(0.002)
    metrics.reloaded("taken")
    metrics.reloaded("refused")
    page = samples(metrics)
    assert page["streamrouter_loop_lag_seconds_bucket{le=0.0025}"] == 1
    assert page["streamrouter_config_reloads_total{outcome=taken}"] == 1
    assert page["streamrouter_config_reloads_total{outcome=refused}"] == 1
    assert page["process_resident_memory_bytes"] > 0
    [build] = [name for name in page if name.startswith("streamrouter_build_info")]
    assert f"version={__version__}" in build


def test_what_is_not_yet_known_is_not_on_the_page() -> None:
    page = samples(Metrics())
    assert "streamrouter_ready" not in page
    assert "streamrouter_ledger_queue" not in page
    assert page["streamrouter_ledger_invariants"] == 0
