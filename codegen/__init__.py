"""The generator: reads `spec/` and writes every generated file of the repository. Run `python -m codegen`.

The modules in the order of the work:

1. `yaml_nodes` reads YAML and remembers the line of every node. `checks` validates a file against `conventions.yaml`,
   then references, names and scopes across files.
2. `spec` merges the files of the published reference. `panel` reads those of current panels, and the bridge that ties
   the two; `panel_wires` works out how an operation of the reference travels to current panels.
3. `operations` prepares the operations of the reference and those that only current panels have, as `methods` describes
   them for the templates. `modules` arranges them in namespaces and modules.
4. `render` fills the templates with the texts of `docstrings` and `text`, runs datamodel-code-generator (`models`), and
   formats the result. `__main__` is the command: it writes the files or compares them.
"""
