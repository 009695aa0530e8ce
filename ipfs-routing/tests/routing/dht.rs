//! The distributed hash table: by itself, in simulation, and over a network.

mod announce;
mod driver;
mod hostile;
mod simulation;
mod world;
