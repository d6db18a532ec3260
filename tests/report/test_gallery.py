"""The gallery has every released figure."""

from conftest import ROOT

from nfe.report.catalogue import FIGURES, TITLES
from nfe.report.gallery import page


def test_the_gallery_is_as_the_figures_give_it():
    assert (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8") == page(ROOT / "figures")


def test_every_figure_is_shown():
    text = page(ROOT / "figures")
    for image in (ROOT / "figures").glob("*/*.png"):
        assert f"../figures/{image.parent.name}/{image.stem}.png" in text
    assert set(TITLES) == set(FIGURES)
