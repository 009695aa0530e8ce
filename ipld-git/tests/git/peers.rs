//! Programs of others, which read the same objects: git itself, and go-ipld-git.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The machine's own git, in a folder, with nobody's configuration.
pub(crate) struct Git(PathBuf);

/// Git, if it is here. Where `IPFS_PEERS` is set it has to be.
pub(crate) fn git() -> Option<Git> {
    let found = Command::new("git").arg("--version").stdout(Stdio::null()).status();
    let here = found.is_ok_and(|status| status.success());
    assert!(here || std::env::var_os("IPFS_PEERS").is_none(), "git is not installed");
    here.then(|| Git(PathBuf::from(".")))
}

impl Git {
    pub(crate) fn in_folder(&self, folder: &Path) -> Self {
        Self(folder.into())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .current_dir(&self.0)
            .args(["-c", "safe.directory=*", "-c", "protocol.file.allow=always"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        command
    }

    /// Runs it and gives what it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.bytes(arguments)).unwrap()
    }

    /// What it prints, and whether it was content.
    pub(crate) fn says(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    pub(crate) fn bytes(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.command(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {said}");
        output.stdout
    }
}
