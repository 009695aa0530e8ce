//! Which addresses may be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::Uri;

use crate::{Error, Result};

/// Which addresses a client may connect to, when somebody else has chosen the URL.
///
/// ```
/// use ipfs_traits::AddressFilter;
///
/// let filter = AddressFilter::default();
/// assert!(filter.allows("1.1.1.1".parse()?));
/// assert!(!filter.allows("192.168.1.1".parse()?));
/// assert!(filter.check(&"http://[::1]:5001/api/v0/id".parse()?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressFilter {
    /// Only what can be reached from everywhere. The default: a URL from a stranger must not reach
    /// the host itself, its network, or the services of its cloud.
    #[default]
    Public,
    /// Every address: for tests, and for nodes whose peers all stand in one private network.
    Any,
}

const WHAT: &str = "URL";

impl AddressFilter {
    /// Whether an address may be connected to.
    ///
    /// Public is what the registries of special addresses of IANA leave over: not this host, private
    /// and shared networks, links, multicast, documentation, benchmarks, and what is reserved. An
    /// IPv6 address that leads to an IPv4 address (mapped, NAT64, 6to4, ISATAP) is judged by that.
    pub fn allows(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Any, _) => true,
            (Self::Public, IpAddr::V4(address)) => is_public_v4(address),
            (Self::Public, IpAddr::V6(address)) => is_public_v6(address),
        }
    }

    /// Whether a URL may be asked: its scheme is `http` or `https`, it has a host and no
    /// credentials, and the host passes [`check_host`](Self::check_host).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`].
    pub fn check(self, url: &Uri) -> Result<()> {
        if !matches!(url.scheme_str(), Some("http" | "https")) {
            return Err(Error::invalid(WHAT, "its scheme is not http or https"));
        }
        let authority = url.authority().ok_or_else(|| Error::invalid(WHAT, "it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(Error::invalid(WHAT, "there are credentials in it"));
        }
        self.check_host(authority.host())
    }

    /// Whether the host of a URL may be connected to, as far as the host itself tells: if it is an
    /// address, that address. What a name resolves to has to pass [`allows`](Self::allows) later.
    ///
    /// A host that is an address only to some readers (`127.1`, `0x7f.0.0.1`, `2130706433`) is
    /// refused, whatever the filter.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`].
    pub fn check_host(self, host: &str) -> Result<()> {
        let bare = host.strip_suffix('.').unwrap_or(host);
        let address = match bare.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')) {
            Some(v6) => match v6.parse::<Ipv6Addr>() {
                Ok(address) => Some(IpAddr::V6(address)),
                Err(_) => return Err(Error::invalid(WHAT, "its host is no IPv6 address")),
            },
            None => bare.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        };
        match address {
            Some(address) if self.allows(address) => Ok(()),
            Some(_) => Err(Self::refused()),
            None if bare.is_empty() => Err(Error::invalid(WHAT, "it has no host")),
            None if bare.contains('%') => Err(Error::invalid(WHAT, "its host has escapes")),
            None if ends_in_number(bare) => {
                Err(Error::invalid(WHAT, "its host is an address in an odd spelling"))
            }
            None => Ok(()),
        }
    }

    /// The error for a URL whose addresses may not be connected to.
    pub fn refused() -> Error {
        Error::invalid(WHAT, "its host is at an address that may not be connected to")
    }
}

/// Whether the last label of a host is a number, which the URL standard reads as an IPv4 address.
fn ends_in_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let digits = |text: &str, radix| text.chars().all(|char| char.is_digit(radix));
    digits(last, 10) || hex.is_some_and(|hex| digits(hex, 16))
}

/// IPv4 addresses that are not reachable from everywhere, each with how many leading bits count:
/// the registry of special-purpose addresses, and multicast.
const NOT_PUBLIC_V4: [([u8; 4], u32); 15] = [
    ([0, 0, 0, 0], 8),       // this network
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // shared by the customers of a provider
    ([127, 0, 0, 0], 8),     // this host
    ([169, 254, 0, 0], 16),  // the link; what clouds tell their machines
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocols
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 88, 99, 0], 24),  // relays of 6to4
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarks
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 4),     // multicast
    ([240, 0, 0, 0], 4),     // reserved, and broadcast
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    let address = u32::from(address);
    NOT_PUBLIC_V4
        .iter()
        .all(|(range, bits)| (address ^ u32::from_be_bytes(*range)) >> (32 - bits) != 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let v4 =
        |high: u16, low: u16| is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match parts {
        // Mapped, and NAT64 under its well-known prefix.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        // 6to4.
        [0x2002, high, low, ..] => v4(high, low),
        // Protocols, Teredo among them.
        [0x2001, ..=0x01ff, ..] => false,
        // Documentation.
        [0x2001, 0x0db8, ..] | [0x3fff, ..=0x0fff, ..] => false,
        // ISATAP.
        [0x2000..=0x3fff, _, _, _, 0 | 0x0200, 0x5efe, high, low] => v4(high, low),
        // All other global unicast; beyond that nothing is given out.
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(address: &str) -> bool {
        AddressFilter::Public.allows(address.parse().unwrap())
    }

    /// The first and the last address of each range, and their neighbours outside.
    #[test]
    fn ipv4_ranges_end_where_they_should() {
        for (inside, outside) in [
            (["0.0.0.0", "0.255.255.255"], ["1.0.0.0", "1.1.1.1"]),
            (["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
            (["100.64.0.0", "100.127.255.255"], ["100.63.255.255", "100.128.0.0"]),
            (["127.0.0.0", "127.255.255.255"], ["126.255.255.255", "128.0.0.0"]),
            (["169.254.0.0", "169.254.169.254"], ["169.253.255.255", "169.255.0.0"]),
            (["172.16.0.0", "172.31.255.255"], ["172.15.255.255", "172.32.0.0"]),
            (["192.0.0.0", "192.0.0.255"], ["191.255.255.255", "192.0.1.0"]),
            (["192.0.2.0", "192.0.2.255"], ["192.0.1.255", "192.0.3.0"]),
            (["192.88.99.0", "192.88.99.255"], ["192.88.98.255", "192.88.100.0"]),
            (["192.168.0.0", "192.168.255.255"], ["192.167.255.255", "192.169.0.0"]),
            (["198.18.0.0", "198.19.255.255"], ["198.17.255.255", "198.20.0.0"]),
            (["198.51.100.0", "198.51.100.255"], ["198.51.99.255", "198.51.101.0"]),
            (["203.0.113.0", "203.0.113.255"], ["203.0.112.255", "203.0.114.0"]),
            (["224.0.0.0", "239.255.255.255"], ["223.255.255.255", "8.8.8.8"]),
            (["240.0.0.0", "255.255.255.255"], ["223.255.255.255", "4.4.4.4"]),
        ] {
            assert!(inside.iter().all(|address| !public(address)), "{inside:?}");
            assert!(outside.iter().all(|address| public(address)), "{outside:?}");
            for address in inside.iter().chain(&outside) {
                assert!(AddressFilter::Any.allows(address.parse().unwrap()));
            }
        }
    }

    #[test]
    fn ipv6_is_public_only_as_global_unicast() {
        for not in [
            "::",
            "::1",
            "::2",
            "64:ff9b:1::1",
            "100::1",
            "1fff::1",
            "2001::1",
            "2001:1::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2001:db8:ffff::1",
            "3fff::1",
            "3fff:fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ffff::1",
        ] {
            assert!(!public(not), "{not}");
        }
        let all = ["2000::1", "2001:200::1", "2001:db7::1", "2001:db9::1", "2606:4700::1111"];
        assert!(all.iter().chain(&["2a00::1", "3ffe::1", "3fff:1000::1"]).all(|good| public(good)));
    }

    /// A way to an IPv4 address is as public as that address.
    #[test]
    fn ipv6_that_leads_to_ipv4_is_judged_by_it() {
        for (private, good) in [
            ("::ffff:127.0.0.1", "::ffff:1.1.1.1"),
            ("::ffff:10.1.2.3", "::ffff:8.8.8.8"),
            ("64:ff9b::192.168.0.1", "64:ff9b::1.1.1.1"),
            ("2002:7f00:1::1", "2002:101:101::1"),
            ("2002:a9fe:a9fe::", "2002:808:808::"),
            ("2a00::5efe:10.0.0.1", "2a00::5efe:1.1.1.1"),
            ("2a00::200:5efe:127.0.0.1", "2a00::200:5efe:1.1.1.1"),
        ] {
            assert!(!public(private), "{private}");
            assert!(public(good), "{good}");
        }
        // Nothing is reached by these any more, whatever is in them.
        assert!(!public("::1.1.1.1") && !public("2001:0:101:101::1"));
    }

    #[test]
    fn urls_that_may_not_be_asked() {
        let check = |url: &str| AddressFilter::Public.check(&url.parse().unwrap());
        for good in [
            "http://example.com/a?b",
            "https://1.1.1.1:8443/",
            "https://[2606:4700::1111]/",
            "http://localhost.example/",
            "http://1.example/",
            "http://example.com./",
        ] {
            check(good).unwrap();
        }
        for bad in [
            "ftp://example.com/",
            "file://a/etc/passwd",
            "/only/a/path",
            "example.com:80",
            "http://user:secret@example.com/",
            "http://127.0.0.1/",
            "http://127.0.0.1./",
            "http://10.0.0.1:80/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "http://2130706433/",
            "http://127.1/",
            "http://0x7f.0.0.1/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://a.1/",
            "http://a.0x/",
        ] {
            let error = check(bad).unwrap_err();
            assert!(matches!(error, Error::Invalid { what: "URL", .. }), "{bad}: {error:?}");
        }
        let any = |url: &str| AddressFilter::Any.check(&url.parse().unwrap());
        any("http://127.0.0.1:1/").unwrap();
        assert!(any("http://127.1/").is_err() && any("ws://example.com/").is_err());
    }
}
