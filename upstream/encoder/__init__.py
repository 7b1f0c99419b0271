"""Our own encoder for the wav2vec 2.0 / HuBERT / WavLM family, whichever library its weights come from.

`shape` says what differs between the members, `model` is the architecture to read, `packed` the same arithmetic laid
out for the CPU. `configs`, `keymap`, `weight_files` and `checkpoints` read other people's files; `untrained` draws
random weights; `provider` puts it all together.
"""
