//! Which peers and addresses are wanted.

use super::Record;

/// Which records, and which of their addresses, are wanted: [IPIP-484]. An empty list wants all.
///
/// ```
/// use ipfs_routing::delegated::Filters;
///
/// let filters = Filters::parse("filter-addrs=!p2p-circuit,tcp&filter-protocols=unknown");
/// assert_eq!(filters.addresses, ["!p2p-circuit", "tcp"]);
/// assert_eq!(filters.query(), "?filter-addrs=!p2p-circuit,tcp&filter-protocols=unknown");
/// ```
///
/// [IPIP-484]: https://specs.ipfs.tech/ipips/ipip-0484/
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Names of protocols in addresses, such as `quic-v1`. An address is wanted if it has one of
    /// them, and none of those that stand behind `!`. A peer without a wanted address is not wanted,
    /// except that `unknown` wants peers without addresses.
    pub addresses: Vec<String>,
    /// Ways to have blocks, such as `transport-bitswap`. A peer is wanted if it knows one of them;
    /// `unknown` wants peers of which none is known.
    pub protocols: Vec<String>,
}

impl Filters {
    /// Reads them from the query of a URL. Of one that stands there twice the first counts.
    pub fn parse(query: &str) -> Self {
        let list = |name| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let value = pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value);
            let value = decode(value.unwrap_or_default()).to_lowercase();
            value.split(',').filter(|name| !name.is_empty()).map(Into::into).collect()
        };
        Self { addresses: list("filter-addrs"), protocols: list("filter-protocols") }
    }

    /// The query of a URL that asks for them, `?` included; empty for none.
    pub fn query(&self) -> String {
        let pair = |name, list: &[String]| format!("{name}={}", encode(&list.join(",")));
        let pairs = [
            (!self.addresses.is_empty()).then(|| pair("filter-addrs", &self.addresses)),
            (!self.protocols.is_empty()).then(|| pair("filter-protocols", &self.protocols)),
        ];
        let pairs: Vec<String> = pairs.into_iter().flatten().collect();
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    }

    /// What is wanted of a record, if it is.
    pub fn apply(&self, mut record: Record) -> Option<Record> {
        if !self.wants_protocols(&record.protocols) {
            return None;
        }
        if self.addresses.is_empty()
            || record.addresses.is_empty() && has(&self.addresses, "unknown")
        {
            return Some(record);
        }
        record
            .addresses
            .retain(|address| self.wants_address(&address.protocol_stack().collect::<Vec<_>>()));
        (!record.addresses.is_empty()).then_some(record)
    }

    fn wants_protocols(&self, known: &[String]) -> bool {
        self.protocols.is_empty()
            || known.is_empty() && has(&self.protocols, "unknown")
            || known.iter().any(|name| has(&self.protocols, name))
    }

    fn wants_address(&self, stack: &[&str]) -> bool {
        let within = |name: &str| stack.iter().any(|part| part.eq_ignore_ascii_case(name));
        let mut wanted = true;
        let mut one_of = false;
        for name in &self.addresses {
            match name.strip_prefix('!') {
                Some(name) if within(name) => return false,
                Some(_) => {}
                None => {
                    wanted = one_of || within(name);
                    one_of = wanted;
                }
            }
        }
        wanted
    }
}

fn has(list: &[String], name: &str) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Undoes the escapes of a URL. One that is none stands for itself.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        match digit(0).zip(digit(1)).filter(|_| *first == b'%') {
            Some((high, low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Escapes what may not stand in the query of a URL. Commas may, and caches tell the two apart.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!,".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_made() {
        let filters =
            Filters::parse("x&filter-protocols=A%2cb%2&filter-addrs=%21tcp&filter-addrs=udp");
        assert_eq!(filters.addresses, ["!tcp"]);
        assert_eq!(filters.protocols, ["a", "b%2"]);
        assert_eq!(Filters::parse(&filters.query()[1..]), filters);
        assert_eq!(Filters::parse("filter-addrs=%ff%+1").addresses, ["\u{fffd}%+1"]);
    }
}
