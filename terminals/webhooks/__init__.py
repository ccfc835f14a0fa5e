"""Webhooks: other programs are told of sessions and hosts, signed, in order and at least once.

`news` says what is told, `damping` keeps hosts that flap from flooding it, `queue` writes it down, `dispatcher` sends
it. What a receiver may rely on is in docs/webhooks.md.
"""
