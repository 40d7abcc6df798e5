import numpy as np
import torch
from explained import subject_of

from chiron.explanation.attention import attention_layers
from chiron.explanation.explainers.gradient_rollout import explain, relevance


def random_layers(queries=(4, 4, 4)):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, count, 4) for count in queries]
    weights = [torch.randn(it, generator=generator, dtype=torch.float64).softmax(dim=-1) for it in shapes]
    return weights, [torch.randn(it, generator=generator, dtype=torch.float64) for it in shapes]


def by_loops(weights, gradients, image):
    held = np.eye(4)
    for weight, gradient in zip(weights, gradients, strict=True):
        heads, queries, tokens = weight.shape[1:]
        raised = np.zeros((queries, tokens))
        for i in range(queries):
            for j in range(tokens):
                products = [float(weight[image, h, i, j] * gradient[image, h, i, j]) for h in range(heads)]
                raised[i, j] = sum(max(0.0, it) for it in products) / heads
        taken = np.zeros((queries, tokens))
        for i in range(queries):
            for j in range(tokens):
                taken[i, j] = sum(raised[i, k] * held[k, j] for k in range(tokens))
        held = held + taken if queries == tokens else taken
    return held


def test_equals_loops():
    weights, gradients = random_layers()
    for image in range(2):
        expected = by_loops(weights, gradients, image) - np.eye(4)
        np.testing.assert_allclose(relevance(weights, gradients)[image], expected, rtol=1e-12, atol=1e-15)


def test_a_pooling_query_held_nothing_before():
    weights, gradients = random_layers(queries=(4, 4, 1))
    np.testing.assert_allclose(relevance(weights, gradients)[1], by_loops(weights, gradients, 1), rtol=1e-12)


def test_without_a_positive_gradient_there_is_nothing():
    weights, gradients = random_layers()
    assert not relevance(weights, [-it.abs() for it in gradients]).any()


def test_the_map_is_the_class_token_s_row():
    subject = subject_of("test_vit")
    layers = attention_layers(subject)
    torch.testing.assert_close(explain(subject).flatten(1), relevance(layers.weights, layers.gradients)[:, 0, 1:])


def test_classes_differ():
    subject = subject_of("test_vit")
    ours, others = explain(subject), explain(subject.asking(torch.tensor([1, 2, 0])))
    assert ((ours - others).abs().amax(dim=(1, 2)) > 0.01 * ours.amax(dim=(1, 2))).all()
