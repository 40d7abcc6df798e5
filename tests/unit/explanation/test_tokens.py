import pytest
import timm
import torch
from explained import subject_of

from chiron.explanation.tokens import grid_of, pruning_of
from chiron.models.headed import put_head


@pytest.mark.parametrize(
    ("num_tokens", "height", "width", "grid"),
    [
        (196, 224, 224, (14, 14)),
        (8, 32, 64, (2, 4)),
        (8, 64, 32, (4, 2)),
        (197, 224, 224, None),
        (8, 64, 64, None),
        (1, 64, 64, None),
        (0, 64, 64, None),
        (-1, 64, 64, None),
    ],
)
def test_grid(num_tokens, height, width, grid):
    assert grid_of(num_tokens, height, width) == grid


def test_what_a_network_kept():
    subject = subject_of("chiron_gft_nano")
    pruning = pruning_of(subject)
    named = subject.network.forward_named(subject.image)
    assert (pruning.grid, pruning.num_places) == ((8, 8), 64)
    assert all(torch.equal(a, b) for a, b in zip(pruning.kept, named.kept_tokens, strict=True))


def test_what_a_backbone_under_another_head_kept():
    headed = put_head(timm.create_model("chiron_gft_nano"), "simple", None, num_classes=3, in_chans=3, img_size=64)
    assert pruning_of(subject_of(headed.eval())).grid == (8, 8)


@pytest.mark.parametrize("name", ["test_vit", "chiron_fair_cnn_nano"])
def test_a_network_that_keeps_all(name):
    assert pruning_of(subject_of(name)) is None
