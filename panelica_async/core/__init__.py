"""What needs no network: addresses, signatures, requests, replies and their errors, models, JSON, redaction, files."""
