"""Copies within a set of images: re-encoded, resized, cropped, brightened, mirrored or turned; confirmed or suspect."""

import os
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from chiron.data.copies.candidates import INVERSE, Candidate, find_candidates
from chiron.data.copies.pairs import CopyPair, ordered
from chiron.data.copies.registration import Plane, agreement, plane
from chiron.data.copies.thumbnail import VIEWS, turned
from chiron.preprocess.decode import CanonicalImage

METHOD = "planes-2"  # a search is repeated where it was made in another way
# Fitted on planted copies: docs/reference/near-duplicates.md
SURE_FROM, CONFIRMED_FROM, LEAST_MARGIN = 0.9, 0.8, 0.15
SUSPECT_FROM = 0.5
SUSPECTS_PER_IMAGE = 0.02  # as many as a person can look at
_KEPT_PLANES = 8192  # 36 kB each
_BATCH = 1024  # pairs


@dataclass(frozen=True)
class ScoredPair:
    """A candidate (row numbers) with its score."""

    candidate: Candidate
    score: float


def find_copies(
    sample_ids: Sequence[str], thumbnails: UInt8[np.ndarray, "n 16 16 3"], load: Callable[[int], CanonicalImage]
) -> list[CopyPair]:
    """Confirmed pairs, then suspects, each with the highest score first.

    The same whatever the order of the rows and the ids, which are other ones in each project that hides names.

    Confirmed: a score of at least 0.9, or 0.8 where nothing else comes near it. Suspect: a score from 0.5 on, at most
    20 pairs to 1,000 images. A picture that is there m times gives a chain of m - 1 pairs. Blank images give none.
    Images should have 64 px a side or more.

    Args:
        sample_ids: one id an image; all differ.
        thumbnails: of the same images.
        load: decodes image number i again; called from several threads, once an image for sets up to 8,192.
    """
    rows = sorted(range(len(sample_ids)), key=lambda row: (thumbnails[row].tobytes(), sample_ids[row]))
    ids = [sample_ids[row] for row in rows]
    scored = score_pairs(thumbnails[rows], lambda i: load(rows[i]))
    return grade(ids, scored)


def grade(sample_ids: Sequence[str], scored: Sequence[ScoredPair]) -> list[CopyPair]:
    """Confirmed pairs and the suspects that are worth a look, out of all scored ones.

    Where all pictures look alike, as radiographs do, a high score says little. So a pair below 0.9 must also score 0.15
    more than either of its images with any third one that is no sure copy.
    Source: Lowe 2004, "Distinctive image features from scale-invariant keypoints", where the second nearest decides.
    """
    rivals = _rivals(scored)
    confirmed: list[CopyPair] = []
    suspects: list[CopyPair] = []
    for pair in sorted(scored, key=lambda pair: (-pair.score, pair.candidate.first, pair.candidate.second)):
        first, second = pair.candidate.first, pair.candidate.second
        stands_out = all(pair.score - _best_rival(rivals[row], pair) >= LEAST_MARGIN for row in (first, second))
        sure = pair.score >= SURE_FROM or (pair.score >= CONFIRMED_FROM and stands_out)
        if pair.score >= SUSPECT_FROM:
            ids = ordered(sample_ids[first], sample_ids[second])
            view = pair.candidate.view if ids[0] == sample_ids[first] else INVERSE[pair.candidate.view]
            (confirmed if sure else suspects).append(CopyPair(ids, sure, pair.score, VIEWS[view]))
    return confirmed + suspects[: int(np.ceil(SUSPECTS_PER_IMAGE * len(sample_ids)))]


def _rivals(scored: Sequence[ScoredPair]) -> dict[int, list[ScoredPair]]:
    """The two best pairs of every image that are not sure, whatever else is one of them."""
    best: dict[int, list[ScoredPair]] = defaultdict(list)
    for pair in sorted(scored, key=lambda pair: -pair.score):
        for row in (pair.candidate.first, pair.candidate.second):
            if pair.score < SURE_FROM and len(best[row]) < 2:
                best[row].append(pair)
    return best


def _best_rival(rivals: Sequence[ScoredPair], pair: ScoredPair) -> float:
    return max((rival.score for rival in rivals if rival is not pair), default=0.0)


def score_pairs(thumbnails: UInt8[np.ndarray, "n 16 16 3"], load: Callable[[int], CanonicalImage]) -> list[ScoredPair]:
    """All candidates with their scores."""
    candidates = find_candidates(thumbnails)
    kept: OrderedDict[int, Plane] = OrderedDict()

    def score(candidate: Candidate) -> ScoredPair:
        value = agreement(kept[candidate.first], turned(kept[candidate.second], candidate.view))
        return ScoredPair(candidate, value)

    scored: list[ScoredPair] = []
    # Threads, not processes: OpenCV and the decoders let go of the interpreter while they work.
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        for batch in _batches(candidates):
            rows = sorted({row for pair in batch for row in (pair.first, pair.second)})
            missing = [row for row in rows if row not in kept]
            kept.update(zip(missing, pool.map(lambda row: plane(load(row)), missing), strict=True))
            for row in rows:
                kept.move_to_end(row)
            scored += pool.map(score, batch)
            while len(kept) > _KEPT_PLANES:
                kept.popitem(last=False)
    return scored


def _batches(candidates: list[Candidate]) -> Iterator[list[Candidate]]:
    for start in range(0, len(candidates), _BATCH):
        yield candidates[start : start + _BATCH]
