"""Networks of libraries and of one's own: what they are, what decides them, what is refused."""

import dataclasses
import re
import subprocess
import sys
import types
from importlib.metadata import EntryPoint

import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import nn

from nfe import fission
from nfe.backbones import Architecture, architecture, card, names, own, recorded
from nfe.backbones.structure import Structure
from nfe.cli.main import main
from nfe.cluster.doctor import examine
from nfe.common.errors import InputError
from nfe.common.seeds import global_stream
from nfe.suite.run import from_identity, specify

SIZE = {"channels": 3, "classes": 5, "resolution": 32}
MODULE = """
from torch import nn

class Own(nn.Module):
    def __init__(self, classes, width):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.Sequential(*(nn.Conv2d(width, width, 3, s, 1) for s in (1, 2, 1, 2)))
        self.out = nn.Linear(width, classes)

    def forward(self, x):
        return self.out(self.blocks(self.stem(x)).relu().mean((2, 3)))

def make(num_classes, width=4):
    return Own(num_classes, width)

def headless(width=4):
    return Own(2, width)

def wrong(num_classes):
    return Own(num_classes + 1, 4)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty working directory with a module of the user's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_nets_of_a_test.py").write_text(MODULE)
    return tmp_path


def new(*words):
    assert main(["new", "architecture", *map(str, words)]) == 0


def refused(capsys, *words):
    assert main(["new", "architecture", *map(str, words)]) == 2
    return capsys.readouterr().err


def drawn(name, **size):
    with global_stream(3, "initialization"):
        return architecture(name).build(**{**SIZE, **size})


def image(channels=3, resolution=32):
    return torch.randn(2, channels, resolution, resolution, generator=torch.Generator())


def test_a_library_s_network_is_what_the_library_makes_under_the_same_stream():
    for name, make in (
        ("torchvision:resnet18", lambda: torchvision.models.resnet18(num_classes=5)),
        ("timm:convnext_atto", lambda: timm.create_model("convnext_atto", num_classes=5)),
    ):
        with global_stream(3, "initialization"):
            theirs = make().eval()
        ours = drawn(name).eval()
        assert len(ours.stages) == architecture(name).stages == 4
        with torch.no_grad():
            assert torch.equal(ours(image()), theirs(image())), name


def test_every_name_whose_stages_are_known_is_the_library_s():
    sizes = {"torchvision": torchvision.models.list_models(), "timm": timm.list_models()}
    known = [f"{home}:{name}" for home, found in sizes.items() for name in found]
    staged = [name for name in known if own.known_stages(name)]
    assert len(staged) > 40
    for family in ("torchvision:resnet50", "torchvision:mobilenet_v3_large", "timm:resnet18"):
        assert family in staged


@pytest.mark.parametrize("name", ["torchvision:mobilenet_v3_large", "timm:deit_tiny_patch16_224"])
def test_known_stages_are_the_network_s_own(name):
    network = drawn(name).eval()
    with torch.no_grad():
        features = network.stem(image())
        for stage in network.stages:
            features = stage(features)
        assert network.head(features).shape == (2, 5)


@pytest.mark.parametrize("channels", [1, 9])
def test_a_stem_for_other_channels_keeps_the_deviation_of_its_weights(channels):
    stem = drawn("torchvision:resnet18", channels=channels).stem.conv1
    plain = drawn("torchvision:resnet18").stem.conv1
    assert stem.weight.shape == (64, channels, 7, 7)
    assert stem.weight.std().item() == pytest.approx(plain.weight.std().item(), rel=0.05)


def test_a_run_s_identity_has_the_network_and_the_library_s_version():
    run = specify(
        dataset="digits", architecture_name="timm:convnext_atto", method="single", epochs=1
    )
    told = run.identity()["network"]
    assert told["library"] == f"timm {timm.__version__}"
    assert told["stages"] == ["stages.0", "stages.1", "stages.2", "stages.3"]
    assert from_identity(run.identity()) == run
    other = dataclasses.replace(run, network={**told, "library": "timm 0.1"})
    assert other.digest != run.digest
    with pytest.raises(InputError, match=r"it is of timm 0\.1, and here is timm"):
        other.backbone.build(**SIZE)


def test_the_suite_s_own_networks_have_no_such_part():
    run = specify(dataset="digits", architecture_name="wrn-10-1", method="single", epochs=1)
    assert "network" not in run.identity()
    # As in every release so far.
    assert run.name == "digits8_wrn-10-1_single_e1_s0_c2e4831976"


def test_a_function_of_one_s_own_is_a_card_away(project, capsys):
    new("mine", "--network", "own_nets_of_a_test:make", "--set", "width=6")
    made = card.read(card.place("mine"))
    assert made.stages == ("blocks.0", "blocks.1", "blocks.3")
    assert made.settings == {"width": 6}
    assert re.fullmatch(r"own_nets_of_a_test sha256:[0-9a-f]{64}", made.library)
    assert "mine" in names()
    network = drawn("mine")
    assert network.stages[0].get_submodule("blocks.0").weight.shape == (6, 6, 3, 3)
    with (project / "own_nets_of_a_test.py").open("a") as file:
        file.write("# another version\n")
    with pytest.raises(InputError, match="allowed: that version, or a card made again"):
        architecture("mine").build(**SIZE)
    assert "exists" in refused(capsys, "mine", "--network", "own_nets_of_a_test:make")


def test_suites_of_them_are_planned_without_pytorch(project):
    new("mine", "--network", "own_nets_of_a_test:make")
    code = """
import sys
from nfe.suite.run import specify
for name in ("mine", "torchvision:resnet18", "timm:convnext_atto"):
    run = specify(dataset="digits", architecture_name=name, method="nfe", epochs=1, settings={})
    print(run.name, run.members())
assert not {"torch", "torchvision", "timm"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "digits8_torchvision-resnet18_nfe_e1_s0" in done.stdout


def test_what_cannot_be_made_is_told_in_a_line(project, capsys):
    def said(network, *more):
        return refused(capsys, "bad", "--network", network, *more)

    assert "torchvision has no network 'resnet19'" in said("torchvision:resnet19")
    assert "takes neither classes nor num_classes" in said("own_nets_of_a_test:headless")
    assert "does not return logits (batch, 10)" in said("own_nets_of_a_test:wrong")
    assert "cannot be imported" in said("own_nets_of_a_test:absent")
    assert "neither installed nor a file" in said("no_such_module:make")
    assert "cannot be made with num_classes=10, depth=9" in said(
        "own_nets_of_a_test:make", "--set", "depth=9"
    )
    assert "unknown stage of ResNet 'layer9'" in said(
        "torchvision:resnet18", "--stages", "layer1", "layer9"
    )
    assert "does not take images of 3 channels and 8 pixels" in said(
        "timm:convnext_atto", "--resolution", "8"
    )
    assert "where its stages begin is not seen" in said("torchvision:regnet_y_400mf")
    assert not (project / "config").exists()


def test_unknown_names_are_refused_without_making_anything():
    with pytest.raises(InputError, match="nfe-bench new architecture swin-tiny --network timm:"):
        architecture("timm:swin_tiny")
    with pytest.raises(InputError, match=r"unknown architecture 'resnet19'.*torchvision:NAME"):
        architecture("resnet19")


@pytest.mark.parametrize("wrapped", ["plain", "nested", "ours"])
def test_pretrained_weights_are_loaded_but_for_the_classifier(project, wrapped):
    source = drawn("torchvision:resnet18", classes=7).eval()
    theirs = torchvision.models.resnet18(num_classes=7)
    if wrapped == "ours":
        saved = {f"network.{k}": v.contiguous() for k, v in source.state_dict().items()}
        path = project / "w.safetensors"
        safetensors.torch.save_file(saved, path)
    else:
        source = theirs.eval()
        state = theirs.state_dict()
        path = project / "w.pt"
        torch.save({"state_dict": state} if wrapped == "nested" else state, path)
    new("tuned", "--network", "torchvision:resnet18", "--pretrained", path)
    network = drawn("tuned")
    convs = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d)]
    origin = [m.weight for m in source.modules() if isinstance(m, nn.Conv2d)]
    assert all(torch.equal(a, b) for a, b in zip(convs, origin, strict=True))
    assert network.head.fc.weight.shape == (5, 512)
    # Drawn as without a file: under the run's stream.
    assert torch.equal(network.head.fc.weight, drawn("torchvision:resnet18").head.fc.weight)
    blank = architecture("tuned").untrained().build(**SIZE)
    assert not torch.equal(next(blank.parameters()), convs[0])


def test_a_classifier_can_be_loaded_too(project, capsys):
    source = drawn("torchvision:resnet18", classes=5)
    torch.save(source.state_dict(), "w.pt")
    more = ("--network", "torchvision:resnet18", "--pretrained", "w.pt", "--keep-head")
    assert "it has 5 classes, 10 are wanted: allowed: head: drawn" in refused(capsys, "kept", *more)
    new("kept", *more, "--classes", "5")
    assert torch.equal(drawn("kept").head.fc.weight, source.head.fc.weight)


def test_files_that_are_no_weights_of_it_are_refused(project, capsys):
    def said(path):
        return refused(capsys, "w", "--network", "torchvision:resnet18", "--pretrained", path)

    (project / "text.pt").write_text("no weights")
    (project / "text.safetensors").write_text("no weights")
    torch.save(torchvision.models.mobilenet_v3_small().state_dict(), "other.pt")
    torch.save(nn.Linear(2, 2), "module.pt")
    assert "neither safetensors nor a state dict" in said("text.pt")
    assert "no file of weights" in said("text.safetensors")
    assert re.search(r"other\.pt: no weights of this network: \d+ missing", said("other.pt"))
    assert "neither safetensors nor a state dict" in said("module.pt")  # code is not run
    assert "absent.pt: No such file" in said("absent.pt")


def test_pretrained_weights_are_part_of_the_identity_and_known_by_content(project):
    torch.save(drawn("wrn-10-1").state_dict(), "w.pt")
    new("tuned", "--network", "wrn-10-1", "--pretrained", "w.pt")
    run = specify(dataset="digits", architecture_name="tuned", method="single", epochs=1)
    assert set(run.identity()["network"]["pretrained"]) == {"sha256", "head"}
    suite = {"suite": "s", "dataset": "digits", "architecture": "tuned", "epochs": 1, "seeds": 1}

    def examined():
        return list(examine({**suite, "groups": {"headline": [{"method": "single"}]}}))

    assert [f.said for f in examined() if f.what == "network"] == ["tuned: the suite's own"]
    torch.save(drawn("wrn-10-1", classes=4).state_dict(), "w.pt")
    with pytest.raises(InputError, match=r"w\.pt: its SHA-256 is"):
        run.backbone.build(**SIZE)
    assert [f.good for f in examined() if f.what == "network"] == [False]
    # Saved weights of the run are loaded into it without the file.
    (project / "w.pt").unlink()
    run.backbone.untrained().build(**SIZE)


def test_pretrained_weights_and_other_inputs_do_not_go_together(project):
    torch.save(drawn("torchvision:resnet18").state_dict(), "w.pt")
    new("tuned", "--network", "torchvision:resnet18", "--pretrained", "w.pt")
    with pytest.raises(InputError, match=r"conv1.weight' is \(64, 3, 7, 7\) there and"):
        architecture("tuned").build(**{**SIZE, "channels": 9})

    class Wider(Structure):
        def width(self, stage, plain, groups=1):
            return 2 * plain

    with pytest.raises(InputError, match="changes the widths or groups of all layers"):
        architecture("tuned").build(**SIZE, structure=Wider())


def test_a_card_that_was_edited_to_nonsense_is_refused(project):
    new("mine", "--network", "own_nets_of_a_test:make")
    path = card.place("mine")
    for old, new_text, said in (
        ("stages:", "stages_:", "stages_"),
        ("name: mine", "name: other", "allowed: 'mine'"),
        ("network: own_nets_of_a_test:make", "network: 'a b:c'", "allowed: torchvision:NAME"),
    ):
        text = path.read_text()
        path.write_text(text.replace(old, new_text))
        with pytest.raises(InputError, match=said):
            architecture("mine")
        path.write_text(text)


def test_packages_register_networks(project, monkeypatch):
    new("mine", "--network", "own_nets_of_a_test:make")
    place = card.place("mine")
    packaged = project / "mine.yaml"
    place.rename(packaged)
    registered = Architecture("plugged", 3, architecture("wrn-10-1").factory)
    package = types.ModuleType("package_of_a_test")
    package.mine, package.plugged = own.architecture_from_card(packaged), registered
    monkeypatch.setitem(sys.modules, "package_of_a_test", package)
    points = {
        name: EntryPoint(name, f"package_of_a_test:{name}", own.GROUP)
        for name in ("mine", "plugged")
    }
    monkeypatch.setattr(own, "_registered", lambda: points)
    assert names()[-2:] == ["mine", "plugged"]
    assert architecture("mine").stages == 3
    run = specify(dataset="digits", architecture_name="plugged", method="nfe", epochs=1)
    assert run.identity()["network"] == {"package": "unknown", "stages": 3}
    run.backbone.build(**SIZE)
    with pytest.raises(InputError, match="allowed: that version"):
        recorded("plugged", {"package": "it 2", "stages": 3}).build(**SIZE)


def test_fission_divides_a_transformer_s_attention_and_perceptrons():
    network = fission(drawn("timm:vit_tiny_patch16_224"), 3)
    split = {name.rsplit("/", 1)[-1] for name in network.weights if "/blocks/" in name}
    assert split == {"qkv", "proj", "fc1", "fc2"}
    assert len([n for n in network.weights if "/blocks/" in n]) == 12 * 4
