"""Salience by source: one interface, settings, cache, and maps that lie in files."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core import checkpoints, config, files, salience
from core.datasets.split import Split
from core.errors import ConfigError, DataError, RunError
from core.runs import RunRecord
from core.salience import Source
from core.salience.annotations import Annotations
from core.salience.boxes import Boxes
from core.salience.cam import EigenCam, GradCam, LayerCam, eigen_cam, grad_cam, layer_cam
from core.salience.drawn import CentreGaussian, RandomArea, centre_gaussian, random_area
from core.salience.gradient import GradientTopK, gradient_top_k
from core.salience.masks import Masks
from core.salience.scale import scaled
from core.salience.spectral import SpectralResidual
from core.tensors import generator, to_unit


class Net(nn.Module):
    """A small classifier with a feature grid."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.convolution, self.head = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Linear(6, 4)

    def features(self, x):
        return self.convolution(x).relu()

    def classify(self, features):
        return self.head(features.mean((2, 3)))

    def forward(self, x):
        return self.classify(self.features(x))


def split_of(count=6, side=8, name="train"):
    pixels = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator("cpu", 2, name))
    return Split(
        pixels=pixels,
        labels=torch.arange(count) % 4,
        ids=tuple(f"{name}/c{index % 4}/{index}" for index in range(count)),
    )


def finished_run(folder, seed=1, side=8, classes=4):
    run = folder / f"run-{seed}-{side}-{classes}"
    run.mkdir()
    record = RunRecord(
        schema_version=1, run=run.name, method="standard", classes=tuple("abcdefg"[:classes]), height=side, width=side,
        dataset="noise", dataset_fingerprint="0" * 64, train_pictures=6, salience={}, seed=seed, epochs=1, seconds=1.0,
        commit="unknown", dirty=True, device="cpu", threads=1, versions={},
    )  # fmt: skip
    known = {name: value for name, value in asdict(record).items() if value is not None}
    files.write_json(run / "record.json", known)
    checkpoints.save(run / "weights.safetensors", Net(seed).state_dict(), {})
    return run


def load_net(run, device):
    model = Net(seed=99)
    model.load_state_dict(checkpoints.read(run / "weights.safetensors")[0])
    return model.to(device).eval()


def test_the_maps_of_a_run_are_those_of_its_classifier(tmp_path):
    run, split = finished_run(tmp_path), split_of()
    x, model = to_unit(split.pixels), load_net(run, torch.device("cpu"))
    for settings, expected in (
        (GradCam(run=run, scale="none"), grad_cam(model, x)),
        (GradCam(run=run, scale="none", target="label"), grad_cam(model, x, split.labels)),
        (GradCam(run=run, scale="none", upsampling="bicubic"), grad_cam(model, x, upsampling="bicubic")),
        (LayerCam(run=run, scale="min-max"), layer_cam(model, x)),
        (EigenCam(run=run, scale="none"), eigen_cam(model, x)),
        (EigenCam(run=run), scaled(eigen_cam(model, x), "rank")),
        (GradientTopK(run=run, share=0.5, target="label"), gradient_top_k(model, x, split.labels, 0.5)),
    ):  # fmt: skip
        maps = salience.load(settings, split, training=False, load_classifier=load_net, batch_size=4)
        assert torch.allclose(maps.values(), expected, atol=0.5 / 255 + 1e-5)
        assert (maps.record.absent, maps.record.unannotated, maps.record.pictures) == (0, 0, 6)


def test_a_share_of_training_pictures_goes_without_a_map_and_no_test_picture_does():
    split, source = split_of(20), RandomArea(unannotated=0.35)
    maps = salience.load(source, split, training=True, seed=3)
    assert maps.record.unannotated == 7
    assert maps.annotated.tolist() == (maps.levels.amax((1, 2, 3)) > 0).tolist()
    whole = salience.load(source, split, training=False, seed=3)
    assert whole.record.unannotated == 0
    assert bool(whole.annotated.all())
    assert torch.equal(maps.levels, whole.levels * maps.annotated[:, None, None, None])
    other = salience.load(source, split, training=True, seed=4)
    assert other.annotated.tolist() != maps.annotated.tolist()


def test_sources_that_look_at_no_picture_need_nothing_else():
    split = split_of()
    bump = salience.load(CentreGaussian(sigma=0.3), split, training=False)
    assert torch.allclose(bump.values(), centre_gaussian(8, 8, 0.3), atol=0.5 / 255 + 1e-6)
    area = salience.load(RandomArea(share=0.5), split, training=False, seed=7)
    assert torch.equal(area.values(), random_area(split.ids, 8, 8, 0.5, 7))
    assert torch.equal(salience.maps(SpectralResidual(), split.pixels), salience.load(
        SpectralResidual(), split, training=False, batch_size=2).values())  # fmt: skip


def test_a_run_that_cannot_judge_the_pictures_is_refused(tmp_path):
    split = split_of()

    def refused(run, error, match, loader=load_net):
        with pytest.raises(error, match=match):
            salience.load(GradCam(run=run), split, training=False, load_classifier=loader)

    refused(finished_run(tmp_path, side=16), DataError, "expected a run on pictures of 8×8 pixels, got one on 16×16")
    refused(finished_run(tmp_path, classes=3), DataError, "expected a run of at least 4 classes, got one of 3")
    refused(tmp_path / "absent", RunError, "no such run directory")
    refused(finished_run(tmp_path), ConfigError, "grad-cam needs the classifier of a run.*pass load_classifier", None)
    with pytest.raises(ConfigError, match="salience: expected pictures, got none"):
        salience.maps(SpectralResidual(), split.pixels[:0])


# ---- cache ---------------------------------------------------------------------------------------------------------


class Loader:
    """Loads a classifier and counts how often it was asked to."""

    def __init__(self):
        self.calls = 0

    def __call__(self, run, device):
        self.calls += 1
        return load_net(run, device)


def test_cached_maps_are_the_same_and_are_not_made_again(tmp_path):
    loader, split, source = Loader(), split_of(), GradCam(run=finished_run(tmp_path))
    first, again, taken = (
        salience.load(each, split, training=True, load_classifier=loader, cache=tmp_path / "maps")
        for each in (source, source, replace(source, unannotated=0.5))
    )
    assert loader.calls == 1
    assert torch.equal(first.levels, again.levels)
    assert first.record == again.record
    assert taken.record.unannotated == 3
    (folder,) = (tmp_path / "maps").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["inputs"]["source"] == "grad-cam"
    assert manifest["inputs"]["weights_sha256"] == first.record.inputs["weights_sha256"]
    assert "at most the threshold" in manifest["threshold_rule"]
    assert "run" not in manifest["inputs"]["settings"]


@pytest.mark.parametrize("change", ["weights", "pictures", "labels", "settings"])
def test_maps_of_other_inputs_are_made_again(tmp_path, change):
    loader, split, source = Loader(), split_of(), GradCam(run=finished_run(tmp_path))
    first = salience.load(source, split, training=True, load_classifier=loader, cache=tmp_path / "maps")
    if change == "weights":
        checkpoints.save(source.run / "weights.safetensors", Net(2).state_dict(), {})
    if change == "settings":
        source = replace(source, target="label")
    if change == "pictures":
        split = replace(split, pixels=split.pixels ^ 255)
    if change == "labels":
        split = replace(split, labels=split.labels.flip(0))
    second = salience.load(source, split, training=True, load_classifier=loader, cache=tmp_path / "maps")
    assert loader.calls == 2
    assert change == "labels" or not torch.equal(first.levels, second.levels)
    assert len(list((tmp_path / "maps").iterdir())) == 2


def test_another_seed_or_size_of_the_originals_is_another_input(tmp_path):
    split, area = split_of(), RandomArea()
    first, other = (salience.load(area, split, training=True, seed=seed, cache=tmp_path / "maps") for seed in (1, 2))
    assert not torch.equal(first.levels, other.levels)
    boxes = Boxes(path=tmp_path / "boxes.csv")
    boxes.path.write_text(f"source_id,x,y,width,height\n{split.ids[0]},0,0,4,4\n")
    areas = [
        int((salience.load(boxes, split, training=True, originals=sizes, cache=tmp_path / "maps").levels > 0).sum())
        for sizes in (None, {split.ids[0]: (16, 16)}, {split.ids[0]: (32, 32)}, None)
    ]
    assert areas == [16, 4, 1, 16]


def half(folder):
    data = (folder / "maps.npz").read_bytes()
    (folder / "maps.npz").write_bytes(data[: len(data) // 2])


def no_manifest(folder):
    (folder / "manifest.json").unlink()


def forged(folder, name, value):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {name: value}))


def other_shape(folder):
    np.savez(folder / "maps.npz", levels=np.zeros((6, 1, 4, 4), np.uint8), annotated=np.ones(6, bool))
    forged(folder, "maps_sha256", files.sha256_file(folder / "maps.npz"))


def other_inputs(folder):
    forged(folder, "inputs", {})


@pytest.mark.parametrize("damage", [half, no_manifest, other_shape, other_inputs])
def test_a_damaged_cache_is_said_and_made_again(tmp_path, caplog, damage):
    split = split_of()
    first = salience.load(RandomArea(), split, training=True, cache=tmp_path)
    (folder,) = tmp_path.iterdir()
    damage(folder)
    again = salience.load(RandomArea(), split, training=True, cache=tmp_path)
    assert "cannot use these salience maps, so they are made again" in caplog.text
    assert torch.equal(first.levels, again.levels)
    caplog.clear()
    salience.load(RandomArea(), split, training=True, cache=tmp_path)
    assert not caplog.text


def test_maps_that_cannot_be_kept_are_used_all_the_same(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    maps = salience.load(RandomArea(), split_of(), training=True, cache=tmp_path / "file")
    assert torch.equal(maps.levels, salience.load(RandomArea(), split_of(), training=True).levels)
    assert "could not be kept, so they will be made again" in caplog.text


def test_several_processes_may_keep_the_same_maps_at_once(tmp_path, caplog):
    split = split_of()
    alone = salience.load(RandomArea(), split, training=True)
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda _: salience.load(RandomArea(), split, training=True, cache=tmp_path), range(12))
    assert all(torch.equal(maps.levels, alone.levels) for maps in together)
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "maps.npz"]
    caplog.clear()
    assert torch.equal(salience.load(RandomArea(), split, training=True, cache=tmp_path).levels, alone.levels)
    assert not caplog.text


def test_the_same_maps_are_kept_as_the_same_bytes(tmp_path):
    for root in (tmp_path / "first", tmp_path / "second"):
        salience.load(RandomArea(), split_of(), training=True, cache=root)
    first, second = (
        sorted(path for path in root.rglob("*.*") if path.is_file()) for root in sorted(tmp_path.iterdir())
    )
    assert len(first) == 2
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


# ---- settings ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Request:
    salience: Source | None = None


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"source": "spectral-residual"}, SpectralResidual(scale="rank")),
        ({"source": "grad-cam", "run": "r", "target": "label"}, GradCam(run=Path("r"), target="label")),
        ({"source": "layer-cam", "run": "r"}, LayerCam(run=Path("r"), scale="rank")),
        ({"source": "eigen-cam", "run": "r", "upsampling": "bicubic"}, EigenCam(run=Path("r"), upsampling="bicubic")),
        ({"source": "gradient-top-k", "run": "r", "share": 0.5}, GradientTopK(run=Path("r"), share=0.5)),
        ({"source": "masks", "path": "m", "unannotated": 0.5}, Masks(path=Path("m"), unannotated=0.5)),
        ({"source": "boxes", "path": "b.csv"}, Boxes(path=Path("b.csv"), scale="none")),
        ({"source": "annotations", "path": "a"}, Annotations(path=Path("a"))),
        ({"source": "centre-gaussian", "sigma": "1/4"}, CentreGaussian(sigma=0.25)),
        ({"source": "random-area", "share": 0.1}, RandomArea(share=0.1)),
    ],
)
def test_every_source_is_a_table_of_its_own(table, expected, tmp_path):
    request = config.build(Request, {"salience": table}, "a.toml")
    assert request == Request(salience=expected)
    (tmp_path / "again.toml").write_text(config.dumps(request))
    assert config.load(Request, tmp_path / "again.toml") == request


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ({"source": "gradcam"}, "expected one of 'spectral-residual'.*did you mean 'grad-cam'"),
        ({"source": "grad-cam"}, "missing key 'run'"),
        ({"source": "random-area", "sigma": 1.0}, "unknown key 'sigma'"),
        ({"source": "random-area", "share": 0.0}, "share: expected above 0 and at most 1, got 0.0"),
        ({"source": "gradient-top-k", "run": "r", "share": 1.5}, "share: expected above 0 and at most 1, got 1.5"),
        ({"source": "gradient-top-k", "run": "r", "smoothing": -1.0}, "smoothing: expected 0 to 1 .*got -1.0"),
        ({"source": "centre-gaussian", "sigma": 0.0}, "sigma: expected above 0 .*got 0.0"),
        ({"source": "masks", "path": "m", "unannotated": 1.1}, "unannotated: expected a share from 0 to 1, got 1.1"),
        ({"source": "spectral-residual", "scale": "none"}, "scale: expected 'rank' or 'min-max'.*got 'none'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(table, match):
    with pytest.raises(ConfigError, match=match):
        config.build(Request, {"salience": table}, "a.toml")
