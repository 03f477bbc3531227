"""Every kind of due work: its queue, who claims it, who does it, who records it."""
