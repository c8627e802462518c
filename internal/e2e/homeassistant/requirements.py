"""Prints the requirements of the given Home Assistant integrations and their dependencies.

Run with the Python that has Home Assistant: python requirements.py mqtt frontend ...
"""
import json
import pathlib
import sys

import homeassistant

components = pathlib.Path(homeassistant.__file__).parent / "components"
found, todo, requirements = set(), sys.argv[1:], set()
while todo:
    name = todo.pop()
    if name in found:
        continue
    found.add(name)
    manifest = json.loads((components / name / "manifest.json").read_text())
    requirements.update(manifest.get("requirements", []))
    todo += manifest.get("dependencies", [])
print("\n".join(sorted(requirements)))
