//! Names of the domain name system that lead to content.
