"""Canonical inputs of every kind of data, distortions of sound and points, and students."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.experiments._canonical_inputs import POINTS, SOUND, form_of_data
from benchmarks.experiments._trigger_pairs import issued
from benchmarks.pairs import owner_for
from benchmarks.speech import SAMPLES, SoundNetwork, spoken_digits
from modeldeed.attacks import AttackData, Distill
from modeldeed.attacks._students import anew
from modeldeed.data import Dataset
from modeldeed.errors import DataError
from modeldeed.training import Recipe, accuracy, train


def write_clips(root: Path, **changed: object) -> None:
    """Three clips: a short one, one of the right length, and a long one."""
    lengths = [1000, SAMPLES, SAMPLES + 6]
    clips = np.concatenate([np.arange(1, n + 1, dtype=np.int16) for n in lengths])
    arrays = {
        "clips": clips,
        "offset": np.cumsum([0, *lengths]),
        "digit": np.array([3, 7, 1]),
        "take": np.array([0, 5, 6]),
    }
    np.savez(root / "spoken-digits.npz", **{**arrays, **changed})


def dataset(name: str = "pictures", mean: tuple[float, ...] = (0.5,)) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(64) % 2
    bright = y[:, None, None, None] * 0.5
    x = torch.rand(64, 1, 8, 8, generator=generator) * 0.5 + bright
    return Dataset(
        name=name, x_train=(x - 0.5) / 0.25, y_train=y, x_test=x[:8], y_test=y[:8],
        classes=("dark", "bright"), mean=mean, std=(0.25,),
    )  # fmt: skip


def clouds() -> Dataset:
    x = torch.rand(8, 32, 3) - 0.5
    y = torch.arange(8) % 2
    return Dataset(name="clouds", x_train=x, y_train=y, x_test=x, y_test=y, classes=("a", "b"))


def test_clips_are_cut_or_filled_to_their_middle(tmp_path: Path) -> None:
    write_clips(tmp_path)
    found = spoken_digits(tmp_path)
    assert (found.y_test.tolist(), found.y_train.tolist()) == ([3], [7, 1])
    assert found.input_shape == (1, 1, SAMPLES)
    short, whole, long = (
        (x.flatten() * 2**15).long() for x in (found.x_test[0], found.x_train[0], found.x_train[1])
    )
    before = (SAMPLES - 1000) // 2
    assert not short[:before].any()
    assert short[before : before + 1000].tolist() == list(range(1, 1001))
    assert whole.tolist() == list(range(1, SAMPLES + 1))
    assert long.tolist() == list(range(4, SAMPLES + 4))


@pytest.mark.parametrize(
    "changed", [{"offset": np.array([0, 5])}, {"take": np.zeros(2)}, {"clips": np.zeros(3)}]
)
def test_arrays_that_do_not_fit_are_no_clips(tmp_path: Path, changed: dict[str, object]) -> None:
    write_clips(tmp_path, **changed)
    with pytest.raises(DataError, match="do not fit"):
        spoken_digits(tmp_path)


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"spoken-digits\.npz"):
        spoken_digits(tmp_path)


def test_a_picture_is_the_same_after_going_there_and_back() -> None:
    data = dataset()
    form = form_of_data(data)
    bytes_ = form.canonical(data.x_train)
    assert bytes_.dtype == torch.uint8
    torch.testing.assert_close(form.prepare(bytes_), data.x_train, atol=0.5 / 255 / 0.25, rtol=0)


def test_sound_is_the_same_after_going_there_and_back(tmp_path: Path) -> None:
    write_clips(tmp_path)
    data = spoken_digits(tmp_path)
    form = form_of_data(data)
    assert form.canonical(data.x_train).shape == (2, SAMPLES)
    assert torch.equal(form.prepare(form.canonical(data.x_train)), data.x_train)


def test_clouds_are_the_same_after_going_there_and_back() -> None:
    data = clouds()
    form = form_of_data(data)
    torch.testing.assert_close(
        form.prepare(form.canonical(data.x_train)), data.x_train, atol=2**-16, rtol=0
    )


def test_triggers_fit_their_data(tmp_path: Path) -> None:
    write_clips(tmp_path)
    for data in (dataset(), clouds(), spoken_digits(tmp_path)):
        triggers = issued(data, owner_for(0))
        prepared = triggers.prepared(torch.arange(2))
        assert isinstance(prepared, Tensor)
        assert prepared.shape[1:] == data.x_train.shape[1:]


@pytest.mark.parametrize("name", POINTS)
def test_a_distortion_of_clouds_changes_them_a_little(name: str) -> None:
    cloud = form_of_data(clouds()).canonical(clouds().x_train)
    changed = POINTS[name](cloud, torch.Generator().manual_seed(0))
    assert (changed.shape, changed.dtype) == (cloud.shape, cloud.dtype)
    assert not torch.equal(changed, cloud)
    if name == "a quarter of the points lost":
        kept = {tuple(point) for point in changed[0].tolist()}
        assert kept <= {tuple(point) for point in cloud[0].tolist()}
        assert len(kept) == 24
    if name.startswith("turned"):
        sizes = [c.double().norm(dim=2) for c in (cloud, changed)]
        torch.testing.assert_close(*sizes, atol=2.0, rtol=0)


@pytest.mark.parametrize("name", SOUND)
def test_a_distortion_of_sound_changes_it_a_little(name: str) -> None:
    time = torch.arange(2000) / 8000
    sound = (torch.sin(2 * torch.pi * 300 * time) * 2**14)[None].round().to(torch.int16)
    changed = SOUND[name](sound, torch.Generator().manual_seed(0))
    assert (changed.shape, changed.dtype) == (sound.shape, sound.dtype)
    assert not torch.equal(changed, sound)
    if name == "noise":
        noise = (changed - sound).double()
        ratio = 10 * torch.log10(sound.double().square().mean() / noise.square().mean())
        assert float(ratio) == pytest.approx(20, abs=0.5)
    if name == "later":
        assert torch.equal(changed[:, 100:], sound[:, :-100])


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


@pytest.mark.parametrize("hard", [False, True])
def test_a_student_learns_the_teachers_answers_and_not_the_labels(hard: bool) -> None:
    data = dataset()
    teacher = Small()
    for _ in train(teacher, data, Recipe(epochs=30, batch_size=16, learning_rate=0.05)):
        pass
    answers = teacher.eval()(data.x_train).argmax(1)
    wrong = Dataset(
        name="wrong", x_train=data.x_train, y_train=1 - data.y_train, x_test=data.x_test,
        y_test=data.y_test, classes=data.classes, mean=data.mean, std=data.std,
    )  # fmt: skip
    attack = Distill(epochs=40, learning_rate=0.05, batch_size=16, hard=hard)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    students = [
        attack.apply(teacher, AttackData(wrong), torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    assert accuracy(students[0], data.x_train, answers) > 0.9
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    weights = [student.layers[1].weight for student in students]  # type: ignore[index]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert attack.steps(AttackData(wrong)) == 40 * 4


def test_a_new_network_has_nothing_of_the_old_one() -> None:
    model = SoundNetwork(10)
    new = anew(model)
    for name, value in model.named_parameters():
        if value.std() > 0:
            assert not torch.equal(value, new.get_parameter(name)), name
