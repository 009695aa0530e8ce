//! What several failures are together.

use std::fmt;

use ipfs_traits::Error;

/// Why nothing was found, if that is not because there is nothing.
pub(super) fn nothing_found(routers: usize, errors: Vec<Error>) -> Option<Error> {
    let all_unsupported = errors.len() == routers;
    let failed = errors.iter().any(|error| !is_unsupported(error));
    (all_unsupported || failed).then(|| all_failed(errors))
}

/// The error of those that all failed; what one does not support is no failure beside others.
pub(super) fn all_failed(errors: Vec<Error>) -> Error {
    let (unsupported, mut failed): (Vec<_>, Vec<_>) = errors.into_iter().partition(is_unsupported);
    match failed.len() {
        0 => unsupported.into_iter().next().unwrap_or_else(|| Error::unsupported("routing")),
        1 => failed.remove(0),
        _ => Error::component("each of the routers", Failures(failed)),
    }
}

pub(super) const fn is_unsupported(error: &Error) -> bool {
    matches!(error, Error::Unsupported(_))
}

#[derive(Debug)]
struct Failures(Vec<Error>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("; "))
    }
}

impl std::error::Error for Failures {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.first().map(|first| first as _)
    }
}
