"""Bulk provisioning."""
