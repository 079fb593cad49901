"""The demo's report: queries beside their nearest neighbours, as pictures, in one
HTML file that needs nothing else."""

import base64
import html
import math
import struct
import zlib

import texmex

QUERIES_SHOWN = 60


def png(width, height, pixels):
    """A grey picture, 8 bits a pixel, as the bytes of a PNG file (RFC 2083)."""
    if len(pixels) != width * height:
        raise ValueError(f"{len(pixels)} pixels for {width} x {height}")

    def chunk(kind, body):
        return (struct.pack(">I", len(body)) + kind + body +
                struct.pack(">I", zlib.crc32(kind + body)))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    # Each row begins with the number of its filter; 0 is none.
    rows = b"".join(b"\0" + bytes(pixels[row * width:(row + 1) * width]) for row in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) +
            chunk(b"IEND", b""))


def picture_shape(dimension):
    """Width and height for a vector: its images' own where it is square, else the
    widest rectangle that wastes nothing."""
    root = math.isqrt(dimension)
    for height in range(root, 0, -1):
        if dimension % height == 0:
            return dimension // height, height
    return dimension, 1


def to_pixels(values):
    low, high = min(values), max(values)
    if 0 <= low and high <= 255 and all(value == int(value) for value in values):
        return bytes(int(value) for value in values)
    scale = 255 / (high - low) if high > low else 0
    return bytes(round((value - low) * scale) for value in values)


def picture(values, alt, scale):
    width, height = picture_shape(len(values))
    data = base64.b64encode(png(width, height, to_pixels(values))).decode()
    return (f'<img src="data:image/png;base64,{data}" width="{width * scale}" '
            f'height="{height * scale}" alt="{html.escape(alt)}">')


class Judge:
    """Says of each neighbour whether it is right, and in which words."""

    def __init__(self, data, k):
        self.data = data
        self.k = k
        self.by_label = data.query_labels is not None

    def rule(self):
        if self.by_label:
            return "A neighbour is right when it shows the same kind of thing as the query."
        return f"A neighbour is right when it is one of the {self.k} that exact search finds."

    def query_name(self, query):
        if self.by_label:
            return texmex.FASHION_LABELS[self.data.query_labels[query]]
        return f"query {query}"

    def judge(self, query, ids):
        if self.by_label:
            wanted = self.data.query_labels[query]
            return [(self.data.base_labels[i] == wanted,
                     texmex.FASHION_LABELS[self.data.base_labels[i]]) for i in ids]
        truth = set(texmex.read_ivecs_row(self.data.groundtruth, query)[:self.k])
        return [(i in truth, f"row {i}") for i in ids]


def choose_queries(data, answers):
    """Queries spread over the file; with labels, in turn over the kinds."""
    if data.query_labels is None:
        step = max(1, len(answers) // QUERIES_SHOWN)
        return list(range(0, len(answers), step))[:QUERIES_SHOWN]
    by_label = {}
    for query in range(len(answers)):
        by_label.setdefault(data.query_labels[query], []).append(query)
    chosen = []
    while len(chosen) < QUERIES_SHOWN and any(by_label.values()):
        for label in sorted(by_label):
            if by_label[label] and len(chosen) < QUERIES_SHOWN:
                chosen.append(by_label[label].pop(0))
    return chosen


def render_query(query, answer, judge, queries, base, scale):
    name = judge.query_name(query)
    cells = []
    for rank, (found, score, (right, label)) in enumerate(
            zip(answer["ids"], answer["scores"], judge.judge(query, answer["ids"])), 1):
        kind, mark, word = ("right", "✓", "right") if right else ("wrong", "✗", "wrong")
        alt = f"neighbour {rank}: {label}, {word}"
        cells.append(f'<li class="{kind}">{picture(base.row(found), alt, scale)}'
                     f'<span><b aria-hidden="true">{mark}</b> {html.escape(label)}</span>'
                     f'<small title="distance">{score:,.0f}</small></li>')
    title = f"{name}, number {query}" if judge.by_label else name
    return (f'<section aria-label="{html.escape(title)}"><figure>'
            f'{picture(queries.row(query), "query: " + name, scale)}'
            f'<figcaption>{html.escape(name)}<small>query {query}</small></figcaption></figure>'
            f'<ol>{"".join(cells)}</ol></section>')


STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #1b1f24; --soft: #57606a;
  --line: #d5dae0; --right: #1a7f37; --wrong: #b42318; --accent: #0b57d0; }
@media (prefers-color-scheme: dark) { :root { --page: #0f1216; --card: #181c22; --text: #e6e9ed;
  --soft: #a0a9b4; --line: #313842; --right: #4cc46a; --wrong: #ff8a7a; --accent: #8ab4f8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 78rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .25rem; }
p { margin: .25rem 0 1rem; color: var(--soft); max-width: 60rem; }
table { border-collapse: collapse; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; overflow: hidden; }
th, td { text-align: left; padding: .5rem 1rem; border-top: 1px solid var(--line); }
tr:first-child > * { border-top: 0; }
th { font-weight: 500; color: var(--soft); }
td { font-variant-numeric: tabular-nums; }
section { display: flex; gap: 1rem; align-items: flex-start; background: var(--card);
  border: 1px solid var(--line); border-radius: .5rem; padding: .75rem; margin: .75rem 0;
  overflow-x: auto; }
figure { margin: 0; flex: none; width: 7.5rem; padding-right: .75rem;
  border-right: 1px solid var(--line); }
figcaption { font-weight: 600; line-height: 1.25; margin-top: .35rem; }
ol { display: flex; gap: .5rem; list-style: none; margin: 0; padding: 0; }
li { flex: none; width: 5.75rem; border-top: 3px solid; padding-top: .35rem; line-height: 1.25; }
li span { display: block; font-size: .8rem; margin-top: .25rem; }
li.right { border-color: var(--right); } li.right b { color: var(--right); }
li.wrong { border-color: var(--wrong); } li.wrong b { color: var(--wrong); }
small { display: block; color: var(--soft); font-weight: 400; font-size: .75rem; }
img { display: block; image-rendering: pixelated; border-radius: .25rem; background: #000;
  max-width: 100%; height: auto; }
"""


def render(data, rows, answers, k):
    """The whole page. `rows` is the demo's table, `answers` what each query found."""
    judge = Judge(data, k)
    queries, base = texmex.VectorReader(data.queries), texmex.VectorReader(data.base)
    scale = max(1, 84 // picture_shape(base.dimension)[0])
    chosen = choose_queries(data, answers)
    right = total = 0
    for query in chosen:
        verdicts = judge.judge(query, answers[query]["ids"])
        right += sum(verdict for verdict, _ in verdicts)
        total += len(verdicts)
    sections = "".join(render_query(query, answers[query], judge, queries, base, scale)
                       for query in chosen)
    queries.close()
    base.close()
    facts = "".join(f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
                    for name, value in rows)
    title = f"Vectron on {data.name}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
<p>Measured by <code>make demo</code> on this machine, through the whole database: network, Raft log,
store and index.</p>
<table><caption hidden>Results</caption><tbody>{facts}</tbody></table>
<h2>{len(chosen)} queries and their {k} nearest neighbours</h2>
<p>{html.escape(judge.rule())} {right} of the {total} below are. The number under a neighbour is its
distance.</p>
{sections}
</main>
</body>
</html>
"""
