"""What jobs take that train nothing: evaluations and combinations of finished runs."""

import dataclasses

from nfe import data as datasets
from nfe.cluster import estimate
from nfe.data import corruptions, outliers
from nfe.suite.run import specify

# A multiply-add count of ResNet18's convolutions at 32 pixels and its head, as published.
CONVOLUTIONS, FEATURES = 555_417_600, 512
TESTED, HELD_OUT = 10_000, 2_500


def made(method, dataset="cifar100", **more):
    run = {"dataset": dataset, "architecture_name": "resnet18", "method": method, "epochs": 200}
    return specify(**run, precision="bfloat16", **more)


def test_a_finished_network_s_multiply_adds_are_one_forward_pass():
    single = estimate.cost(made("single")).inference_macs
    assert single == CONVOLUTIONS + FEATURES * 100
    # MIMO sees each image in every one of its inputs at once: more channels, more heads.
    mimo, members = estimate.cost(made("mimo")), made("mimo").settings["members"]
    first = 3 * 64 * 9 * 32 * 32
    more = (members - 1) * (first + FEATURES * 100)
    assert mimo.inference_macs == single + more
    # Trained as one network, judged as several: kept copies, and passes that sample.
    for name in ("snapshot", "mc_dropout"):
        run = made(name)
        assert estimate.cost(run).inference_macs == run.settings["members"] * single


def test_every_image_that_is_shown_is_counted():
    run = made("single")
    plain = estimate.evaluated_images(run, [], False)
    assert plain == TESTED + HELD_OUT
    assert estimate.evaluated_images(run, ["svhn"], False) == plain + 26_032
    assert estimate.evaluated_images(run, [], True) == plain + estimate.CORRUPTED_SETS * TESTED
    kinds = len(corruptions.kinds(run.card))
    assert kinds * corruptions.SEVERITIES == estimate.CORRUPTED_SETS


def test_sets_have_as_many_images_as_is_said_without_them():
    digits = datasets.card("digits")
    assert len(datasets.load(digits).test) == datasets.dataset("digits").test_images
    for resolution in (32, 64):
        card = datasets.card("tiny-imagenet", resolution)
        found = outliers.load(card, "photographs")
        assert outliers.count(card, "photographs") == len(found)
    part = datasets.card("cifar100", num_classes=20)
    assert outliers.count(part, "unseen") == 8_000


def test_a_subset_shows_its_own_images():
    run = made("single", num_classes=20, images_per_class=100, test_images="extended")
    # 400 training images of each class are left out, but for those that the whole set holds out.
    shown = estimate.evaluated_images(run, [], False)
    assert 20 * (100 + 380 + 5) <= shown <= 20 * (100 + 400 + 5)


def test_evaluation_takes_as_long_as_its_passes_and_not_as_training():
    single, ensemble = made("single"), made("deep_ensemble", settings={"members": 4})
    fixed = estimate.evaluation_seconds(single, [], False, 1)
    whole = estimate.evaluation_seconds(single, ["svhn"], True, 1)
    images = estimate.evaluated_images(single, ["svhn"], True)
    macs = images * (CONVOLUTIONS + FEATURES * 100)
    # A T4 multiplies float32 at 8 TFLOP/s at most: it would be done within the time.
    assert whole >= macs / 4e12
    assert fixed < whole < estimate.seconds(single, estimate.modest(1)) / 10
    four = estimate.evaluation_seconds(ensemble, ["svhn"], True, 1)
    assert 3.5 * whole < four < 4 * whole
    # However long a run has trained.
    longer = dataclasses.replace(single, epochs=2000)
    assert estimate.evaluation_seconds(longer, ["svhn"], True, 1) == whole


def test_an_evaluation_s_job_has_room_for_all_its_runs_one_after_the_other():
    runs = [made("single", seed=seed) for seed in range(12)]
    ood = {run.name: ["svhn"] for run in runs}
    seconds = sum(estimate.evaluation_seconds(run, ["svhn"], True, 1) for run in runs)
    assert estimate.evaluation_minutes(runs, ood, True, 1) * 60 >= seconds
    assert estimate.evaluation_minutes(runs, ood, True, 1) < 120 < estimate.minutes(runs, 1)


def test_what_is_finished_needs_no_room_for_pruning_by_data():
    run = made("nfe", settings={"exits": 2, "sparsity": 0.5, "pruning": "grasp"})
    building = estimate.cost(run).building_mb
    assert building > 1000
    assert estimate.memory_mb([run]) - estimate.memory_mb([run], finished=True) == building
