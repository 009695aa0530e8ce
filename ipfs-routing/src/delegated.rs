//! Asking other nodes for routing, over HTTP, and answering them.
