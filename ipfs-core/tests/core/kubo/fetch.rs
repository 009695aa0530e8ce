//! Directories go from one to the other over the network.

use std::sync::Arc;

use ipfs_core::{Node, unixfs::Params};

use super::{Kubo, program, text};
use crate::{
    content,
    network::{QUIC, TCP},
};

/// Each fetches the same kind of directory from the other, and agrees on its CID.
#[tokio::test(flavor = "multi_thread")]
async fn each_fetches_a_directory_from_the_other() {
    let Some(program) = program() else { return };
    let kubo = Arc::new(Kubo::new(&program));
    let folder = tempfile::tempdir().unwrap();
    let _daemon = kubo.start();
    for (seed, (transport, listen)) in [("/tcp/", TCP), ("/quic-v1", QUIC)].into_iter().enumerate()
    {
        let (ours, theirs) = (folder.path().join(format!("ours{seed}")), seed as u64 + 100);
        content::tree(&ours, seed as u64);
        let node = Node::builder().data_dir(folder.path().join(format!("node{seed}")));
        let node = node.listen([listen.parse().unwrap()]).spawn().await.unwrap();

        // Ours to Kubo, which dials.
        let added = node.unixfs().add_path(&ours).await.unwrap();
        let cid = added.cid.to_string();
        let says = kubo.call(&["add", "-r", "-Q", "--only-hash", text(&ours)]).await;
        assert_eq!(says, cid, "{transport}");
        kubo.call(&["swarm", "connect", &node.addresses()[0].to_string()]).await;
        let out = folder.path().join(format!("kubo{seed}"));
        kubo.call(&["get", &cid, "-o", text(&out)]).await;
        assert!(content::read(&out) == content::read(&ours), "{transport}: Kubo's tree differs");

        // Kubo's to another of ours, which dials.
        let kubos = folder.path().join(format!("theirs{seed}"));
        content::tree(&kubos, theirs);
        let cid = kubo.call(&["add", "-r", "-Q", text(&kubos)]).await;
        let other = Node::builder().listen([]).spawn().await.unwrap();
        other.connect(&kubo.address(transport).await).await.unwrap();
        let out = folder.path().join(format!("node-got{seed}"));
        other.unixfs().write(&cid, &out).await.unwrap();
        assert!(content::read(&out) == content::read(&kubos), "{transport}: our tree differs");
        assert_eq!(other.unixfs().add_path(&kubos).await.unwrap().cid.to_string(), cid);

        // The older profile too: what most of the network holds.
        let old = node.unixfs().params(Params::unixfs_v0_2015()).add_path(&ours).await.unwrap();
        let flags = ["--cid-version=0", "--raw-leaves=false", "--chunker=size-262144"];
        let links = ["--max-file-links=174", "--only-hash", text(&ours)];
        let says = kubo.call(&[&["add", "-r", "-Q"], &flags[..], &links[..]].concat()).await;
        assert_eq!(says, old.cid.to_string());
        node.close().await.unwrap();
        other.close().await.unwrap();
    }
}
