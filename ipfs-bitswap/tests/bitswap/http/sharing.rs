//! One request for all who want a block, bounds on what is under way, and the end of it.
