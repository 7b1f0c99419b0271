"""The 31 intents (action, object, location) of Fluent Speech Commands, and ways to say each."""

_ROOMS = ("bedroom", "kitchen", "washroom")

_LANGUAGES = ("Speak {}", "Switch to {}", "{} please", "Let us talk in {}", "Use {} now")
_BRING = ("Bring me the {}", "Fetch my {}", "Get the {}", "Hand me the {}", "I need my {}")
_SWITCHES = {
    "activate": ("Turn on the {}", "Switch the {} on", "{} on", "Start the {}"),
    "deactivate": ("Turn off the {}", "Shut the {} off", "{} off", "Kill the {}"),
}
_HEAT = {
    "increase": ("Make it warmer", "Turn the heat up", "More heat", "Warm it up"),
    "decrease": ("Make it cooler", "Turn the heat down", "Less heat", "It is too hot"),
}
_VOLUME = {
    "increase": ("Turn the volume up", "Louder please", "I can barely hear it", "Raise the volume"),
    "decrease": ("Turn the volume down", "Quieter please", "This is far too loud", "Lower the volume"),
}
_ANY_LANGUAGE = ("Change the language", "Use another language", "Language settings", "This is not my language")


def _in_room(phrases: tuple[str, ...], room: str) -> tuple[str, ...]:
    return tuple(f"{phrase} in the {room}" for phrase in phrases)


def _intents() -> dict[tuple[str, str, str], tuple[str, ...]]:
    intents = {("change language", "none", "none"): _ANY_LANGUAGE}
    for language in ("Chinese", "English", "German", "Korean"):
        intents["change language", language, "none"] = tuple(phrase.format(language) for phrase in _LANGUAGES)
    for thing in ("juice", "newspaper", "shoes", "socks"):
        intents["bring", thing, "none"] = tuple(phrase.format(thing) for phrase in _BRING)
    for action, phrases in _SWITCHES.items():
        for thing in ("lamp", "lights", "music"):
            intents[action, thing, "none"] = tuple(phrase.format(thing).capitalize() for phrase in phrases)
        lights = intents[action, "lights", "none"]
        intents |= {(action, "lights", room): _in_room(lights, room) for room in _ROOMS}
    for action, phrases in _HEAT.items():
        intents[action, "heat", "none"] = phrases
        intents |= {(action, "heat", room): _in_room(phrases, room) for room in _ROOMS}
        intents[action, "volume", "none"] = _VOLUME[action]
    return intents


INTENTS = _intents()
