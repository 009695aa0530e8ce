//! The root that Kubo's tree has after each step.

use ipfs_traits::Result;
use ipfs_unixfs::{
    Chunker, Params, Sharding,
    data::Mtime,
    mfs::{FileOptions, Mfs},
};
use serde_json::Value;

use super::Desk;
use crate::support::{Report, table};

fn params(options: &Value) -> Params {
    let v1 = options["cid_version"] == 1;
    let profile = if v1 { Params::unixfs_v1_2025() } else { Params::unixfs_v0_2015() };
    let chunker: Chunker = options["chunker"].as_str().unwrap().parse().unwrap();
    let Some(threshold) = options["threshold"].as_u64() else {
        return Params { chunker, sharding: Sharding::ByLinks(256 << 10), ..profile };
    };
    let sharding = match options["estimation"].as_str().unwrap() {
        "block" => Sharding::ByBlock(threshold as usize),
        _ => Sharding::ByLinks(threshold as usize),
    };
    Params { chunker, sharding, fanout: 8, ..profile }
}

/// Bytes that differ from write to write, as the cases were made with.
fn bytes(number: u64, len: u64) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + number * 13 + (at >> 8)) as u8).collect()
}

async fn perform(mfs: &Mfs, step: &Value, raw: bool) -> Result<()> {
    let text = |key: &str| step[key].as_str().unwrap();
    let number = |key: &str| step[key].as_u64().unwrap();
    let path = text("path");
    match text("op") {
        "mkdir" => mfs.mkdir(path, false).await,
        "mkdirp" => mfs.mkdir(path, true).await,
        "cp" => mfs.cp(path, text("to")).await,
        "mv" => mfs.mv(path, text("to")).await,
        "rm" => mfs.rm(path, true).await,
        "chmod" => mfs.chmod(path, Some(number("mode") as u32)).await,
        "touch" => {
            let seconds = step["mtime"].as_i64().unwrap();
            mfs.touch(path, Some(Mtime { seconds, nanos: None })).await
        }
        op @ ("write" | "writep") => {
            let parents = op == "writep";
            let options = FileOptions { parents, raw_leaves: Some(raw), ..FileOptions::write() };
            mfs.write(path, number("at"), bytes(number("n"), number("len")), options).await
        }
        other => panic!("{other}"),
    }
}

#[test]
fn roots_after_each_step() {
    let path = "unixfs/mfs.tsv";
    let mut report = Report::new(path);
    for case in table(path) {
        let options: Value = serde_json::from_str(&case["options"]).unwrap();
        let steps: Value = serde_json::from_str(&case["steps"]).unwrap();
        let desk = Desk::new(params(&options));
        let mfs = desk.open();
        let mut differs = None;
        for (at, step) in steps.as_array().unwrap().iter().enumerate() {
            let done = desk.run(perform(&mfs, step, options["cid_version"] == 1));
            let root = desk.run(mfs.stat("/")).unwrap().cid.to_string();
            let same = done.is_ok() == step["ok"].as_bool().unwrap()
                && (step["root"] == "" || root == step["root"].as_str().unwrap());
            if !same && differs.is_none() {
                differs = Some(format!("step {at} {step}: {done:?}, {root}"));
            }
        }
        report.same(case.id(), differs, None);
    }
    report.finish();
}
