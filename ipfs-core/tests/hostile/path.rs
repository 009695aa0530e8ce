//! What must hold of paths whatever they are made of: shared by the test and the fuzz target.

use ipfs_core::Path;

/// What a text is parsed to is written as itself, as text and as a URI.
pub(crate) fn path(text: &str) {
    let Ok(path) = text.parse::<Path>() else {
        return;
    };
    assert!(path.segments().iter().all(|name| !matches!(&**name, "" | "." | "..")));
    assert_eq!(path.to_string().parse::<Path>().expect("its own"), path);
    assert_eq!(path.to_uri().parse::<Path>().expect("its own"), path);
}
