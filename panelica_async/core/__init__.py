"""What needs no I/O: addresses, signatures, requests, replies and their errors, models, JSON, redaction."""
