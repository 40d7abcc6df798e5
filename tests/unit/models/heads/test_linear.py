"""linear: timm's own classifier, rebuilt."""

import torch

from chiron.models.heads.linear import LinearHead


def test_is_one_linear_layer():
    torch.manual_seed(0)
    head = LinearHead(6, 3)
    vector = torch.randn(2, 6)
    expected = vector @ head.classifier.weight.T + head.classifier.bias
    assert torch.allclose(head(vector), expected)
    assert torch.equal(head(vector, pre_logits=True), vector)


def test_drops_in_training_alone():
    head = LinearHead(400, 3, drop_rate=0.5)
    kept = head(torch.ones(1, 400), pre_logits=True)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(head.eval()(torch.ones(1, 400), pre_logits=True), torch.ones(1, 400))
