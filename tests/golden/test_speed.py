"""The figures in the README are those of docs/bench.json."""

from dataclasses import replace

from bench.budget import FIGURES
from bench.record import read
from bench.report import page, placed
from controlplane.installation import ROOT

README = ROOT / "README.md"
KEPT = ROOT / "docs" / "bench.json"


def test_the_readme_shows_what_was_measured() -> None:
    text = README.read_text()
    assert placed(text, page(read(KEPT))) == text, "PYTHONPATH=tests python -m bench publish docs/bench.json"


def test_a_row_over_its_budget_says_so_and_no_other_does() -> None:
    shown = page(read(KEPT)).splitlines()
    for figure in FIGURES:
        [row] = [line for line in shown if line.startswith(f"| {figure.title} |")]
        is_over = any(figure.is_over(m.figures[figure.key], m.objects, m.provider) for m in read(KEPT))
        assert (", over" in row) == is_over, row
    worse = [replace(m, figures={figure.key: 1e9 for figure in FIGURES}) for m in read(KEPT)]
    assert ", over" in page(worse)


def test_every_figure_was_measured_within_its_budget_or_the_page_says_so() -> None:
    for m in read(KEPT):
        assert set(m.figures) == {figure.key for figure in FIGURES}
        assert m.broken == [f.key for f in FIGURES if f.is_broken(m.figures[f.key], m.objects, m.provider)]
