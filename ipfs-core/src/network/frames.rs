//! Large frames of Yamux, cut into smaller ones before Yamux sees them.
//!
//! The specification bounds a frame by the window of its stream alone, and js-libp2p sends frames as
//! large as that. The crate `yamux` ends the connection at a frame of more than 1 MiB, while the
//! windows that it grants grow to 16 MiB.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::ready;
use futures_io::{AsyncRead, AsyncWrite, IoSlice};

/// Bytes of the largest piece: what go-libp2p sends at most, so that its frames stay as they are.
const LARGEST: u32 = 64 << 10;

/// Bytes of a header: version, type, flags (2), stream (4), length (4).
const HEADER: usize = 12;

/// Version and type of a frame with data.
const DATA: [u8; 2] = [0, 0];

/// The flags that end a stream, and so belong to the last piece; the others belong to the first.
const LAST: u16 = 0b1100;

/// A connection whose frames, as they are read, have no more than [`LARGEST`] bytes.
#[derive(Debug)]
pub(super) struct Frames<C> {
    socket: C,
    header: [u8; HEADER],
    state: State,
    /// Bytes of the piece that were not given on, and those of the frame behind it.
    piece: u32,
    rest: u32,
    /// The flags of the frame, as they came.
    flags: u16,
}

/// What is done next, and the bytes of the header that this is done with already.
#[derive(Clone, Copy, Debug)]
enum State {
    ReadHeader(usize),
    GiveHeader(usize),
    GivePiece,
}

impl<C> Frames<C> {
    pub(super) const fn new(socket: C) -> Self {
        let (header, state) = ([0; HEADER], State::ReadHeader(0));
        Self { socket, header, state, piece: 0, rest: 0, flags: 0 }
    }

    /// A header has come.
    fn begin(&mut self) {
        let [version, kind, high, low, .., a, b, c, d] = self.header;
        self.state = State::GiveHeader(0);
        if [version, kind] == DATA {
            self.flags = u16::from_be_bytes([high, low]);
            self.rest = u32::from_be_bytes([a, b, c, d]);
            self.next_piece(self.flags & !LAST);
        }
    }

    /// Makes the header of the next piece of a frame.
    fn next_piece(&mut self, flags: u16) {
        self.piece = self.rest.min(LARGEST);
        self.rest -= self.piece;
        let last = if self.rest == 0 { self.flags & LAST } else { 0 };
        self.header[2..4].copy_from_slice(&(flags | last).to_be_bytes());
        self.header[8..].copy_from_slice(&self.piece.to_be_bytes());
        self.state = State::GiveHeader(0);
    }

    /// The header or the piece has been given on, or some of it.
    fn gave(&mut self) {
        self.state = match (self.piece, self.rest) {
            (0, 0) => State::ReadHeader(0),
            (0, _) => return self.next_piece(0),
            _ => State::GivePiece,
        };
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Frames<C> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while let State::ReadHeader(came) = this.state {
            let room = &mut this.header[came..];
            let read = ready!(Pin::new(&mut this.socket).poll_read(cx, room))?;
            match came + read {
                _ if read == 0 => return Poll::Ready(Ok(0)),
                HEADER => this.begin(),
                came => this.state = State::ReadHeader(came),
            }
        }
        if let State::GiveHeader(given) = this.state {
            let len = buf.len().min(HEADER - given);
            buf[..len].copy_from_slice(&this.header[given..given + len]);
            match given + len {
                HEADER => this.gave(),
                given => this.state = State::GiveHeader(given),
            }
            return Poll::Ready(Ok(len));
        }
        let len = buf.len().min(this.piece as usize);
        let read = ready!(Pin::new(&mut this.socket).poll_read(cx, &mut buf[..len]))?;
        this.piece -= read as u32;
        this.gave();
        Poll::Ready(Ok(read))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Frames<C> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{AsyncReadExt, FutureExt, io::Cursor};

    use super::{Frames, HEADER, LARGEST, LAST};

    const FIRST: u16 = !LAST & 0b1111;
    const LEN: usize = LARGEST as usize;

    fn frame(kind: u8, flags: u16, length: u32, body: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, kind];
        frame.extend(flags.to_be_bytes());
        frame.extend(7_u32.to_be_bytes());
        frame.extend(length.to_be_bytes());
        frame.extend(body);
        frame
    }

    fn data(flags: u16, body: &[u8]) -> Vec<u8> {
        frame(0, flags, body.len() as u32, body)
    }

    /// What is read of it, so many bytes at a time.
    fn read(sent: &[u8], at_once: usize) -> Vec<u8> {
        let mut frames = Frames::new(Cursor::new(sent));
        let (mut all, mut buf) = (Vec::new(), vec![0; at_once]);
        loop {
            match frames.read(&mut buf).now_or_never().unwrap().unwrap() {
                0 => return all,
                read => all.extend(&buf[..read]),
            }
        }
    }

    /// A peer that sends frames as large as the window of the stream: js-libp2p.
    #[test]
    fn a_large_frame_comes_in_pieces() {
        let body: Vec<u8> = (0..2 * LEN + 5).map(|n| n as u8).collect();
        let ping = frame(2, 1, u32::MAX, &[]);
        let sent = [data(0b1111, &body), ping.clone(), data(FIRST, &body[..LEN])].concat();
        let pieces = [
            data(FIRST, &body[..LEN]),
            data(0, &body[LEN..2 * LEN]),
            data(LAST, &body[2 * LEN..]),
            ping,
            data(FIRST, &body[..LEN]),
        ];
        for at_once in [1, 5, HEADER, LEN, 1 << 20] {
            assert!(read(&sent, at_once) == pieces.concat(), "{at_once}");
        }
    }

    #[test]
    fn all_else_stays_as_it_is() {
        let update = frame(1, FIRST, 16 << 20, &[]);
        let strange = [9; HEADER];
        let sent = [data(0b1111, b"x"), update, data(0, &[]), strange.into(), data(1, &[8; LEN])];
        let sent = sent.concat();
        for at_once in [1, 7, 1 << 20] {
            assert!(read(&sent, at_once) == sent, "{at_once}");
        }
        // Cut off in a body.
        assert!(read(&sent[..sent.len() - 1], 100) == sent[..sent.len() - 1]);
    }
}
