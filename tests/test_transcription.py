"""What PR, ASR and OOD-ASR teach and how they score it, against s3prl's own reading of the same outputs."""

from dataclasses import replace
from itertools import groupby
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from oracles import import_s3prl

from downstream import protocols, tasks
from downstream.corpora import lexicon
from downstream.corpora.mini.ngram import arpa_text
from downstream.decoding import workers
from downstream.decoding.language_model import LEXICON
from downstream.decoding.workers import DecodingFacts
from downstream.objectives import Answers
from downstream.represent.frame_features import FrameBatch
from downstream.types import Example, Manifest
from upstream.errors import DataError, MissingError, UsageError

WORDS = {"THE": "DH AH0", "HERON": "HH EH1 R AH0 N", "WAITED": "W EY1 T AH0 D", "IT'S": "IH1 T S", "GO": "G OW1"}
SAID = {"train": ("THE HERON WAITED", "IT'S THE HERON"), "dev": ("GO",), "test": ("THE HERON", "GO GO")}
LETTERS = "ETAONIHSRDLUMCWFGYPBVK'XJQZ"
SUPERB = protocols.load("superb")


@pytest.fixture
def root(tmp_path):
    """A folder with pronunciations and without a language model."""
    folder = tmp_path / "LibriSpeech"
    folder.mkdir()
    lines = [f"{word}\t{phones}\n" for word, phones in WORDS.items()]
    for name, own in zip(lexicon.FILES, (lines[:3], lines[3:]), strict=True):
        (folder / name).write_text("".join(own))
    return folder


def manifest(root, said=None, corpus="librispeech"):
    splits = {
        split: [Example(f"{split}-{i}", f"{split}/{split}-{i}.flac", (text,), split) for i, text in enumerate(texts)]
        for split, texts in (said or SAID).items()
    }
    return Manifest(corpus, root, splits, {split: len(examples) for split, examples in splits.items()})


def objective(task, of, **changes):
    return tasks.get(task).objective(of, replace(SUPERB.task(task), **changes))


def put_language_model(root, said=SAID["train"], extra=()):
    (root / "4-gram.arpa").write_text(arpa_text([text.split() for text in said], 3))
    (root / LEXICON).write_text("".join(f"{word}\t{' '.join(word)} |\n" for word in (*WORDS, *extra)))


class Heads:
    """Stands for trained heads: says these outputs, frame by frame."""

    def __init__(self, paths, hop=320):
        self.paths, self.hop = paths, hop

    def greedy(self, batch, best):
        return [[[key for key, _ in groupby(path) if key != 0] for path in self.paths]]


def predicted(objective, paths):
    [found] = objective.predict(Heads(paths), None, None, best=True)
    return found


def random_paths(outputs, references, seed=0):
    """Outputs of frames: those of the references with repetitions, blanks and mistakes among them; and an empty one."""
    random = np.random.default_rng(seed)
    paths = []
    for reference in references:
        path = []
        for number in reference:
            path += [int(number) if random.random() < 0.8 else int(random.integers(outputs))] * random.integers(1, 3)
            path += [0] * random.integers(0, 2)
        paths.append(path)
    return [*paths[:-1], [0, 0, 0]]


# ---- Targets


def test_targets_are_those_of_the_protocol_and_end_with_the_end(root):
    of = manifest(root)
    pr, asr = objective("pr", of), objective("asr", of)
    assert " ".join(pr.targets["train-1"]) == "IH1 T S DH AH0 HH EH1 R AH0 N <eos>"
    assert "".join(asr.targets["train-1"][:-1]) == "IT'S|THE|HERON|"
    for one in (pr, asr):
        assert set(one.targets) == {example.id for example in of.examples()}
        assert all(target[-1] == one.end and one.end not in target[:-1] for target in one.targets.values())
    assert (len(pr.tokens), pr.tokens[:5]) == (74, ("<pad>", "<eos>", "<unk>", "SIL", "SPN"))
    assert (len(asr.tokens), asr.tokens[:5]) == (32, ("<s>", "<pad>", "</s>", "<unk>", "|"))
    assert "".join(asr.tokens[5:]) == LETTERS


def test_encoded_targets_are_s3prls(root):
    of = manifest(root)
    examples = of.splits["train"]
    pr = objective("pr", of)
    words = lexicon.read(lexicon.find(root))
    phones = import_s3prl("s3prl.downstream.ctc.text").WordTextEncoder(list(lexicon.PHONES))
    for example, mine in zip(examples, pr.encode(examples, "train"), strict=True):
        assert mine.tolist() == phones.encode(lexicon.pronounce(example.target[0], words, example.id))
    asr = objective("asr", of)
    for example, mine in zip(examples, asr.encode(examples, "train"), strict=True):
        line = " ".join(example.target[0].replace(" ", "|")) + " |"
        theirs = their_letters().encode_line(line, line_tokenizer=str.split, add_if_not_exist=False)
        assert mine.tolist() == theirs.tolist()


def test_encoded_targets_can_be_picked_by_an_array_of_places(root):
    of = manifest(root, {"train": ("GO", "GO", "THE"), "dev": ("GO",), "test": ("GO",)})
    encoded = objective("asr", of).encode(of.splits["train"], "train")
    assert encoded.shape == (3,)
    picked = encoded[np.array([2, 0])]
    assert [len(one) for one in picked] == [5, 4]
    assert all(isinstance(one, torch.Tensor) and one.dtype == torch.int64 for one in picked)


def test_what_has_no_output_is_named_with_its_utterance(root):
    strange = manifest(root, {"train": ("THE HERON", "CAFÉ"), "dev": ("GO",), "test": ("GO",)})
    with pytest.raises(DataError, match=r"train-1\.flac.*'CAFÉ'.*'É'.*32 outputs"):
        objective("asr", strange)
    with pytest.raises(DataError, match=r"train-1\.flac.*'CAFÉ'"):
        objective("pr", strange)
    with pytest.raises(MissingError, match="pronunciations"):
        objective("pr", manifest(root.parent / "elsewhere"))


@pytest.mark.parametrize("task", ["pr", "asr", "ood-asr-es"])
def test_an_empty_transcript_is_refused(task, root):
    corpus = "librispeech" if task in ("pr", "asr") else "common_voice_es"
    with pytest.raises(DataError, match=r"dev-0\.flac.*empty"):
        objective(task, manifest(root, {"train": ("GO",), "dev": ("",), "test": ("GO",)}, corpus))


def test_characters_out_of_the_vocabulary_are_unknown_and_counted(root):
    said = {"train": ("LA GARZA", "日本 SÍ"), "dev": ("YA",), "test": ("NO 5",)}
    of = manifest(root, said, "common_voice_es")
    one = objective("ood-asr-es", of)
    assert len(one.tokens) == 58
    assert one.tokens[:5] == ("<pad>", "<eos>", "<unk>", " ", "'")
    assert one.targets["train-1"] == ("<unk>", "<unk>", " ", "S", "Í", "<eos>")
    assert [note for note in of.notes if "<unk>" in note] == [
        "2 transcripts have characters outside of the vocabulary, scored as <unk>"
    ]
    theirs = import_s3prl("s3prl.downstream.ctc.text").CharacterTextEncoder(list(one.tokens[3:]))
    for split, examples in of.splits.items():
        for example, mine in zip(examples, one.encode(examples, split), strict=True):
            assert mine.tolist() == theirs.encode(example.target[0])


def test_all_characters_of_mandarin_and_arabic_are_outputs(root):
    said = {"train": ("今天很好", "明天"), "dev": ("好",), "test": ("新",)}
    one = objective("ood-asr-zh", manifest(root, said, "common_voice_zh"))
    assert one.tokens == ("<pad>", "<eos>", "<unk>", *sorted(set("今天很好明天好新")))


# ---- Which utterances cannot be learned


@pytest.mark.parametrize(("frame_samples", "hop"), [(None, 320), (None, 160), (320, 160), (320, 320)])
def test_too_short_is_what_torchs_loss_is_infinite_for(frame_samples, hop, root):
    of = manifest(root, {"train": ("GOOSE",), "dev": ("GO",), "test": ("GO",)}, "common_voice_es")
    one = replace(objective("ood-asr-es", of), frame_samples=frame_samples)
    every = 2 if frame_samples == 320 and hop == 160 else 1
    random = np.random.default_rng(0)
    lengths = random.integers(every, 14 * every, size=300).tolist()
    targets = np.empty(len(lengths), dtype=object)
    for number in range(len(lengths)):
        targets[number] = torch.from_numpy(random.integers(1, 4, size=random.integers(1, 9)))  # with repetitions
    batch = FrameBatch(
        [torch.zeros(1, length, 2) for length in lengths], torch.ones(len(lengths), 1), torch.zeros(len(lengths))
    )
    found = one.too_short(Heads([], hop), batch, targets)
    log_probs = torch.zeros(14, len(lengths), 4).log_softmax(-1)
    kept = torch.tensor(lengths) // every
    sizes = torch.tensor([len(target) for target in targets])
    losses = torch.nn.functional.ctc_loss(log_probs, torch.cat(list(targets)), kept, sizes, reduction="none")
    assert found == torch.nonzero(losses.isinf()).flatten().tolist()
    assert 30 < len(found) < 270


# ---- Figures


def their_letters():
    letters = import_s3prl("s3prl.downstream.asr.fairseq_dictionary").Dictionary()
    for symbol in f"|{LETTERS}":
        letters.add_symbol(symbol)
    return letters


def many(words, count=60, seed=1):
    """Sentences of some of the words, for each split."""
    random = np.random.default_rng(seed)
    said = [" ".join(random.choice(words, size=random.integers(1, 6))) for _ in range(count)]
    return {"train": said[:2], "dev": said[2:4], "test": said[4:]}


def test_asr_is_scored_as_s3prl_scores_it(root):
    of = manifest(root, many(list(WORDS)))
    asr, examples = objective("asr", of), of.splits["test"]
    references = [one.tolist() for one in asr.encode(examples, "test")]
    paths = random_paths(len(asr.tokens), references)
    expert = import_s3prl("s3prl.downstream.asr.expert")
    heard = SimpleNamespace(decoder=None, training=False, blank=0, dictionary=their_letters())
    log_probs = [torch.nn.functional.one_hot(torch.tensor(path), len(asr.tokens)).float() for path in paths]
    hyps = expert.DownstreamExpert._decode(heard, log_probs, [len(path) for path in paths])
    tokens = [heard.dictionary.string([n for n in reference if n != 2]) for reference in references]
    refs = tokens, [expert.token_to_word(text).split() for text in tokens]
    uer, wer = expert.DownstreamExpert._compute_metrics(None, *hyps, *refs)

    found = predicted(asr, paths)
    assert [" ".join(one) for one in found] == hyps[0]
    judgement = asr.judge([Answers("all", examples, found, None)], 0, pytest.fail)
    assert {score.metric: score.value for score in judgement.scores} == pytest.approx({"wer": wer, "uer": uer})
    assert asr.figure(found, examples, None, np.ones(len(examples))) == pytest.approx(wer)
    assert [line["predicted"].split() for line in judgement.lines] == hyps[1]
    assert [line["target"] for line in judgement.lines] == [example.target[0] for example in examples]
    assert 5 < wer != uer


@pytest.mark.parametrize("task", ["pr", "ood-asr-es", "ood-asr-zh"])
def test_the_others_are_scored_as_s3prls_ctc_stack_scores_them(task, root):
    said = many(list("今天很好明天也") if task == "ood-asr-zh" else list(WORDS))
    if task == "ood-asr-zh":
        said = {split: [text.replace(" ", "") for text in texts] for split, texts in said.items()}
    if task == "ood-asr-es":
        said["test"] = [*said["test"][:-1], "日 GO 本"]
    of = manifest(root, said, "librispeech" if task == "pr" else task.replace("ood-asr", "common_voice"))
    one, examples = objective(task, of), of.splits["test"]
    references = [target.tolist() for target in one.encode(examples, "test")]
    paths = random_paths(len(one.tokens), references)
    text = import_s3prl("s3prl.downstream.ctc.text")
    encoder = (text.WordTextEncoder if task == "pr" else text.CharacterTextEncoder)(list(one.tokens[3:]))
    collapsed = [torch.tensor(path).unique_consecutive().tolist() for path in paths]
    hyps = [encoder.decode([n for n in path if n not in (0, 1)]) for path in collapsed]
    metric = {"pr": "per", "ood-asr-es": "wer", "ood-asr-zh": "cer"}[task]
    refs = [encoder.decode(reference) for reference in references]
    expected = 100 * getattr(import_s3prl("s3prl.downstream.ctc.metric"), metric)(hyps, refs)

    found = predicted(one, paths)
    assert tasks.get(task).metric == metric
    assert one.figure(found, examples, None, np.ones(len(examples))) == pytest.approx(expected)
    judgement = one.judge([Answers("all", examples, found, None)], 0, pytest.fail)
    [score] = judgement.scores
    assert (score.metric, score.value, score.direction) == (metric, pytest.approx(expected), "lower")
    assert not one.higher
    assert [line["predicted"] for line in judgement.lines] == hyps
    assert [line["target"] for line in judgement.lines] == refs
    assert 5 < expected < 95


def test_an_example_counts_as_often_as_it_is_said_to(root):
    of = manifest(root)
    asr, examples = objective("asr", of), of.splits["test"]
    found = [list("THE|HERRON|"), list("GO|")]
    assert asr.figure(found, examples, None, np.array([1, 1])) == pytest.approx(100 * 2 / 4)
    assert asr.figure(found, examples, None, np.array([3, 0])) == pytest.approx(100 * 1 / 2)
    assert asr.figure(found, examples, None, np.array([1, 3])) == pytest.approx(100 * 4 / 8)


def test_the_lines_of_a_row_are_those_of_all_folds_in_order(root):
    of = manifest(root)
    asr = objective("asr", of)
    answers = [
        Answers("one", of.splits["test"], [list("THE|HERON|"), []], None),
        Answers("two", of.splits["dev"], [list("GOG|")], None),
    ]
    judgement = asr.judge(answers, 0, pytest.fail)
    said = [(line["id"], line["fold"], line["target"], line["predicted"], line["group"]) for line in judgement.lines]
    assert said == [
        ("test-0", "one", "THE HERON", "THE HERON", "test"),
        ("test-1", "one", "GO GO", "", "test"),
        ("dev-0", "two", "GO", "GOG", "dev"),
    ]
    wer = judgement.scores[0]
    assert (wer.metric, wer.n, wer.resampled) == ("wer", 3, "speakers")
    assert wer.value == pytest.approx(100 * 3 / 5)
    assert judgement.facts == {}


def test_the_end_is_neither_read_nor_scored_wherever_it_is_heard(root):
    asr = objective("asr", manifest(root))
    number = {token: n for n, token in enumerate(asr.tokens)}
    path = [number[token] for token in ("G", "</s>", "O", "O", "<s>", "O", "|", "</s>")]
    assert predicted(asr, [path]) == [["G", "O", "O", "|"]]


# ---- The digest


def test_the_digest_changes_with_all_that_is_learned_or_scored(root):
    def digests():
        of = manifest(root)
        return objective("pr", of).digest(), objective("asr", of).digest()

    pr, asr = digests()
    assert (pr, asr) == digests()
    first = root / lexicon.FILES[0]
    first.write_text(first.read_text().replace("DH AH0", "DH IY0"))
    assert digests()[0] != pr
    assert digests()[1] == asr
    first.write_text(first.read_text().replace("DH IY0", "DH AH0") + "UNUSED\tY UW1\n")
    assert digests() == (pr, asr)
    put_language_model(root)
    with_model = digests()
    assert with_model[0] == pr
    assert with_model[1] != asr
    put_language_model(root, extra=("HERO",))
    with_word = digests()[1]
    put_language_model(root, said=("THE HERON",))
    assert len({asr, with_model[1], with_word, digests()[1]}) == 4


def test_other_transcripts_give_another_digest(root):
    said = SAID | {"test": ("THE HERON", "GO THE")}
    for task in ("pr", "asr"):
        assert objective(task, manifest(root)).digest() != objective(task, manifest(root, said)).digest()


# ---- With a language model


def test_without_a_language_model_there_is_a_note_and_no_search(root):
    of = manifest(root)
    assert objective("asr", of).search is None
    assert ["no WER with a language model" in note for note in of.notes] == [True]
    put_language_model(root)
    of = manifest(root)
    search = objective("asr", of, beam=7, lm_weight=0.5).search
    assert of.notes == []
    assert (search.settings.beam, search.settings.threshold) == (7, 25.0)
    assert (search.settings.lm_weight, search.settings.word_score) == (0.5, -1.0)
    with pytest.raises(UsageError, match="beam_threshold"):
        objective("asr", of, beam_threshold=None)


def test_half_a_language_model_is_refused_before_anything_is_trained(root):
    put_language_model(root)
    (root / LEXICON).unlink()
    with pytest.raises(MissingError, match=LEXICON):
        objective("asr", manifest(root))
    put_language_model(root, extra=("CAFÉ",))
    with pytest.raises(DataError, match="CAFÉ"):
        objective("asr", manifest(root))


def test_where_the_search_finds_nothing_the_greedy_words_stay(root, monkeypatch):
    """Utterances come the longest first; the words go where they belong. To find no word is to find something."""
    put_language_model(root)
    of = manifest(root)
    asr = objective("asr", of)
    logits = {"one": [np.zeros((3, 32)), np.ones((5, 32))], "two": [np.full((2, 32), 2.0)]}
    for one in (*logits["one"], *logits["two"]):
        one[:, 0] *= 3
    seen = []

    def decode(given, count, tokens, blank, silence, language_model, settings):
        seen.extend(given)
        assert (count, tuple(tokens), blank, silence) == (3, asr.tokens, 0, "|")
        assert (language_model, settings) == (asr.search.language_model, asr.search.settings)
        return [["GO", "GO"], None, []], DecodingFacts(2.0, 10, 3, 1, 0.5)

    monkeypatch.setattr(workers, "decode_all", decode)
    answers = [
        Answers("one", of.splits["test"], [list("THE|HERRON"), list("GO")], lambda _: longest_first(logits["one"])),
        Answers("two", of.splits["dev"], [list("GO|")], lambda _: longest_first(logits["two"])),
    ]
    said = []
    judgement = asr.judge(answers, 0, said.append)
    assert [one[0, 0] - one[0, 1] for one in seen] == pytest.approx([2.0, 0.0, 4.0])
    assert all(np.exp(one).sum(1) == pytest.approx(1) for one in seen)  # the search wants log probabilities
    assert [line["predicted_lm"] for line in judgement.lines] == ["THE HERRON", "GO GO", ""]
    assert [line["predicted"] for line in judgement.lines] == ["THE HERRON", "GO", "GO"]
    figures = {score.metric: score.value for score in judgement.scores}
    assert list(figures) == ["wer", "uer", "wer_lm"]
    assert figures["wer"] == pytest.approx(100 * 2 / 5)
    assert figures["wer_lm"] == pytest.approx(100 * 2 / 5)
    assert judgement.facts["decoding"]["utterances_per_second"] == 1.5
    assert judgement.facts["decoding"]["language_model"] == "4-gram.arpa"
    assert len(said) == 1
    assert "3 utterances decoded" in said[0]


def longest_first(emissions):
    order = sorted(range(len(emissions)), key=lambda place: -len(emissions[place]))
    return ((place, torch.from_numpy(emissions[place]), None) for place in order)


def test_a_language_model_mends_what_was_misheard(root):
    """With the real search: an utterance that letters alone get wrong."""
    put_language_model(root)
    of = manifest(root)
    asr = objective("asr", of)
    heard = ["THE|HEROM|", "GO|GO|"]
    emissions = [spoken(asr.tokens, text) for text in heard]
    emissions[0][2 * heard[0].index("M"), asr.tokens.index("N")] = 7.5  # nearly as loud as the M
    emissions = [torch.from_numpy(one).log_softmax(-1).numpy() for one in emissions]
    found = predicted(asr, [one.argmax(1).tolist() for one in emissions])
    answers = [Answers("all", of.splits["test"], found, lambda _: longest_first(emissions))]
    judgement = asr.judge(answers, 0, lambda line: None)
    assert [line["predicted"] for line in judgement.lines] == ["THE HEROM", "GO GO"]
    assert [line["predicted_lm"] for line in judgement.lines] == ["THE HERON", "GO GO"]
    assert [score.value for score in judgement.scores if score.metric != "uer"] == [25.0, 0.0]
    assert judgement.facts["decoding"]["frames"] == sum(map(len, emissions))


def spoken(tokens, text):
    """Frames with a peak at each letter, and a blank after it."""
    path = [number for letter in text for number in (tokens.index(letter), 0)]
    return 8 * np.eye(len(tokens), dtype=np.float32)[path]
