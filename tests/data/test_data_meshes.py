"""OFF meshes: parsing, and points that are uniform on the surface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from modeldeed.data._meshes import read_off, sample_surface
from modeldeed.errors import DataError

SQUARE = "4 1 0\n0 0 0\n2 0 0\n2 1 0\n0 1 0\n4 0 1 2 3\n"


def off(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mesh.off"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "OFF\n" + SQUARE,
        "off\n" + SQUARE,
        "OFF" + SQUARE,  # glued to the counts, as some files of ModelNet40 are
        "OFF # made by hand\n\n# a comment\n" + SQUARE,
        "OFF\n"
        + SQUARE.replace("2 1 0\n", "2 1 0 0.5 0.5 0.5\n").replace("1 2 3\n", "1 2 3 255 0\n"),
        "OFF\r\n" + SQUARE.replace("\n", "\r\n"),
    ],
)
def test_a_square_becomes_two_triangles(tmp_path: Path, text: str) -> None:
    vertices, triangles = read_off(off(tmp_path, text))
    assert vertices.tolist() == [[0, 0, 0], [2, 0, 0], [2, 1, 0], [0, 1, 0]]
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no readable OFF"),
        ("PLY\n" + SQUARE, "first line must start with OFF"),
        ("OFF", "no readable OFF"),
        ("OFF\n4\n", "no readable OFF"),
        ("OFF\nfour 1 0\n", "no readable OFF"),
        ("OFF\n-1 1 0\n0 0 0", "promises -1 vertices"),
        ("OFF\n" + SQUARE[:-10], "promises 4 vertices and 1 faces but has 4 lines"),
        ("OFF\n999999999 1 0\n0 0 0", "promises 999999999"),
        ("OFF\n" + SQUARE.replace("2 0 0", "2 zero 0"), "no readable OFF"),
        ("OFF\n" + SQUARE.replace("2 0 0", "2 0"), "no readable OFF"),
        ("OFF\n" + SQUARE.replace("4 0 1 2 3", "4 0 1 2"), "a face of 4 corners names 3"),
        ("OFF\n" + SQUARE.replace("4 0 1 2 3", "3 0 1 4"), "vertices 0 to 4, but there are 0 to 3"),
        ("OFF\n" + SQUARE.replace("4 0 1 2 3", "3 0 1 -1"), "vertices -1 to 1"),
        ("OFF\n" + SQUARE.replace("4 0 1 2 3", f"3 0 1 {10**30}"), "no readable OFF"),
        ("OFF\nß", "no readable OFF"),
    ],
)
def test_malformed_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mesh.off"
    path.write_bytes(text.encode())
    with pytest.raises(DataError, match=message) as caught:
        read_off(path)
    assert str(path) in str(caught.value)


@settings(max_examples=100)
@given(st.integers(0, 100), st.binary(max_size=6))
def test_damaged_files_never_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, position: int, junk: bytes
) -> None:
    content = ("OFF\n" + SQUARE).encode()
    path = tmp_path_factory.mktemp("off") / "mesh.off"
    path.write_bytes(content[:position] + junk + content[position + len(junk) :])
    try:
        vertices, triangles = read_off(path)
    except DataError:
        return
    assert vertices.shape[1] == triangles.shape[1] == 3


def random_mesh(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=(6, 3)), np.array([[0, 1, 2], [1, 2, 3], [3, 4, 5]])


def test_points_fall_on_triangles_in_proportion_to_area() -> None:
    # Three triangles in parallel planes, areas 1, 3 and 6: the plane tells the triangle.
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    areas = np.array([1.0, 3.0, 6.0])
    vertices = np.concatenate(
        [
            c * np.sqrt(2 * a) + [0, 0, i]
            for (i, a), c in zip(enumerate(areas), [corners] * 3, strict=True)
        ]
    )
    triangles = np.arange(9).reshape(3, 3)
    points = sample_surface(vertices, triangles, 5000, np.random.default_rng(1))
    counts = np.bincount(points[:, 2].round().astype(int), minlength=3)
    assert stats.chisquare(counts, 5000 * areas / areas.sum()).pvalue > 1e-4


def test_points_are_uniform_inside_a_triangle() -> None:
    # In the right triangle below, x has density 2(1 - x), so 1 - (1 - x)^2 is uniform; y likewise.
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    points = sample_surface(vertices, np.array([[0, 1, 2]]), 5000, np.random.default_rng(2))
    for axis in (0, 1):
        assert stats.kstest(1 - (1 - points[:, axis]) ** 2, "uniform").pvalue > 1e-4
    corner = points[:, 1] / (1 - points[:, 0])  # uniform and independent of x
    assert stats.kstest(corner, "uniform").pvalue > 1e-4
    assert abs(stats.spearmanr(corner, points[:, 0]).statistic) < 0.06


@given(st.integers(0, 2**32 - 1))
def test_every_point_lies_in_the_plane_of_a_triangle(seed: int) -> None:
    vertices, triangles = random_mesh(seed)
    points = sample_surface(vertices, triangles, 20, np.random.default_rng(seed))
    distances = []
    for a, b, c in vertices[triangles]:
        normal = np.cross(b - a, c - a)
        distances.append(np.abs((points - a) @ normal) / np.linalg.norm(normal))
    assert np.min(distances, axis=0).max() < 1e-9


@pytest.mark.parametrize(
    ("vertices", "triangles"),
    [
        (np.zeros((3, 3)), [[0, 1, 2]]),
        (np.zeros((3, 3)), np.zeros((0, 3), int)),
        (np.full((3, 3), np.nan), [[0, 1, 2]]),
        (np.array([[0.0, 0, 0], [1e200, 0, 0], [0, 1e200, 0]]), [[0, 1, 2]]),
    ],
)
def test_a_surface_without_usable_area(vertices: np.ndarray, triangles: list[list[int]]) -> None:
    with pytest.raises(DataError, match="no surface of finite, positive area"):
        sample_surface(vertices, np.array(triangles), 5, np.random.default_rng(0))
