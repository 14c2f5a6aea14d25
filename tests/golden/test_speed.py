"""The figures in the README are those of docs/bench.json."""

from bench.budget import FIGURES
from bench.record import read
from bench.report import page, placed
from controlplane.installation import ROOT

README = ROOT / "README.md"
KEPT = ROOT / "docs" / "bench.json"


def test_the_readme_shows_what_was_measured() -> None:
    text = README.read_text()
    assert placed(text, page(read(KEPT))) == text, "PYTHONPATH=tests python -m bench publish docs/bench.json"


def test_every_figure_was_measured_within_its_budget_or_the_page_says_so() -> None:
    for m in read(KEPT):
        assert set(m.figures) == {figure.key for figure in FIGURES}
        assert m.broken == [f.key for f in FIGURES if f.is_broken(m.figures[f.key], m.objects, m.provider)]
