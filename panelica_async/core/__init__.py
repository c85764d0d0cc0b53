"""Pure functions without I/O: signing, addresses, envelopes, errors, encodings."""
