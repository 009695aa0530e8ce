//! What a node has, announced again and again while it has it.

mod announce;
mod crash;
mod failures;
mod sweep;
pub(crate) mod world;
