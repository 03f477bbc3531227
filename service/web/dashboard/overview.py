"""What happens on this gateway, on one page."""

from service.web.auth import scope
from service.web.dashboard.pages import pages, render

blueprint = pages('overview', __name__)


@blueprint.get('')
@scope('read')
def overview() -> str:
    """Show the numbers of a time, and what needs a person."""
    return render('overview.html')
