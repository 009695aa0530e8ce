//! Finding bytes, and the lines of a header.

/// Where `needle` first stands, eight bytes at a time.
#[inline]
pub(crate) fn find(needle: u8, bytes: &[u8]) -> Option<usize> {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let mut rest = bytes;
    let found = loop {
        let Some((word, behind)) = rest.split_first_chunk() else {
            let place = rest.iter().position(|byte| *byte == needle);
            break place.map(|place| bytes.len() - rest.len() + place);
        };
        // A byte that is the needle becomes zero, and a zero shows in its highest bit.
        let zeroes = u64::from_le_bytes(*word) ^ (LOW * u64::from(needle));
        let hits = zeroes.wrapping_sub(LOW) & !zeroes & HIGH;
        if hits != 0 {
            break Some(bytes.len() - rest.len() + hits.trailing_zeros() as usize / 8);
        }
        rest = behind;
    };
    work::add(found.map_or(bytes.len(), |place| place + 1));
    found
}

/// The first line, without its end, and what follows it. The last one may lack its end.
pub(crate) fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match find(b'\n', bytes) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}

/// All lines, without their ends.
pub(crate) fn lines(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (first, behind) = (!bytes.is_empty()).then(|| line(bytes))?;
        bytes = behind;
        Some(first)
    })
}

/// The length of a header: everything before its first empty line, or all. Shows each line, with all
/// that follows it.
pub(crate) fn header_len(bytes: &[u8], mut seen: impl FnMut(&[u8])) -> usize {
    let mut at = 0;
    while at < bytes.len() && bytes[at] != b'\n' {
        seen(&bytes[at..]);
        at += find(b'\n', &bytes[at..]).map_or(bytes.len() - at, |end| end + 1);
    }
    at
}

/// How many bytes were looked at, so that tests see work and need no clock.
pub(crate) mod work {
    #[cfg(test)]
    thread_local! {
        static DONE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    #[cfg(test)]
    pub(crate) fn add(bytes: usize) {
        DONE.set(DONE.get() + bytes);
    }

    #[cfg(not(test))]
    #[inline(always)]
    pub(crate) const fn add(_: usize) {}

    /// What was done since the last call, on this thread.
    #[cfg(test)]
    pub(crate) fn take() -> usize {
        DONE.replace(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_wherever_it_stands() {
        for len in 0..40 {
            for at in 0..len {
                let mut bytes = vec![b'\x0b'; len];
                bytes[at] = b'\n';
                bytes[len - 1] = b'\n';
                assert_eq!(find(b'\n', &bytes), Some(at.min(len - 1)), "{at} of {len}");
            }
            assert_eq!(find(b'\n', &vec![0x8a; len]), None);
            assert_eq!(find(0, &vec![1; len]), None);
        }
    }

    #[test]
    fn the_last_line_may_lack_its_end() {
        let all: [&[u8]; 3] = [b"a", b"", b"b"];
        assert_eq!(lines(b"a\n\nb").collect::<Vec<_>>(), all);
        assert_eq!(lines(b"a\n\nb\n").collect::<Vec<_>>(), all);
        assert_eq!(lines(b"").count(), 0);
    }

    #[test]
    fn a_header_ends_at_its_first_empty_line() {
        let mut lines = Vec::new();
        let len = header_len(b"a\nb\n\nmessage\n\n", |line| lines.push(line[0]));
        assert_eq!((len, &lines[..]), (4, &b"ab"[..]));
        assert_eq!(header_len(b"\n", |_| {}), 0);
        assert_eq!(header_len(b"a\nb", |_| {}), 3);
        assert_eq!(header_len(b"a\n", |_| {}), 2);
    }
}
