"""The unmodified @qdrant/js-client-rest from npm, run by node."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

SOURCES = pathlib.Path(__file__).parent / "js"


@pytest.fixture(scope="session")
def js_folder(tmp_path_factory):
    """The script with its package installed beside it, outside the checkout."""
    for program in ("node", "npm"):
        assert shutil.which(program), f"{program} is missing: scripts/install-deps test"
    folder = tmp_path_factory.mktemp("js")
    for name in ("package.json", "client_test.mjs"):
        shutil.copy(SOURCES / name, folder)
    subprocess.run(["npm", "install", "--package-lock=false", "--no-audit", "--no-fund"],
                   cwd=folder, check=True, timeout=300, capture_output=True)
    return folder


def test_js_client(js_folder, shared_server):
    done = subprocess.run(["node", "--test", "client_test.mjs"], cwd=js_folder, timeout=300,
                          env={**os.environ, "VECTRON_URL": shared_server.http_url},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # Not zero tests, either: node says so in TAP or in its own format.
    assert re.search(r"^\W+ pass 4$", done.stdout, re.MULTILINE), done.stdout
