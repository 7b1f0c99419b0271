"""A user's own file as an upstream: what works, and how every broken one is told what is wrong with it."""

import textwrap
from functools import partial

import pytest
import torch
from user_files import GOOD, load, variant, wavs, write_file

from upstream.errors import ContractError, MissingError, UsageError


@pytest.fixture
def write(tmp_path):
    return partial(write_file, tmp_path)


def test_good_class(write):
    model = load(write(GOOD))
    assert (model.name, model.hop, model.num_layers, model.dim, model.max_batch) == ("mine", 320, 3, 4, None)
    assert len(bytes.fromhex(model.fingerprint)) == 16
    states = model(wavs(16000, 7000))
    assert states.hop == 320
    assert states.lengths.tolist() == [50, 21]
    assert [tuple(layer.shape) for layer in states.layers] == [(2, 50, 4)] * 3


def test_good_function(write):
    text = """
        import torch
        from pathlib import Path            # an imported class is no candidate

        class _Helper: ...

        def extract(wavs):
            frames = [wav.unfold(0, 400, 160)[:, :5] for wav in wavs]
            padded = torch.nn.utils.rnn.pad_sequence(frames, batch_first=True)
            return (padded,), torch.tensor([len(f) for f in frames])
    """
    model = load(write(text))
    assert (model.hop, model.num_layers, model.dim) == (160, 1, 5)
    assert model(wavs(401)).lengths.tolist() == [1]


def test_good_module_is_put_in_eval_mode_and_keeps_gradients_off(write):
    text = """
        import torch

        class Net(torch.nn.Module):
            hop = 320
            def __init__(self):
                super().__init__()
                torch.manual_seed(0)
                self.conv = torch.nn.Conv1d(1, 6, 400, 320)
                self.drop = torch.nn.Dropout(0.5)
            def forward(self, wavs):
                feats = [self.drop(self.conv(wav[None, None]))[0].T for wav in wavs]
                lengths = [len(feat) for feat in feats]
                return [torch.nn.utils.rnn.pad_sequence(feats, batch_first=True)], lengths
    """
    states = load(write(text))(wavs(16000, 400))
    assert states.lengths.tolist() == [49, 1]
    assert not states.layers[0].requires_grad
    assert not states.layers[0].is_inference()  # heads are trained on it


def test_objects_with_layers_and_lengths(write):
    simple = ("import types", "_object = lambda *pair: types.SimpleNamespace(layers=pair[0], lengths=pair[1])")
    assert load(write(variant("return _object(layers, lengths)", *simple))).num_layers == 3
    states = "from upstream.types import HiddenStates"
    assert load(write(variant("return HiddenStates(layers, lengths, 320)", states))).num_layers == 3
    with pytest.raises(ContractError, match="`hop` is declared as 160"):
        load(write(variant("return HiddenStates(layers, lengths, 160)", states)))


@pytest.mark.parametrize(("window", "hop"), [(25, 10), (400, 160), (400, 320), (1280, 1280), (512, 256), (800, 640)])
def test_hop_is_inferred(write, window, hop):
    text = f"""
        import torch
        def upstream(wavs):
            feats = [wav.unfold(0, {window}, {hop})[:, :2] for wav in wavs]
            return [torch.nn.utils.rnn.pad_sequence(feats, batch_first=True)], [len(f) for f in feats]
    """
    assert load(write(text)).hop == hop


@pytest.mark.parametrize(
    ("name", "value"), [("hop", "'320'"), ("max_batch", "0"), ("hop", "20.0"), ("fingerprint", "7")]
)
def test_declared_values_of_the_wrong_kind(write, name, value):
    with pytest.raises(UsageError, match=f"`{name}` is {value}"):
        load(write(variant("", f"Upstream.{name} = {value}")))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "class A: ...\nclass B: ...",
            UsageError,
            "2 candidates for the upstream: A, B. Name the one",
        ),
        ("def f(w): ...\ndef g(w): ...", UsageError, "2 candidates for the upstream: f, g"),
        ("from pathlib import Path\nx = 1", UsageError, "no class and no function"),
        ("class A:\n    def f(self)\n        pass", UsageError, r"mine\.py, line 2: .*def f\(self\)"),
        (
            "x = 1\nimport no_such_thing_here",
            UsageError,
            r"ModuleNotFoundError.*line 2: import no_such",
        ),
        ("import sys\nsys.exit(3)", UsageError, "SystemExit: 3"),
        ("class A:\n    def __init__(self, size): ...", ContractError, "class A could not be made: TypeError.*'size'"),
        ("class A:\n    def __init__(self, weights): ...", ContractError, "give them with --weights"),
        ("class A: ...", ContractError, "class A cannot be called"),
    ],
)
def test_files_that_hold_no_upstream(write, text, error, message):
    with pytest.raises(error, match=message) as caught:
        load(write(text))
    assert caught.value.exit_code == error.exit_code


def test_missing_file(tmp_path):
    with pytest.raises(MissingError, match=r"nothing\.py") as caught:
        load(tmp_path / "nothing.py")
    assert caught.value.exit_code == 3


def test_preferred_name_settles_it(write):
    assert load(write(textwrap.dedent(GOOD) + "class Other: ...\ndef helper(): ...\n")).num_layers == 3


def test_names_become_folders_and_belong_to_one(write):
    assert load(write(variant("", "Upstream.name = 'my-model.v2'"))).name == "my-model.v2"
    with pytest.raises(UsageError, match=r"'\.\./up'\. Set `name` in the class: letters"):
        load(write(variant("", "Upstream.name = '../up'")))
    with pytest.raises(UsageError, match=r"'fbank'\. Set `name`.*belongs to a built-in"):
        load(write(GOOD, "fbank.py"))


def test_weights_reach_the_class_and_the_fingerprint(write, tmp_path):
    takes = variant("", "def _init(self, weights=None): self.layers = int(open(weights).read()) if weights else 3")
    path = write(takes + "Upstream.__init__ = _init\n")
    weights = tmp_path / "layers.txt"
    weights.write_text("5")
    with_five = load(path, weights=weights)
    assert with_five.num_layers == 5
    weights.write_text("05")
    assert len({with_five.fingerprint, load(path, weights=weights).fingerprint, load(path).fingerprint}) == 3
    with pytest.raises(UsageError, match="class Upstream does not take weights"):
        load(write(GOOD), weights=weights)
    with pytest.raises(UsageError, match="takes no weights"):
        load(write("def f(w): ..."), weights=weights)


def test_fingerprint_follows_whatever_changes_the_features(write):
    base = load(write(GOOD)).fingerprint
    assert load(write(GOOD)).fingerprint == base
    seen = {base}
    for extra in (
        "# a comment",
        "Upstream.fingerprint = 'a'",
        "Upstream.fingerprint = 'b'",
        "Upstream.name = 'another'",
        "import numpy; held = [numpy.zeros(3)]",
    ):
        seen.add(load(write(variant("", extra))).fingerprint)
    assert len(seen) == 6


def test_fingerprint_follows_tensors_read_from_elsewhere(write, tmp_path):
    stored = tmp_path / "scale.pt"
    init = f"def _init(self): self.inner = {{'scale': torch.load({str(stored)!r})}}"
    path = write(variant("layers = [x * self.inner['scale'] for x in layers]", init, "Upstream.__init__ = _init"))
    marks = []
    for value in (1.0, 1.0, 2.0):
        torch.save(torch.tensor(value), stored)
        marks.append(load(path).fingerprint)
    assert marks[0] == marks[1] != marks[2]


def test_neighbours_are_imported_hashed_and_not_mixed_up(write, tmp_path):
    (tmp_path / "other").mkdir()
    text = variant("layers = [x * net_scale() for x in layers]", "from net import net_scale")
    marks, values = [], []
    for folder, scale in (("", "1.0"), ("other/", "20.0"), ("", "1.0"), ("", "300.0")):
        write(f"def net_scale(): return {scale}", f"{folder}net.py")
        model = load(write(text, f"{folder}mine.py"))
        marks.append(model.fingerprint)
        values.append(float(model([torch.ones(16000)]).layers[0][0, 0, 0]))
    assert values == [1.0, 20.0, 1.0, 300.0]
    assert marks[0] == marks[2]
    assert len(set(marks)) == 3


def test_audio_of_the_caller_is_left_alone(write):
    model = load(write(variant("for wav in wavs: wav.zero_()")))
    wav = torch.ones(16000)
    model([wav])
    assert wav.all()


def test_lengths_short_by_a_factor_do_not_pass_for_a_larger_hop(write):
    halved = "return layers, [length // 2 for length in lengths]"
    with pytest.raises(ContractError, match=r"clause 'lengths': 9600 samples alone gave 30 frames, of which only 15"):
        load(write(variant(halved)))


def test_frames_past_the_lengths_are_padding_where_the_hop_is_declared(write):
    padded = "return [torch.nn.functional.pad(layer, (0, 0, 0, 40)) for layer in layers], lengths"
    with pytest.raises(ContractError, match=r"if the rest is padding, set `hop` in the class"):
        load(write(variant(padded)))
    assert load(write(variant(padded, "Upstream.hop = 320"))).hop == 320
