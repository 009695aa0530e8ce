//! What POSIX lets be said of an entry where its header has no room: records of a key and a value.

use ipfs_traits::{Error, Result};

use super::WHAT;
use crate::data::Mtime;

/// The records that an archive is read by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) target: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) mtime: Option<Mtime>,
}

/// Appends a record: its own length in decimal, the key, the value.
pub(super) fn write(key: &str, value: &[u8], out: &mut Vec<u8>) {
    let rest = key.len() + value.len() + 3;
    // The digits count too, and may make the length one digit longer.
    let mut len = rest + rest.to_string().len();
    len = rest + len.to_string().len();
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key.as_bytes());
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A time as a record has it.
pub(super) fn time(mtime: Mtime) -> String {
    let nanos = i128::from(mtime.nanos.unwrap_or_default());
    let total = i128::from(mtime.seconds) * NANOS + nanos;
    let (sign, total) = (if total < 0 { "-" } else { "" }, total.unsigned_abs());
    let (seconds, nanos) = (total / NANOS as u128, total % NANOS as u128);
    match nanos {
        0 => format!("{sign}{seconds}"),
        _ => format!("{sign}{seconds}.{nanos:09}").trim_end_matches('0').to_owned(),
    }
}

const NANOS: i128 = 1_000_000_000;

impl Records {
    /// Takes over what records say; an empty value takes back what was said.
    pub(super) fn read(&mut self, mut records: &[u8]) -> Result<()> {
        while !records.is_empty() {
            let (key, value, rest) = split(records).ok_or_else(|| {
                Error::malformed(WHAT, "an extended header is no list of records")
            })?;
            self.take(key, value)?;
            records = rest;
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let bytes = || (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = bytes(),
            b"linkpath" => self.target = bytes(),
            b"size" if value.is_empty() => self.size = None,
            b"size" => self.size = Some(decimal(value).ok_or_else(|| bad("size"))?),
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(parse_time(value).ok_or_else(|| bad("time"))?),
            key if key.starts_with(b"GNU.sparse.") => {
                return Err(Error::unsupported("a sparse file in a tar archive"));
            }
            _ => {}
        }
        Ok(())
    }
}

fn bad(what: &str) -> Error {
    Error::malformed(WHAT, format!("the {what} in an extended header is no number"))
}

/// The key and the value of the first record, and the rest.
fn split(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().take(20).position(|byte| *byte == b' ')?;
    let len = usize::try_from(decimal(&records[..space])?).ok()?;
    let (record, rest) = records.split_at_checked(len)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    (equals > 0).then(|| (&record[..equals], &record[equals + 1..], rest))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// A decimal fraction of seconds; what is finer than nanoseconds is cut off.
fn parse_time(text: &[u8]) -> Option<Mtime> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i128::from(decimal(parts.next()?)?);
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = (0..9).fold(0, |nanos, at| {
        nanos * 10 + i128::from(fraction.get(at).map_or(0, |digit| digit - b'0'))
    });
    let total = seconds * NANOS + nanos;
    let total = if negative { -total } else { total };
    let nanos = total.rem_euclid(NANOS) as u32;
    let seconds = total.div_euclid(NANOS).try_into().ok()?;
    Some(Mtime { seconds, nanos: (nanos > 0).then_some(nanos) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        let long = vec![b'\n'; 2000];
        for value in [&b"x"[..], b"a=b", b"\xff", &long[..85], &long[..86], &long[..87], &long] {
            let mut records = Vec::new();
            write("comment", b"=", &mut records);
            write("path", value, &mut records);
            write("size", b"18446744073709551615", &mut records);
            let mut read = Records::default();
            read.read(&records).unwrap();
            assert_eq!(read.path.as_deref(), Some(value));
            assert_eq!(read.size, Some(u64::MAX));
        }
    }

    #[test]
    fn times_come_back() {
        let times = [
            (0, None, "0"),
            (5, Some(1), "5.000000001"),
            (-5, Some(999_999_999), "-4.000000001"),
            (-1, Some(500_000_000), "-0.5"),
            (i64::MAX, Some(999_999_999), "9223372036854775807.999999999"),
            (i64::MIN, None, "-9223372036854775808"),
        ];
        for (seconds, nanos, text) in times {
            let mtime = Mtime { seconds, nanos };
            assert_eq!(time(mtime), text);
            assert_eq!(parse_time(text.as_bytes()), Some(mtime), "{text}");
        }
        for bad in ["", "-", ".5", "5.x", "5.5.5", "99999999999999999999"] {
            assert_eq!(parse_time(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn what_are_no_records_is_refused() {
        let bad: [&[u8]; 9] = [
            b"x",
            b"9 path=x",    // longer than what is there
            b"9 path=xy\n", // shorter than the record
            b"5 =x\n\n",
            b"6 path\n",
            b"0 path=x\n",
            b"99999999999999999999 path=x\n",
            b"12 size=-12\n",
            b"13 mtime=now\n",
        ];
        for records in bad {
            let read = Records::default().read(records);
            assert!(matches!(read, Err(Error::Malformed { .. })), "{}", records.escape_ascii());
        }
        let sparse = Records::default().read(b"22 GNU.sparse.major=1\n");
        assert!(matches!(sparse, Err(Error::Unsupported(_))));
    }
}
