"""The language of what the reader sees: figures and checkers. Errors stay in English, as Python's own."""

LANGUAGES = ("vi", "en", "both")
_chosen = "both"


def set_language(language):
    """Choose "vi", "en" or "both" for figures and checkers. Raises ValueError for another."""
    global _chosen
    if language not in LANGUAGES:
        raise ValueError(f"language: expected one of {', '.join(LANGUAGES)}, got {language!r}")
    _chosen = language


def say(vi, en, between=" / "):
    """The Vietnamese text, the English one, or both, as `set_language` chose."""
    return {"vi": vi, "en": en, "both": f"{vi}{between}{en}" if vi != en else en}[_chosen]
