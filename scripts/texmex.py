"""Data sets as the demo and the benchmark use them: TEXMEX files and Fashion-MNIST."""

import gzip
import pathlib
import struct

FASHION_MNIST_DIR = pathlib.Path("/usr/share/datasets/fashion-mnist")
FASHION_LABELS = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
                  "Bag", "Ankle boot"]


class DataError(Exception):
    """A data set is not there or not what it should be."""


class DataSet:
    """Paths of base vectors, queries and (perhaps) true neighbours."""

    def __init__(self, name, base, queries, groundtruth=None, base_labels=None, query_labels=None):
        self.name = name
        self.base = pathlib.Path(base)
        self.queries = pathlib.Path(queries)
        self.groundtruth = groundtruth and pathlib.Path(groundtruth)
        self.base_labels = base_labels
        self.query_labels = query_labels


def find_texmex(folder):
    """The set in `folder`, under any of the names that the TEXMEX sets go by."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")

    def only(kind, stems, suffixes):
        found = [path for stem in stems for suffix in suffixes
                 for path in sorted(folder.glob(f"{stem}{suffix}"))]
        return found[0] if found else None

    base = only("base", ["base", "*_base"], [".bvecs", ".fvecs"])
    queries = only("query", ["query", "*_query"], [".bvecs", ".fvecs"])
    truth = only("groundtruth", ["groundtruth", "*_groundtruth"], [".ivecs"])
    if base is None or queries is None:
        missing = "base" if base is None else "query"
        raise DataError(f"{folder}: no {missing}.bvecs, {missing}.fvecs, *_{missing}.bvecs or "
                        f"*_{missing}.fvecs")
    return DataSet(folder.resolve().name, base, queries, truth)


def read_idx(path, dimensions):
    """(shape, bytes) of a gzip-compressed IDX file of unsigned bytes."""
    with gzip.open(path) as file:
        data = file.read()
    if data[:4] != bytes([0, 0, 8, dimensions]):
        raise DataError(f"{path}: not an IDX file of bytes in {dimensions} dimensions")
    shape = struct.unpack_from(f">{dimensions}i", data, 4)
    body = data[4 + 4 * dimensions:]
    size = 1
    for extent in shape:
        size *= extent
    if len(body) != size:
        raise DataError(f"{path}: {len(body)} bytes where {shape} needs {size}")
    return shape, body


def _write_bvecs(path, count, dimension, body):
    header = struct.pack("<i", dimension)
    with open(path, "wb") as file:
        for row in range(count):
            file.write(header + body[row * dimension:(row + 1) * dimension])


def fashion_mnist(folder):
    """Debian's Fashion-MNIST, converted to .bvecs files in `folder`."""
    paths = {name: FASHION_MNIST_DIR / f"{name}-ubyte.gz"
             for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3",
                          "t10k-labels-idx1")}
    for path in paths.values():
        if not path.exists():
            raise DataError(f"{path} is missing: apt-get install dataset-fashion-mnist")
    folder = pathlib.Path(folder)
    labels = {}
    for kind, name in (("train", "base"), ("t10k", "query")):
        (count, rows, columns), pixels = read_idx(paths[f"{kind}-images-idx3"], 3)
        (label_count,), labels[name] = read_idx(paths[f"{kind}-labels-idx1"], 1)
        if label_count != count:
            raise DataError(f"{FASHION_MNIST_DIR}: {count} images, {label_count} labels")
        _write_bvecs(folder / f"{name}.bvecs", count, rows * columns, pixels)
    return DataSet("Fashion-MNIST", folder / "base.bvecs", folder / "query.bvecs", None,
                   labels["base"], labels["query"])


class VectorReader:
    """Random access to the rows of a .bvecs or .fvecs file."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.is_bytes = self.path.suffix == ".bvecs"
        self.file = open(path, "rb")
        header = self.file.read(4)
        if len(header) != 4:
            raise DataError(f"{path}: no record")
        self.dimension = struct.unpack("<i", header)[0]
        self.record_bytes = 4 + self.dimension * (1 if self.is_bytes else 4)
        self.count = self.path.stat().st_size // self.record_bytes

    def row(self, number):
        self.file.seek(number * self.record_bytes + 4)
        data = self.file.read(self.record_bytes - 4)
        return list(data) if self.is_bytes else list(struct.unpack(f"<{self.dimension}f", data))

    def close(self):
        self.file.close()


def read_ivecs_row(path, number):
    with open(path, "rb") as file:
        width = struct.unpack("<i", file.read(4))[0]
        file.seek(number * 4 * (width + 1) + 4)
        return list(struct.unpack(f"<{width}i", file.read(4 * width)))
