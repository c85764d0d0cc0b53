"""The generator: reads `spec/`, writes everything generated in this repository. Run `python -m codegen`."""
