"""Hearing utterances, and keeping of their hidden states what heads need."""
