"""The brackets of Markdown that are open, and which of them may still be those of a link (CommonMark 0.31 §6.3)."""

from __future__ import annotations

from typing import NamedTuple


class Brackets(NamedTuple):
    """Links hold no links: once one has ended, no bracket around it begins another one. Images may hold links.

    Backticks may hide brackets. Whether they do, only text after them can tell, so after them none is closed, and any
    may be that of a link.
    """

    depth: int = 0
    around_links: int = 0
    """The number of the outermost brackets that have a link in them."""
    images: int = 0
    """As bits, which of them begin an image."""
    has_code: bool = False

    @property
    def may_end_link(self) -> bool:
        """Whether the next closing bracket may end the text of a link or an image."""
        return self.depth > (0 if self.has_code or self._is_last_of_image else self.around_links)

    @property
    def is_last_of_link(self) -> bool:
        return not self._is_last_of_image

    @property
    def _is_last_of_image(self) -> bool:
        return self.images > 0 and self.images >> (self.depth - 1) == 1

    def opened(self, *, is_image: bool) -> Brackets:
        images = self.images | 1 << self.depth if is_image else self.images
        return self._replace(depth=self.depth + 1, images=images)

    def closed(self) -> Brackets:
        if self.has_code:
            return self
        depth = self.depth - 1
        images = self.images & ~(1 << depth) if self.images else 0
        return Brackets(depth, min(self.around_links, depth), images)

    def around_link(self) -> Brackets:
        """After the end of a link within them."""
        return self if self.has_code else self._replace(around_links=self.depth)

    def beside_code(self) -> Brackets:
        return Brackets(self.depth, has_code=True) if self.depth else self


NO_BRACKETS = Brackets()
