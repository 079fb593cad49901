"""Makes a set of real floats: Fashion-MNIST, reduced to its principal components.

    build/venv/bin/python bench/fashion_pca.py FOLDER [--dimension 128]

Writes FOLDER/base.fvecs (the 60,000 training images), query.fvecs (the 10,000 test images) and
groundtruth.ivecs (the 100 nearest under l2, found by computing every distance in doubles). The
components are those of the training images: as of any embedding, the first vary much more than
the last, and none is a whole number. Needs Debian's dataset-fashion-mnist, and numpy, which is in
tests/requirements.txt.
"""

import argparse
import pathlib
import sys

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scripts"))
import texmex  # noqa: E402

NEIGHBOURS = 100
QUERIES_AT_ONCE = 500


def read_images(name):
    path = texmex.FASHION_MNIST_DIR / f"{name}-images-idx3-ubyte.gz"
    if not path.exists():
        raise texmex.DataError(f"{path} is missing: apt-get install dataset-fashion-mnist")
    (count, rows, columns), pixels = texmex.read_idx(path, 3)
    return numpy.frombuffer(pixels, numpy.uint8).reshape(count, rows * columns).astype(float)


def write_records(path, rows):
    """`rows` are of 4-byte numbers; each gets its length before it."""
    records = numpy.empty((rows.shape[0], rows.shape[1] + 1), dtype="<i4")
    records[:, 0] = rows.shape[1]
    records[:, 1:] = rows.view("<i4")
    records.tofile(path)


def nearest(base, queries):
    """Row numbers of the nearest of `base`, nearest first, equals by number."""
    squares = (base * base).sum(axis=1)
    for first in range(0, len(queries), QUERIES_AT_ONCE):
        batch = queries[first:first + QUERIES_AT_ONCE]
        # The query's own square is the same for all.
        distances = squares - 2 * (batch @ base.T)
        best = numpy.sort(numpy.argpartition(distances, NEIGHBOURS, axis=1)[:, :NEIGHBOURS])
        order = numpy.argsort(numpy.take_along_axis(distances, best, axis=1), kind="stable")
        yield numpy.take_along_axis(best, order, axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--dimension", type=int, default=128)
    arguments = parser.parse_args()
    train, test = read_images("train"), read_images("t10k")
    if not 1 <= arguments.dimension <= train.shape[1]:
        parser.error(f"--dimension is not within 1 to {train.shape[1]}")
    mean = train.mean(axis=0)
    variances, directions = numpy.linalg.eigh(numpy.cov(train, rowvar=False))
    kept = directions[:, ::-1][:, :arguments.dimension]
    base = ((train - mean) @ kept).astype("<f4")
    queries = ((test - mean) @ kept).astype("<f4")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    write_records(arguments.folder / "base.fvecs", base)
    write_records(arguments.folder / "query.fvecs", queries)
    truth = numpy.concatenate(list(nearest(base.astype(float), queries.astype(float))))
    write_records(arguments.folder / "groundtruth.ivecs", truth.astype("<i4"))
    part = variances[::-1][:arguments.dimension].sum() / variances.sum()
    print(f"{len(base)} vectors, {len(queries)} queries, {arguments.dimension} dimensions, which "
          f"hold {part:.1%} of the variance")


if __name__ == "__main__":
    try:
        main()
    except texmex.DataError as error:
        sys.exit(f"fashion_pca: {error}")
