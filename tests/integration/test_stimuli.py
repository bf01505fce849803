"""Stimulus sets through their command line: what they hold, proved from disk; shared, killed, resumed; bad input."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sqlalchemy import select

from core import attacks, checkpoints, files, manifest, pictures, stimuli, train
from core.attacks.budget import uniform
from core.attacks.minimal import on_lattice
from core.errors import ConfigError, DataError, MachineError, RunError, StimulusError
from core.manifest import SetRecord, Stimulus
from core.stimulus_job import load_source
from core.stimulus_partial import partial
from core.stimulus_sets import tensor, verdict
from core.tensors import generator, to_unit
from study_app import registration
from study_app.models import StimulusRow
from tests.study_site import close, make_app

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """
seed = {seed}
[data]
source = "photographs"
size = 32
train_per_class = 12
test_per_class = 6
[network]
width = 4
[objective]
method = "standard"
[optimiser]
epochs = 3
batch_size = 32
lr = 0.1
"""
REQUEST = """
name = "tiny"
runs = [{runs}]
sources_per_class = 2
attacks = ["pgd-3", "fgsm"]
regions = ["full", "salient", "background"]
eps = [2, 8]
batch_size = 8
sheet_sources = 3
[salience]
source = "spectral-residual"
"""
CELLS = 2 * 2 * 3 * 2
LEAST = ("require='minimal'", "eps=[40]", "sources_per_class=10", "attacks=['fgsm']")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs, ``one`` and ``two``, of other seeds."""
    folder = tmp_path_factory.mktemp("trained")
    for seed, name in enumerate(("one", "two")):
        (folder / f"{name}.toml").write_text(RECIPE.format(seed=seed))
        assert train.main([str(folder / f"{name}.toml"), "--run-dir", str(folder / name)]) == 0
    runs = ", ".join(f'"{folder / name}"' for name in ("one", "two"))
    (folder / "request.toml").write_text(REQUEST.format(runs=runs))
    return folder


@pytest.fixture(scope="module")
def whole(trained):
    """The set of the request, made in one go by one process."""
    assert stimuli.main([str(trained / "request.toml"), "--out", str(trained / "set")]) == 0
    return trained / "set"


@pytest.fixture
def copy(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy"


def words(trained, out, *settings):
    return [str(trained / "request.toml"), "--out", str(out), *(word for one in settings for word in ("--set", one))]


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- what a set holds ----


def test_every_source_has_a_reference_and_a_picture_of_every_cell(whole):
    found = manifest.read_set(whole)
    assert (found.record.sources, found.record.stimuli) == (30, 30 * (1 + CELLS))
    assert Counter(row.source_class for row in found.stimuli if row.is_reference) == dict.fromkeys(
        {row.source_class for row in found.stimuli}, 2
    )
    kinds = {(row.run, row.attack, row.region, row.eps_asked) for row in found.stimuli if not row.is_reference}
    assert kinds == set(found.record.cells)
    assert len(kinds) == CELLS
    assert found.record.selected_on == "none"


def test_rows_say_what_the_files_show(whole):
    """Told from the pixels by other code: ε, region, and an area of half, as a map of ranks above 0.5 has."""
    found = manifest.read_set(whole)
    for group in manifest.by_source(found.stimuli):
        reference = pictures.read(found.png(group[0])).astype(int)
        for row in group[1:]:
            change = np.abs(pictures.read(found.png(row)).astype(int) - reference)
            assert 0 < change.max() == row.eps_measured <= row.eps_asked
            assert row.fooled == (row.prediction_after != row.source_class)
            if row.region != "full":
                level = np.asarray(Image.open(whole / manifest.map_name(row.map_sha256)))
                salient = level / 255 > 0.5
                assert not change[salient if row.region == "background" else ~salient].any()
                assert row.mask_area == pytest.approx(0.5, abs=0.02)


def test_files_tell_nothing_but_their_pixels(whole):
    """All pictures, references among them, have the same chunks of the same length."""
    chunks = {pictures.png_chunks(path.read_bytes()) for path in whole.glob("png/*/*.png")}
    assert len(chunks) == 1
    assert [name for name, _ in chunks.pop()] == ["IHDR", "sRGB", "IDAT", "IEND"]


def test_the_set_proves_itself_and_its_predictions(whole, trained, capsys):
    assert stimuli.main(["verify", str(whole), "--runs", str(trained / "one"), str(trained / "two")]) == 0
    assert "750 stimuli are what the manifest says (pictures and predictions)" in capsys.readouterr().out


def test_the_sheet_shows_pictures_of_the_set_and_asks_for_nothing_else(whole):
    text = (whole / "sheet.html").read_text()
    sources = re.findall(r'<img src="([^"]+)"', text)
    assert len(sources) == 3 * (2 * 2 * 3 + 2 * CELLS)
    named = [source for source in sources if not source.startswith("data:image/png;base64,")]
    assert all((whole / source).is_file() for source in named)
    page = re.sub(r'"data:image/png;base64,[^"]*"', "", text)
    assert not re.search(r"https?:|//|@import|url\(", page)
    assert "Shown are 3 of 30 sources, evenly spread over the set." in text
    assert text.count("alt=") == len(sources)


def test_making_a_set_twice_leaves_it_and_making_another_there_is_refused(whole, trained, capsys):
    assert stimuli.main(words(trained, whole)) == 0
    assert "made already" in capsys.readouterr().out
    with pytest.raises(StimulusError, match="holds another stimulus set than was asked for"):
        stimuli.main(words(trained, whole, "seed=9"))


def test_runs_on_the_command_line_take_the_place_of_the_request_s(trained, tmp_path):
    more = ["regions=['full']", "attacks=['fgsm']", "sources_per_class=1"]
    assert stimuli.main([*words(trained, tmp_path / "out", *more), "--runs", str(trained / "two")]) == 0
    record = manifest.read_record(tmp_path / "out")
    assert (record.runs, record.stimuli, record.salience) == (("two",), 15 * 3, {})


PROTOCOL = """
name = "of-one-attack"
region = "background"
{attack}
[practice]
trials = 2
eps = 8
[main]
trials = 8
"""


def test_a_study_of_a_set_with_several_attacks_names_one(whole, tmp_path):
    app = make_app(f"sqlite:///{tmp_path / 'study.sqlite'}")
    run = app.test_cli_runner()
    (tmp_path / "none.toml").write_text(PROTOCOL.format(attack=""))
    (tmp_path / "one.toml").write_text(PROTOCOL.format(attack='attack = "fgsm"'))
    assert run.invoke(args=["init-db"]).exit_code == 0
    assert run.invoke(args=["register-set", str(whole)]).exit_code == 0
    refused = run.invoke(args=["register-protocol", str(tmp_path / "none.toml"), "--set", "tiny"])
    assert "protocol: attack: expected one of ['fgsm', 'pgd-3'] (the stimulus set has these), got ''" in refused.output
    assert run.invoke(args=["register-protocol", str(tmp_path / "one.toml"), "--set", "tiny"]).exit_code == 0
    with app.extensions["percepsilon_database"].reading() as reader:
        usable = registration.usable(reader, 1, "background", "fgsm")
        names = reader.scalars(select(StimulusRow.stimulus_id).where(StimulusRow.id.in_(usable.values())))
        perturbed = [name for name in names if not name.endswith("/reference")]
    close(app)
    assert len(perturbed) == 30 * 2 * 2
    assert all("/fgsm/background/" in name for name in perturbed)


# ---- required to be fooled ----


@pytest.fixture(scope="module")
def easy(tmp_path_factory):
    """A run that tells grey pictures from slightly lighter ones, some of which lie nearer to the border than others."""
    folder = tmp_path_factory.mktemp("easy")
    random = np.random.default_rng(1)
    for split, name, level in itertools.product(("train", "test"), ("dark", "light"), range(30)):
        path = folder / "data" / split / name / f"{level:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = (110 - 2 * level if name == "dark" else 140 + 2 * level) + random.normal(0, 8, (16, 16, 3))
        Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(path)
    recipe = RECIPE.format(seed=1).replace("epochs = 3", "epochs = 8")
    recipe = re.sub(
        r"\[data\](.|\n)*\[network\]", f'[data]\nsource = "folder"\npath = "{folder}/data"\n[network]', recipe
    )
    (folder / "easy.toml").write_text(recipe)
    assert train.main([str(folder / "easy.toml"), "--run-dir", str(folder / "run")]) == 0
    (folder / "request.toml").write_text(
        f'name = "easy"\nruns = ["{folder}/run"]\nsources_per_class = 6\nattacks = ["pgd-10"]\neps = [40, 64]\n'
        'require = "fooled"\n'
    )
    return folder


def test_required_sources_are_right_before_and_fooled_in_every_cell(easy, tmp_path):
    assert stimuli.main([str(easy / "request.toml"), "--out", str(tmp_path / "set")]) == 0
    record, rows = manifest.read_record(tmp_path / "set"), list(manifest.rows(tmp_path / "set"))
    assert record.selected_on == "fooled"
    assert kept(tmp_path / "set") == {"dark": 6, "light": 6}
    assert len(rows) == 12 * 3
    assert all(row.fooled and row.prediction_before == row.source_class for row in rows if not row.is_reference)
    assert sum(record.left_out.values()) > 0, "some of the sources that were drawn could not be kept"
    assert all(
        re.fullmatch(r"run: wrong before any attack|run/pgd-10/full/\d+: not fooled", why) for why in record.left_out
    )
    assert len(list((tmp_path / "set").glob("png/*/*.png"))) == len({row.sha256 for row in rows})


def test_too_few_sources_that_can_be_kept_are_named(easy, tmp_path):
    with pytest.raises(
        ConfigError, match=r"expected 30 pictures of class \w+ that can be kept, found \d+ among the first 30"
    ):
        stimuli.main([str(easy / "request.toml"), "--out", str(tmp_path / "set"), "--set", "sources_per_class=30"])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def least(easy):
    """A set of the least levels up to 40, of the same run; FGSM draws no random numbers."""
    out = easy / "least"
    assert stimuli.main(words(easy, out, *LEAST)) == 0
    return out


def test_a_minimal_set_holds_each_picture_at_the_least_level_that_fools(easy, least):
    """Each level is the least: the same attack, tried again by hand, fails a level below."""
    record, model = manifest.read_record(least), load_source(easy / "run", torch.device("cpu")).model
    assert (record.selected_on, record.eps, record.cells) == ("minimal", (0, 40), (("run", "fgsm", "full", 40),))
    assert kept(least) == {"dark": 10, "light": 10}
    levels = []
    for reference, row in manifest.by_source(manifest.rows(least)):
        assert row.fooled
        assert 1 <= row.eps_measured <= row.eps_asked <= 40
        assert row.stimulus_id.endswith(f"/{row.eps_asked}")
        label = torch.tensor([["dark", "light"].index(row.source_class)])
        x = to_unit(tensor([pictures.read(least / manifest.png_name(reference.sha256))], label))
        budget = uniform((row.eps_asked - 1) / 255, x)
        below = on_lattice(attacks.run(attacks.named("fgsm"), model, x, label, budget, generator("cpu", 1)))
        assert torch.equal(verdict(model, to_unit(below), label)[0], label)
        levels.append(row.eps_asked)
    assert len(set(levels)) > 2


def test_sources_that_no_level_fools_are_left_out_counted_and_said(easy, least, caplog):
    assert stimuli.main(words(easy, least, *LEAST)) == 0
    left_out = manifest.read_record(least).left_out
    assert left_out["run/fgsm/full: no level up to 40 fools"] > 0
    said = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert said[0].startswith(f"{least}: {sum(left_out.values())} sources were tried and left out: ")
    assert f"no level up to 40 fools ({left_out['run/fgsm/full: no level up to 40 fools']})" in said[0]


def test_a_minimal_set_proves_itself(easy, least, capsys):
    assert stimuli.main(["verify", str(least), "--runs", str(easy / "run")]) == 0
    assert "40 stimuli are what the manifest says (pictures and predictions)" in capsys.readouterr().out
    assert "the least ε that fools" in (least / "sheet.html").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eps_asked": 41}, "expected of .* its reference and the 1 cells of set.json in order, found 2 rows"),
        (
            {"fooled": False, "prediction_after": "dark", "source_class": "dark", "prediction_before": "dark"},
            "expected right before and fooled, as all of a set selected on 'minimal', got dark before and dark after",
        ),
        ({"prediction_before": "light"}, "expected right before and fooled, .* got light before and light after"),
    ],
)
def test_a_row_of_a_minimal_set_that_does_not_fool_at_its_level_is_found(least, tmp_path, changes, message):
    copy = Path(shutil.copytree(least, tmp_path / "copy"))
    row = first_of(copy, source_class="dark", run="run")
    changes |= {"stimulus_id": f"{row.source_id}/run/fgsm/full/{changes.get('eps_asked', row.eps_asked)}"}
    forge(copy, lambda one: [dataclasses.replace(one, **changes) if one.stimulus_id == row.stimulus_id else one])
    with pytest.raises(StimulusError, match=message):
        stimuli.main(["verify", str(copy)])


def kept(whole):
    return Counter(group[0].source_class for group in manifest.by_source(manifest.rows(whole)))


# ---- shared, killed, resumed ----


def test_two_processes_make_the_same_set(whole, trained, tmp_path):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "core.stimuli",
    ]
    done = subprocess.run(
        [*command, *words(trained, tmp_path / "set")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("verified from disk") == 1
    assert content(tmp_path / "set") == content(whole)


def start(trained, out):
    return subprocess.Popen(
        [sys.executable, "-m", "core.stimuli", *words(trained, out)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def killed_after(process, batches, folder):
    """Ends ``process`` without notice once so many batches are finished."""
    deadline = time.monotonic() + 120
    while len(list(folder.glob("batches/*.jsonl"))) < batches and time.monotonic() < deadline:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_a_killed_set_goes_on_from_its_batches_to_the_same_bytes(whole, trained, tmp_path):
    out, unfinished = tmp_path / "set", tmp_path / ".set.partial"
    killed_after(start(trained, out), 2, unfinished)
    assert not out.exists()
    first, second = sorted(unfinished.glob("batches/*.jsonl"))[:2]
    row = json.loads(second.read_text().splitlines()[0])["stimuli"][3]
    (unfinished / "set" / manifest.png_name(row["sha256"])).write_bytes(b"half a pic")
    before = [path.stat().st_mtime_ns for path in (first, second)]
    with pytest.raises(StimulusError, match="holds an unfinished set of another request, other runs or other pictures"):
        stimuli.main(words(trained, out, "seed=9"))
    made = []
    stimuli_made = stimuli.assemble

    def look(here, *rest):
        made.extend(path.stat().st_mtime_ns for path in (first, second))
        return stimuli_made(here, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stimuli, "assemble", look)
        assert stimuli.main(words(trained, out)) == 0
    assert made[0] == before[0], "a whole batch is taken over"
    assert made[1] > before[1], "a batch with a damaged picture is made again"
    assert content(out) == content(whole)
    assert not unfinished.exists()


def test_only_one_command_makes_a_set(tmp_path):
    with (
        partial(tmp_path / "set", "a", leads=True),
        pytest.raises(MachineError, match="another command is making this set; wait for it, or end it"),
        partial(tmp_path / "set", "a", leads=True),
    ):
        pass


# ---- changes that verification finds ----


def first_of(folder, **wanted) -> Stimulus:
    return next(
        row for row in manifest.rows(folder) if all(getattr(row, name) == value for name, value in wanted.items())
    )


def forge(folder, change):
    """Changes manifest.jsonl row by row, and seals it again as a forger would."""
    rows = [one for row in manifest.rows(folder) for one in change(row)]
    record = manifest.read_record(folder)
    manifest.seal(folder, rows, record)


def replaced(folder, row, pixels):
    """Puts another picture in the place of a row's, under its right name, in a manifest that is sealed again."""
    data = pictures.encode_png(pixels)
    sha256 = files.sha256_bytes(data)
    (folder / manifest.png_name(row.sha256)).unlink()
    files.write_bytes(folder / manifest.png_name(sha256), data)
    forge(folder, lambda one: [dataclasses.replace(one, sha256=sha256) if one.sha256 == row.sha256 else one])


def one_pixel(folder):
    path = sorted(folder.glob("png/*/*.png"))[7]
    pixels = pictures.read(path).copy()
    pixels[3, 4, 1] ^= 1
    path.write_bytes(pictures.encode_png(pixels))


def one_pixel_renamed(folder):
    row = first_of(folder, region="full", eps_asked=2)
    pixels = pictures.read(folder / manifest.png_name(row.sha256)).copy()
    pixels[3, 4, 1] ^= 8
    replaced(folder, row, pixels)


def outside_the_region(folder):
    """A pixel outside is changed by less than ε, and all that was measured is corrected."""
    from core.stimulus_sets import measure

    row = first_of(folder, region="salient", eps_asked=8)
    reference = pictures.read(folder / manifest.png_name(first_of(folder, source_id=row.source_id).sha256))
    pixels = pictures.read(folder / manifest.png_name(row.sha256)).copy()
    outside = np.argwhere(np.asarray(Image.open(folder / manifest.map_name(row.map_sha256))) / 255 <= 0.5)[0]
    pixels[tuple(outside)] ^= 1
    replaced(folder, row, pixels)
    measured = measure(reference, pixels)
    forge(folder, lambda one: [dataclasses.replace(one, **measured) if one.stimulus_id == row.stimulus_id else one])


def truncated(folder):
    """The pixels of a picture were cut off before the set was sealed; its chunks are as they should be."""
    row = first_of(folder, region="full", eps_asked=2)
    data = (folder / manifest.png_name(row.sha256)).read_bytes()
    start = data.index(b"IDAT") + 4
    cut = data[: start - 8] + (1000).to_bytes(4, "big") + b"IDAT" + data[start : start + 1000]
    cut += zlib.crc32(b"IDAT" + data[start : start + 1000]).to_bytes(4, "big") + data[-12:]
    sha256 = files.sha256_bytes(cut)
    (folder / manifest.png_name(row.sha256)).unlink()
    files.write_bytes(folder / manifest.png_name(sha256), cut)
    forge(folder, lambda one: [dataclasses.replace(one, sha256=sha256) if one.sha256 == row.sha256 else one])


def cut_off(folder):
    path = folder / manifest.png_name(first_of(folder, region="full", eps_asked=2).sha256)
    path.write_bytes(path.read_bytes()[:-1000])


def other_encoder(folder):
    row = first_of(folder, region="full", eps_asked=2)
    path = folder / manifest.png_name(row.sha256)
    Image.fromarray(pictures.read(path)).save(path)
    data = path.read_bytes()
    sha256 = files.sha256_bytes(data)
    path.unlink()
    files.write_bytes(folder / manifest.png_name(sha256), data)
    forge(folder, lambda one: [dataclasses.replace(one, sha256=sha256) if one.sha256 == row.sha256 else one])


def manifest_changed(folder):
    path = folder / "manifest.jsonl"
    path.write_text(path.read_text().replace('"fooled": true', '"fooled": false', 1))


def a_row_twice(folder):
    name = first_of(folder, region="full", eps_asked=2).stimulus_id
    forge(folder, lambda row: [row, row] if row.stimulus_id == name else [row])


def a_row_less(folder):
    name = first_of(folder, region="full", eps_asked=2).stimulus_id
    forge(folder, lambda row: [] if row.stimulus_id == name else [row])


def a_source_less(folder):
    name = first_of(folder).source_id
    gone = [row for row in manifest.rows(folder) if row.source_id == name]
    forge(folder, lambda row: [] if row.source_id == name else [row])
    for row in gone:
        (folder / manifest.png_name(row.sha256)).unlink(missing_ok=True)
    for sha256 in {row.map_sha256 for row in gone if row.map_sha256}:
        (folder / manifest.map_name(sha256)).unlink()


def beyond_eps(folder):
    """The set claims to be one of ε = 7 where it is one of 8."""
    record = json.loads((folder / "set.json").read_text())
    files.write_json(folder / "set.json", record | {"eps": [0, 2, 7]})

    def claim(row):
        if row.eps_asked != 8:
            return [row]
        return [dataclasses.replace(row, eps_asked=7, stimulus_id=row.stimulus_id.removesuffix("8") + "7")]

    forge(folder, claim)


def fooled_claimed(folder):
    row = first_of(folder, eps_asked=2, fooled=False)
    forge(folder, lambda one: [dataclasses.replace(one, fooled=True) if one.stimulus_id == row.stimulus_id else one])


def area_claimed(folder):
    row = first_of(folder, region="salient")
    forge(folder, lambda one: [dataclasses.replace(one, mask_area=0.1) if one.stimulus_id == row.stimulus_id else one])


def map_dropped(folder):
    row = first_of(folder, region="salient")
    forge(
        folder, lambda one: [dataclasses.replace(one, map_sha256=None) if one.stimulus_id == row.stimulus_id else one]
    )


def map_of_another_size(folder):
    row = first_of(folder, region="salient")
    path = folder / manifest.map_name(row.map_sha256)
    Image.fromarray(np.asarray(Image.open(path))[:16].copy()).save(path)
    sha256 = files.sha256_file(path)
    files.write_bytes(folder / manifest.map_name(sha256), path.read_bytes())
    path.unlink()
    swap = {row.map_sha256: sha256}
    forge(folder, lambda one: [dataclasses.replace(one, map_sha256=swap.get(one.map_sha256, one.map_sha256))])


def map_unreadable(folder):
    row = first_of(folder, region="salient")
    (folder / manifest.map_name(row.map_sha256)).unlink()
    sha256 = files.sha256_bytes(b"no map")
    files.write_bytes(folder / manifest.map_name(sha256), b"no map")
    swap = {row.map_sha256: sha256}
    forge(folder, lambda one: [dataclasses.replace(one, map_sha256=swap.get(one.map_sha256, one.map_sha256))])


def sheet_changed(folder):
    (folder / "sheet.html").write_text("<p>nothing to see</p>")


def picture_lost(folder):
    sorted(folder.glob("png/*/*.png"))[7].unlink()


def stranger(folder):
    (folder / "png" / "ab").mkdir(exist_ok=True)
    (folder / "png" / "ab" / "x.png").write_bytes(b"")


def other_size(folder):
    row = first_of(folder)
    forge(folder, lambda one: [dataclasses.replace(one, width=31) if one.stimulus_id == row.stimulus_id else one])


def no_stimulus(folder):
    record = json.loads((folder / "set.json").read_text())
    (folder / "manifest.jsonl").write_text('{"stimulus_id": "x"}\n')
    sha256 = files.sha256_file(folder / "manifest.jsonl")
    files.write_json(folder / "set.json", record | {"manifest_sha256": sha256})


def no_manifest(folder):
    (folder / "manifest.jsonl").unlink()


def schema_of_the_past(folder):
    record = json.loads((folder / "set.json").read_text())
    files.write_json(folder / "set.json", record | {"schema_version": 1})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (one_pixel, "expected SHA-256 .* was changed: restore it"),
        (one_pixel_renamed, "expected (eps_measured|l2|ssim) .*, measured"),
        (
            outside_the_region,
            "expected pixels outside the region salient as in the reference, found 1 changed, the first",
        ),
        (truncated, "expected a picture .*, could not read it: .*; replace the file, or make the set again"),
        (cut_off, "expected SHA-256 .* was changed: restore it"),
        (other_encoder, "expected the chunks IHDR, sRGB, IDAT, IEND, got IHDR, IDAT, IEND"),
        (manifest_changed, "manifest.jsonl: expected SHA-256 .*, got .*; the manifest was changed"),
        (a_row_twice, "manifest.jsonl: expected each stimulus_id once, got 'test/.*/one/pgd-3/full/2' again"),
        (a_row_less, "expected of test/.* its reference and the 24 cells of set.json in order, found 24 rows"),
        (
            a_source_less,
            "expected 30 sources and 725 stimuli, as many of each class, found 29 sources, 1 or 2 of a class",
        ),
        (beyond_eps, "expected at most 7 grey levels, measured 8; make the set again"),
        (fooled_claimed, r"expected fooled to say whether (\w+) is not \1, got True"),
        (area_claimed, "expected mask_area 0.1, measured 0.[45]"),
        (map_dropped, "expected the map of region salient, found none"),
        (map_of_another_size, "expected a grey map of 32×32 pixels like its picture, got 32×16"),
        (map_unreadable, "expected a map .grey PNG., could not read it"),
        (sheet_changed, "sheet.html: expected SHA-256"),
        (picture_lost, "expected the picture of .*, found none"),
        (stranger, "expected only the pictures of the manifest; remove it"),
        (other_size, "expected 31×32 pixels, got 32×32"),
        (no_stimulus, "line 1: expected a stimulus, got .*missing"),
        (no_manifest, "manifest.jsonl: no such file; make the set again"),
        (schema_of_the_past, "expected schema version 2, got 1; make the set again"),
    ],
)
def test_verification_finds_every_change(copy, damage, message):
    damage(copy)
    with pytest.raises(StimulusError, match=message):
        stimuli.main(["verify", str(copy)])


def test_a_name_twice_is_found_when_a_set_is_read(copy):
    a_row_twice(copy)
    with pytest.raises(StimulusError, match="expected each stimulus_id once, got .* again; make the set again"):
        manifest.read_set(copy)


def test_a_record_that_says_what_we_do_not_know_is_refused(copy):
    record = json.loads((copy / "set.json").read_text())
    files.write_json(copy / "set.json", record | {"colour": "red"})
    with pytest.raises(StimulusError, match="unknown key 'colour'"):
        manifest.read_record(copy)


def test_predictions_of_another_model_are_found_out(whole, trained, tmp_path):
    shutil.copytree(trained / "two", tmp_path / "one")
    with pytest.raises(StimulusError, match="expected margin .* from one, got .*is it the run that the set was made"):
        stimuli.main(["verify", str(whole), "--runs", str(tmp_path / "one")])


@pytest.mark.parametrize("key", ["prediction_after", "prediction_before"])
def test_a_false_prediction_is_found_out(copy, trained, key):
    row = min(manifest.rows(copy), key=lambda row: row.margin if row.run == "one" else 1)
    known = {row.source_class, row.prediction_before, row.prediction_after}
    other = next(one.source_class for one in manifest.rows(copy) if one.source_class not in known)
    lie = dataclasses.replace(row, **{key: other})
    forge(copy, lambda one: [lie if one.stimulus_id == row.stimulus_id else one])
    with pytest.raises(StimulusError, match=f"expected {other} (before|after) the attack from one, got"):
        stimuli.main(["verify", str(copy), "--runs", str(trained / "one")])


def test_a_class_that_the_run_does_not_have_is_refused(copy, trained):
    name = first_of(copy).source_id
    forge(copy, lambda one: [dataclasses.replace(one, source_class="unicorn") if one.source_id == name else one])
    from core.stimulus_verification import verify_predictions

    source = load_source(trained / "one", torch.device("cpu"))
    with pytest.raises(StimulusError, match="expected one of the classes of one .*, got unicorn"):
        verify_predictions(copy, source, ["astronaut"], torch.device("cpu"))


# ---- bad input ----


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (["sources_per_class=99"], ConfigError, "expected at most 6, the test pictures of class astronaut, got 99"),
        (["eps=[8, 2]"], ConfigError, "eps: expected rising whole grey levels within 1..255, got .8, 2."),
        (["eps=[2.5]"], ConfigError, "eps: expected whole grey levels, since stimuli are 8-bit pictures, got 2.5"),
        (["eps=['8/255']"], ConfigError, "got 0.0313725; write the ε of 8/255 as 8"),
        (["attacks=['pgb-20']"], ConfigError, "attack 'pgb-20': expected one of fgsm, pgd.*did you mean 'pgd'"),
        (["attacks=['stadv-5']"], ConfigError, "stadv-5 moves pixels, so that it has no ε in grey levels"),
        (["attacks=['pgd', 'pgd-20']"], ConfigError, "attacks: expected at least one, each once"),
        (["regions=['full', 'full']"], ConfigError, "regions: expected at least one, each once"),
        (["threshold=1.0"], ConfigError, "threshold: expected 0 up to, not including, 1, got 1.0"),
        (["batch_size=0"], ConfigError, "batch_size: expected at least 1, got 0"),
        (["name='a/b'"], ConfigError, "name: expected letters, digits"),
        (["runs=[]"], ConfigError, "runs: expected run directories of source models, got none"),
        (["require='seen'"], ConfigError, "require: expected one of 'none', 'fooled', 'minimal', got 'seen'"),
        (["require='minimal'"], ConfigError, r"the highest level to try, got .2, 8.; write eps = .8."),
    ],
)
def test_impossible_requests_leave_nothing(trained, tmp_path, settings, error, message):
    with pytest.raises(error, match=message):
        stimuli.main(words(trained, tmp_path / "out", *settings))
    assert list(tmp_path.iterdir()) == []


def test_regions_need_maps(trained, tmp_path):
    (tmp_path / "request.toml").write_text((trained / "request.toml").read_text().split("[salience]")[0])
    with pytest.raises(ConfigError, match="regions: .* need salience maps; add a .salience. table"):
        stimuli.main([str(tmp_path / "request.toml"), "--out", str(tmp_path / "out")])


def test_maps_of_another_size_are_refused(trained, tmp_path):
    (tmp_path / "large.toml").write_text(RECIPE.format(seed=1).replace("size = 32", "size = 40"))
    train.main([str(tmp_path / "large.toml"), "--run-dir", str(tmp_path / "large")])
    maps = f"salience={{ source = 'grad-cam', run = '{tmp_path / 'large'}' }}"
    with pytest.raises(DataError, match="large: expected a run on pictures of 32×32 pixels, got one on 40×40"):
        stimuli.main(words(trained, tmp_path / "out", maps))
    assert not (tmp_path / ".out.partial").exists()


def test_a_source_without_a_region_is_left_out(trained, tmp_path, whole):
    """Masks are wholly black for half of the pictures, which have no salient region, and are not kept."""
    classes = sorted({row.source_class for row in manifest.rows(whole)})
    for name in classes:
        for number in range(6):
            path = tmp_path / "masks" / "test" / name / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            mask = np.zeros((32, 32), np.uint8)
            mask[8:24, 8:24] = 255 * (number % 2)
            Image.fromarray(mask).save(path)
    request = tmp_path / "request.toml"
    text = (trained / "request.toml").read_text().split("[salience]")[0]
    request.write_text(f'{text}[salience]\nsource = "masks"\npath = "{tmp_path / "masks"}"\n')
    more = ["regions=['salient']", "attacks=['fgsm']", "eps=[4]"]
    settings = [word for one in more for word in ("--set", one)]
    assert stimuli.main([str(request), "--out", str(tmp_path / "set"), *settings]) == 0
    record = manifest.read_record(tmp_path / "set")
    assert record.left_out.keys() == {"region salient is empty"}
    assert kept(tmp_path / "set") == dict.fromkeys(classes, 2)
    assert all(int(row.source_id[-4:]) % 2 for row in manifest.rows(tmp_path / "set"))
    assert {row.mask_area for row in manifest.rows(tmp_path / "set") if not row.is_reference} == {0.25}


def test_a_model_that_returns_nan_is_refused(trained, tmp_path):
    shutil.copytree(trained / "one", tmp_path / "one")
    tensors, metadata = checkpoints.read(tmp_path / "one" / "weights.safetensors")
    checkpoints.save(
        tmp_path / "one" / "weights.safetensors",
        {name: value * torch.nan if value.is_floating_point() else value for name, value in tensors.items()},
        metadata,
    )
    with pytest.raises(DataError, match="model: expected finite logits, got NaN or infinity for"):
        stimuli.main([*words(trained, tmp_path / "out"), "--runs", str(tmp_path / "one")])
    assert not (tmp_path / ".out.partial").exists()


def test_runs_of_other_data_are_refused(trained, tmp_path):
    (tmp_path / "other.toml").write_text(RECIPE.format(seed=1).replace("test_per_class = 6", "test_per_class = 5"))
    train.main([str(tmp_path / "other.toml"), "--run-dir", str(tmp_path / "other")])
    pair = ["--runs", str(trained / "one"), str(tmp_path / "other")]
    with pytest.raises(RunError, match="other: expected the same pictures as .*one, got others"):
        stimuli.main([*words(trained, tmp_path / "out"), *pair])
    shutil.copytree(trained / "one", tmp_path / "one")
    record = json.loads((tmp_path / "one" / "record.json").read_text())
    files.write_json(tmp_path / "one" / "record.json", record | {"dataset_fingerprint": "0" * 64})
    with pytest.raises(
        RunError, match="expected the data it was trained with .fingerprint 000000000000…., got photographs"
    ):
        stimuli.main([*words(trained, tmp_path / "out"), "--runs", str(tmp_path / "one")])


def test_two_runs_of_one_name_are_refused(trained, tmp_path):
    with pytest.raises(ConfigError, match="runs: expected at least one, each once"):
        stimuli.main([*words(trained, tmp_path / "out"), "--runs", str(trained / "one"), str(tmp_path / "one")])


def test_the_record_reads_back(whole):
    record = manifest.read_record(whole)
    assert SetRecord(**dataclasses.asdict(record)) == record
    assert record.salience["threshold"] == 0.5
    assert record.salience["source"] == "spectral-residual"
    assert [len(sha256) for sha256 in record.weights_sha256] == [64, 64]
