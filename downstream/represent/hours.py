"""A progress bar that counts audio: hours done, hours an hour, and the time that is left."""

from tqdm import tqdm

_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {done} of {all} h of audio, {speed} h/h, {elapsed}<{remaining}"


class AudioBar(tqdm):
    """Counts seconds of audio, and shows hours."""

    def __init__(self, title: str, seconds: float, done: float, shown: bool) -> None:
        total = seconds * (1 + 1e-9)  # what is added up piece by piece may be rounded up
        super().__init__(desc=title, total=total, initial=done, disable=not shown, leave=False, bar_format=_FORMAT)

    @property
    def format_dict(self) -> dict:
        known = super().format_dict
        rate = known["rate"] or (known["n"] - known["initial"]) / max(known["elapsed"], 1e-3)
        return known | {
            "done": f"{known['n'] / 3600:.2f}",
            "all": f"{known['total'] / 3600:.2f}",
            "speed": f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}",
        }
