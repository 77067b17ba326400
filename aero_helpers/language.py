"""The language of what the reader sees: figures and checkers. Errors stay in English, as Python's own."""

LANGUAGES = ("vi", "en", "both")


class Language:
    """A choice of "vi", "en" or "both"."""

    def __init__(self):
        self._chosen = "both"
        self.both_said: dict[str, dict[str, str]] = {}  # what was said in both, for who has to show it in one

    def choose(self, language: str) -> None:
        """Choose "vi", "en" or "both" for figures and checkers. Raises ValueError for another."""
        if language not in LANGUAGES:
            raise ValueError(f"language: expected one of {', '.join(LANGUAGES)}, got {language!r}")
        self._chosen = language

    def say(self, vi: str, en: str, between: str = " / ") -> str:
        """The Vietnamese text, the English one, or both, as was chosen."""
        both = f"{vi}{between}{en}" if vi != en else en
        if self._chosen == "both":
            self.both_said[both] = {"vi": vi, "en": en}
        return {"vi": vi, "en": en, "both": both}[self._chosen]


_language = Language()
set_language, say, both_said = _language.choose, _language.say, _language.both_said
