"""Runs a vectron server as a child process, for the demo, the benchmark and the tests.

Only what Python itself brings is used.
"""

import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request


class ServerFailed(Exception):
    """The server did not start or stop as it should; the message has its output."""


class Server:
    """One `vectron serve` on free ports of 127.0.0.1, stopped by its pid only.

    `data_dir` stays where it is when the server ends. Output goes to `log_path`,
    appended to over restarts.
    """

    def __init__(self, binary, data_dir, log_path, args=(), env=None):
        self.binary = pathlib.Path(binary)
        self.data_dir = pathlib.Path(data_dir)
        self.log_path = pathlib.Path(log_path)
        self.args = list(args)
        self.env = env or {}
        self.process = None
        self.ports = {}

    # What is running -------------------------------------------------------

    @property
    def pid(self):
        return self.process.pid

    @property
    def http_url(self):
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def http_port(self):
        return int(self.ports["http"].rpartition(":")[2])

    @property
    def grpc_port(self):
        return int(self.ports["grpc"].rpartition(":")[2])

    @property
    def grpc_address(self):
        return f"127.0.0.1:{self.grpc_port}"

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # Lifecycle -------------------------------------------------------------

    def spawn(self):
        """Starts the process without waiting for it to be ready."""
        if self.process is not None and self.process.poll() is None:
            raise ServerFailed(f"pid {self.process.pid} still runs")
        # What the caller's shell says about vectron is not meant for this server.
        env = {k: v for k, v in os.environ.items() if not k.startswith("VECTRON_")}
        env.update(self.env)
        command = [str(self.binary), "serve", "--data-dir", str(self.data_dir),
                   "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0", *self.args]
        with open(self.log_path, "ab") as log:
            # A group of its own: Ctrl-C in a terminal reaches the caller, who stops
            # the server in order.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=env, start_new_session=True)

    def start(self, timeout_s=60):
        self.spawn()
        self.wait_ready(timeout_s)
        return self

    def wait_ports(self, timeout_s=60):
        """Waits until this process has written the addresses it listens on."""
        path = self.data_dir / "ports.json"
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self._check_alive()
            try:
                ports = json.loads(path.read_text())
                if ports["pid"] == self.process.pid:
                    self.ports = ports
                    return
            except (FileNotFoundError, json.JSONDecodeError):
                pass
            time.sleep(0.01)
        raise ServerFailed(f"no ports after {timeout_s} s:\n{self.log_tail()}")

    def wait_ready(self, timeout_s=60):
        """Waits until /readyz answers 200."""
        deadline = time.monotonic() + timeout_s
        self.wait_ports(timeout_s)
        problem = "never answered"
        while time.monotonic() < deadline:
            self._check_alive()
            try:
                with urllib.request.urlopen(self.http_url + "/readyz", timeout=5) as response:
                    if response.status == 200:
                        return
            except urllib.error.HTTPError as error:
                problem = f"{error.code} {error.read()[:300]!r}"
            except OSError as error:
                problem = str(error)
            time.sleep(0.02)
        raise ServerFailed(f"not ready after {timeout_s} s: {problem}\n{self.log_tail()}")

    def wait_exit(self, timeout_s=60):
        """Returns the exit code of a process that ends by itself."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ServerFailed(f"still runs after {timeout_s} s:\n{self.log_tail()}") from None

    def kill9(self):
        """The process gets no chance to do anything more."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)

    def stop(self, timeout_s=60):
        """SIGTERM, and what the process says to that: its exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait_exit(timeout_s)

    def restart(self, timeout_s=60):
        self.stop()
        return self.start(timeout_s)

    def close(self):
        """Whatever state it is in, it does not run afterwards."""
        try:
            if self.process is not None and self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(20)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill9()

    # Talking to it ---------------------------------------------------------

    def http(self, method, path, body=None, timeout_s=60):
        """(status, decoded JSON or text) of one REST request."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.http_url + path, data=data, method=method,
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                return response.status, _decode(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _decode(error)

    def client(self, *args, timeout_s=600, check=True, progress=False):
        """Runs `vectron ARGS --server <this one>` and returns the CompletedProcess."""
        command = [str(self.binary), *map(str, args), "--server", self.grpc_address]
        done = subprocess.run(command, stdout=subprocess.PIPE,
                              stderr=None if progress else subprocess.PIPE, text=True,
                              timeout=timeout_s, check=False)
        if check and done.returncode != 0:
            raise ServerFailed(f"{' '.join(command)}\nexited with {done.returncode}:\n"
                               f"{done.stdout}{done.stderr or ''}")
        return done

    def bench(self, *args, **kwargs):
        """The JSON result of `vectron bench ARGS`."""
        return json.loads(self.client("bench", *args, **kwargs).stdout)

    # The process from outside ----------------------------------------------

    def memory_bytes(self, field="VmRSS"):
        """VmRSS: resident now; VmHWM: its peak."""
        for line in (pathlib.Path("/proc") / str(self.pid) / "status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise ServerFailed(f"no {field} of pid {self.pid}")

    def written_bytes(self):
        """What the process caused to be written to disk."""
        for line in (pathlib.Path("/proc") / str(self.pid) / "io").read_text().splitlines():
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
        raise ServerFailed(f"no write_bytes of pid {self.pid}")

    def cpu_seconds(self):
        fields = (pathlib.Path("/proc") / str(self.pid) / "stat").read_text().rpartition(")")[2]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _check_alive(self):
        code = self.process.poll()
        if code is not None:
            raise ServerFailed(f"the server exited with {code}:\n{self.log_tail()}")

    def log_tail(self):
        return "\n".join(self.log().splitlines()[-30:])


def _decode(response):
    text = response.read().decode("utf-8", "replace")
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
