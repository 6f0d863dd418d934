"""Runs the notebooks and saves what they print and draw, so that they can be read without running: `make outputs`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tests.test_notebooks import NOTEBOOKS, SECONDS, code_cells, environment


def main() -> None:
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            resources = {"metadata": {"path": folder}}
            client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=resources)
            client.execute(env=environment(Path(folder)))
        for cell in code_cells(notebook):
            cell.metadata.pop("execution", None)  # when it ran: another time with each run
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]  # of the machine
        notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
        path.write_text(nbformat.writes(notebook, indent=1), encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
