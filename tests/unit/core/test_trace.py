"""Spans, decisions and counters."""

from __future__ import annotations

import threading

import pytest

from engineworks.core.trace import Decision, Trace


def test_spans_nest_and_end_inside_out():
    trace = Trace()
    with trace.span("outer"), trace.span("inner"):
        pass
    assert [(s.name, s.depth) for s in trace.spans] == [("inner", 1), ("outer", 0)]
    assert trace.spans[0].duration_s <= trace.spans[1].duration_s


def test_a_span_is_recorded_when_its_body_raises():
    trace = Trace()
    with pytest.raises(KeyError), trace.span("broken"):
        raise KeyError
    with trace.span("next"):
        pass
    assert [(s.name, s.depth) for s in trace.spans] == [("broken", 0), ("next", 0)]


def test_a_listener_hears_everything_as_it_happens():
    heard: list[str] = []
    trace = Trace(
        listener=lambda event: heard.append(event.choice if isinstance(event, Decision) else event.name)
    )
    with trace.span("phase"):
        trace.decide("conv_tile", "conv1", "6x64", "fastest of 4")
    assert heard == ["6x64", "phase"]


def test_counters_add_up_over_threads():
    trace = Trace()
    threads = [
        threading.Thread(target=lambda: [trace.count("kernels") for _ in range(1000)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trace.counters == {"kernels": 4000}
