"""Live terminals of others that a person was invited to, each a link that joins it."""

from __future__ import annotations

from terminals.pages import live
from terminals.pages.guards import PersonRequest
from terminals.shares import invitations, owner_may_share

MAX_SHOWN = 12


def shared_with_you(request: PersonRequest) -> list[live.Item]:
    """One for each session, however often it was shared; the right to type goes before that to watch."""
    shares = invitations(request.user)[: 4 * MAX_SHOWN]
    by_session = {share.session_id: share for share in reversed(shares) if owner_may_share(share.session)}
    newest = sorted(by_session.values(), key=lambda share: share.created_at, reverse=True)[:MAX_SHOWN]
    return live.items(request, "hosts/shared_terminal.html", [(str(share.pk), {"share": share}) for share in newest])
