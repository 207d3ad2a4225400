"""The printed summary of rollouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from Parameter_Selection.RolloutTooling.rollouts.outputs import Rollouts

_SHOWN = 15
_LONGEST = 60  # characters of a description


def sampled_lines(rollouts: Rollouts) -> list[str]:
    """The summary of sampled episodes: the baseline, then the experiments whose return differs most."""
    document = rollouts.document
    baseline, experiments = document["baseline"], document["experiments"]
    of_baseline = f"return {baseline['return']:.4g}, length {baseline['length']:.4g}{_ends(baseline)}"
    shown = _first(experiments)
    width = _width(shown)
    titles = f"{'experiment':<{width}}{'return':>9}{'difference':>12}  {'95 % interval':<22}{'q':>8}{'success':>9}"
    return [
        f"{document['episodes']} episodes of each; baseline: {of_baseline}",
        _classes(document),
        f"{titles}{'death':>7}{'flips':>8}{'parts at':>10}  class",
        *(_sampled_line(row, width) for row in shown),
        *_rest(experiments),
        *_link_lines(document["link"]),
        *_control_lines(experiments),
    ]


def exact_lines(rollouts: Rollouts) -> list[str]:
    """The summary of exact values."""
    document = rollouts.document
    baseline, experiments = document["baseline"], document["experiments"]
    world = f" ({document['world']})" if document["world"] else ""
    of_baseline = f"value {baseline['value']:.6g} from the start; {_states(baseline)}{_ends(baseline)}"
    shown = _first(experiments)
    width = _width(shown)
    titles = f"{'experiment':<{width}}{'value':>10}{'difference':>12}{'goal':>8}{'death':>8}{'loop':>8}{'flipped':>9}"
    return [
        f"{document['states']} states{world}; discount factor {document['gamma']:g}",
        f"baseline: {of_baseline} within {document['horizon']} steps",
        _classes(document),
        f"performance-difference identity: largest residual {document['largest_identity_residual']:.1e}",
        f"{titles}{'freed':>7}{'lost':>7}  class",
        *(_exact_line(row, width) for row in shown),
        *_rest(experiments),
        *_link_lines(document["link"]),
        *_control_lines(experiments),
    ]


def largest_effect(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The row of the experiment whose difference is largest; None if none has any."""
    first, *_ = _first(document["experiments"])
    return first if first["difference"] else None


def _first(experiments: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that differ most, without controls."""
    asked = [row for row in experiments if not row["control_of"]]
    return sorted(asked, key=_size)[:_SHOWN]


def _width(rows: Sequence[Mapping[str, Any]]) -> int:
    return 2 + max(len("experiment"), *(len(row["experiment"]) for row in rows))


def _size(row: Mapping[str, Any]) -> tuple[float, int]:
    changed = row.get("states_class_changed", 0)
    return -abs(row["difference"]), -changed


def _rest(experiments: Sequence[Mapping[str, Any]]) -> list[str]:
    more = sum(not row["control_of"] for row in experiments) - _SHOWN
    return [f"... and {more} more with smaller differences"] if more > 0 else []


def _sampled_line(row: Mapping[str, Any], width: int) -> str:
    low, high = row["difference_low"], row["difference_high"]
    interval = "" if low is None else f"[{low:.4g}, {high:.4g}]"
    parting = "-" if row["first_parting"] is None else f"{row['first_parting']:g}"
    return (
        f"{row['experiment']:<{width}}{row['return']:>9.4g}{row['difference']:>12.4g}  {interval:<22}"
        f"{_share(row['q'], 4):>8}{_share(row['success']):>9}{_share(row['death']):>7}"
        f"{row['flips_baseline_states']:>8.3f}{parting:>10}"
        f"  {row['class']}: {_shortened(row['description'])}"
    )


def _exact_line(row: Mapping[str, Any], width: int) -> str:
    freed = row["loop_to_goal"]
    lost = row["goal_to_death"] + row["goal_to_loop"]
    return (
        f"{row['experiment']:<{width}}{row['value']:>10.5g}{row['difference']:>12.4g}{row['states_goal']:>8}"
        f"{row['states_death']:>8}{row['states_loop']:>8}{row['states_flipped']:>9}{freed:>7}{lost:>7}"
        f"  {row['class']}: {_shortened(row['description'])}"
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _states(row: Mapping[str, Any]) -> str:
    return f"of all states {row['states_goal']} reach the goal, {row['states_death']} die, {row['states_loop']} loop"


def _ends(row: Mapping[str, Any]) -> str:
    if row["success"] is None:
        return "; success is not reported by this environment (--success names a signal)"
    return f"; success {row['success']:.3f}, death {row['death']:.3f}"


def _share(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _classes(document: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{name}: {count}" for name, count in document["classes"].items())
    return f"experiments by class: {counts}"


def _link_lines(link: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Whether one-step measures predict the size of the difference."""
    return [
        f"{layer}: Spearman of {measure} and |difference| over {record['n']} neurons: "
        + ("undefined, one side is constant" if record["spearman"] is None else f"{record['spearman']:.2f}")
        for layer, measures in link.items()
        for measure, record in measures.items()
    ]


def _control_lines(experiments: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{row['experiment']}: |difference| {abs(row['difference']):.4g}, mean of {row['control_sets']} random sets "
        f"{row['control_effect']:.4g}, p {row['control_p']:.3f}"
        for row in experiments
        if row["control_sets"]
    ][:_SHOWN]
