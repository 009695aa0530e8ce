//! A real Kubo, both ways, and other implementations beside it. `IPFS_KUBO` names its program; without
//! it a test says that it was skipped, unless `IPFS_PEERS` says that it must not be.

#[cfg(unix)]
mod archives;
mod blocks;
mod cars;
mod dag;
mod exchange;
mod fetch;
#[cfg(unix)]
mod import;
mod keys;
#[cfg(unix)]
mod mfs;
#[cfg(unix)]
mod options;
#[cfg(feature = "reqwest")]
mod pinning;
mod pins;
mod reading;
mod routing;
#[cfg(unix)]
mod trees;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use serde_json::{Map, Value};

use crate::network::{QUIC, TCP};

/// Kubo's program, if it is here.
fn program() -> Option<PathBuf> {
    named("IPFS_KUBO")
}

/// The program that a variable of the environment names.
fn named(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from);
    if found.is_none() {
        assert!(std::env::var_os("IPFS_PEERS").is_none(), "{variable} does not name a program");
        println!("skipped: {variable} does not name a program");
    }
    found
}

/// A repository of Kubo, alone with its peers.
struct Kubo {
    program: PathBuf,
    folder: tempfile::TempDir,
}

/// A running Kubo, until it is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Kubo {
    fn new(program: &Path) -> Self {
        let kubo = Self { program: program.into(), folder: tempfile::tempdir().unwrap() };
        kubo.run(&["init", "--profile=test"]);
        kubo.run(&["config", "profile", "apply", "unixfs-v1-2025"]);
        kubo.run(&["config", "AutoConf.Enabled", "--bool", "false"]);
        kubo.run(&["bootstrap", "rm", "--all"]);
        kubo.run(&["config", "Routing.Type", "none"]);
        kubo.run(&["config", "Addresses.Swarm", "--json", &format!(r#"["{TCP}", "{QUIC}"]"#)]);
        for face in ["Addresses.API", "Addresses.Gateway"] {
            kubo.run(&["config", face, "/ip4/127.0.0.1/tcp/0"]);
        }
        kubo
    }

    fn repo(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).env("IPFS_PATH", self.repo()).env("IPFS_TELEMETRY", "off");
        command
    }

    /// Runs a command to its end, and gives what it says.
    fn run(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let says = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ipfs {args:?}: {says}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// [`run`](Self::run), where it may block.
    async fn call(self: &Arc<Self>, args: &[&str]) -> String {
        let (kubo, args) = (self.clone(), args.iter().map(ToString::to_string).collect::<Vec<_>>());
        let run = move || kubo.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// A copy of it, which nothing has in common with this one.
    fn copy(&self) -> Self {
        let copy = Self { program: self.program.clone(), folder: tempfile::tempdir().unwrap() };
        let done = Command::new("cp").arg("-r").arg(self.repo()).arg(copy.repo()).status();
        assert!(done.unwrap().success());
        copy
    }

    /// All that it is told of imports, in the place of what it was told before.
    fn tell_of_imports(&self, told: &Map<String, Value>) {
        let path = self.repo().join("config");
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        config["Import"] = Value::Object(told.clone());
        fs::write(path, config.to_string()).unwrap();
    }

    fn start(&self) -> Daemon {
        let mut child = self.command(&["daemon"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.any(|line| line.unwrap().contains("Daemon is ready"));
        let daemon = Daemon(child);
        assert!(ready, "the daemon ended");
        // What else it says goes nowhere.
        std::thread::spawn(move || lines.for_each(drop));
        daemon
    }

    /// Where it listens with a transport.
    async fn address(self: &Arc<Self>, transport: &str) -> String {
        let name = self.call(&["id", "-f", "<addrs>"]).await;
        name.lines().find(|line| line.contains(transport)).unwrap().to_owned()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
