"""What a run will take, reckoned from sizes."""

import pytest

from lloki.slices import cost
from lloki.slices.cost import Size


def test_the_measured_runs_of_the_documents_are_met_within_a_factor_of_two():
    """docs/performance.md: five scripts on two cores; 143 s and 1.8 GB, 38 s and 0.9 GB."""
    for size, seconds, gigabytes in (
        (Size(200_000, 500, 50), 143, 1.82),
        (Size(50_000, 1000, 100), 38, 0.87),
    ):
        assert seconds < cost.cpu_seconds([size])["slices"] < 4 * seconds
        assert cost.memory_gb([size])["slices"] == pytest.approx(gigabytes, rel=0.3)


def test_more_cells_slices_and_scores_take_more():
    small, large = [Size(1000, 300, 40)], [Size(1000, 300, 40)] * 5
    for part, seconds in cost.cpu_seconds(small).items():
        assert cost.cpu_seconds(large)[part] >= seconds
    assert cost.cpu_seconds(small, embeddings=6)["scores"] == 2 * cost.cpu_seconds(small)["scores"]
    assert max(cost.memory_gb(large).values()) > max(cost.memory_gb(small).values())


def test_scgpt_goes_by_the_genes_that_cells_express():
    few, many = (
        cost.cpu_seconds([Size(50_000, 5000, n)], embedder="scgpt")["embedding"]
        for n in (250, 1000)
    )
    assert few == pytest.approx(50_000 / 6.85, rel=0.05)
    assert many == pytest.approx(50_000 / 1.12, rel=0.1)


def test_metagenes_go_by_the_cells_where_they_are_asked_for():
    slices = [Size(50_000, 500, 50)] * 4
    without, with_them = (cost.cpu_seconds(slices, metagenes=m)["metagenes"] for m in (False, True))
    assert without == 0 and 100 < with_them < 600
    assert cost.memory_gb(slices, metagenes=True)["metagenes"] == pytest.approx(1, rel=0.5)


@pytest.mark.parametrize(("cells", "found"), [(499, False), (500, True), (200_000, True)])
def test_metagenes_are_found_unasked_of_some_cells_and_not_too_many(cells, found):
    assert cost.finds_metagenes([Size(cells, 100, 10)]) is found
    assert not cost.finds_metagenes([Size(cells, 100, 10)] * 2 + [Size(200_000, 9, 9)])


def test_groups_are_aligned_by_themselves_and_training_ends_at_the_cells_it_takes():
    one = [Size(20_000, 300, 40)] * 20
    four = [Size(20_000, 300, 40, f"group {i % 4}") for i in range(20)]
    whole, parts = cost.cpu_seconds(one), cost.cpu_seconds(four)
    assert whole["alignment"] > 1.5 * parts["alignment"]
    assert whole["training"] == parts["training"]
    small, large = (cost.cpu_seconds([Size(n, 300, 40)])["training"] for n in (300_000, 600_000))
    assert large < 1.1 * small


def test_the_million_cells_of_the_documents_are_met_within_a_half():
    """docs/performance.md, CPU minutes and GB: 20 slices of four panels, in four groups."""
    panels = (135, 57), (322, 37), (1020, 160), (248, 45)
    slices = [Size(49_500, *panel, f"{panel}") for panel in panels] * 5
    seconds, memory = cost.cpu_seconds(slices), cost.memory_gb(slices)
    for part, minutes in {"slices": 18.5, "embedding": 2.3, "training": 18.8}.items():
        assert seconds[part] / 60 == pytest.approx(minutes, rel=0.5)
    assert memory["training"] == pytest.approx(1.83, rel=0.3)


def test_niche_programs_go_by_pairs_and_cells():
    few, many = ([Size(n, 100, 10)] for n in (4000, 1_000_000))
    none, screen = (cost.cpu_seconds(few, niches=n)["niches"] for n in (0, 48))
    assert none == 0 and 50 < screen < 200
    assert cost.cpu_seconds(many, niches=1)["niches"] == pytest.approx(156, rel=0.2)


def test_slices_that_bring_their_embedding_skip_what_fills_and_smooths():
    slices = [Size(50_000, 1000, 100)] * 2
    usual, brought = (cost.cpu_seconds(slices, name) for name in ("mosaic", "brought"))
    assert brought["slices"] == 4 * cost.START < usual["slices"] / 4
    assert brought["training"] == usual["training"]
