"""The style check finds what it is there to find."""

import pathlib
import subprocess
import sys

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "check-style"


def run(root):
    return subprocess.run([sys.executable, str(SCRIPT), str(root)], stdout=subprocess.PIPE,
                          text=True, check=False, timeout=60)


def write(root, name, text):
    path = root / "src" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_allowed_includes_pass(tmp_path):
    write(tmp_path, "gateway/a.cc", '#include "common/error.h"\n#include "rpc/worker_api.h"\n')
    write(tmp_path, "shard/b.h", '#pragma once\n#include "consensus/state_machine.h"\n')
    result = run(tmp_path)
    assert result.returncode == 0, result.stdout


def test_forbidden_include_is_named(tmp_path):
    write(tmp_path, "gateway/a.cc", '#include "consensus/host.h"\n')
    result = run(tmp_path)
    assert result.returncode == 1
    assert "src/gateway/a.cc:1: src/gateway must not include consensus/host.h" in result.stdout


def test_roles_do_not_include_each_other(tmp_path):
    roles = ["placement", "worker", "gateway"]
    for role in roles:
        for other in roles:
            if role != other:
                write(tmp_path, f"{role}/uses_{other}.cc", f'#include "{other}/x.h"\n')
    assert run(tmp_path).stdout.count("must not include") == 6


def test_clocks_threads_and_long_files_are_found(tmp_path):
    write(tmp_path, "index/a.cc", "auto t = std::chrono::steady_clock::now();\n")
    write(tmp_path, "worker/b.cc", "std::thread t;\n")
    write(tmp_path, "shard/c.cc", "int x;\n" * 701)
    write(tmp_path, "rpc/d.h", "int x;\n")
    output = run(tmp_path).stdout
    for expected in ["src/index/a.cc:1", "src/worker/b.cc:1", "src/shard/c.cc: 701 lines",
                     "src/rpc/d.h: no #pragma once"]:
        assert expected in output
