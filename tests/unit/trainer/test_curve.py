"""The learning curve's points, and which of them is the best."""

import json
import math

from nerforge_trainer import curve
from nerforge_trainer.loop import Evaluation, Step


def step(number, score, loss=1.0, **scores):
    return Step(number, 2, 1000, 12.345, Evaluation(score, scores, {"tok2vec": loss, "ner": 2.0}))


def test_a_point_has_what_the_evaluation_found():
    assert curve.point(step(40, 0.75, ents_f=0.123456789, ents_p=0.2, ents_r=0.3)) == {
        "step": 40,
        "epoch": 2,
        "seconds": 12.3,
        "loss": 3.0,
        "f": 0.123457,
        "p": 0.2,
        "r": 0.3,
        "score": 0.75,
    }


def test_a_loss_that_is_no_number_is_none_in_json():
    for loss in (math.nan, math.inf):
        point = curve.point(step(0, 0.0, loss))
        assert point["loss"] is None
        json.dumps(point, allow_nan=False)


def test_the_best_is_the_last_of_equally_good_ones_as_it_is_the_one_that_was_kept():
    points = [curve.point(step(number, score)) for number, score in enumerate((0.1, 0.5, 0.5, 0.2))]
    assert curve.best(points)["step"] == 2
    assert curve.best([]) is None
