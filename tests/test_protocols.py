"""The numbers of the protocols, and how they can be changed."""

import dataclasses

import pytest

from downstream import protocols, tasks
from downstream.protocols import load
from upstream.errors import MissingError, UsageError

# The published protocol, typed by hand: Adam, clipping at 1. Micro-batch, micro-batches of a step, steps, steps between
# two looks at dev, learning rate, width of the first Linear.
SUPERB = {
    "pr": (16, 2, 100_000, 1_000, 1e-2, 256),
    "asr": (16, 1, 200_000, 2_000, 1e-4, 1024),
    "ood-asr-zh": (16, 1, 500_000, 5_000, 1e-4, 1024),
    "ood-asr-es": (16, 1, 500_000, 2_000, 1e-4, 1024),
    "ood-asr-ar": (16, 1, 500_000, 5_000, 1e-4, 1024),
    "ks": (32, 1, 200_000, 5_000, 1e-4, 256),
    "qbe": None,  # nothing is learned
    "sid": (8, 4, 200_000, 5_000, 1e-4, 256),
    "ic": (32, 1, 200_000, 5_000, 1e-4, 256),
    "sf": (32, 1, 200_000, 2_000, 1e-4, 1024),
    "er": (4, 8, 30_000, 1_000, 1e-4, 256),
    "asv": (10, 5, 200_000, 20_000, 1e-4, 512),
    "sd": (8, 4, 30_000, 500, 1e-4, None),
    "ss": (8, 1, 150_000, 2_000, 1e-4, None),
    "se": (8, 1, 150_000, 1_250, 1e-4, None),
}
MINI_OWN = {"pr": ("grid",), "asr": ("grid", "projector", "hidden", "frame_samples")}
MINI_OWN |= dict.fromkeys(("ood-asr-zh", "ood-asr-es", "ood-asr-ar"), ("grid", "projector", "hidden"))
MINI_OWN["sf"] = MINI_OWN["asr"]
MINI_OWN["asv"] = ("grid", "batch", "accumulate", "crop_seconds", "projector", "dev_speakers", "dev_trials")
MINI_OWN |= {"sd": ("grid", "accumulate", "hidden")} | dict.fromkeys(("ss", "se"), ("grid", "hidden", "layers"))
RECURRENT = ("asr", "ood-asr-zh", "ood-asr-es", "ood-asr-ar", "sf")
GRID = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)


@pytest.fixture
def own(tmp_path):
    def write(text, name="mine.yaml"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


# Numbers


def test_superb_is_as_published():
    protocol = load("superb")
    assert protocol.name == "superb"
    assert protocol.grid == GRID
    assert list(protocol.tasks) == list(SUPERB) == list(tasks.TASKS)
    for name, numbers in trained(SUPERB).items():
        task = protocol.task(name)
        assert (task.batch, task.accumulate, task.steps, task.eval_every, task.lr, task.projector) == numbers
        assert (task.clip, task.rates) == (1000.0 if name == "asv" else 1.0, GRID)


def trained(tasks):
    """Those in which something is learned."""
    return {name: of for name, of in tasks.items() if name != "qbe"}


def having(**values):
    """The trained tasks of which that is true, all others being as most are."""
    found = trained(load("superb").tasks).items()
    return [name for name, task in found if all(getattr(task, key) == value for key, value in values.items())]


def test_the_search_is_as_published():
    assert load("superb").task("qbe").settings() == {
        "gain_db": -3.0,
        "normalize": True,
        "distance": "cosine_exp",
        "precision": "float32",
        "shortest_query": 5,
        "yes_above": 2.0,
        "false_alarm_cost": 12.49,
        "default_score": -10.0,
    }
    assert load("mini").task("qbe") == load("superb").task("qbe")
    assert load("superb", lr=["0.1"]).changes_of("qbe") == ()  # it has no learning rate


def test_a_search_has_numbers_of_its_own():
    protocol = load("superb", ["distance=cosine", "gain_db=0", "qbe.precision=float64"])
    assert protocol.changes_of("qbe") == ("distance=cosine", "gain_db=0", "precision=float64")
    assert protocol.changes_of("ks") == ("gain_db=0",)
    assert protocol.task("qbe").default_score == load("superb", ["default_score=-5"]).task("qbe").default_score - 5


def test_what_only_some_tasks_have():
    assert having(balanced=True, drop_last=True) == ["ks"]
    assert len(having(balanced=False, drop_last=False)) == len(SUPERB) - 2
    assert having(gain_db=-3.0) == ["ks", "asv"]
    assert len(having(gain_db=0.0)) == len(SUPERB) - 3
    assert having(crop_seconds=8.0) == ["sid", "asv"]
    assert len(having(crop_seconds=None)) == len(SUPERB) - 3
    assert having(halve_seconds=18.75) == ["pr", "ood-asr-zh", "ood-asr-es", "ood-asr-ar", "sf"]
    assert having(hidden=1024, layers=2, dropout=0.2) == list(RECURRENT)
    assert having(time_warp=5, freq_masks=4, freq_width=50, time_masks=2, time_width=40) == list(RECURRENT)
    assert having(project=True, frame_samples=320) == ["ood-asr-zh", "ood-asr-es", "ood-asr-ar"]
    assert having(trim=True, min_seconds=2.0, scale=30.0, margin=0.4, weight_decay=0.01, head="xvector") == ["asv"]
    assert having(trials="superb", dev_speakers=40, dev_trials=20_000, cohort=None) == ["asv"]
    assert having(hidden=512, layers=1, chunk_frames=2000, thresholds=(0.3, 0.4, 0.5, 0.6, 0.7), medians=(1, 11)) == [
        "sd"
    ]
    assert having(hidden=896, layers=3, dropout=0.5, eps=1e-7, early_eps=True) == ["ss", "se"]
    assert having(beam=5, beam_threshold=25.0, lm_weight=2.0, word_score=-1.0) == ["asr"]
    assert "hidden" not in load("superb").task("ks").settings()


def test_mini_differs_in_its_steps_and_where_that_is_told():
    superb, mini = load("superb"), load("mini")
    assert mini.name == "mini"
    assert (mini.grid, list(mini.tasks)) == (superb.grid, list(superb.tasks))
    for name, task in trained(mini.tasks).items():
        published = superb.task(name)
        assert task.steps < published.steps
        same = dataclasses.replace(task, steps=published.steps, eval_every=published.eval_every)
        if name in MINI_OWN:
            assert all(getattr(task, key) != getattr(published, key) for key in MINI_OWN[name])
            same = dataclasses.replace(same, **{k: getattr(published, k) for k in (*MINI_OWN[name], "rates")})
        assert same == published


def test_every_protocol_that_is_listed_can_be_loaded():
    assert {"superb", "mini"} <= set(protocols.names())
    assert [load(name).name for name in protocols.names()] == protocols.names()


def test_a_task_may_have_a_grid_of_its_own():
    protocol = load("superb", ["asr.grid=[0.5, 1e-3]"])
    assert protocol.task("asr").rates == (0.5, 0.001)
    assert protocol.task("pr").rates == GRID
    assert protocol.changes_of("asr") == ("grid=[0.5, 1e-3]",)
    assert load("superb", ["asr.grid=[0.5]"], ["0.25"]).changes_of("asr") == ("grid=[0.5]", "lr=0.25")


def test_set_touches_the_tasks_that_have_the_number():
    protocol = load("superb", ["hidden=64"])
    assert {name for name, task in trained(protocol.tasks).items() if task.hidden == 64} == {
        *RECURRENT,
        "sd",
        "ss",
        "se",
    }
    assert protocol.changes_of("ks") == protocol.changes_of("pr") == ()
    assert protocol.changes_of("sf") == ("hidden=64",)
    assert {task.crop_seconds for task in trained(load("superb", ["crop_seconds=3"]).tasks).values()} == {3.0}


def test_some_numbers_may_be_zero():
    task = load("superb", ["asr.dropout=0", "asr.time_warp=0", "asr.word_score=-2"]).task("asr")
    assert (task.dropout, task.time_warp, task.word_score) == (0.0, 0, -2.0)


# --set


def test_set_changes_one_task_or_all():
    protocol = load("superb", ["steps=10", "ks.steps=7", "sid.crop_seconds=null", "ks.balanced=false", "clip=2"])
    steps = {name: task.steps for name, task in trained(protocol.tasks).items()}
    assert steps == dict.fromkeys(trained(SUPERB), 10) | {"ks": 7}
    assert protocol.task("sid").crop_seconds is None
    assert protocol.task("ks").balanced is False
    assert {task.clip for task in trained(protocol.tasks).values()} == {2.0}
    assert protocol.changes_of("sid") == ("steps=10", "crop_seconds=null", "clip=2")
    assert load("superb", ["lr=1e-3"]).task("ks").lr == 1e-3  # YAML would read this as text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("stepz=5", r"unknown key in --set pr 'stepz'. Did you mean: steps"),
        ("kz.steps=5", r"unknown task in --set kz.steps=5 'kz'. Did you mean: ks"),
        ("abx.steps=5", "unknown task"),
        ("qbe.steps=5", r"unknown key in --set qbe 'steps'. Known: default_score, distance,"),
        ("distance=4", "--set qbe.distance is 4; expected a name"),
        ("qbe.shortest_query=0", "expected a whole number above 0"),
        ("asv.trials=7", "asv.trials is 7; expected a name or null"),
        ("sd.medians=[1.5]", "sd.medians is 1.5; expected a whole number above 0"),
        ("sd.thresholds=0.5", "sd.thresholds is 0.5; expected a list of numbers"),
        ("asr.dropout=-0.1", r"asr.dropout is -0.1; expected a number from 0 up or null"),
        ("asr.grid=0.1", r"asr.grid is 0.1; expected a list of learning rates"),
        ("asr.grid=[0]", r"asr.grid is 0.*; expected a number above 0"),
        ("asr.project=1", "asr.project is 1; expected true or false or null"),
        ("steps", "--set steps: expected KEY=VALUE or TASK.KEY=VALUE, such as ks.steps=1000"),
        ("steps=", "expected a whole number above 0"),
        ("steps=0", "--set pr.steps is 0; expected a whole number above 0"),
        ("steps=-3", "expected a whole number above 0"),
        ("steps=2.5", "expected a whole number above 0"),
        ("steps=many", "steps is 'many'; expected a whole number above 0"),
        ("steps=true", "expected a whole number above 0"),
        ("steps=null", "expected a whole number above 0"),
        ("clip=high", "clip is 'high'; expected a number"),
        ("clip=null", "clip is None; expected a number"),
        ("clip=.nan", "expected a number"),
        ("clip=.inf", "expected a number"),
        ("balanced=1", "balanced is 1; expected true or false"),
        ("balanced=maybe", "expected true or false"),
        ("crop_seconds=long", "expected a number above 0 or null"),
        ("batch=[1, 2]", "expected a whole number above 0"),
        ("rates=[0.1]", "unknown key in --set pr 'rates'"),
        ("lr=-1", "lr is -1.0; expected a number above 0"),
        ("clip=0", "clip is 0.0; expected a number above 0"),
        ("crop_seconds=0", "expected a number above 0 or null"),
        ("crop_seconds=-1", "expected a number above 0 or null"),
        ("steps=[", "is no number, word or null"),
    ],
)
def test_a_wrong_change_is_told(change, said):
    with pytest.raises(UsageError, match=said):
        load("superb", [change])


# --lr


def test_learning_rates():
    def rates(*words):
        return load("superb", lr=words).task("er").rates

    assert rates("grid") == GRID
    assert rates("default") == (1e-4,)
    assert rates("0.003") == (0.003,)
    assert rates("1e-2", "5e-3", "0.01") == (0.01, 0.005)  # none twice, in the order given
    assert rates("0.5", "grid") == (0.5, *GRID)
    assert load("superb", ["er.lr=0.02"], ["default"]).task("er").rates == (0.02,)


@pytest.mark.parametrize("word", ["0", "-1e-3", "nan", "inf", "gird", ""])
def test_a_wrong_learning_rate_is_told(word):
    with pytest.raises(UsageError, match=r"--lr .*: expected learning rates above 0, or 'grid'"):
        load("superb", lr=[word])


# Files of one's own


def test_a_file_on_top_of_another_protocol(own):
    path = own("base: superb\ngrid: [0.5, 1e-3]\ntasks:\n  ks: {steps: 50, eval_every: 10}\n  er:\n")
    protocol = load(path)
    assert protocol.name == "mine"
    assert protocol.grid == (0.5, 0.001)
    published = load("superb")
    expected = dataclasses.replace(published.task("ks"), steps=50, eval_every=10, rates=(0.5, 0.001))
    assert protocol.task("ks") == expected
    assert protocol.task("er") == dataclasses.replace(published.task("er"), rates=(0.5, 0.001))
    assert list(protocol.tasks) == list(SUPERB)


def test_a_file_of_its_own_with_a_name(own):
    numbers = "eval_every: 5, batch: 4, accumulate: 1, lr: 0.1, clip: 1, projector: 8, gain_db: 0, crop_seconds: null"
    numbers += ", balanced: false, drop_last: false"
    path = own(
        f"name: tiny\ngrid: [1]\ndefaults: {{{numbers}}}\ntasks:\n  ic: {{steps: 9}}\n",
        "own.yml",
    )
    protocol = load(path, ["batch=3"])
    assert (protocol.name, protocol.grid, list(protocol.tasks)) == ("tiny", (1.0,), ["ic"])
    assert (protocol.task("ic").steps, protocol.task("ic").batch, protocol.task("ic").projector) == (9, 3, 8)
    with pytest.raises(UsageError, match=r"protocol 'tiny' has no task 'ks'\. It has: ic"):
        protocol.task("ks")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks: [", "is not valid YAML"),
        ("just words", "is not a protocol: expected the keys name, base, grid, defaults, tasks"),
        ("base: superb\n", "is not a protocol"),
        ("base: superb\ntasks: {}\ncolour: blue\n", "unknown key in .*mine.yaml 'colour'. Known: base, defaults, grid"),
        ("base: supper\ntasks: {}\n", "unknown protocol 'supper'. Did you mean: superb"),
        ("base: superb\ntasks: {ks: {stepz: 4}}\n", r"unknown key in .*mine.yaml: ks 'stepz'. Did you mean: steps"),
        ("base: superb\ntasks: {ks: {steps: soon}}\n", r"mine.yaml: ks.steps is 'soon'; expected a whole number"),
        ("base: superb\ngrid: [fast]\ntasks: {}\n", "mine.yaml: grid is 'fast'; expected a number"),
        ("base: superb\ngrid: []\ntasks: {}\n", r"grid is \[\]; expected a list of learning rates"),
        ("tasks: {}\n", r"grid is \[\]; expected a list of learning rates, here or in its base"),
        ("base: superb\ndefaults:\ntasks: {ks: {steps: 5}}\n", "defaults is None; expected keys with values"),
        ("base: superb\ntasks: {ks: 5}\n", "ks is 5; expected keys with values"),
        ("base: superb\ntasks: {ks: {1: 5}}\n", "unknown key in .*mine.yaml: ks '1'"),
        ("base: superb\ntasks: {ks: {rates: [5]}}\n", "unknown key in .*mine.yaml: ks 'rates'"),
        ("base: superb\ngrid: 0.1\ntasks: {}\n", "grid is 0.1; expected a list"),
        ("base: superb\ngrid:\ntasks: {}\n", "grid is None; expected a list"),
        ("base: superb\ngrid: [-1, 0]\ntasks: {}\n", "grid is -1.0; expected a number above 0"),
        ("base: superb\ngrid: '123'\ntasks: {}\n", "grid is '123'; expected a list"),
        ("base: [superb]\ntasks: {}\n", "base is .*; expected the name or the path of one protocol"),
        ("base:\ntasks: {}\n", "base is None; expected the name or the path of one protocol"),
        ("name: superb\nbase: superb\ntasks: {}\n", "the name 'superb' belongs to a built-in protocol"),
        ("grid: [1]\ntasks: {ks: {steps: 3}}\n", "ks: eval_every, batch, .* not given"),
    ],
)
def test_a_wrong_file_is_told(own, text, said):
    with pytest.raises(UsageError, match=said):
        load(own(text))


def test_a_protocol_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"unknown protocol 'suberb'. Did you mean: superb\? A protocol of your own"):
        load("suberb")
    with pytest.raises(MissingError, match=r"protocol file not found: .*none.yaml"):
        load(str(tmp_path / "none.yaml"))


def test_a_file_that_is_its_own_base(own, tmp_path):
    with pytest.raises(UsageError, match="is its own base"):
        load(own(f"base: {tmp_path / 'mine.yaml'}\ntasks: {{}}\n"))


def test_a_file_called_like_a_built_in_protocol_needs_a_name(own):
    text = "base: superb\ntasks: {ks: {steps: 5}}\n"
    with pytest.raises(UsageError, match=r"the name 'superb' belongs to a built-in protocol\. Give it a `name:`"):
        load(own(text, "superb.yaml"))
    assert load(own("name: shorter\n" + text, "superb.yaml")).name == "shorter"


def test_what_was_changed_is_told_task_by_task():
    protocol = load("superb", ["ks.steps=5", "batch=4"], ["1e-3"])
    assert protocol.changes_of("ks") == ("steps=5", "batch=4", "lr=0.001")
    assert protocol.changes_of("er") == ("batch=4", "lr=0.001")
    assert load("superb").changes_of("ks") == ()
