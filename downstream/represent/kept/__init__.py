"""Feature sets on disk as things that take space: which are in use, which may go, and how much room there is."""

from downstream.represent.kept.folders import bytes_of, contents, features_folder, partials, space
from downstream.represent.kept.room import Room
from downstream.represent.kept.using import InUse, alone, finish_removal, in_use, is_in_use, last_use, remove

__all__ = [
    "InUse",
    "Room",
    "alone",
    "bytes_of",
    "contents",
    "features_folder",
    "finish_removal",
    "in_use",
    "is_in_use",
    "last_use",
    "partials",
    "remove",
    "space",
]
