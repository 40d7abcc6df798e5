import pytest
import torch
from explained import network_of, subject_of

from chiron.explanation.explainers.attention import attention_by_head, explain


@pytest.mark.parametrize("name", ["chiron_densenet_transformer_nano", "chiron_vit_scratch_nano"])
def test_heads_are_the_class_token_s_weights_and_differ(name):
    subject = subject_of(network_of(name, 96), torch.randn(2, 3, 96, 96), (0, 1))
    heads = attention_by_head(subject)
    expected = subject.network.forward_named(subject.image).attn[-1][:, :, 0, 1:]
    torch.testing.assert_close(heads.flatten(2), expected)
    for one in range(heads.shape[1]):
        for other in range(one):
            assert (heads[:, one] - heads[:, other]).abs().amax() > 0.01 * heads.max()


def test_eight_heads_at_seven_by_seven():
    network = network_of("chiron_densenet_transformer", 224)
    heads = attention_by_head(subject_of(network, torch.randn(1, 3, 224, 224), (0,)))
    assert heads.shape == (1, 8, 7, 7)


def test_the_map_is_their_mean():
    subject = subject_of("test_vit")
    torch.testing.assert_close(explain(subject), attention_by_head(subject).mean(1))


def test_the_mean_over_all_places_without_a_class_token():
    subject = subject_of("test_vit_relpos")
    maps = explain(subject)
    torch.testing.assert_close(maps.sum(dim=(1, 2)), torch.ones(3))


def test_dropped_places_are_zero():
    subject = subject_of("chiron_gft_nano")
    maps = explain(subject).flatten(1)
    kept = subject.network.forward_named(subject.image).kept_tokens[-2]
    assert (maps.gather(1, kept) > 0).all()
    assert maps.count_nonzero(dim=1).tolist() == [kept.shape[1]] * 3


def test_is_the_same_for_every_class():
    subject = subject_of("test_vit")
    assert torch.equal(explain(subject), explain(subject.asking(torch.tensor([2, 0, 1]))))
