//! A node that has nothing to do, and peers for it.

use ipfs_core::{CollectWhen, DhtOptions, Node};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::Result;

/// A node of the public network, but for the peers that it would begin with. `connect ADDRESS` has it
/// connect to a peer, `trim` give back to the system what it does not use.
pub(crate) async fn idle(folder: &str, address: &str) -> Result<()> {
    let node = Node::builder()
        .data_dir(folder)
        .listen([address.parse()?])
        .dht(DhtOptions::default())
        .collect(CollectWhen::larger_than(10 << 30))
        .spawn()
        .await?;
    println!("{}\nready", node.addresses()[0]);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(address) = line.strip_prefix("connect ") {
            node.connect(address).await?;
            println!("connect");
            continue;
        }
        // SAFETY: it takes any number, and touches nothing that is in use.
        unsafe { libc::malloc_trim(0) };
        println!("trim {}", node.peers().await.len());
    }
    node.close().await?;
    Ok(())
}

/// So many nodes that are connected to others, until the standard input ends. Prints where they are.
pub(crate) async fn peers(count: usize, addresses: &[&str]) -> Result<()> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        let listen = "/ip4/127.0.0.1/tcp/0".parse()?;
        let node = Node::builder().listen([listen]).dht(DhtOptions::default()).spawn().await?;
        for address in addresses {
            node.connect(*address).await?;
        }
        println!("{}", node.addresses()[0]);
        nodes.push(node);
    }
    println!("ready");
    tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await?;
    Ok(())
}
