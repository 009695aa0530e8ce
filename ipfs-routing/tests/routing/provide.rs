//! What a node has, announced again and again while it has it.
