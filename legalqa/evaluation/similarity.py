"""How near answers are to their references in meaning: cosines of the vectors of the packaged embedding model."""

from collections.abc import Iterable, Sequence

from tqdm import tqdm

from legalqa.knowledge.embedding import Embedder, Matrix

BATCH = 16


class Similarity:
    """Vectors of texts, each computed once. E5 was trained to tell passages apart, so every text is taken for one."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._vectors: dict[str, Matrix] = {}

    def learn(self, texts: Iterable[str]) -> None:
        """Compute the vectors of all texts that are not known yet, like lengths together: that is fastest."""
        new = sorted({text for text in texts if text} - self._vectors.keys(), key=lambda text: (len(text), text))
        for start in tqdm(range(0, len(new), BATCH), "meaning", unit="batch", leave=False, disable=len(new) < 10 * BATCH):
            batch = new[start : start + BATCH]
            self._vectors.update(zip(batch, self._embedder.passages(batch), strict=True))

    def best(self, text: str, references: Sequence[str]) -> float:
        """Cosine with the nearest reference, at most 1; legal texts that have little in common are still near 0.9."""
        self.learn((text, *references))
        return max(float(self._vectors[text] @ self._vectors[reference]) for reference in references)
