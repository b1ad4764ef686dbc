"""An engine in a process of its own: `process` is the parent's end, `serving` the child's, `wire` between them."""
