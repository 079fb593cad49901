"""What bench/standalone.sh runs: see there, and docs for what the figures mean."""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import texmex  # noqa: E402
import vectron_process  # noqa: E402

COLLECTION = "bench"
K = 10
M = 16
EF_CONSTRUCTION = 200
TARGET_RECALL = 0.95
# What a search may cost the server beside the search itself and an RPC.
SEARCH_MORE_US = 15
COST_ROUNDS = 7
COST_SECONDS = 4


class BenchFailed(Exception):
    """A measurement is not to be had, or something that was stored is not there."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def run_tool(*command, timeout_s=7200):
    """The JSON that a program of ours prints."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True,
                          timeout=timeout_s, check=False)
    if done.returncode != 0:
        raise BenchFailed(f"{' '.join(map(str, command))} exited with {done.returncode}")
    return json.loads(done.stdout)


class InProcess:
    """The same index in a process of its own, which searches when it is told to."""

    def __init__(self, program, data, ef):
        self.process = subprocess.Popen(
            [str(part) for part in (program, data.base, data.queries, data.groundtruth, ef, M,
                                    EF_CONSTRUCTION)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.build = self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise BenchFailed(f"inprocess_search exited with {self.process.returncode}")
        return json.loads(line)

    def search(self, count, pause_us):
        with contextlib.suppress(BrokenPipeError):  # _answer says so
            self.process.stdin.write(f"{count} {pause_us}\n")
            self.process.stdin.flush()
        return self._answer()

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait(60)


class Bench:
    """One run: the measurements share a server and what they found so far."""

    def __init__(self, arguments, folder):
        self.arguments = arguments
        self.folder = folder
        self.tools = pathlib.Path(arguments.binary).resolve().parent
        self.data = texmex.find_texmex(arguments.folder)
        if self.data.groundtruth is None:
            raise BenchFailed(f"{arguments.folder} has no ground truth")
        reader = texmex.VectorReader(self.data.base)
        self.points, self.dimension = reader.count, reader.dimension
        reader.close()
        self.vector_bytes = self.points * self.dimension * 4
        self.run_seconds = 1 if arguments.quick else 10
        self.result = {
            "data": self.data.name, "points": self.points, "dimension": self.dimension,
            "cores": len(os.sched_getaffinity(0)), "machine": platform.machine(),
            "version": run_tool(arguments.binary, "version", "--json"),
        }

    def server(self, name):
        return vectron_process.Server(self.arguments.binary, self.folder / name,
                                      self.folder / f"{name}.log")

    # Building --------------------------------------------------------------

    def hnswlib(self):
        say("hnswlib: building the same index in memory, 2 threads")
        return run_tool(self.tools / "hnswlib_build", self.data.base, 2, M, EF_CONSTRUCTION)

    def ingest(self, server):
        say("vectron: storing, 8 clients x 1,000 points")
        before = server.written_bytes()
        result = server.bench("ingest", "--create", "--collection", COLLECTION, "--input",
                              self.data.base, "--shards", 1, "--clients", 8, "--batch", 1000,
                              "--m", M, "--ef-construction", EF_CONSTRUCTION, "--wait-indexed",
                              "--server-pid", server.pid, progress=True, timeout_s=7200)
        written_indexed = server.written_bytes() - before
        settle_s = 6 if self.arguments.quick else 30
        say(f"waiting {settle_s} s for the server to settle")
        time.sleep(settle_s)
        return {
            "acked_s": result["acked_seconds"], "indexed_s": result["indexed_seconds"],
            "batch_latency_ms": result["batches"]["latency_ms"], "retries": result["retries"],
            "server_cpu_s": server.cpu_seconds(),
            "resident_peak_bytes": server.memory_bytes("VmHWM"),
            "resident_settled_bytes": server.memory_bytes("VmRSS"),
            "written_bytes": server.written_bytes() - before,
            "written_bytes_when_indexed": written_indexed,
            "written_per_vector_byte": (server.written_bytes() - before) / self.vector_bytes,
            "disk_bytes": sum(path.stat().st_blocks * 512 for path in server.data_dir.rglob("*")
                              if path.is_file()),
        }

    # Searching -------------------------------------------------------------

    def search(self, server, *args):
        return server.bench("search", "--collection", COLLECTION, "--queries", self.data.queries,
                            "--groundtruth", self.data.groundtruth, "--k", K, "--quiet", *args,
                            timeout_s=3600)["runs"][0]

    def searches(self, server):
        say(f"looking for the smallest ef with recall@{K} >= {TARGET_RECALL} over all queries")
        found = self.search(server, "--target-recall", TARGET_RECALL, "--clients", 2)
        ef = found["ef"]
        result = {"ef": ef, "recall": found[f"recall_at_{K}"], "closed": {}, "open": {}}
        for clients in (1, 2, 8):
            say(f"closed loop, {clients} clients, ef {ef}")
            result["closed"][clients] = self.search(
                server, "--ef", ef, "--clients", clients, "--duration", self.run_seconds,
                "--warm-up", 500, "--server-pid", server.pid)
        for rate in (100, 500, 1000):
            say(f"open loop, {rate} searches a second, ef {ef}")
            result["open"][rate] = self.search(
                server, "--ef", ef, "--clients", 32, "--rate", rate, "--duration",
                self.run_seconds, "--warm-up", 200, "--server-pid", server.pid)
        return result

    def empty_rpc(self, server, rate, seconds):
        count = max(2000, int(seconds * (rate or 5000)))
        return server.bench("rpc", "--clients", 1, "--count", count, "--rate", rate,
                            "--server-pid", server.pid, timeout_s=600)

    def costs(self, server, ef):
        """Server CPU of a search with 1 client beside that of the same search in process and of
        an empty RPC. The machine's speed changes from minute to minute: they take turns.

        Who searches, or is called, without a pause finds the caches and the processors on both
        sides awake; who has to wait for the client does not. So both are measured a second time
        with the pauses that the server has: before a search in process, and between RPCs."""
        rounds, seconds = (1, 1) if self.arguments.quick else (COST_ROUNDS, COST_SECONDS)
        say("building the same index in process")
        inside = InProcess(self.tools / "inprocess_search", self.data, ef)
        result = {"build": inside.build, "rounds": []}
        try:
            for number in range(1, rounds + 1):
                say(f"cost of a search with 1 client, round {number} of {rounds}")
                search = self.search(server, "--ef", ef, "--clients", 1, "--duration", seconds,
                                     "--warm-up", 500, "--server-pid", server.pid)
                rate = search["per_second"]
                # Between searches the server waits for the client, about as long as it works.
                pause_us = int(500_000 / rate)
                empty = self.empty_rpc(server, 0, seconds)
                empty_paced = self.empty_rpc(server, rate, seconds)
                alone = inside.search(int(seconds * 4000), 0)
                alone_paced = inside.search(int(seconds * 2000), pause_us)
                result["rounds"].append({
                    "search": search["server_cpu_us_per_op"], "per_second": rate,
                    "empty_rpc": empty["server_cpu_us_per_op"],
                    "empty_rpc_paced": empty_paced["server_cpu_us_per_op"],
                    "in_process": alone["cpu_us_per_query"],
                    "in_process_paced": alone_paced["cpu_us_per_query"]})
        finally:
            inside.close()
        for key in ("search", "empty_rpc", "empty_rpc_paced", "in_process", "in_process_paced"):
            result[key] = statistics.median(one[key] for one in result["rounds"])
        for suffix in ("", "_paced"):
            result["more" + suffix] = statistics.median(
                one["search"] - one["empty_rpc" + suffix] - one["in_process" + suffix]
                for one in result["rounds"])
        return result

    # Crashing --------------------------------------------------------------

    def restart(self, server, stop):
        """Seconds from the process's start to its first correct answer."""
        reader = texmex.VectorReader(self.data.queries)
        query = {"query": reader.row(0), "limit": K, "params": {"exact": True}}
        reader.close()
        path = f"/collections/{COLLECTION}/points/query"
        status, expected = server.http("POST", path, query)
        if status != 200:
            raise BenchFailed(f"search over REST: {status} {expected}")
        stop()
        start = time.monotonic()
        server.spawn()
        server.wait_ports(600)
        while True:
            status, body = server.http("POST", path, query)
            if status == 200 and body["result"] == expected["result"]:
                return time.monotonic() - start
            if time.monotonic() - start > 600:
                raise BenchFailed(f"no correct answer 600 s after the restart: {status} {body}")
            time.sleep(0.005)

    def kills(self, count):
        """kill -9 at random moments of an ingestion; everything is checked after each."""
        seed = self.arguments.seed
        rng = random.Random(seed)
        rows = min(self.points // count, 25_000)
        log = self.folder / "acks"
        log.write_text("")
        server = self.server("kills")
        outcomes = []
        try:
            server.start()
            batch = max(1, min(1000, rows // 20))
            server.bench("ingest", "--create", "--collection", COLLECTION, "--input",
                         self.data.base, "--rows", batch, "--payload", "--shards", 1, "--ack-log",
                         log, "--quiet")
            first, seconds = batch, 0.2
            for number in range(1, count + 1):
                end = min(self.points, first + rows)
                timer = threading.Timer(rng.uniform(0.0, seconds), server.kill9)
                begin = time.monotonic()
                timer.start()
                done = server.client(
                    "bench", "ingest", "--collection", COLLECTION, "--input", self.data.base,
                    "--first-row", first, "--rows", end - first, "--payload", "--clients", 8,
                    "--batch", batch, "--ack-log", log, "--stop-on-error", "--quiet", check=False)
                elapsed = time.monotonic() - begin
                timer.join()
                interrupted = done.returncode != 0
                # Aim within the time that this much takes.
                seconds = max(seconds, 0.9 * elapsed) if interrupted else 0.9 * elapsed
                server.kill9()
                restart = time.monotonic()
                server.start(timeout_s=600)
                restart = time.monotonic() - restart
                checked = server.bench("verify", "--collection", COLLECTION, "--input",
                                       self.data.base, "--ack-log", log, "--payload", "--searches",
                                       50, "--seed", number, "--quiet", timeout_s=3600)
                say(f"kill {number} of {count}: {checked['acknowledged']:,} acknowledged points "
                    f"there, {checked['unacknowledged_present']:,} others that were sent; restart "
                    f"{restart:.2f} s{'' if interrupted else ' (after the last answer)'}")
                outcomes.append({"interrupted": interrupted, "restart_s": restart, **checked})
                first = end
                if first >= self.points:
                    break
            server.stop()
        finally:
            server.close()
        return {"count": len(outcomes), "seed": seed,
                "interrupted": sum(outcome["interrupted"] for outcome in outcomes),
                "acknowledged": outcomes[-1]["acknowledged"], "outcomes": outcomes}

    def run(self):
        result = self.result
        result["hnswlib"] = self.hnswlib()
        server = self.server("server")
        try:
            server.start()
            result["ingest"] = self.ingest(server)
            result["search"] = self.searches(server)
            result["costs"] = self.costs(server, result["search"]["ef"])
            say("kill -9, then start again")
            result["restart_after_kill_s"] = self.restart(server, server.kill9)
            say("SIGTERM, then start again")
            result["restart_after_stop_s"] = self.restart(server, server.stop)
            result["resident_after_restart_bytes"] = server.memory_bytes("VmRSS")
            server.stop()
        finally:
            server.close()
        shutil.rmtree(self.folder / "server", ignore_errors=True)
        if self.arguments.kills:
            result["kills"] = self.kills(self.arguments.kills)
        return result


def rows_of(result):
    """(what, measured, target, met or None) of everything that is reported."""
    ingest, search, hnswlib = result["ingest"], result["search"], result["hnswlib"]
    costs = result["costs"]
    acked, indexed = (ingest[key] / hnswlib["seconds"] for key in ("acked_s", "indexed_s"))
    gb = 1e9

    def row(what, value, target=None, met=None):
        return (what, value, target or "", met)

    rows = [
        row("hnswlib, 2 threads", f"{hnswlib['seconds']:.1f} s"),
        row("all acknowledged", f"{ingest['acked_s']:.2f} s = {acked:.3f} x hnswlib", "<= 0.3 x",
            acked <= 0.3),
        row("fully indexed", f"{ingest['indexed_s']:.1f} s = {indexed:.3f} x hnswlib", "<= 1.2 x",
            indexed <= 1.2),
        row(f"recall@{K}, all queries", f"{search['recall']:.4f} at ef {search['ef']}",
            f">= {TARGET_RECALL}", search["recall"] >= TARGET_RECALL),
    ]
    for kind, unit in (("closed", "clients"), ("open", "QPS offered")):
        for key, run in search[kind].items():
            latency = run["latency_ms"]
            rows.append(row(f"{kind} loop, {key} {unit}",
                            f"{run['per_second']:,.0f} QPS, p50 {latency['p50']:.3f} ms, p99 "
                            f"{latency['p99']:.3f} ms"))
    for suffix, what in (("", "server CPU a search, 1 client"),
                         ("_paced", "  beside both with its pauses")):
        more = costs["more" + suffix]
        rows.append(row(what, f"{costs['search']:.1f} us; in process "
                        f"{costs['in_process' + suffix]:.1f}, empty RPC "
                        f"{costs['empty_rpc' + suffix]:.1f}: {more:.1f} us more",
                        f"<= {SEARCH_MORE_US} us more", more <= SEARCH_MORE_US))
    rows += [
        row("written to disk", f"{ingest['written_per_vector_byte']:.2f} bytes a byte of vector"),
        row("memory, settled", f"{ingest['resident_settled_bytes'] / gb:.3f} GB",
            "<= 1.6 GB", ingest["resident_settled_bytes"] <= 1.6e9),
        row("memory, peak", f"{ingest['resident_peak_bytes'] / gb:.3f} GB"),
        row("kill -9 to first correct search", f"{result['restart_after_kill_s']:.2f} s", "< 10 s",
            result["restart_after_kill_s"] < 10),
        row("SIGTERM to first correct search", f"{result['restart_after_stop_s']:.2f} s", "< 10 s",
            result["restart_after_stop_s"] < 10),
    ]
    if "kills" in result:
        kills = result["kills"]
        rows.append(row("kill -9 while ingesting",
                        f"{kills['count']} times, {kills['acknowledged']:,} acknowledged points, "
                        "none lost or altered, none made up", "", True))
    return rows


def print_table(rows):
    cells = [(what, value, target, "" if met is None else "met" if met else "MISSED")
             for what, value, target, met in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(4)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def parse_arguments():
    parser = argparse.ArgumentParser(prog="bench/standalone.sh",
                                     description="Measure one process of Vectron.")
    parser.add_argument("folder", help="a data set in TEXMEX format")
    parser.add_argument("--binary", default=ROOT / "build" / "release" / "vectron")
    parser.add_argument("--kills", type=int, default=20, help="kill -9 so often; 0: not at all")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--quick", action="store_true",
                        help="short runs, to see that it works: targets are not judged")
    parser.add_argument("--out", type=pathlib.Path,
                        default=ROOT / "build" / "bench" / "standalone.json")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="vectron-bench-"))
    try:
        result = Bench(arguments, folder).run()
    except KeyboardInterrupt:
        say("standalone: interrupted")
        return 130
    except (BenchFailed, texmex.DataError, vectron_process.ServerFailed, OSError,
            subprocess.SubprocessError) as error:
        say(f"standalone: failed: {error}")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows = rows_of(result)
    result["table"] = [{"what": what, "measured": value, "target": target, "met": met}
                       for what, value, target, met in rows]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print_table(rows)
    print(f"\nAll figures: {arguments.out}")
    missed = [what for what, _, _, met in rows if met is False]
    return 1 if missed and not arguments.quick else 0


if __name__ == "__main__":
    sys.exit(main())
