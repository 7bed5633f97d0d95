import pytest

from benchmarks import registry
from benchmarks.registry import Setting, experiment, experiments, find
from modeldeed.errors import OptionError


def test_one_decorator_is_all_that_a_new_experiment_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = [entry.name for entry in experiments()]
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    settings = {"quick": Setting("seconds", ("a",), (0,))}

    @experiment("another", "measures nothing", settings, table=lambda card: card.setting)
    def another(run):
        return {}

    assert [entry.name for entry in experiments()] == sorted([*known, "another"])
    assert find("another").setting("quick").hosts == ("a",)
    with pytest.raises(OptionError, match="there are: quick"):
        find("another").setting("huge")
    with pytest.raises(OptionError, match="registered already"):
        experiment("another", "", settings, table=lambda card: "")(another)


def test_hosts_of_every_setting_have_names_of_their_own() -> None:
    for entry in experiments():
        for setting in entry.settings.values():
            assert len(set(setting.hosts)) == len(setting.hosts) > 0
            assert setting.seeds
