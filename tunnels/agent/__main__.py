"""`python -m tunnels.agent`, `brokerd-agent`."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from tunnels.agent import screen
from tunnels.agent.account import Account, NoAccount, own_account
from tunnels.agent.config import Config, UsageError, read_orders
from tunnels.agent.doctor import examine_all
from tunnels.agent.lifecycle import CANNOT_GO_ON, run_agents, share_terminal, why
from tunnels.agent.say import complain, say
from tunnels.agent.share import INSIDE


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the agent in the foreground. 0: told to stop; 1: cannot go on; 2: bad arguments or configuration.

    `share` answers the status of the shell that was shared. `doctor` looks at what would be run: 0: nothing is wrong;
    1: something is.
    """
    logging.basicConfig(level=logging.WARNING, format="brokerd-agent: %(levelname)s %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.ERROR)
    try:
        orders = read_orders(sys.argv[1:] if arguments is None else arguments, os.environ)
        account = own_account()
        if orders.command == "doctor":
            return asyncio.run(examine_all(orders.agents, account, say=say))
        if orders.command == "share":
            return share(orders.agents, account)
        asyncio.run(run_agents(orders, account, say=say))
    except UsageError as error:
        complain(str(error))
        return 2
    except (*CANNOT_GO_ON, NoAccount) as error:
        complain(why(error))
        return 1
    return 0


def share(configs: Sequence[Config], account: Account) -> int:
    """The exit status of the shell that was shared. UsageError where there is nothing to share, or nobody to ask."""
    if len(configs) > 1:
        raise UsageError("the configuration file has several brokers: name one with --broker and its --state")
    if configs[0].forward:
        raise UsageError("share goes with login-shell only: behind forward, the sshd serves people")
    if INSIDE in os.environ:
        raise UsageError("this terminal is shared already")
    if not screen.is_terminal():
        raise UsageError("share needs a terminal in front of you")
    return screen.guarded(lambda: asyncio.run(share_terminal(configs[0], account)))


if __name__ == "__main__":
    sys.exit(main())
