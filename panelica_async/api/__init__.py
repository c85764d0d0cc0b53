"""The client: resources and pages over the transport."""
