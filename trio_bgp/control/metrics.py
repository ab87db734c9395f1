"""Prometheus metrics, collected when they are asked for: messages cost nothing for being counted."""

from collections.abc import Iterator
from typing import Any

import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from trio_bgp.control.snapshot import Snapshot
from trio_bgp.recording.recorder import Recorder
from trio_bgp.session.fsm import State

__all__ = ["CONTENT_TYPE", "render"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _One(Collector):
    """A metric by itself, so that other tasks run between two of them."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


async def render(snapshot: Snapshot) -> bytes:
    """All metrics in Prometheus' text format."""
    pieces = []
    peers = await snapshot.peers()
    collected = (_daemon(snapshot), _peers(peers), _groups(snapshot), _stations(snapshot), _recorders(snapshot))
    for metrics in collected:
        for metric in metrics:
            registry = CollectorRegistry(auto_describe=False)
            registry.register(_One(metric))
            pieces.append(generate_latest(registry))
            await trio.lowlevel.checkpoint()
    return b"".join(pieces)


def _daemon(snapshot: Snapshot) -> Iterator[Metric]:
    status = snapshot.status()
    memory = snapshot.memory()
    yield GaugeMetricFamily("trio_bgp_uptime_seconds", "Since the daemon was started.", status["uptime"])
    yield GaugeMetricFamily("trio_bgp_sessions_established", "Sessions that are up.", status["established"])
    yield GaugeMetricFamily("trio_bgp_groups", "Groups of receivers that share octets.", status["groups"])
    yield GaugeMetricFamily("trio_bgp_paths", "Paths of all peers.", status["paths"])
    yield GaugeMetricFamily("trio_bgp_peers_catching_up", "Peers fed from the table.", status["catching_up"])
    yield GaugeMetricFamily("trio_bgp_resident_memory_bytes", "Resident set.", memory["resident_octets"])
    yield GaugeMetricFamily("trio_bgp_buffers_outstanding", "Read buffers in use.", status["buffers"]["outstanding"])
    prefixes = GaugeMetricFamily("trio_bgp_prefixes", "Prefixes in the table.", labels=["family"])
    for family, count in memory["prefixes"].items():
        prefixes.add_metric([family], count)
    yield prefixes
    for key, text in (
        ("updates_received", "UPDATEs received."),
        ("updates_unchanged", "UPDATEs sent as the received octets, times receivers."),
        ("updates_repacked", "UPDATEs written because one was received, times receivers."),
        ("updates_replayed", "UPDATEs that told what there was before."),
        ("updates_withheld", "Received UPDATEs that changed nothing for anybody."),
        ("updates_repaired", "Received UPDATEs that were repaired or refused."),
    ):
        yield CounterMetricFamily(f"trio_bgp_{key}", text, status[key])
    yield CounterMetricFamily("trio_bgp_received_bytes", "Octets of UPDATEs received.", status["octets_received"])
    yield CounterMetricFamily("trio_bgp_sent_bytes", "Octets queued to peers.", status["octets_sent"])


def _peers(peers: list[dict[str, Any]]) -> Iterator[Metric]:
    labels = ["peer", "as"]
    up = GaugeMetricFamily("trio_bgp_peer_up", "1 if the session is established.", labels=labels)
    gauges = {
        "prefixes": GaugeMetricFamily("trio_bgp_peer_paths", "Paths the peer has announced.", labels=labels),
        "queued_octets": GaugeMetricFamily("trio_bgp_peer_queued_bytes", "Octets waiting to be sent.", labels=labels),
        "lag": GaugeMetricFamily("trio_bgp_peer_lag_seconds", "How long octets wait to be sent.", labels=labels),
        "uptime": GaugeMetricFamily("trio_bgp_peer_uptime_seconds", "Since the session came up.", labels=labels),
    }
    counters = {
        "sessions": CounterMetricFamily("trio_bgp_peer_sessions", "Sessions that came up, ever.", labels=labels),
        "updates_received": CounterMetricFamily("trio_bgp_peer_updates_received", "In this session.", labels=labels),
        "updates_refused": CounterMetricFamily(
            "trio_bgp_peer_updates_refused", "Of them repaired or refused.", labels=labels
        ),
        "updates_sent": CounterMetricFamily("trio_bgp_peer_updates_sent", "In this session.", labels=labels),
        "octets_sent": CounterMetricFamily("trio_bgp_peer_sent_bytes", "In this session.", labels=labels),
        "detached": CounterMetricFamily("trio_bgp_peer_detached", "How often it fell behind.", labels=labels),
    }
    for peer in peers:
        up.add_metric([peer["name"], str(peer["as"])], float(peer["state"] == State.ESTABLISHED.value))
    yield up
    for key, metric in (*gauges.items(), *counters.items()):
        for peer in peers:
            if key in peer:
                metric.add_metric([peer["name"], str(peer["as"])], peer[key])  # type: ignore[attr-defined]
        yield metric


def _groups(snapshot: Snapshot) -> Iterator[Metric]:
    labels = ["group", "role"]
    unchanged = CounterMetricFamily("trio_bgp_group_unchanged", "Sent as received, times receivers.", labels=labels)
    repacked = CounterMetricFamily("trio_bgp_group_repacked", "Repacked, by why.", labels=[*labels, "why"])
    withheld = CounterMetricFamily("trio_bgp_group_withheld", "Not sent, by why.", labels=[*labels, "why"])
    # Groups that differ in next hops or path identifiers alone have one mask: their counts are added up.
    totals: dict[tuple[str, ...], float] = {}
    for group in snapshot.groups():
        key = (group["negotiated"], group["role"])
        totals["unchanged", *key] = totals.get(("unchanged", *key), 0) + group["unchanged"]
        for kind in ("repacked", "withheld"):
            for why, count in group[kind].items():
                totals[kind, *key, why] = totals.get((kind, *key, why), 0) + count
    metrics = {"unchanged": unchanged, "repacked": repacked, "withheld": withheld}
    for (kind, *values), count in totals.items():
        metrics[kind].add_metric(values, count)
    yield from metrics.values()


def _stations(snapshot: Snapshot) -> Iterator[Metric]:
    labels = ["station"]
    up = GaugeMetricFamily("trio_bgp_bmp_up", "1 if the BMP station is connected.", labels=labels)
    queued = GaugeMetricFamily("trio_bgp_bmp_queued_bytes", "Octets waiting for the BMP station.", labels=labels)
    counters = {
        "sessions": CounterMetricFamily("trio_bgp_bmp_sessions", "Connections that came up, ever.", labels=labels),
        "messages_sent": CounterMetricFamily("trio_bgp_bmp_messages_sent", "BMP messages sent.", labels=labels),
        "octets_sent": CounterMetricFamily("trio_bgp_bmp_sent_bytes", "Octets of them.", labels=labels),
        "messages_dropped": CounterMetricFamily(
            "trio_bgp_bmp_messages_dropped", "BMP messages that waited when a connection ended.", labels=labels
        ),
        "overflows": CounterMetricFamily("trio_bgp_bmp_overflows", "Ends because too much waited.", labels=labels),
    }
    for station in snapshot.bmp():
        values = [station["address"]]
        up.add_metric(values, float(station["state"] == "up"))
        queued.add_metric(values, station["queued_octets"])
        for key, metric in counters.items():
            metric.add_metric(values, station[key])
    yield up
    yield queued
    yield from counters.values()


def _recorders(snapshot: Snapshot) -> Iterator[Metric]:
    for monitor in list(snapshot.speaker.forwarder.board.monitors):
        if isinstance(monitor, Recorder):
            yield CounterMetricFamily("trio_bgp_recorded_records", "MRT records written.", monitor.recorded)
            yield CounterMetricFamily("trio_bgp_lost_records", "MRT records that were not.", monitor.lost)
