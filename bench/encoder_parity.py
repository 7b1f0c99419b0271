"""The six structures in their full size: our hidden states beside s3prl, transformers and torchaudio with their own
random weights, and what becomes of an utterance's features in a padded batch, in each library and here.

    python bench/encoder_parity.py [wavlm-base ...]
"""

import sys
import tempfile
from pathlib import Path

import torch
from common import report
from encoders import PEERS, VARIANTS, Peer, Variant, full_size, speechlike, structure_of, worst
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from upstream.encoder.checkpoints import read
from upstream.encoder.model import Encoder
from upstream.encoder.packed import PackedEncoder

SHORT, LONG = 64037, 128074  # samples: an odd number of frames, and twice as many


@torch.no_grad()
def main(names: list[str]) -> None:
    short, long = speechlike(SHORT, 1), speechlike(LONG, 2)
    for variant in map(full_size, VARIANTS):
        if str(variant) not in names:
            continue
        figures = {}
        for library, make in PEERS.items():
            peer = make(variant)
            with tempfile.TemporaryDirectory() as folder:
                path = peer.save(Path(folder))
                structure, tensors = read(path, structure_of(variant) if library == "torchaudio" else None)
                encoder = Encoder(structure)
                encoder.load_state_dict(tensors)
                encoder.eval()
            theirs = peer.hidden(short)
            for layout, run in (("plain", encoder), ("packed", PackedEncoder(encoder, torch.float32))):
                ours = [layer[0] for layer in run([short])[0]]
                figures[f"{library}, {layout}: worst of {len(ours)} layers"] = worst(ours, theirs)
            figures[f"{library}: alone against in a padded batch"] = _in_batch(library, variant, peer, short, long)
        for layout, run in (("plain", encoder), ("packed", PackedEncoder(encoder, torch.float32))):
            apart, together = run([short])[0], run([short, long])[0]
            frames = apart[0].shape[1]
            difference = worst([layer[0] for layer in apart], [layer[0, :frames] for layer in together])
            figures[f"ours, {layout}: alone against in a padded batch"] = difference
        report(str(variant), figures)


def _in_batch(library: str, variant: Variant, peer: Peer, short: Tensor, long: Tensor) -> float | str:
    """Each library told of the padding in its own way."""
    wavs = [torch.nn.functional.layer_norm(w, w.shape) if variant.large else w for w in (short, long)]
    padded = pad_sequence(wavs, batch_first=True)
    inside = torch.arange(padded.shape[1]) < torch.tensor([[len(wav)] for wav in wavs])
    apart = peer.hidden(short)
    try:
        if library == "transformers":
            output = peer.module(padded, attention_mask=inside.long(), output_hidden_states=True)
            together = [*output.hidden_states[:-1], output.last_hidden_state]
        elif library == "torchaudio":
            together = peer.module.extract_features(padded, inside.sum(dim=1))[0]
            apart = peer.module.extract_features(wavs[0][None])[0]
            apart = [state[0] for state in apart]
        else:
            together = _s3prl_batch(peer, variant, padded, ~inside)
    except AssertionError:
        return "fails: it takes no lengths"
    frames = min(len(apart[0]), together[0].shape[1])
    return worst([state[:frames] for state in apart], [state[0, :frames] for state in together])


def _s3prl_batch(peer: Peer, variant: Variant, padded: Tensor, padding: Tensor) -> list[Tensor]:
    states = []
    hooks = [
        layer.register_forward_hook(lambda _, given, __: states.append(given[0].transpose(0, 1)))
        for layer in peer.module.encoder.layers
    ]
    hooks.append(peer.module.encoder.register_forward_hook(lambda _, __, output: states.append(output[0])))
    if variant.family == "wav2vec2":
        peer.module.extract_features(padded, padding)
    else:
        peer.module.extract_features(padded, padding_mask=padding, mask=False)
    for hook in hooks:
        hook.remove()
    return states


if __name__ == "__main__":
    main(sys.argv[1:] or [str(variant) for variant in VARIANTS])
