//! Programs of others, which read the same objects.
