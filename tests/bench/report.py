"""What a measurement looks like: on standard output, and in the README beside what it is compared with."""

from collections.abc import Sequence
from typing import Final

from bench.budget import FIGURES, Figure
from bench.record import Measurement

_DASH: Final = "–"
BEGIN: Final = "<!-- Made by `python -m bench publish` from docs/bench.json -->"
END: Final = "<!-- End of what was made -->"


def table(m: Measurement) -> str:
    """For a terminal: medians, their spread over the runs, and the budget."""
    rows = [("", "median", "of all runs", "budget", "aim", "")]
    for figure in FIGURES:
        values = [run[figure.key] for run in m.each]
        spread = f"{_number(min(values), figure)} … {_number(max(values), figure)}"
        budget = figure.limit(m.objects, m.provider)
        rows.append(
            (
                figure.title,
                _number(m.figures[figure.key], figure),
                spread,
                _bound(budget, figure),
                _bound(figure.aim, figure),
                _word(figure, m),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([title.ljust(widths[0]), *map(str.rjust, numbers, widths[1:]), word]).rstrip() for title, *numbers, word in rows
    )


def page(measurements: Sequence[Measurement]) -> str:
    """For the README: a column for each N beside the other operator's."""
    heads = [f"Keyturn, {m.objects:,}" for m in measurements]
    lines = [
        f"| | ESO default | ESO tuned | {' | '.join([*heads, 'Budget'])} |",
        "|---|" + "---:|" * (len(heads) + 3),
        *(_page_row(figure, measurements) for figure in FIGURES),
        "",
        *(f"- {_conditions(m)}" for m in measurements),
    ]
    return "\n".join(lines)


def runs(m: Measurement) -> str:
    """What the figures are of."""
    return f"medians of {m.runs} runs" if m.runs > 1 else "one run"


def placed(text: str, made: str) -> str:
    """A page with what was made in its place."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def _page_row(figure: Figure, measurements: Sequence[Measurement]) -> str:
    ours = [_shown(figure, m) for m in measurements]
    budgets = dict.fromkeys(_bound(figure.limit(m.objects, m.provider), figure) for m in measurements)
    return f"| {' | '.join([figure.title, figure.eso_default or _DASH, figure.eso_tuned or _DASH, *ours, ' / '.join(budgets)])} |"


def _shown(figure: Figure, m: Measurement) -> str:
    value = m.figures.get(figure.key)
    if value is None:  # of before there was this figure: it is to be measured anew too
        return _DASH
    return f"**{_number(value, figure)}**{', over' if figure.is_over(value, m.objects, m.provider) else ''}"


def _conditions(m: Measurement) -> str:
    machine = m.machine
    commit = f" ({m.commit[:12]}{'+' if m.commit.endswith('+') else ''})" if m.commit else ""
    provider = {"vault": "OpenBao with token log-in", "file": "the file provider"}[m.provider]
    return (
        f"Keyturn {m.version}{commit} with {m.objects:,} objects over 10 namespaces, one key each, from {provider}; "
        f"{runs(m)} on {m.taken}, on {machine['cores']} cores of {machine['processor'] or machine['architecture']}, "
        f"Python {m.python}, everything on the one machine."
    )


def _number(value: float, figure: Figure) -> str:
    return f"{value:,.{figure.digits}f}"


def _bound(value: float | None, figure: Figure) -> str:
    if value is None:
        return _DASH
    return "0" if value == 0 else f"{'≥' if figure.is_floor else '≤'} {value:,g}"


def _word(figure: Figure, m: Measurement) -> str:
    if not figure.is_over(m.figures[figure.key], m.objects, m.provider):
        return ""
    why_not = figure.why_not_judged(m.objects)
    return f"over, not judged: {why_not}" if why_not else "OVER"
