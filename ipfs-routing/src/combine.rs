//! Several routers as one.
