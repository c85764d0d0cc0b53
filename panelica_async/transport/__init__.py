"""Sends prepared requests: retry, limiter, signer and exchange as aiohttp client middlewares, in this order.

Each attempt waits for quota first and is then signed afresh, so that no signature grows old in a queue.
"""
