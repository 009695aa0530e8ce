//! One stream between two peers, and the protocol it speaks.

use std::{
    borrow::Cow,
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use futures_io::{AsyncRead, AsyncWrite, IoSlice};

use crate::{Error, PeerId, Result};

/// The name of a protocol, as peers negotiate it: `/ipfs/bitswap/1.2.0`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(Cow<'static, str>);

impl Protocol {
    /// The longest name: what multistream-select lets through (140 bytes in libp2p's), with its
    /// line end.
    pub const MAX_LEN: usize = 139;

    /// A protocol whose name is known to be good: it begins with `/`.
    pub const fn from_static(name: &'static str) -> Self {
        assert!(!name.is_empty() && name.as_bytes()[0] == b'/', "a protocol begins with a slash");
        assert!(name.len() <= Self::MAX_LEN, "a protocol has at most 139 bytes");
        Self(Cow::Borrowed(name))
    }

    /// A protocol by a name that comes from elsewhere.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when it does not begin with `/`, or holds a line end;
    /// [`Error::Limit`] when it is longer than [`Self::MAX_LEN`].
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        if !name.starts_with('/') || name.contains('\n') {
            return Err(Error::invalid("protocol", "it must be one line that begins with a slash"));
        }
        if name.len() > Self::MAX_LEN {
            return Err(Error::limit("bytes of a protocol name", Self::MAX_LEN, name.len()));
        }
        Ok(Self(Cow::Owned(name)))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Protocol {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that bytes can be read from and written to, as every transport's stream is.
pub trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// A stream to a peer. Close it to say that all is written; dropped unclosed, it is reset.
pub struct Stream {
    protocol: Protocol,
    io: Pin<Box<dyn Duplex>>,
}

impl Stream {
    /// The stream `io`, which speaks `protocol`.
    pub fn new(protocol: Protocol, io: impl Duplex + 'static) -> Self {
        Self { protocol, io: Box::pin(io) }
    }

    /// The protocol that both sides settled on.
    pub const fn protocol(&self) -> &Protocol {
        &self.protocol
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_close(cx)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.protocol)
    }
}

/// A stream that a peer opened.
#[derive(Debug)]
pub struct Inbound {
    /// Who opened it.
    pub peer: PeerId,
    /// The stream.
    pub stream: Stream,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!(Protocol::new("/a/1").unwrap(), Protocol::from_static("/a/1"));
        assert!(matches!(Protocol::new("a"), Err(Error::Invalid { .. })));
        assert!(matches!(Protocol::new("/a\n"), Err(Error::Invalid { .. })));
        assert!(matches!(Protocol::new(format!("/{}", "a".repeat(139))), Err(Error::Limit { .. })));
    }
}
