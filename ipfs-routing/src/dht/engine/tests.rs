use ipfs_traits::memory::peer_id;

use super::*;
