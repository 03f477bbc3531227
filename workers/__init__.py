"""The back room: RQ workers and the clock. No Flask."""
