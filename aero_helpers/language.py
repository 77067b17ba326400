"""The language of what the reader sees: figures and checkers. Errors stay in English, as Python's own."""

LANGUAGES = ("vi", "en", "both")


class Language:
    """A choice of "vi", "en" or "both"."""

    def __init__(self):
        self._chosen = "both"

    def choose(self, language: str) -> None:
        """Choose "vi", "en" or "both" for figures and checkers. Raises ValueError for another."""
        if language not in LANGUAGES:
            raise ValueError(f"language: expected one of {', '.join(LANGUAGES)}, got {language!r}")
        self._chosen = language

    def say(self, vi: str, en: str, between: str = " / ") -> str:
        """The Vietnamese text, the English one, or both, as was chosen."""
        return {"vi": vi, "en": en, "both": f"{vi}{between}{en}" if vi != en else en}[self._chosen]


_language = Language()
set_language, say = _language.choose, _language.say
