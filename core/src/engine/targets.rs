//! What is asked: hosts and ports as people write them (`192.0.2.0/24`, `192.0.2.1-20`,
//! `host:22,80`, `[2001:db8::1]:443`), each pair once, without a list of the pairs.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::hosts::{Host, Hosts, number};
use super::order::Order;

/// Ports, in order, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(Vec<u16>);

/// What was written and is not a target, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// As it was written.
    pub item: String,
    /// A sentence.
    pub why: String,
}

impl Malformed {
    fn new(item: &str, why: impl Into<String>) -> Self {
        Self { item: item.to_owned(), why: why.into() }
    }
}

/// What parsing gives.
pub type Result<T> = std::result::Result<T, Malformed>;

/// The longest name that the domain name system has, with a dot at its end.
const MOST_NAME_BYTES: usize = 254;

impl Ports {
    /// Adds what `text` lists: numbers and ranges of them between commas.
    ///
    /// # Errors
    /// What is no port from 1 to 65535, or a range that runs backwards.
    pub fn add(&mut self, text: &str) -> Result<()> {
        for part in text.split(',') {
            let part = part.trim();
            let (first, last) = match part.split_once('-') {
                Some((first, last)) if !first.is_empty() => (port(first, part)?, port(last, part)?),
                _ => (port(part, part)?, port(part, part)?),
            };
            if first > last {
                let why = format!("the range runs backwards; write {last}-{first}");
                return Err(Malformed::new(part, why));
            }
            self.0.extend(first..=last);
        }
        self.0.sort_unstable();
        self.0.dedup();
        Ok(())
    }

    /// The ports in order.
    #[must_use]
    pub fn as_slice(&self) -> &[u16] {
        &self.0
    }
}

fn port(text: &str, part: &str) -> Result<u16> {
    match text.trim().parse::<i64>() {
        Ok(number @ 1..=65_535) => Ok(u16::try_from(number).unwrap_or(u16::MAX)),
        Ok(_) => Err(Malformed::new(part, "a port is a number from 1 to 65535")),
        Err(_) => Err(Malformed::new(
            part,
            "ports are numbers, ranges like 8000-8100, and lists of them with commas",
        )),
    }
}

/// What is collected before the first question: hosts that are asked on the common ports, hosts with
/// ports of their own, and what is left out.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    common: Hosts,
    own: BTreeMap<u16, Hosts>,
    excluded: Hosts,
    ports: Ports,
}

impl Wanted {
    /// Adds what `text` means: an address, a name, a range or a network, with ports or without.
    ///
    /// # Errors
    /// If it means nothing, with what is wrong with it.
    pub fn add(&mut self, text: &str) -> Result<()> {
        let (host, ports) = split_ports(text)?;
        if ports.is_empty() {
            return add_host(&mut self.common, host, text);
        }
        self.add_pair(host, ports)
    }

    /// Adds hosts with ports of their own.
    ///
    /// # Errors
    /// As `add`.
    pub fn add_pair(&mut self, host: &str, ports: &str) -> Result<()> {
        let mut own = Ports::default();
        own.add(ports)?;
        for &port in own.as_slice() {
            add_host(self.own.entry(port).or_default(), host, host)?;
        }
        Ok(())
    }

    /// Leaves hosts out, on all ports.
    ///
    /// # Errors
    /// As `add`.
    pub fn exclude(&mut self, text: &str) -> Result<()> {
        add_host(&mut self.excluded, text, text)
    }

    /// Adds to the ports of all hosts that have none of their own.
    ///
    /// # Errors
    /// What is no list of ports.
    pub fn add_ports(&mut self, text: &str) -> Result<()> {
        self.ports.add(text)
    }

    /// True if there are hosts without a port.
    #[must_use]
    pub fn lacks_ports(&self) -> bool {
        let mut common = self.common.clone();
        common.settle();
        self.ports.0.is_empty() && !common.is_empty()
    }

    /// Settles what is asked, in the order of the seed.
    #[must_use]
    pub fn targets(mut self, seed: u64) -> Targets {
        self.excluded.settle();
        self.common.settle();
        let mut groups = Vec::with_capacity(self.own.len() + 1);
        let mut add = |mut hosts: Hosts, ports: Vec<u16>| {
            hosts.remove_all(&self.excluded);
            hosts.settle();
            if !hosts.is_empty() && !ports.is_empty() {
                groups.push(Group { hosts, ports });
            }
        };
        for (port, mut hosts) in std::mem::take(&mut self.own) {
            hosts.settle();
            if self.ports.0.binary_search(&port).is_ok() {
                // They are asked on this port already.
                hosts.remove_all(&self.common);
            }
            add(hosts, vec![port]);
        }
        add(std::mem::take(&mut self.common), std::mem::take(&mut self.ports.0));
        let mut before = Vec::with_capacity(groups.len());
        let mut sum = 0_u128;
        for group in &groups {
            before.push(sum);
            sum = sum.saturating_add(group.len());
        }
        Targets { groups, before, len: sum, order: Order::new(sum, seed) }
    }
}

/// `host:ports`, `[address]:ports` or a host without ports. An IPv6 address has ports only in
/// brackets.
fn split_ports(text: &str) -> Result<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((host, rest)) = rest.split_once(']') else {
            return Err(Malformed::new(text, "the bracket is not closed"));
        };
        return match rest.strip_prefix(':') {
            Some(ports) if !ports.is_empty() => Ok((host, ports)),
            None if rest.is_empty() => Ok((host, "")),
            _ => Err(Malformed::new(text, "after the bracket comes a colon with the ports")),
        };
    }
    match text.split_once(':') {
        Some((host, ports)) if !ports.contains(':') => match ports {
            "" => Err(Malformed::new(text, "there are no ports after the colon")),
            _ => Ok((host, ports)),
        },
        _ => Ok((text, "")),
    }
}

fn add_host(hosts: &mut Hosts, host: &str, item: &str) -> Result<()> {
    if let Ok(address) = host.parse::<IpAddr>() {
        hosts.add(address);
        return Ok(());
    }
    if let Some((address, bits)) = host.split_once('/') {
        let (first, last) = network(address, bits).map_err(|why| Malformed::new(item, why))?;
        hosts.add_range(first, last);
        return Ok(());
    }
    if let Some((first, last)) = host.split_once('-')
        && let Ok(first) = first.parse::<IpAddr>()
    {
        let last = range_end(first, last).map_err(|why| Malformed::new(item, why))?;
        hosts.add_range(first, last);
        return Ok(());
    }
    check_name(host).map_err(|why| Malformed::new(item, why))?;
    hosts.add_name(host);
    Ok(())
}

/// All addresses of a network, those of the network and of broadcast with them: which of them answer
/// is what is asked.
fn network(address: &str, bits: &str) -> std::result::Result<(IpAddr, IpAddr), String> {
    let Ok(address) = address.parse::<IpAddr>() else {
        return Err("before the slash comes an address".into());
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    let Some(bits) = bits.parse::<u32>().ok().filter(|&bits| bits <= width) else {
        return Err(format!("after the slash comes a number from 0 to {width}"));
    };
    match address {
        IpAddr::V4(address) => {
            let host_bits = u32::MAX.checked_shr(bits).unwrap_or(0);
            let first = address.to_bits() & !host_bits;
            let last = first | host_bits;
            Ok((Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(last).into()))
        }
        IpAddr::V6(address) => {
            let host_bits = u128::MAX.checked_shr(bits).unwrap_or(0);
            let first = address.to_bits() & !host_bits;
            let last = first | host_bits;
            Ok((Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(last).into()))
        }
    }
}

/// The end of a range: an address, or an IPv4 address's last number.
fn range_end(first: IpAddr, last: &str) -> std::result::Result<IpAddr, String> {
    let end = match (first, last.parse::<u8>(), last.parse::<IpAddr>()) {
        (IpAddr::V4(first), Ok(last), _) => {
            let [a, b, c, _] = first.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, last))
        }
        (first, _, Ok(last)) if first.is_ipv4() == last.is_ipv4() => last,
        (first, _, Ok(_)) => return Err(format!("{first} and {last} are of two families")),
        _ => return Err(format!("{last:?} is neither an address nor the end of one")),
    };
    if number(first) > number(end) {
        return Err(format!("the range runs backwards; write {end}-{first}"));
    }
    Ok(end)
}

/// Whether the resolver could know it. What it knows is the resolver's to say.
fn check_name(name: &str) -> std::result::Result<(), String> {
    if name.is_empty() {
        return Err("there is no host".into());
    }
    if name.len() > MOST_NAME_BYTES {
        return Err("a name has at most 253 characters".into());
    }
    // An address with the name of an interface is the resolver's as well.
    let is_scoped = name.contains('%');
    let is_wrong = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || "/,;[]()<>@\"'\\".contains(c)
            || (c == ':' && !is_scoped)
    };
    if let Some(wrong) = name.chars().find(|&c| is_wrong(c)) {
        return Err(format!("neither an address nor a name has {wrong:?} there"));
    }
    if name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err("it looks like an address and is none".into());
    }
    Ok(())
}

#[derive(Debug)]
struct Group {
    hosts: Hosts,
    ports: Vec<u16>,
}

impl Group {
    fn len(&self) -> u128 {
        self.hosts.len().saturating_mul(self.ports.len() as u128)
    }
}

/// Pairs of a host and a port, each once, numbered.
#[derive(Debug)]
pub struct Targets {
    groups: Vec<Group>,
    before: Vec<u128>,
    len: u128,
    order: Order,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Whom to ask.
    pub host: Host<'a>,
    /// Where.
    pub port: u16,
}

impl Targets {
    /// How many there are; u128::MAX for more than that.
    #[must_use]
    pub fn len(&self) -> u128 {
        self.len
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of the target that comes at this position. Behind the last one the order begins anew:
    /// a second round.
    #[must_use]
    pub fn number_at(&self, position: u64) -> u128 {
        self.order.at(match u64::try_from(self.len) {
            Ok(len) => position.checked_rem(len).unwrap_or(0).into(),
            Err(_) => position.into(),
        })
    }

    /// Which round this position is in, from 0.
    #[must_use]
    pub fn round_at(&self, position: u64) -> u64 {
        u64::try_from(self.len).map_or(0, |len| position.checked_div(len).unwrap_or(0))
    }

    /// The target with this number: hosts in order, and for each of them its ports.
    #[must_use]
    pub fn get(&self, number: u128) -> Option<Target<'_>> {
        let at = self.before.partition_point(|&before| before <= number).checked_sub(1)?;
        let group = self.groups.get(at)?;
        let within = number - self.before.get(at)?;
        let (host, port) = divided(within, group.ports.len())?;
        Some(Target { host: group.hosts.get(host)?, port: *group.ports.get(port)? })
    }
}

/// Quotient and remainder. Division of 128 bits takes many times as long, and few runs need it.
fn divided(number: u128, by: usize) -> Option<(u128, usize)> {
    if let Ok(number) = usize::try_from(number) {
        return Some(((number.checked_div(by)?) as u128, number.checked_rem(by)?));
    }
    let rest = number.checked_rem(by as u128)?;
    Some((number.checked_div(by as u128)?, usize::try_from(rest).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(items: &[&str], ports: &str) -> Targets {
        let mut wanted = Wanted::default();
        for item in items {
            wanted.add(item).unwrap();
        }
        if !ports.is_empty() {
            wanted.add_ports(ports).unwrap();
        }
        wanted.targets(1)
    }

    fn listed(targets: &Targets) -> Vec<String> {
        (0..targets.len())
            .map_while(|number| targets.get(number))
            .map(|Target { host, port }| match host {
                Host::Address(address) => format!("{address} {port}"),
                Host::Name(name) => format!("{name} {port}"),
            })
            .collect()
    }

    #[test]
    fn what_people_write() {
        let cases: [(&[&str], &str, &[&str]); 8] = [
            (&["192.0.2.254/31"], "80", &["192.0.2.254 80", "192.0.2.255 80"]),
            (
                &["192.0.2.1-2"],
                "80,22",
                &["192.0.2.1 22", "192.0.2.1 80", "192.0.2.2 22", "192.0.2.2 80"],
            ),
            (&["192.0.2.255-192.0.3.0"], "1", &["192.0.2.255 1", "192.0.3.0 1"]),
            (&["[::1]:5", "::2"], "6", &["::1 5", "::2 6"]),
            (&["2001:db8::/127"], "6", &["2001:db8:: 6", "2001:db8::1 6"]),
            (&["a.example:1-2,9"], "", &["a.example 1", "a.example 2", "a.example 9"]),
            (&["fe80::1%eth0"], "1", &["fe80::1%eth0 1"]),
            (&["some-host-9"], "1", &["some-host-9 1"]),
        ];
        for (items, ports, expected) in cases {
            assert_eq!(listed(&wanted(items, ports)), expected, "{items:?}");
        }
    }

    #[test]
    fn each_pair_once() {
        let targets = wanted(&["10.0.0.1", "10.0.0.0/30", "10.0.0.2:80", "10.0.0.2:81"], "80,80");
        let expected = ["10.0.0.2 81", "10.0.0.0 80", "10.0.0.1 80", "10.0.0.2 80", "10.0.0.3 80"];
        assert_eq!(listed(&targets), expected);
        let mut numbers: Vec<u128> = (0..5).map(|position| targets.number_at(position)).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_is_excluded_is_not_asked() {
        let mut wanted = Wanted::default();
        for item in ["10.0.0.0/29", "10.0.0.9:5", "a.example"] {
            wanted.add(item).unwrap();
        }
        for item in ["10.0.0.1-6", "10.0.0.9", "A.EXAMPLE"] {
            wanted.exclude(item).unwrap();
        }
        wanted.add_ports("7").unwrap();
        assert_eq!(listed(&wanted.targets(0)), ["10.0.0.0 7", "10.0.0.7 7"]);
    }

    #[test]
    fn what_is_no_target_says_why() {
        for (item, why) in [
            ("10.0.0.0/33", "from 0 to 32"),
            ("::/129", "from 0 to 128"),
            ("x/8", "an address"),
            ("10.0.0.9-3", "write 10.0.0.3-10.0.0.9"),
            ("10.0.0.9-::1", "two families"),
            ("10.0.0.1-x", "neither"),
            ("10.0.0.300", "looks like an address"),
            ("", "no host"),
            ("a b", "' '"),
            ("a:", "no ports"),
            ("[::1", "not closed"),
            ("[::1]x", "colon"),
            ("a:99999", "1 to 65535"),
            ("a:0", "1 to 65535"),
            ("a:-5", "1 to 65535"),
            ("a:9-3", "write 3-9"),
            ("a:x", "ranges like"),
        ] {
            let error = Wanted::default().add(item).unwrap_err();
            assert!(error.why.contains(why), "{item:?}: {error:?}");
        }
    }

    #[test]
    fn rounds() {
        let targets = wanted(&["10.0.0.1-3"], "80");
        let numbers: Vec<u128> = (0..6).map(|position| targets.number_at(position)).collect();
        assert_eq!(numbers[..3], numbers[3..]);
        let rounds: Vec<u64> = (0..7).map(|position| targets.round_at(position)).collect();
        assert_eq!(rounds, [0, 0, 0, 1, 1, 1, 2]);
    }

    #[test]
    fn huge_is_not_listed() {
        let targets = wanted(&["2001:db8::/28"], "1-65535");
        assert_eq!(targets.len(), (1_u128 << 100) * 65_535);
        assert!(targets.get(targets.number_at(12_345)).is_some());
    }
}
