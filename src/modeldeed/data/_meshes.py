"""Triangle meshes in OFF files, and points drawn from their surface."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modeldeed.errors import DataError

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def read_off(path: Path) -> tuple[Floats, Indices]:
    """Read a mesh from an OFF text file.

    Faces with more than three corners are cut into triangles that share the first corner. Comments,
    colors behind vertices and faces, and a header glued to the counts (as in some files of
    ModelNet40) are understood.

    Args:
        path: the file.

    Returns:
        Vertices ``(V, 3)`` and the vertex numbers of the triangles ``(F, 3)``.

    Raises:
        DataError: the file is no OFF file, is cut off, or a face names a vertex that is not there.
    """
    try:
        lines = _content(path.read_text(encoding="ascii"))
        header = lines.pop(0).upper()
        if not header.startswith("OFF"):
            raise DataError(f"{path}: is no OFF file; its first line must start with OFF")
        counts = header.removeprefix("OFF").split() or lines.pop(0).split()
        n_vertices, n_faces = int(counts[0]), int(counts[1])
        if not (n_vertices >= 0 and n_faces >= 0 and n_vertices + n_faces <= len(lines)):
            raise DataError(
                f"{path}: promises {n_vertices} vertices and {n_faces} faces but has {len(lines)} "
                "lines for them; the file is cut off: copy it again"
            )
        rows = [line.split()[:3] for line in lines[:n_vertices]]
        vertices = np.array(rows, dtype=np.float64).reshape(n_vertices, 3)
        triangles = _triangles(lines[n_vertices : n_vertices + n_faces])
    except (ValueError, IndexError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: is no readable OFF file ({error}); mend or remove it") from error
    if triangles.size and not 0 <= triangles.min() <= triangles.max() < n_vertices:
        raise DataError(
            f"{path}: faces name vertices {triangles.min()} to {triangles.max()}, but there are "
            f"0 to {n_vertices - 1}"
        )
    return vertices, triangles


def sample_surface(
    vertices: Floats, triangles: Indices, number: int, generator: np.random.Generator
) -> Floats:
    """Draw points uniformly from the surface of a mesh.

    A triangle is drawn with probability proportional to its area, then a point uniformly in it.

    Args:
        vertices: ``(V, 3)``.
        triangles: vertex numbers, ``(F, 3)``.
        number: points to draw.
        generator: source of the randomness.

    Returns:
        Points ``(number, 3)``.

    Raises:
        DataError: the surface has no area, or one that is not finite.

    Reference:
        R. Osada et al., "Shape Distributions", ACM TOG 2002, equation 1, for the point in a
        triangle.
    """
    first, second, third = (vertices[triangles[:, corner]] for corner in range(3))
    with np.errstate(over="ignore", invalid="ignore"):  # judged by the finite sum below
        areas = np.linalg.norm(np.cross(second - first, third - first), axis=1)
        cumulative = np.cumsum(areas)
    if not (cumulative.size and 0 < cumulative[-1] < np.inf):
        raise DataError("the mesh has no surface of finite, positive area")
    along, root, across = generator.random((3, number))
    chosen = np.searchsorted(cumulative, along * cumulative[-1], side="right")
    chosen = np.minimum(chosen, len(areas) - 1)  # the product may round up to the whole area
    # The square root makes the density even: the strip at distance r from a corner is r long.
    root, across = np.sqrt(root)[:, None], across[:, None]
    a, b, c = first[chosen], second[chosen], third[chosen]
    points: Floats = (1 - root) * a + root * (1 - across) * b + root * across * c
    return points


def _content(text: str) -> list[str]:
    """Return the lines that say something, without comments."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def _triangles(lines: list[str]) -> Indices:
    corners: list[tuple[int, int, int]] = []
    for line in lines:
        count, *fields = line.split()
        face = [int(field) for field in fields[: int(count)]]
        if len(face) != int(count):
            raise ValueError(f"a face of {count} corners names {len(face)}")
        corners.extend((face[0], face[i], face[i + 1]) for i in range(1, len(face) - 1))
    return np.array(corners, dtype=np.int64).reshape(-1, 3)
