"""People's side of the SSH gateway: end to end to a host, or brokered by us, with the same rights as in the portal."""
