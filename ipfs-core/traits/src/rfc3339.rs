//! Times of day as text, by RFC 3339: what IPNS records and answers over HTTP are dated with.

use std::time::{Duration, SystemTime};

use crate::{Error, Result};

const DAY: i64 = 86_400;

/// 9999-12-31T23:59:59Z, the last second that four digits of a year can say.
const LAST: u64 = 253_402_300_799;

/// The time in UTC, with nine digits of a second.
///
/// # Errors
///
/// [`Error::Invalid`] before 1970 and after 9999.
///
/// ```
/// use ipfs_traits::rfc3339;
///
/// let time = rfc3339::parse("2020-07-27T19:32:28.276+02:00")?;
/// assert_eq!(rfc3339::format(time)?, "2020-07-27T17:32:28.276000000Z");
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
pub fn format(time: SystemTime) -> Result<String> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok();
    let since = since.filter(|since| since.as_secs() <= LAST);
    let since = since.ok_or_else(|| Error::invalid("time", "it is before 1970 or after 9999"))?;
    let (days, second) = (since.as_secs() as i64 / DAY, since.as_secs() as i64 % DAY);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let nanos = since.subsec_nanos();
    Ok(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z"))
}

/// Reads `YYYY-MM-DDThh:mm:ss`, with a fraction of at most nine digits or none, and `Z` or an offset.
///
/// # Errors
///
/// [`Error::Malformed`].
pub fn parse(text: impl AsRef<[u8]>) -> Result<SystemTime> {
    scan(text.as_ref()).ok_or_else(|| Error::malformed("time", "it is not one of RFC 3339"))
}

fn scan(text: &[u8]) -> Option<SystemTime> {
    let (head, rest) = text.split_at_checked(19)?;
    let shape = head.iter().zip(b"dddd-dd-ddTdd:dd:dd");
    if !shape.into_iter().all(|(byte, expected)| match expected {
        b'd' => byte.is_ascii_digit(),
        other => byte == other,
    }) {
        return None;
    }
    let (year, month, day) = (digits(&head[..4])?, digits(&head[5..7])?, digits(&head[8..10])?);
    let clock = seconds(&head[11..16])? + within(digits(&head[17..])?, 60)?;
    if !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let (nanos, rest) = fraction(rest)?;
    let seconds = days_before(year, month, day) * DAY + clock - offset(rest)?;
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let whole = match seconds >= 0 {
        true => SystemTime::UNIX_EPOCH.checked_add(whole),
        false => SystemTime::UNIX_EPOCH.checked_sub(whole),
    };
    whole?.checked_add(Duration::from_nanos(nanos))
}

/// The nanoseconds of `.123`, and what follows.
fn fraction(text: &[u8]) -> Option<(u64, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, text)) };
    let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&len) {
        return None;
    }
    let (fraction, rest) = rest.split_at(len);
    Some((digits(fraction)? as u64 * 10_u64.pow(9 - len as u32), rest))
}

/// The seconds of `Z`, `+hh:mm` or `-hh:mm`.
fn offset(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" => Some(0),
        [b'+', rest @ ..] => seconds(rest),
        [b'-', rest @ ..] => Some(-seconds(rest)?),
        _ => None,
    }
}

/// The seconds of `hh:mm`.
fn seconds(text: &[u8]) -> Option<i64> {
    match text {
        [hours @ .., b':', tens, ones] if hours.len() == 2 => {
            let minutes = within(digits(&[*tens, *ones])?, 60)?;
            Some(within(digits(hours)?, 24)? * 3600 + minutes * 60)
        }
        _ => None,
    }
}

fn within(number: i64, bound: i64) -> Option<i64> {
    (number < bound).then_some(number)
}

/// At most nine digits.
fn digits(text: &[u8]) -> Option<i64> {
    text.iter()
        .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of 400 years, and days from 0000-03-01 to 1970-01-01. Years are counted from March, so that
/// the day of the leap year is the last one.
const ERA: i64 = 146_097;
const TO_EPOCH: i64 = 719_468;

/// Days from 1970-01-01 to a date.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - TO_EPOCH
}

/// The date so many days after 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    let (era, of_era) = ((days + TO_EPOCH) / ERA, (days + TO_EPOCH) % ERA);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, nanos: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        let times = [
            ("1970-01-01T00:00:00.000000000Z", at(0, 0)),
            ("2000-02-29T23:59:59.000000001Z", at(951_868_799, 1)),
            ("2001-09-09T01:46:40.123456789Z", at(1_000_000_000, 123_456_789)),
            ("2100-03-01T00:00:00.000000000Z", at(4_107_542_400, 0)),
            ("9999-12-31T23:59:59.999999999Z", at(LAST, 999_999_999)),
        ];
        for (text, time) in times {
            assert_eq!(parse(text).unwrap(), time, "{text}");
            assert_eq!(format(time).unwrap(), text);
        }
        let mut seconds = 0;
        while seconds < LAST {
            let text = format(at(seconds, 0)).unwrap();
            assert_eq!(parse(&text).unwrap(), at(seconds, 0), "{text}");
            seconds += 86_400 * 13 + 1;
        }
        assert!(format(at(LAST + 1, 0)).is_err());
        assert!(format(SystemTime::UNIX_EPOCH - Duration::from_nanos(1)).is_err());
    }

    #[test]
    fn fractions_and_offsets_may_differ() {
        let expected = at(1_000_000_000, 500_000_000);
        for text in [
            "2001-09-09T01:46:40.5Z",
            "2001-09-09T01:46:40.500Z",
            "2001-09-09T03:16:40.5+01:30",
            "2001-09-08T23:46:40.5-02:00",
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        assert_eq!(parse(b"2001-09-09T01:46:40Z").unwrap(), at(1_000_000_000, 0));
        assert!(parse(b"0000-01-01T00:00:00.5Z").unwrap() < SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2001-09-09",
            "2001-09-09T01:46:40",
            "2001-09-09T01:46:40.Z",
            "2001-09-09T01:46:40.1234567890Z",
            "2001-09-09t01:46:40z",
            "2001-09-09 01:46:40Z",
            "2001-09-09T01:46:40ZZ",
            "2001-09-09T24:00:00Z",
            "2001-09-09T01:60:00Z",
            "2001-09-09T01:46:60Z",
            "2001-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2001-13-01T00:00:00Z",
            "2001-00-01T00:00:00Z",
            "2001-01-00T00:00:00Z",
            "2001-04-31T00:00:00Z",
            "12001-01-01T00:00:00Z",
            "-001-01-01T00:00:00Z",
            "2001-09-09T01:46:40+1:30",
            "2001-09-09T01:46:40+24:00",
            "2001-09-09T01:46:40+01:60",
            "2001-09-09T01:46:40+01",
            "2001-09-0\u{661}T01:46:40Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
