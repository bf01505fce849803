"""Mixed models beside lme4 1.1-31: seeded studies of ours (``made_tables``) and published answers of people.

``peers.R`` prints the numbers (bobyqa to 1e-9, Laplace). lme4's standard errors come from differences of differences,
good to about 1e-4 of their size.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.mixed_models import Random, fit
from tests.golden.made_tables import MADE, TABLES

PEOPLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "human"
# coefficients, standard errors, sd of participants (and of slopes, with their correlation), sd of pictures, ln L
INTERCEPTS = {
    "probit": ((-1.5301398, 0.9086756, -0.4291732), (0.26051293, 0.05897065, 0.11770043), 0.9457114, 0.7275950,
               -390.5098213),
    "logit": ((-2.7344881, 1.5977686, -0.7362012), (0.4753061, 0.1134004, 0.2063825), 1.734121, 1.254987,
              -388.6530434),
}  # fmt: skip
SLOPES = {
    "probit": ((-1.6310397, 1.0324166, -0.2470846, -0.1064848), (0.23812962, 0.10687324, 0.21652377, 0.09695603),
               (0.5715630, 0.3092652, 0.4974404), 0.7714863, -378.5150937),
    "logit": ((-2.7772526, 1.7555445, -0.4505994, -0.1650162), (0.4194761, 0.1877925, 0.3817438, 0.1714930),
              (1.0213568, 0.5269948, 0.4631103), 1.3288698, -379.2945836),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_the_tables_that_r_read_are_those_that_the_seed_gives(name):
    made = MADE[name]().to_csv(index=False, lineterminator="\n")
    assert (TABLES / f"{name}.csv").read_text(encoding="utf-8") == made


@pytest.fixture(scope="module")
def answers() -> dict[str, np.ndarray]:
    table = pd.read_csv(TABLES / "crossed_answers.csv")
    columns = {name: table[name].to_numpy(dtype=float) for name in table}
    return {**columns, "one": np.ones(len(table)), "octaves": np.log2(columns["eps"])}


@pytest.mark.parametrize("eliminated", [True, False])
@pytest.mark.parametrize("link", INTERCEPTS)
def test_crossed_participants_and_pictures_are_fitted_as_by_lme4(answers, link, eliminated):
    coefficients, errors, participants, pictures, likelihood = INTERCEPTS[link]
    design = np.stack([answers[name] for name in ("one", "octaves", "model")], axis=1)
    random = [
        Random(name="participant", group=answers["participant"]),
        Random(name="picture", group=answers["picture"], eliminated=eliminated),
    ]
    found = fit(design, answers["yes"], answers["one"], random, link=link)
    np.testing.assert_allclose(found.coefficients, coefficients, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.standard_errors, errors, rtol=0, atol=1e-4)
    assert [spread.sd[0] for spread in found.random] == pytest.approx([participants, pictures], abs=1e-4)
    assert found.log_likelihood == pytest.approx(likelihood, abs=1e-4)
    assert found.converged
    assert not found.singular


@pytest.mark.parametrize("link", SLOPES)
def test_slopes_that_differ_between_participants_are_fitted_as_by_lme4(answers, link):
    coefficients, errors, participants, pictures, likelihood = SLOPES[link]
    one, octaves, model = (answers[name] for name in ("one", "octaves", "model"))
    random = [
        Random(name="participant", group=answers["participant"], design=np.stack([one, octaves], axis=1)),
        Random(name="picture", group=answers["picture"], eliminated=True),
    ]
    design = np.stack([one, octaves, model, octaves * model], axis=1)
    found = fit(design, answers["yes"], one, random, link=link)
    np.testing.assert_allclose(found.coefficients, coefficients, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.standard_errors, errors, rtol=0, atol=1e-4)
    person, picture = found.random
    correlation = person.covariance[0, 1] / np.prod(person.sd)
    assert (*person.sd, correlation) == pytest.approx(participants, abs=1e-4)
    assert picture.sd[0] == pytest.approx(pictures, abs=1e-4)
    assert found.log_likelihood == pytest.approx(likelihood, abs=1e-4)
    assert found.converged
    assert not found.singular


@pytest.mark.parametrize(
    ("slopes", "coefficients", "errors", "spread", "likelihood"),
    [
        (True, (-2.0905011, 0.2469084, 0.4159519, -0.0465738), (0.15943752, 0.01794195, 0.10301379, 0.01112384),
         (0.41488662, 0.04717833), -278.5630758),
        (False, (-1.99959520, 0.23619068, 0.39542120, -0.04399532), (0.07589444, 0.00820460, 0.10101440, 0.01088297),
         (0.0,), -306.7476659),
    ],
)  # fmt: skip
def test_a_singular_fit_over_a_covariate_far_from_0_ends_where_lme4_ends(
    slopes, coefficients, errors, spread, likelihood
):
    """Effects tied by a correlation of −1, and effects that are none: both programs say singular."""
    table = pd.read_csv(TABLES / "speed_judgements.csv")
    speed, masked, faster = (table[name].to_numpy(dtype=float) for name in ("speed", "masked", "faster"))
    one = np.ones(len(table))
    design = np.stack([one, speed, masked, speed * masked], axis=1)
    own = design[:, :2] if slopes else None
    random = [Random(name="participant", group=table["participant"], design=own)]
    found = fit(design, faster, faster + table["slower"].to_numpy(dtype=float), random, link="probit")
    np.testing.assert_allclose(found.coefficients, coefficients, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.standard_errors, errors, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.random[0].sd, spread, rtol=0, atol=1e-4)
    assert found.log_likelihood == pytest.approx(likelihood, abs=1e-4)
    assert found.singular


def test_verbal_aggression_is_fitted_as_by_lme4():
    """316 people, 24 items, the first 12 "would want to", the others "would do" (De Boeck & Wilson 2004; in lme4).

    lme4's own standard errors, from steps of 1e-4, are 0.2 % too small here: they move until the steps are 1e-3.
    """
    answers = pd.read_csv(TABLES / "verbal_aggression.csv", dtype=str)["answers"]
    yes = np.array([[float(sign) for sign in row] for row in answers])
    person, item = (each.ravel() for each in np.indices(yes.shape))
    one = np.ones(yes.size)
    random = [Random(name="item", group=item), Random(name="person", group=person, eliminated=True)]
    found = fit(np.stack([one, item >= 12], axis=1), yes.ravel(), one, random, link="logit")
    np.testing.assert_allclose(found.coefficients, (0.194120089, -0.713614966), rtol=0, atol=2e-4)
    np.testing.assert_allclose(found.standard_errors, (0.32147, 0.44146), rtol=1e-3, atol=0)  # lme4 with steps of 1e-2
    assert [spread.sd[0] for spread in found.random] == pytest.approx((1.071931394, 1.373336740), abs=1e-4)
    assert found.log_likelihood == pytest.approx(-4100.307277761, abs=1e-4)


people = pytest.mark.skipif(
    not PEOPLE.is_dir(), reason="the published answers are not beside this checkout (../shared)"
)


@people
def test_people_naming_at_low_contrast_are_fitted_as_by_lme4():
    """Geirhos et al. 2018, contrast up to 15 %: 4,000 answers, three crossed factors; pictures differ by nothing."""
    table = pd.read_csv(PEOPLE / "geirhos" / "contrast.csv", dtype=str, keep_default_na=False, skipinitialspace=True)
    level = table["condition"].str[1:].astype(float).to_numpy()
    low, level = table[level <= 15], level[level <= 15]
    one = np.ones(len(low))
    random = [
        Random(name="category", group=low["category"]),
        Random(name="participant", group=low["subj"]),
        Random(name="picture", group=low["imagename"].str.split("_", n=3).str[3], eliminated=True),
    ]
    right = (low["object_response"] == low["category"]).to_numpy(dtype=float)
    found = fit(np.stack([one, np.log10(level)], axis=1), right, one, random, link="probit")
    np.testing.assert_allclose(found.coefficients, (-1.747856, 2.247674), rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.standard_errors, (0.11687740, 0.06841742), rtol=0, atol=1e-4)
    assert [spread.sd[0] for spread in found.random] == pytest.approx((0.3466591, 0.1216340, 0.0), abs=1e-4)
    assert found.log_likelihood == pytest.approx(-1967.395138, abs=1e-4)


@people
def test_people_who_see_that_a_picture_was_modified_are_fitted_as_by_lme4():
    """SCOOTER's advpp: 5,000 answers of 50 people whose criterion and sensitivity differ, to 1,979 pictures."""
    table = pd.read_csv(PEOPLE / "scooter" / "advpp.csv")
    one = np.ones(len(table))
    design = np.stack([one, (table["image_type"] == "modified").to_numpy(dtype=float)], axis=1)
    random = [
        Random(name="participant", group=table["pid"], design=design),
        Random(name="picture", group=table["image_type"] + table["image_id"].astype(str), eliminated=True),
    ]
    found = fit(design, (table["rating"] < 0).to_numpy(dtype=float), one, random, link="probit")
    person, picture = found.random
    correlation = person.covariance[0, 1] / np.prod(person.sd)
    np.testing.assert_allclose(found.coefficients, (-0.7824056, 1.0826855), rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.standard_errors, (0.08143348, 0.09478930), rtol=0, atol=1e-4)
    assert (*person.sd, correlation) == pytest.approx((0.5102967, 0.5184535, -0.5604994), abs=2e-4)
    assert picture.sd[0] == pytest.approx(0.5439502, abs=1e-4)
    assert found.log_likelihood == pytest.approx(-2909.915092, abs=1e-3)
