"""`check-upstream`: what it says of good models, of broken ones, and of what is no model at all."""

import json
import subprocess
import sys
from functools import partial

import pytest
import torch
from check_reports import CHECKS, check_upstream, table
from small_runs import ROOT
from user_files import GOOD, readme_example, variant, wavs, write_file

import upstream
from upstream.finding import FAIL, OK
from upstream.sweep import sweep_lengths

FIGURES = ["parameters", "arithmetic", "speed", "speed", "speed", "speed", "memory"]


@pytest.fixture
def write(tmp_path):
    return partial(write_file, tmp_path)


@pytest.fixture
def say(capsys):
    return partial(check_upstream, capsys)


# Good ones


def test_the_example_of_the_readme_passes(write, say):
    path = write(readme_example())
    code, out, err = say(path)
    assert (code, err) == (0, "")
    lines = table(out)
    assert [line[1] for line in lines] == CHECKS + FIGURES
    assert {line[0] for line in lines[: len(CHECKS)]} == {"ok"}
    said = {line[1]: line[2] for line in lines}
    assert said["lengths"].startswith("floor((samples - 240) / 160) frames at 27 lengths from 400 to 200,000 samples")
    assert said["short"] == "1, 100, 399 samples: refused"
    assert said["parameters"] == f"{64 * 400 + 64 + 64 * 64 * 3 + 64:,}"
    assert said["arithmetic"].startswith(f"{998 * 64 * (400 + 64 * 3) / 10e6:.1f} million")
    assert out.endswith(f"The contract holds. Next: python -m benchmark run --upstream {path} --task ks --mini\n")


def test_the_example_file_is_the_one_of_the_readme_and_passes(say):
    example = ROOT / "examples" / "my_upstream.py"
    shown = readme_example().replace("weights=None):", "weights: str | None = None) -> None:")
    types = "(self, wavs: list[torch.Tensor]) -> tuple[list[torch.Tensor], torch.Tensor]:"
    assert example.read_text().partition("\n\n")[2] == shown.replace("(self, wavs):", types)
    assert say(example)[0] == 0


def test_trained_weights_of_the_example_arrive(write, say, tmp_path):
    path = write(readme_example())
    model = upstream.load(str(path), device="cpu")
    convolution = torch.nn.Conv1d(1, 64, 400, stride=160)
    other = torch.nn.Conv1d(64, 64, 3, padding=1)
    names = ("weight", "bias")
    state = {f"convolutions.{i}.{name}": getattr(m, name) for i, m in enumerate((convolution, other)) for name in names}
    torch.save(state, tmp_path / "trained.pt")
    code, out, _ = say(path, "--weights", tmp_path / "trained.pt")
    assert code == 0
    assert f"--upstream {path} --weights {tmp_path / 'trained.pt'} --task ks" in out
    trained = upstream.load(str(path), tmp_path / "trained.pt", device="cpu")
    wav = wavs(16000)
    with torch.no_grad():
        expected = (convolution(wav[0][None, None]).abs() + 0.03).log()[0].T
    torch.testing.assert_close(trained(wav).layers[0][0], expected)
    assert not torch.equal(model(wav).layers[0][0], expected)


@pytest.mark.parametrize(
    ("name", "formula", "short"),
    [
        ("fbank", "floor((samples - 240) / 160)", "1, 100, 399 samples: refused"),
        ("mel_no_cmvn", "floor((samples + 160) / 160)", "1, 100 samples: refused; 399 samples: 3 frames"),
        ("stft_mag", "floor((samples + 320) / 320)", "1, 100 samples: refused; 399 samples: 2 frames"),
    ],
)
def test_spectral_features_pass(name, formula, short, say):
    code, out, _ = say(name)
    assert code == 0
    said = {line[1]: line[2] for line in table(out)}
    assert said["lengths"].startswith(formula)
    assert said["short"] == short
    assert "worst relative difference 0.0e+00" in said["batch"]


def test_one_at_a_time_passes_where_batches_would_not(write, say):
    normalised = "layers = [x - x.mean(dim=(1, 2), keepdim=True) for x in layers]"
    path = write(variant(normalised, "Upstream.max_batch = 1", base=readme_example()))
    code, out, _ = say(path)
    assert code == 0
    assert "sent one utterance at a time (max_batch = 1)" in out


def test_the_encoder_passes_in_both_precisions(tmp_path, say):
    config = {"model_type": "wavlm", "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes = {"intermediate_size": 96, "conv_dim": [32] * 7}
    (tmp_path / "config.json").write_text(json.dumps(config | sizes))
    for dtype in ("float32", "bfloat16"):
        code, out, _ = say(f"random:{tmp_path / 'config.json'}", "--dtype", dtype)
        assert code == 0, out
        said = {line[1]: line[2] for line in table(out)}
        assert said["loads"].startswith(f"3 x 48, a frame every 320 samples, {dtype} on cpu")
        assert said["lengths"].startswith("floor((samples - 80) / 320) frames at 27 lengths")
        assert said["short"] == "1, 100, 399 samples: refused"
    assert "bfloat16 against float32, relative: " in said["dtype"]


def test_json_has_the_figures(write, say):
    code, out, _ = say(write(readme_example()), "--json")
    report = json.loads(out)
    assert (code, report["holds"], report["broken"]) == (0, True, [])
    figures = {finding["check"]: finding["figures"] for finding in report["findings"]}
    assert figures["loads"].items() >= {"layers": 2, "dim": 64, "hop": 160}.items()
    assert figures["batch"]["worst"] < 1e-5
    assert {int(n): f for n, f in figures["lengths"]["frames"].items()} == {
        n: (n - 400) // 160 + 1 for n in sweep_lengths(160, None)
    }
    assert figures["parameters"]["parameters"] == 38_016
    speeds = [f["figures"] for f in report["findings"] if f["check"] == "speed" and f["figures"]]
    assert [speed["audio_seconds"] for speed in speeds] == [1, 10, 30]
    assert all(speed["per_second"] > 0 and speed["per_core_second"] > 0 for speed in speeds)


# Broken ones: what is changed in the example, the clause, the check that finds it, what it says


BROKEN = {
    "a length off by one": (
        "lengths = [n - (len(w) % 160 == 159) for n, w in zip(lengths.tolist(), wavs)]",
        "lengths",
        "lengths",
        "1,919 samples gave 9 frames and not 10, though floor((samples - 240) / 160) holds at 22 of 27 lengths",
    ),
    "lengths of another hop for long audio": (
        "if len(wavs[0]) > 100_000: lengths = lengths // 2",
        "hop",
        "lengths",
        "has 100001 samples and 311 frames",
    ),
    "features that depend on the batch": (
        "layers = [x - x.mean(dim=1, keepdim=True) for x in layers]",
        "batch",
        "loads",
        "differs from itself alone",
    ),
    "features that depend on loud neighbours": (
        "layers = [x / max(0.5, max(w.abs().max() for w in wavs)) for x in layers]",
        "batch",
        "batch",
        "between alone and in a batch",
    ),
    "dropout left on": (
        "layers = [torch.nn.functional.dropout(x, 0.1) for x in layers]",
        "deterministic",
        "loads",
        "the same waveform twice",
    ),
    "something of the last call left": (
        "self.seen = getattr(self, 'seen', 0) + (len(wavs[0]) == 32000)\nlayers = [x + self.seen for x in layers]",
        "deterministic",
        "deterministic",
        "before and after another",
    ),
    "NaN on silence": (
        "layers = [x * torch.stack([w.norm() / w.norm() for w in wavs])[:, None, None] for x in layers]",
        "finite",
        "finite",
        "on silence: ",
    ),
    "infinity on clipping": (
        "if wavs[0].abs().min() == 1: layers[0][0, 3] = float('inf')",
        "finite",
        "finite",
        "on clipped noise at full scale: ",
    ),
    "a layer less for long audio": (
        "if len(wavs[0]) > 100_000: layers = layers[:1]",
        "layers",
        "layers",
        "1 layers for [100001] samples, 2 before",
    ),
    "wider for short audio": (
        "if len(wavs[0]) < 1000: layers = [torch.cat([x, x], 2) for x in layers]",
        "shape",
        "layers",
        "128 values per frame",
    ),
    "a gradient": (
        "with torch.enable_grad(): layers[1] = layers[1] * torch.nn.Parameter(torch.ones(()))",
        "gradient",
        "gradient",
        "layer 1 carries a gradient",
    ),
    "double precision": (
        "layers = [x.double() for x in layers]",
        "dtype",
        "dtype",
        "layer 0 is float64, where float32 was asked for",
    ),
    "an error that explains nothing": (
        "if len(wavs[0]) == 12_345: raise IndexError('list index out of range')",
        "raises",
        "layers",
        "IndexError: list index out of range",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_model_fails_with_the_name_of_the_clause(kind, write, say):
    change, clause, check, text = BROKEN[kind]
    code, out, err = say(write(variant(change, base=readme_example())))
    assert (code, err) == (1, "")
    failing = [line for line in table(out) if line[0] == FAIL]
    assert [line[1] for line in failing] == [check]  # and nothing else is blamed
    assert f"clause '{clause}'" in failing[0][2]
    assert text in failing[0][2]
    assert f"The contract is broken: '{clause}'. Correct what the lines marked FAIL say" in out
    assert [line[1] for line in table(out)][:11] == (["loads"] if check == "loads" else CHECKS)  # the others are made


def test_several_broken_clauses_are_all_named(write, say):
    change = BROKEN["a gradient"][0] + "\n" + BROKEN["infinity on clipping"][0]
    code, out, _ = say(write(variant(change, base=readme_example())), "--json")
    assert code == 1
    assert json.loads(out)["broken"] == ["gradient", "finite"]


def test_too_short_audio_wants_words(write, say):
    code, out, _ = say(write(GOOD))  # its `unfold` fails
    assert code == 1
    (line,) = [line for line in table(out) if line[0] == FAIL]
    assert line[1] == "short"
    assert line[2].startswith("on 1 sample: ")
    assert "clause 'raises': its code raised RuntimeError" in line[2]


SHORT = {
    "frames of too short audio": ("lengths = [max(1, n) for n in lengths]", None, "ok"),
    "NaN": (
        "lengths = [max(1, n) for n in lengths]\nif not frames: layers = [x * torch.nan for x in layers]",
        "finite",
        "NaN",
    ),
    "no frames": ("", "lengths", "the lengths are [0]"),
    "refused alone only": (
        "if not lengths[0] and len(wavs) == 1: raise DataError('short')\nlengths = [max(1, n) for n in lengths]",
        "batch",
        "refused alone and taken beside a longer utterance",
    ),
}


@pytest.mark.parametrize("kind", SHORT)
def test_what_becomes_of_too_short_audio(kind, write, say):
    """Frames of 320 samples; a waveform that is shorter is padded to one."""
    change, clause, text = SHORT[kind]
    pads = [
        "from upstream.errors import DataError",
        "_one = Upstream.one",
        "Upstream.one = lambda self, wav: _one(self, torch.nn.functional.pad(wav, (0, max(0, 320 - len(wav)))))",
    ]
    before = "frames = len(wavs[0]) // 320\nlengths = [len(w) // 320 for w in wavs]\n"
    code, out, _ = say(write(variant(before + change, *pads)))
    (line,) = [line for line in table(out) if line[1] == "short"]
    if clause is None:
        assert (code, line[0], line[2]) == (0, OK, "1, 100, 399 samples: 1 frame")
    else:
        assert (code, line[0]) == (1, FAIL)
        assert f"clause '{clause}'" in line[2]
        assert text in line[2]


# What is no model


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["fbnak"], 2, "Did you mean: fbank"),
        (["none.py"], 3, "upstream file not found"),
        (["fbank", "--weights", "none.pt"], 3, "none.pt"),
        (["fbank", "--dtype", "float31"], 2, "unknown dtype 'float31'"),
        (["fbank", "--dtype", "bfloat16"], 2, "float32 only"),
    ],
)
def test_wrong_usage_and_missing_files_have_their_codes(words, code, text, say):
    found, out, err = say(*words)
    assert (found, out) == (code, "")
    assert text in err


def test_asking_for_help_loads_no_torch():
    code = (
        "import sys\nfrom benchmark.cli import main\ntry: main(['check-upstream', '--help'])\n"
        "except SystemExit: pass\nassert not {'torch', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--weights PATH" in done.stdout
