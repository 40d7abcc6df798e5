"""Which pairs of images are worth a comparison of their pixels: nearest neighbors among thumbnails.

A thumbnail is compared in its eight views with the whole and with nine cropped readings of every other, so that turned,
mirrored and cropped copies stand among the nearest. Neighbors are sought in cells: every vector belongs to the cell
whose center is the nearest, and a query looks into a few cells only, so that time grows nearly as the number of images.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float, Float32, Int, Int8, UInt8

from chiron.data.copies.thumbnail import SIDE, VIEWS, turned

NEIGHBORS = 4  # registered for each image
_CROP = 0.9  # side of a cropped reading; between whole and crop everything from 0.85 on is near enough
_CROP_OFFSETS = (0.0, 0.5, 1.0)
_FLATTEST = 1.0  # gray levels of standard deviation; below, a thumbnail shows rounding and nothing else
_NUM_COMPONENTS = 64
_MOST_FITTED = 4096  # thumbnails that the components are fitted on
_GRID = 127  # whole numbers up to this: their products are exact in float32, in whatever order they are added
_PER_CELL = 50  # images to a cell, on average
_PROBES = 8
_BEST_OF_CELL = 3
_BLOCK = 4096  # images asked at a time; bounds memory


@dataclass(frozen=True)
class Candidate:
    """Two rows whose pictures may be one: the second, laid in `view`, is to be compared with the first."""

    first: int
    second: int
    view: int


def find_candidates(thumbnails: UInt8[np.ndarray, "n 16 16 3"]) -> list[Candidate]:
    """The pairs to register, each once, first < second; at most four times as many as images.

    Equal thumbnails are chained, each with the next, and looked up once. Flat ones, as of blank images, are left out.
    """
    found: dict[tuple[int, int], int] = {}
    last_equal: dict[bytes, int] = {}
    distinct = []
    for row in np.flatnonzero(~_flat(thumbnails)).tolist():
        pixels = thumbnails[row].tobytes()
        if pixels in last_equal:
            found[last_equal[pixels], row] = 0
        else:
            distinct.append(row)
        last_equal[pixels] = row
    if distinct:
        for a, b, view in _nearest(thumbnails[distinct]):
            found[distinct[a], distinct[b]] = view
    return [Candidate(a, b, view) for (a, b), view in sorted(found.items())]


def _flat(thumbnails: UInt8[np.ndarray, "n 16 16 3"]) -> Bool[np.ndarray, "n"]:
    return (thumbnails.reshape(-1, SIDE * SIDE, 3).std(axis=1) < _FLATTEST).all(axis=1)


def _nearest(thumbnails: UInt8[np.ndarray, "n 16 16 3"]) -> list[tuple[int, int, int]]:
    """(first, second, view) of the few nearest neighbors of every thumbnail; all thumbnails differ."""
    pictures = np.moveaxis(thumbnails, -1, 1).astype(np.float32)
    axes = _components(pictures)
    crops = [np.eye(SIDE * SIDE, dtype=np.float32), *_crops()]
    readings = ((pictures.reshape(-1, SIDE * SIDE) @ crop.T).reshape(pictures.shape) for crop in crops)
    vectors = np.concatenate([_described(reading, axes) for reading in readings])
    cells = _Cells(vectors, np.tile(np.arange(len(pictures)), len(crops)), num_cells=len(pictures) // _PER_CELL)
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for start in range(0, len(pictures), _BLOCK):
        asked = np.arange(start, min(start + _BLOCK, len(pictures)))
        views = np.concatenate([_described(turned(pictures[asked], view), axes) for view in range(len(VIEWS))])
        owners = np.tile(asked, len(VIEWS))
        query, image, similarity = cells.search(views, owners)
        for a, b, view, near in _best_of_each(owners[query], image, query // len(asked), similarity):
            # Asked as b, an image turned by 90 degrees is found turned back by 270.
            key, way = ((a, b), INVERSE[view]) if a < b else ((b, a), view)
            best[key] = max(best.get(key, (-1.0, 0)), (near, -way))
    return [(a, b, -way) for (a, b), (_, way) in best.items()]


INVERSE = (0, 3, 2, 1, 4, 5, 6, 7)  # the view that undoes each view


def _best_of_each(
    asked: Int[np.ndarray, "m"], image: Int[np.ndarray, "m"], view: Int[np.ndarray, "m"], near: Float32[np.ndarray, "m"]
) -> Iterator[tuple[int, int, int, float]]:
    """The nearest images of each asked one, each in its best view; ties go to the smaller row and view."""
    order = np.lexsort((view, -near, image, asked))
    asked, image, view, near = asked[order], image[order], view[order], near[order]
    first = np.ones(len(asked), bool)
    first[1:] = (asked[1:] != asked[:-1]) | (image[1:] != image[:-1])
    asked, image, view, near = asked[first], image[first], view[first], near[first]
    order = np.lexsort((-near, asked))
    rank = np.arange(len(asked)) - np.searchsorted(asked, asked)
    for row in order[rank < NEIGHBORS]:
        yield int(asked[row]), int(image[row]), int(view[row]), float(near[row])


def _components(pictures: Float32[np.ndarray, "n 3 16 16"]) -> Float[np.ndarray, "768 components"]:
    """Principal axes of the thumbnails in all their views, each scaled by 1 / variance^(1/4).

    Half-way to whitening: unscaled, what all chest radiographs share would be nearly all that counts; whitened,
    the noise of small details would be.
    """
    flat = _standardized(pictures[:: -(-len(pictures) // _MOST_FITTED)]).astype(np.float64)
    upright = flat.T @ flat / len(flat)
    pixels = np.arange(3 * SIDE * SIDE).reshape(3, SIDE, SIDE)
    places = [turned(pixels, view).reshape(-1) for view in range(len(VIEWS))]
    covariance = np.mean([upright[np.ix_(place, place)] for place in places], axis=0)
    # Turning makes pairs of equal variances, whose axes rounding alone would choose; this sets them apart.
    covariance += np.diag(np.linspace(0, 1e-6, len(covariance)))
    last = len(covariance) - 1
    variance, axes = scipy.linalg.eigh(covariance, subset_by_index=[last - _NUM_COMPONENTS + 1, last])
    return axes / (np.maximum(variance, 0) + 1e-5) ** 0.25


def _standardized(pictures: Float32[np.ndarray, "n 3 16 16"]) -> Float32[np.ndarray, "n 768"]:
    """Without each channel's mean, at length 1: brightness, contrast and a color cast leave no trace."""
    centered = (pictures - pictures.mean(axis=(2, 3), keepdims=True)).reshape(len(pictures), -1)
    return centered / np.maximum(np.linalg.norm(centered, axis=1, keepdims=True), 1e-6)


def _described(
    pictures: Float32[np.ndarray, "n 3 16 16"], axes: Float[np.ndarray, "768 components"]
) -> Int8[np.ndarray, "n components"]:
    projected = _standardized(pictures) @ axes.astype(np.float32)
    projected /= np.maximum(np.linalg.norm(projected, axis=1, keepdims=True), 1e-6)
    return np.rint(projected * _GRID).astype(np.int8)


def _crops() -> list[Float32[np.ndarray, "256 256"]]:
    """Matrices that read a crop out of a thumbnail at nine places, by cubic interpolation."""
    free = SIDE * (1 - _CROP)
    sides = [_reader((np.arange(SIDE) + 0.5) * _CROP + share * free - 0.5) for share in _CROP_OFFSETS]
    return [np.kron(rows, columns) for rows in sides for columns in sides]


def _reader(places: Float[np.ndarray, "16"]) -> Float32[np.ndarray, "16 16"]:
    """Catmull-Rom weights of 16 pixels for the values at `places`; beyond the border the last pixel repeats."""
    matrix = np.zeros((SIDE, SIDE), np.float32)
    for row, place in enumerate(places):
        for pixel in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            d = abs(place - pixel)
            weight = 1.5 * d**3 - 2.5 * d**2 + 1 if d <= 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
            matrix[row, min(max(pixel, 0), SIDE - 1)] += weight
    return matrix


class _Cells:
    """Vectors sorted into cells around vectors of the set itself, taken evenly."""

    def __init__(self, vectors: Int8[np.ndarray, "m d"], images: Int[np.ndarray, "m"], *, num_cells: int) -> None:
        num_images = int(images.max()) + 1
        num_cells = max(1, num_cells)
        self.centers = vectors[np.arange(num_cells) * num_images // num_cells].astype(np.float32)
        homes = self._cells_of(vectors, 1)[:, 0]
        order = np.argsort(homes, kind="stable")
        self.vectors, self.images = vectors[order], images[order].astype(np.int32)
        self.bounds = np.searchsorted(homes[order], np.arange(num_cells + 1))

    def _cells_of(self, vectors: Int8[np.ndarray, "m d"], count: int) -> Int[np.ndarray, "m _count"]:
        """The `count` nearest cells of every vector."""
        count = min(count, len(self.centers))
        parts = []
        for start in range(0, len(vectors), _BLOCK):
            near = vectors[start : start + _BLOCK].astype(np.float32) @ self.centers.T
            nearest = near.argmax(axis=1)[:, None] if count == 1 else np.argpartition(near, -count, axis=1)[:, -count:]
            parts.append(nearest)
        return np.concatenate(parts)

    def search(
        self, queries: Int8[np.ndarray, "q d"], owners: Int[np.ndarray, "q"]
    ) -> tuple[Int[np.ndarray, "hits"], Int[np.ndarray, "hits"], Float32[np.ndarray, "hits"]]:
        """(query, image, similarity) of the nearest vectors of other images in each of the nearest cells."""
        probes = self._cells_of(queries, _PROBES)
        order = np.argsort(probes, axis=None, kind="stable")
        bounds = np.searchsorted(probes.reshape(-1)[order], np.arange(len(self.centers) + 1))
        hits = []
        for cell in range(len(self.centers)):
            asking = order[bounds[cell] : bounds[cell + 1]] // probes.shape[1]
            members = slice(self.bounds[cell], self.bounds[cell + 1])
            images = self.images[members]
            if not len(asking) or not len(images):
                continue
            near = queries[asking].astype(np.float32) @ self.vectors[members].astype(np.float32).T
            near[owners[asking, None] == images[None]] = -np.inf
            for _ in range(_BEST_OF_CELL):
                best = near.argmax(axis=1)
                rows = np.arange(len(asking))
                hits.append((asking, images[best], near[rows, best]))
                near[rows, best] = -np.inf
        query, image, similarity = (np.concatenate(column) for column in zip(*hits, strict=True))
        real = similarity > 0
        return query[real], image[real], similarity[real]
