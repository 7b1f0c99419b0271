"""The corpora that tasks are made of: what each is called, where it is looked for, and how it is read."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from downstream.types import Manifest
from upstream.errors import MissingError, unknown


@dataclass(frozen=True)
class CorpusInfo:
    """What can be said of a corpus without reading it.

    `homes` are the places under a data folder where it may lie, the first that is there is taken. A place is the
    folders that make up the corpus; `marks` are paths of which at least one lies in such a folder, so that it is
    recognised under another name too. `reader` is the module that reads it, where that is not called like the corpus,
    and `variant` what it is told beside the folder. `mini` is the small corpus that holds it, where that is called
    otherwise.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    homes: tuple[tuple[str, ...], ...]
    marks: tuple[str, ...]
    source: str
    licence: str
    reader: str = ""
    variant: str = ""
    mini: str = ""

    @property
    def mini_name(self) -> str:
        return self.mini or self.name

    @property
    def folders(self) -> tuple[str, ...]:
        """Every folder name that is looked for under a data folder."""
        return tuple(folder for home in self.homes for folder in home)


def _libri2mix(part: str, task: str, what: str, marks: tuple[str, ...]) -> CorpusInfo:
    return CorpusInfo(
        name=f"libri2mix_{part}",
        title=f"Libri2Mix, {what}",
        tasks=(task,),
        homes=(("Libri2Mix",),),
        marks=marks,
        source="made of LibriSpeech (and WHAM noise) by `python -m benchmark data librimix --help`",
        licence="CC BY 4.0 for LibriSpeech, CC BY-NC 4.0 for WHAM",
        mini="libri2mix",
    )


def _common_voice(variant: str, task: str, language: str) -> CorpusInfo:
    return CorpusInfo(
        name=f"common_voice_{variant[:2]}",
        title=f"Common Voice 7.0, {language}",
        tasks=(task,),
        homes=((f"cv-corpus-7.0-2021-07-21/{variant}",), (variant,)),
        marks=(),
        source="https://commonvoice.mozilla.org/datasets (Common Voice Corpus 7.0)",
        licence="CC0",
        reader="common_voice",
        variant=variant,
    )


CORPORA: dict[str, CorpusInfo] = {
    info.name: info
    for info in (
        CorpusInfo(
            name="speech_commands",
            title="Speech Commands v0.01 with its test set",
            tasks=("ks",),
            homes=(("speech_commands_v0.01", "speech_commands_test_set_v0.01"),),
            marks=("_background_noise_", "_silence_"),
            source="http://download.tensorflow.org/data/speech_commands_v0.01.tar.gz and "
            "http://download.tensorflow.org/data/speech_commands_test_set_v0.01.tar.gz",
            licence="CC BY 4.0",
        ),
        CorpusInfo(
            name="fluent_speech_commands",
            title="Fluent Speech Commands",
            tasks=("ic",),
            homes=(("fluent_speech_commands_dataset",),),
            marks=("data/train_data.csv", "data/valid_data.csv", "data/test_data.csv"),
            source="https://fluent.ai/fluent-speech-commands-a-dataset-for-spoken-language-understanding-research/",
            licence="its own licence, for academic research; it comes with the corpus",
        ),
        CorpusInfo(
            name="voxceleb1",
            title="VoxCeleb1",
            tasks=("sid",),
            homes=(("VoxCeleb1",),),
            marks=("dev/wav", "test/wav"),
            source="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html",
            licence="CC BY 4.0 for the lists; the recordings belong to their owners",
        ),
        CorpusInfo(
            name="voxceleb1_verification",
            title="VoxCeleb1 with its verification trials",
            tasks=("asv",),
            homes=(("VoxCeleb1",),),
            marks=("dev/wav", "test/wav"),
            source="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html and "
            "https://www.openslr.org/resources/49/voxceleb1_test_v2.txt",
            licence="CC BY 4.0 for the lists; the recordings belong to their owners",
            mini="voxceleb1",
        ),
        CorpusInfo(
            name="iemocap",
            title="IEMOCAP",
            tasks=("er",),
            homes=(("IEMOCAP_full_release",), ("IEMOCAP",)),
            marks=tuple(f"Session{k}" for k in range(1, 6)),
            source="https://sail.usc.edu/iemocap/",
            licence="its own licence, for research, on request",
        ),
        CorpusInfo(
            name="librispeech",
            title="LibriSpeech, the clean 100 hours",
            tasks=("pr", "asr"),
            homes=(("LibriSpeech",),),
            marks=("train-clean-100", "dev-clean", "test-clean"),
            source="https://www.openslr.org/12 (train-clean-100, dev-clean, test-clean)",
            licence="CC BY 4.0",
        ),
        _common_voice("es", "ood-asr-es", "Spanish"),
        _common_voice("ar", "ood-asr-ar", "Arabic"),
        _common_voice("zh-CN", "ood-asr-zh", "Mandarin"),
        CorpusInfo(
            name="quesst14",
            title="QUESST 2014, English",
            tasks=("qbe",),
            homes=(("quesst14Database",),),
            marks=("scoring/language_key_utterances.lst",),
            source="https://speech.fit.vutbr.cz/software/"
            "quesst-2014-multilingual-database-query-by-example-keyword-spotting",
            licence="its own licence; see the page",
        ),
        CorpusInfo(
            name="audio_snips",
            title="Audio SNIPS",
            tasks=("sf",),
            homes=(("SNIPS",),),
            marks=("all.iob.snips.txt", "slots.txt"),
            source="https://github.com/s3prl/s3prl/tree/main/s3prl/downstream#sf-slot-filling",
            licence="Apache-2.0 for the sentences; the voices are Amazon Polly's",
        ),
        _libri2mix(
            "diarization", "sd", "two speakers in noise, who talks when", ("data/train", "data/dev", "data/test")
        ),
        _libri2mix("separation", "ss", "two speakers at once, without noise", ("wav16k/min",)),
        CorpusInfo(
            name="voicebank_demand",
            title="VoiceBank-DEMAND, 28 speakers",
            tasks=("se",),
            homes=(("VoiceBank-DEMAND",), ("VoiceBank",), ("voicebank",), ("noisy-vctk-16k",)),
            marks=("clean_testset_wav_16k", "clean_testset_wav"),
            source="https://datashare.ed.ac.uk/handle/10283/2791",
            licence="CC BY 4.0",
        ),
    )
}


def info(name: str) -> CorpusInfo:
    """The entry of a corpus, or an error that names the nearest ones."""
    if name not in CORPORA:
        raise unknown("corpus", name, CORPORA, "Type: python -m benchmark list corpora")
    return CORPORA[name]


def read(name: str, data: Path) -> Manifest:
    """Find a corpus under a data folder and read it."""
    root, corpus = find(name, data), info(name)
    reader = import_module(f"downstream.corpora.{corpus.reader or name}")
    return reader.read(root, corpus.variant) if corpus.variant else reader.read(root)


def find(name: str, data: Path) -> Path:
    """The root of a corpus, to which the audio paths of its manifest are relative.

    `data` holds the corpus folder under its usual name, or is that folder. A corpus of two folders has their common
    parent as its root.
    """
    corpus = info(name)
    data = data.absolute()
    root = _located(corpus, data)
    if root is None:
        raise MissingError(_not_found(corpus, data))
    return root


def _located(corpus: CorpusInfo, data: Path) -> Path | None:
    for home in corpus.homes:
        if all((data / folder).is_dir() for folder in home):
            return data if len(home) > 1 else data / home[0]
        if len(home) > 1 and data.name in home and all((data.parent / folder).is_dir() for folder in home):
            return data.parent
        if len(home) == 1 and data.name == Path(home[0]).name and data.is_dir():
            return data
    if all(len(home) == 1 for home in corpus.homes) and _marked(corpus, data):
        return data
    return None


def _marked(corpus: CorpusInfo, folder: Path) -> bool:
    return any((folder / mark).exists() for mark in corpus.marks)


def _not_found(corpus: CorpusInfo, data: Path) -> str:
    lines = [f"{corpus.name} ({corpus.title}) is not there: {_state(corpus, data)}", "Looked for:"]
    lines += [f"  {path}{'' if path.is_dir() else '  (missing)'}" for path in _looked_for(corpus, data)]
    lines += [
        f"Where it comes from: {corpus.source}",
        "Next: give the folder that holds it with --data DIR; or make a small one with "
        "`python -m benchmark data mini --out DIR`; or add --mini to this command.",
    ]
    return "\n".join(lines)


def _looked_for(corpus: CorpusInfo, data: Path) -> list[Path]:
    part_of_pair = any(len(home) > 1 and data.name in home for home in corpus.homes)
    return [(data.parent if part_of_pair else data) / folder for folder in corpus.folders]


def _state(corpus: CorpusInfo, data: Path) -> str:
    if not data.exists():
        return f"{data} does not exist."
    if not data.is_dir():
        return f"{data} is a file, not a folder."
    if not any(data.iterdir()):
        return f"{data} is empty."
    if _marked(corpus, data) or any((data / folder).is_dir() for folder in corpus.folders):
        return f"{data} has a part of it only, or under another name."
    others = [other.name for other in CORPORA.values() if other is not corpus and _located(other, data)]
    if others:
        return f"{data} holds {', '.join(others)}."
    return f"{data} holds no corpus that is known here."
