"""init: imagenet against a stand-in for the Hub and for torchvision's server; donors; where weights come from."""

import copy
import functools
import hashlib
import io
import socket

import pytest
import safetensors.torch
import stand_in
import timm
import torch
import torchvision
from huggingface_hub import constants
from timm.models import _registry

from chiron.core.errors import ModelError
from chiron.models.create import create_model
from chiron.models.describe import describe_model
from chiron.models.registry import DONORS, Donor, register_model
from chiron.models.weights import pretrained
from chiron.models.weights.pretrained import Published, published_weights, weights_file
from chiron.spec.provenance import WeightsOrigin

COMMIT = "a" * 40
_TABLES = ["_model_entrypoints", "_model_to_module", "_module_to_models", "_model_default_cfgs"]
_TABLES += ["_model_pretrained_cfgs", "_model_with_tags"]


@pytest.fixture
def server(monkeypatch, tmp_path):
    """Stands in for the Hub; all caches are empty."""
    monkeypatch.setattr(pretrained, "getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    with stand_in.stand_in() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield server


@pytest.fixture
def variants(monkeypatch):
    """Lets a test register models and forget them."""
    for table in _TABLES:
        monkeypatch.setattr(_registry, table, copy.copy(getattr(_registry, table)))
    before = dict(DONORS)
    yield
    DONORS.clear()
    DONORS.update(before)


def variant(name, donor, architecture="test_convnext"):
    """A family of its own that is timm's network under names of its own."""

    class Wrapped(torch.nn.Module):
        def __init__(self, **kwargs):
            super().__init__()
            self.body = timm.create_model(architecture, **kwargs)
            self.num_classes = self.body.num_classes

        def forward(self, x):
            return self.body(x)

    def entry(**kwargs):
        return Wrapped(**kwargs)

    entry.__name__ = name
    return register_model(img_size=64, first_conv="body.stem.0", classifier="body.head.fc", donor=donor)(entry)


def body(name):
    return None if name.startswith("head.fc") else f"body.{name}"


def serve_hub(server, name, seed=9):
    weights = timm.create_model(name.partition(".")[0])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for parameter in weights.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    data = safetensors.torch.save(weights.state_dict())
    answer = stand_in.file(data, headers={"X-Repo-Commit": COMMIT})
    for revision in ("main", COMMIT):
        server.answers[f"/timm/{name}/resolve/{revision}/model.safetensors"] = answer
    return weights, hashlib.sha256(data).hexdigest()


def make(name, **changes):
    return create_model(name, **{"num_classes": 3, "img_size": 64, "init": "imagenet", "seed": 0, **changes})


def test_weights_are_downloaded_once_and_their_origin_is_kept(server):
    published, sha256 = serve_hub(server, "test_resnet.r160_in1k")
    model = make("test_resnet")
    assert torch.equal(model.conv1[0].weight, published.conv1[0].weight)
    classifier = sum(p.numel() for p in model.fc.parameters())
    assert model.weights_origin == WeightsOrigin(
        source="timm/test_resnet.r160_in1k/model.safetensors",
        revision=COMMIT,
        license="apache-2.0",
        sha256=sha256,
        num_loaded=sum(p.numel() for p in model.parameters()) - classifier,
        num_drawn=classifier,
    )
    asked = len(server.asked)
    assert make("test_resnet").weights_origin == model.weights_origin
    assert len(server.asked) == asked, "the cache is asked, not the network"
    whole = make("test_resnet", num_classes=1000)
    assert whole.weights_origin.num_drawn == 0
    assert torch.equal(whole.fc.weight, published.fc.weight)


def test_a_download_that_stops_leaves_nothing_to_read(server, monkeypatch):
    weights = safetensors.torch.save(timm.create_model("test_resnet").state_dict())
    broken = stand_in.file(weights, headers={"X-Repo-Commit": COMMIT}, stop_after=1000)
    server.answers["/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"] = broken
    server.answers[f"/timm/test_resnet.r160_in1k/resolve/{COMMIT}/model.safetensors"] = broken
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None, raising=False)
    with pytest.raises(ModelError, match=r"weights of test_resnet.r160_in1k must be in the cache or to be had"):
        make("test_resnet")
    published, _ = serve_hub(server, "test_resnet.r160_in1k")
    assert torch.equal(make("test_resnet").conv1[0].weight, published.conv1[0].weight)


def test_a_donor_gives_its_tensors_and_the_rest_is_drawn(server, variants):
    published, sha256 = serve_hub(server, "test_convnext.r160_in1k")
    variant("chiron_example", Donor("test_convnext.r160_in1k", body))
    model = make("chiron_example")
    expected = {f"body.{name}": tensor for name, tensor in published.state_dict().items()}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name]) != name.startswith("body.head.fc."), name
    assert torch.equal(model.body.head.fc.weight, make("chiron_example").body.head.fc.weight)
    classifier = sum(p.numel() for p in model.body.head.fc.parameters())
    origin = model.weights_origin
    assert (origin.sha256, origin.revision, origin.license) == (sha256, COMMIT, "apache-2.0")
    assert (origin.num_drawn, origin.num_loaded) == (
        classifier,
        sum(p.numel() for p in model.parameters()) - classifier,
    )
    by_timm = timm.create_model("chiron_example", pretrained=True, num_classes=3)
    assert torch.equal(by_timm.body.stem[0].weight, published.stem[0].weight)
    assert by_timm.weights_origin == origin
    gray = make("chiron_example", in_chans=1)
    torch.testing.assert_close(gray.body.stem[0].weight, published.stem[0].weight.sum(1, keepdim=True))
    assert describe_model("chiron_example", img_size=64).weight_tags == {"test_convnext.r160_in1k": "apache-2.0"}


def test_another_head_stands_on_published_weights(server, variants):
    published, _ = serve_hub(server, "test_resnet.r160_in1k")
    serve_hub(server, "test_convnext.r160_in1k")
    model = make("test_resnet", head="acrnn")
    assert torch.equal(model.backbone.conv1[0].weight, published.conv1[0].weight)
    origin = model.weights_origin
    assert origin.num_loaded == sum(p.numel() for p in model.backbone.parameters())
    assert origin.num_drawn == sum(p.numel() for p in model.head.parameters())
    assert make("test_resnet", head="acrnn", num_classes=1000).weights_origin.num_loaded == origin.num_loaded


def test_position_embeddings_go_to_the_grid_of_the_input(server, variants):
    published, _ = serve_hub(server, "test_vit.r160_in1k")
    variant("chiron_example", Donor("test_vit.r160_in1k", lambda n: f"body.{n}"), "test_vit")
    model = make("chiron_example", img_size=96, num_classes=1000)
    wanted = timm.layers.resample_abs_pos_embed(published.pos_embed, [6, 6], [10, 10], num_prefix_tokens=1)
    torch.testing.assert_close(model.body.pos_embed, wanted)
    assert model.weights_origin.num_drawn == 0


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        (lambda n: f"other.{n}", "must have a place in the network. Got other.head.fc.bias"),
        (lambda n: {"stem.0.weight": "body.head.fc.weight"}.get(n), r"Got body.head.fc.weight \(24, 3, 4, 4\) for"),
        (lambda n: None, "must have names of the network. Got no tensors"),
    ],
)
def test_a_donor_that_does_not_fit_is_refused(server, variants, rename, message):
    serve_hub(server, "test_convnext.r160_in1k")
    variant("chiron_example", Donor("test_convnext.r160_in1k", rename))
    with pytest.raises(ModelError, match=message):
        make("chiron_example")


@pytest.mark.parametrize("name", sorted(DONORS))
def test_every_tensor_of_a_donor_has_its_place_and_shape(name):
    donor = DONORS[name]
    architecture, tag = donor.name.split(".")
    with torch.device("meta"):
        own = timm.create_model(name).state_dict()
        if architecture.endswith("_Weights"):
            theirs = torchvision.models.get_model(architecture.removesuffix("_Weights").lower()).state_dict()
        else:
            assert tag in pretrained.weight_tags(architecture)
            theirs = timm.create_model(architecture).state_dict()
    taken = {new: old for old in theirs if (new := donor.rename(old)) is not None}
    assert taken
    for new, old in taken.items():
        assert new in own, f"{old} -> {new}"
        if not new.endswith("pos_embed"):
            assert own[new].shape == theirs[old].shape, f"{old} -> {new}"


@functools.cache
def torchvision_file():
    network = torchvision.models.resnet18(num_classes=1000)
    stream = io.BytesIO()
    torch.save(network.state_dict(), stream)
    return network, stream.getvalue()


@pytest.fixture
def torchvision_set(server):
    """Made-up weights as torchvision publishes them: the digest stands in the file's name."""
    network, data = torchvision_file()
    name = f"resnet18-{hashlib.sha256(data).hexdigest()[:8]}.pth"
    real = published_weights("ResNet18_Weights.IMAGENET1K_V1")
    return network, data, Published(**{**vars(real), "filename": name, "url": f"{server.url}/models/{name}"})


def test_torchvision_names_a_set(server):
    real = published_weights("ResNet18_Weights.IMAGENET1K_V1")
    assert real.url.endswith("/resnet18-f37072fd.pth")
    assert (real.filename, real.license, real.mean) == ("resnet18-f37072fd.pth", None, (0.485, 0.456, 0.406))
    assert published_weights("EfficientNet_V2_L_Weights.IMAGENET1K_V1").mean == (0.5, 0.5, 0.5)
    with pytest.raises(ModelError, match=r"Got 'ResNet18_Weights.NO'"):
        published_weights("ResNet18_Weights.NO")


def test_torchvision_weights_of_a_donor(server, variants, torchvision_set, monkeypatch, tmp_path):
    network, data, published = torchvision_set
    server.answers[f"/models/{published.filename}"] = stand_in.file(data)
    monkeypatch.setattr(pretrained, "published_weights", lambda name: published)
    monkeypatch.setattr("chiron.models.create.published_weights", lambda name: published)
    variant("chiron_example", Donor("ResNet18_Weights.IMAGENET1K_V1", lambda n: f"body.{n}"), "resnet18")
    model = make("chiron_example", num_classes=1000)
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(model.eval()(images), network.eval()(images))
    assert (tmp_path / "torch" / "checkpoints" / published.filename).read_bytes() == data
    origin = model.weights_origin
    assert origin.source == f"torchvision ResNet18_Weights.IMAGENET1K_V1/{published.filename}"
    assert (origin.revision, origin.num_drawn) == (None, 0)
    assert len(server.asked) == 1


def test_a_file_of_torchvision_must_be_the_promised_one(server, torchvision_set, tmp_path):
    _, data, published = torchvision_set
    server.answers[f"/models/{published.filename}"] = stand_in.file(data[:-1] + b"x")
    with pytest.raises(ModelError, match=r"Got a file with SHA-256 \w{8}... in place of \w{8}. Download http"):
        weights_file(published)
    server.answers[f"/models/{published.filename}"] = stand_in.file(data, stop_after=500)
    with pytest.raises(ModelError, match="must be in the cache or to be had"):
        weights_file(published)
    folder = tmp_path / "torch" / "checkpoints"
    assert list(folder.iterdir()) == []
    (folder / published.filename).write_bytes(b"half")
    with pytest.raises(ModelError, match="Remove it to have it downloaded again"):
        weights_file(published)


def test_torchvision_offline_is_one_sentence(server, torchvision_set, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(ModelError) as error:
        weights_file(torchvision_set[2])
    assert "to be had. Got no network. Download http" in str(error.value)
    assert "or ask for random weights by name (init: scratch)." in str(error.value)


@pytest.mark.parametrize(
    ("license", "forbids"),
    [
        ("cc-by-nc-4.0", True),
        ("fair-noncommercial-research-license", True),
        ("apple-amlr", True),
        ("https://github.com/facebookresearch/SWAG/blob/main/LICENSE", True),
        ("apache-2.0", False),
        ("cvnets-license", False),
        ("bsd-3-clause", False),
        (None, False),
    ],
)
def test_licenses_that_forbid_commercial_use(license, forbids):
    origin = WeightsOrigin(source="a/b", revision=None, license=license, sha256="0", num_loaded=12345, num_drawn=6)
    assert origin.is_noncommercial is forbids
    told = license or "not stated"
    assert origin.describe() == f"12,345 parameters from a/b (license: {told}), 6 drawn at random"
