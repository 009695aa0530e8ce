//! Who did something, and when: the lines of authors, committers and taggers.

use crate::{Error, Result, error::value, scan::find};

/// What stands behind `author`, `committer` or `tagger`: `name <email> seconds timezone`.
///
/// Git splits such a line at its first `<`, the first `>` behind that, and the last `>`, behind
/// which date and time zone stand; it is lenient about the rest, and so is this. The parts are the
/// bytes as they stand: git shows a name without the spaces around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person<'a> {
    /// What stands before the `<` and the space in front of it.
    pub name: &'a [u8],
    /// What stands between `<` and `>`.
    pub email: &'a [u8],
    /// The first word behind the last `>`, seconds since 1970; empty if there is none.
    pub date: &'a [u8],
    /// The second word, such as `+0200`; empty if there is none.
    pub timezone: &'a [u8],
}

impl<'a> Person<'a> {
    /// Reads a person line, without the word that begins it.
    ///
    /// A line without `<`, or without `>` behind it, names nobody: git finds no person in it either.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let open = find(b'<', line)?;
        let name = line[..open].strip_suffix(b" ").unwrap_or(&line[..open]);
        let behind = &line[open + 1..];
        let close = find(b'>', behind)?;
        let (email, mut rest) = (&behind[..close], &behind[close + 1..]);
        while let Some(close) = find(b'>', rest) {
            rest = &rest[close + 1..];
        }
        let (date, rest) = word(rest);
        let (timezone, _) = word(rest);
        Some(Self { name, email, date, timezone })
    }

    /// The date as a number: seconds since 1970, negative before. `None` where it is no number that
    /// fits.
    pub fn seconds(&self) -> Option<i64> {
        std::str::from_utf8(self.date).ok()?.parse().ok()
    }

    /// Minutes that the time zone is ahead of UTC. `None` where it is not a sign and four digits.
    pub fn offset(&self) -> Option<i32> {
        let [sign @ (b'+' | b'-'), digits @ ..] = self.timezone else { return None };
        if digits.len() != 4 || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number = digits.iter().fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0'));
        let minutes = number / 100 * 60 + number % 100;
        Some(if *sign == b'-' { -minutes } else { minutes })
    }

    /// Appends the line as git writes it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name);
        out.extend_from_slice(b" <");
        out.extend_from_slice(self.email);
        out.push(b'>');
        for word in [self.date, self.timezone] {
            if !word.is_empty() {
                out.push(b' ');
                out.extend_from_slice(word);
            }
        }
    }
}

/// The first word, and what follows it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let end = text.iter().position(u8::is_ascii_whitespace);
    text.split_at(end.unwrap_or(text.len()))
}

/// A person to write: what [`CommitBuilder`](crate::CommitBuilder) and
/// [`TagBuilder`](crate::TagBuilder) take.
///
/// ```
/// use ipld_git::{Person, PersonBuf};
///
/// let person = PersonBuf::new("A U Thor", "author@example.com", 1_112_911_993, -420);
/// assert_eq!(person.to_string(), "A U Thor <author@example.com> 1112911993 -0700");
/// assert_eq!(person.as_person().offset(), Some(-420));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonBuf {
    /// Name, email, date and time zone, one behind the other, and where the first three end.
    text: Vec<u8>,
    ends: [usize; 3],
}

impl PersonBuf {
    /// A person, at a time in seconds since 1970, in a time zone that is so many minutes ahead of
    /// UTC.
    pub fn new(name: impl AsRef<[u8]>, email: impl AsRef<[u8]>, seconds: i64, offset: i32) -> Self {
        let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
        Self::from(Person {
            name: name.as_ref(),
            email: email.as_ref(),
            date: seconds.to_string().as_bytes(),
            timezone: format!("{sign}{:02}{:02}", minutes / 60, minutes % 60).as_bytes(),
        })
    }

    /// A view of it.
    pub fn as_person(&self) -> Person<'_> {
        let [name, email, date] = self.ends;
        Person {
            name: &self.text[..name],
            email: &self.text[name..email],
            date: &self.text[email..date],
            timezone: &self.text[date..],
        }
    }

    /// Appends the line, if it is one that git accepts and reads as these parts.
    pub(crate) fn write(&self, field: &'static str, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        self.as_person().write(out);
        let line = &out[start..];
        if find(b'\n', line).is_some() || find(0, line).is_some() {
            return Err(value(field, "it holds a line feed or a NUL"));
        }
        if Person::parse(line) != Some(self.as_person()) {
            return Err(value(field, "its parts cannot be told apart, or it has no date"));
        }
        let person = self.as_person();
        if person.date.is_empty() || person.timezone.is_empty() {
            return Err(value(field, "it has no date or no time zone"));
        }
        Ok(())
    }
}

impl From<Person<'_>> for PersonBuf {
    fn from(person: Person<'_>) -> Self {
        let name = person.name.len();
        let email = name + person.email.len();
        let date = email + person.date.len();
        let text = [person.name, person.email, person.date, person.timezone].concat();
        Self { text, ends: [name, email, date] }
    }
}

/// The line; bytes that are not UTF-8 are replaced.
impl std::fmt::Display for PersonBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut line = Vec::new();
        self.as_person().write(&mut line);
        f.write_str(&String::from_utf8_lossy(&line))
    }
}

/// Reads a person line.
impl std::str::FromStr for PersonBuf {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let person = Person::parse(line.as_bytes());
        person.map(Self::from).ok_or_else(|| value("person", "it has no email between < and >"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> Option<[&str; 4]> {
        let person = Person::parse(line.as_bytes())?;
        let text = |part| std::str::from_utf8(part).unwrap();
        Some([person.name, person.email, person.date, person.timezone].map(text))
    }

    #[test]
    fn lines_are_split_where_git_splits_them() {
        for (line, expected) in [
            ("A <a@b> 1 +0000", ["A", "a@b", "1", "+0000"]),
            ("  A  <> 1 +0000 more", ["  A ", "", "1", "+0000"]),
            ("A<a@b>1", ["A", "a@b", "1", ""]),
            ("A <b <c> d> 1  -1", ["A", "b <c", "1", "-1"]),
            (" <a@b>", ["", "a@b", "", ""]),
        ] {
            assert_eq!(parts(line), Some(expected), "{line}");
        }
        for line in ["", "A", "A <a@b", "A a@b>", "> <"] {
            assert_eq!(parts(line), None, "{line}");
        }
    }

    #[test]
    fn times_are_numbers_where_they_are() {
        let person: PersonBuf = "A <a> -5263834140 +0009".parse().unwrap();
        assert_eq!(person.as_person().seconds(), Some(-5_263_834_140));
        assert_eq!(person.as_person().offset(), Some(9));
        let person: PersonBuf = "A <a> 99999999999999999999 +009".parse().unwrap();
        assert_eq!((person.as_person().seconds(), person.as_person().offset()), (None, None));
    }

    #[test]
    fn a_person_that_git_would_read_as_another_is_not_written() {
        let written = |name: &str, email: &str| {
            PersonBuf::new(name, email, 0, 0).write("author", &mut Vec::new())
        };
        assert_eq!(written("A", "a@b"), Ok(()));
        assert_eq!(written("", ""), Ok(()));
        for (name, email) in [("A <", "a"), ("A", "a>"), ("A\n", "a"), ("A", "a\0")] {
            assert!(matches!(written(name, email), Err(Error::Value { field: "author", .. })));
        }
    }
}
