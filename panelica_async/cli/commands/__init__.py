"""The commands of `panelica`, a module each."""
