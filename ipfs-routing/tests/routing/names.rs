//! Publishing and resolving names.
