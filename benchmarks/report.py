"""Results as a table for people and as JSON for machines; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figures import Figure, Kind, Limit
from benchmarks.rows import BURSTS, CHAIN_P50

HEAD = ("", "ours", "in units", "real host", "gain", "target", "aim")
PEER_HEAD = (
    *("", "chain p50", "p95", "in units", "we are"),
    *("burst of 500", "per 1,000 units", "we are"),
)
LEGEND = """\
unit: one async send_message of azure-storage-queue, measured on the same Azurite
  before, between and after the figures ({unit_ms} ms here; median of each group)
in units: times / unit; rates are instances per 1,000 units
real host: recorded real host, in the same units; gain: how many times better we are
target: what the host promises; aim: what it strives for
we are: how many times better we are than a peer, which is called in its own process,
  without HTTP and (durabletask) without a disk"""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """What another library needs for the same chain, called in its own process."""

    name: str
    p50_ms: float
    p95_ms: float
    burst_per_s: float


@dataclass(frozen=True, kw_only=True)
class Results:
    """All that one run found; ``failures`` are groups that gave no figure."""

    machine: Mapping[str, str]
    unit_ms: float
    figures: Sequence[Figure] = ()
    peers: Sequence[Peer] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


def text_of(results: Results) -> str:
    """Return what is printed: machine, tables, legend, failures."""
    parts = [_machine_lines(results.machine)]
    if results.figures:
        parts.append(aligned([HEAD, *(cells_of(f) for f in results.figures)]))
    if results.peers:
        rows = [PEER_HEAD, *(_peer_cells(peer, results) for peer in results.peers)]
        parts.append(aligned(rows))
    parts.append(LEGEND.format(unit_ms=shown(results.unit_ms)))
    parts += [f"FAILED {name}: {text}" for name, text in results.failures.items()]
    return "\n\n".join(parts)


def json_of(results: Results) -> dict[str, Any]:
    """Return what is written to the file of results."""
    return {
        "machine": dict(results.machine),
        "unit_ms": results.unit_ms,
        "figures": [_figure_json(figure) for figure in results.figures],
        "peers": [vars(peer) for peer in results.peers],
        "failures": dict(results.failures),
        "details": dict(results.details),
    }


def cells_of(figure: Figure) -> tuple[str, ...]:
    """Return one line of the table."""
    row = figure.row
    has_units = row.kind in (Kind.TIME, Kind.RATE)
    return (
        row.name,
        f"{shown(figure.value)} {row.kind.value}".rstrip(),
        shown(figure.in_units) if has_units else "",
        "" if row.real_host is None else shown(row.real_host),
        "" if figure.gain is None else f"{shown(figure.gain)} ×",
        _verdict(row.target, figure),
        _verdict(row.aim, figure),
    )


def shown(value: float) -> str:
    """Three significant digits at least, thousands set apart: 1,234; 18.3; 0.947."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _verdict(limit: Limit | None, figure: Figure) -> str:
    if limit is None:
        return ""
    sign = "≥" if limit.is_floor else "≤"
    kind = " u" if limit.is_in_units else f" {figure.row.kind.value}".rstrip()
    mark = "met" if limit.holds(figure) else "MISSED"
    return f"{sign} {shown(limit.bound)}{kind} {mark}"


def _peer_cells(peer: Peer, results: Results) -> tuple[str, ...]:
    ours = {figure.row: figure.value for figure in results.figures}
    chain_ms, burst_per_s = ours.get(CHAIN_P50), ours.get(BURSTS[500])
    return (
        peer.name,
        f"{shown(peer.p50_ms)} ms",
        f"{shown(peer.p95_ms)} ms",
        shown(peer.p50_ms / results.unit_ms),
        "" if chain_ms is None else f"{shown(peer.p50_ms / chain_ms)} ×",
        f"{shown(peer.burst_per_s)} /s",
        shown(peer.burst_per_s * results.unit_ms),
        "" if burst_per_s is None else f"{shown(burst_per_s / peer.burst_per_s)} ×",
    )


def _machine_lines(machine: Mapping[str, str]) -> str:
    width = max(len(name) for name in machine)
    return "\n".join(f"{name:{width}}  {text}" for name, text in machine.items())


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Align columns: the first to the left, figures to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _figure_json(figure: Figure) -> dict[str, Any]:
    row = figure.row
    return {
        "name": row.name,
        "kind": row.kind.name.lower(),
        "value": figure.value,
        "unit_ms": figure.unit_ms,
        "in_units": figure.in_units,
        "real_host": row.real_host,
        "gain": figure.gain,
        "target": _limit_json(row.target, figure),
        "aim": _limit_json(row.aim, figure),
    }


def _limit_json(limit: Limit | None, figure: Figure) -> dict[str, Any] | None:
    if limit is None:
        return None
    return {**vars(limit), "is_met": limit.holds(figure)}
