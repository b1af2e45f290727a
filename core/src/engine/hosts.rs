//! Many hosts in few numbers: addresses as ranges, names as they were given.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Hosts, each of them once, in a fixed order: IPv4 addresses, IPv6 addresses, names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    v4: Ranges,
    v6: Ranges,
    /// In lower case: the domain name system knows no other.
    names: BTreeSet<Box<str>>,
    /// The same in a row, once `settle` was called.
    listed: Vec<Box<str>>,
}

/// One of many hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// A literal address.
    Address(IpAddr),
    /// A name, which is to be resolved.
    Name(&'a str),
}

/// Numbers as ranges, both ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges {
    ranges: Vec<(u128, u128)>,
    /// How many numbers are in the ranges before each.
    before: Vec<u128>,
}

impl Hosts {
    /// One address.
    pub fn add(&mut self, address: IpAddr) {
        self.add_range(address, address);
    }

    /// From one address to another, which is neither smaller nor of another family.
    pub fn add_range(&mut self, first: IpAddr, last: IpAddr) {
        let range = (number(first), number(last));
        match first {
            IpAddr::V4(_) => self.v4.ranges.push(range),
            IpAddr::V6(_) => self.v6.ranges.push(range),
        }
    }

    /// A name.
    pub fn add_name(&mut self, name: &str) {
        self.names.insert(name.to_ascii_lowercase().into_boxed_str());
    }

    /// All hosts of another set.
    pub fn add_all(&mut self, others: &Self) {
        self.v4.ranges.extend_from_slice(&others.v4.ranges);
        self.v6.ranges.extend_from_slice(&others.v6.ranges);
        self.names.extend(others.names.iter().cloned());
    }

    /// Takes out what is in another set. Both need to be settled; this one needs it again.
    pub fn remove_all(&mut self, others: &Self) {
        self.v4.remove_all(&others.v4);
        self.v6.remove_all(&others.v6);
        self.names.retain(|name| !others.names.contains(name));
    }

    /// Puts all in order, each once. To be called after the last change.
    pub fn settle(&mut self) {
        self.v4.settle();
        self.v6.settle();
        self.listed = self.names.iter().cloned().collect();
    }

    /// How many there are; u128::MAX for more than that.
    #[must_use]
    pub fn len(&self) -> u128 {
        let addresses = self.v4.len().saturating_add(self.v6.len());
        addresses.saturating_add(self.listed.len() as u128)
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The host with this number in the order.
    #[must_use]
    pub fn get(&self, index: u128) -> Option<Host<'_>> {
        if let Some(number) = self.v4.get(index) {
            let bits = u32::try_from(number).ok()?;
            return Some(Host::Address(IpAddr::V4(Ipv4Addr::from_bits(bits))));
        }
        let index = index - self.v4.len();
        if let Some(number) = self.v6.get(index) {
            return Some(Host::Address(IpAddr::V6(Ipv6Addr::from_bits(number))));
        }
        let name = self.listed.get(usize::try_from(index - self.v6.len()).ok()?)?;
        Some(Host::Name(name))
    }
}

/// An address as a number.
#[must_use]
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Ranges {
    fn settle(&mut self) {
        self.ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(self.ranges.len());
        for &(first, last) in &self.ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        merged.shrink_to_fit();
        self.ranges = merged;
        let mut sum = 0_u128;
        self.before = Vec::with_capacity(self.ranges.len());
        for &(first, last) in &self.ranges {
            self.before.push(sum);
            sum = sum.saturating_add(last - first).saturating_add(1);
        }
    }

    fn len(&self) -> u128 {
        match (self.before.last(), self.ranges.last()) {
            (Some(before), Some((first, last))) => {
                before.saturating_add(last - first).saturating_add(1)
            }
            _ => 0,
        }
    }

    fn get(&self, index: u128) -> Option<u128> {
        let at = self.before.partition_point(|&before| before <= index).checked_sub(1)?;
        let (first, last) = *self.ranges.get(at)?;
        let number = first.checked_add(index - *self.before.get(at)?)?;
        (number <= last).then_some(number)
    }

    fn remove_all(&mut self, others: &Self) {
        let mut kept = Vec::with_capacity(self.ranges.len());
        let mut removed = others.ranges.iter().peekable();
        for &(mut first, last) in &self.ranges {
            while removed.next_if(|&&(_, end)| end < first).is_some() {}
            let mut rest = removed.clone();
            let mut is_gone = false;
            while let Some(&(start, end)) = rest.next_if(|&&(start, _)| start <= last) {
                if start > first {
                    kept.push((first, start - 1));
                }
                if end >= last {
                    is_gone = true;
                    break;
                }
                first = end + 1;
            }
            if !is_gone {
                kept.push((first, last));
            }
        }
        self.ranges = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(given: &[(u128, u128)]) -> Ranges {
        let mut ranges = Ranges { ranges: given.to_vec(), before: Vec::new() };
        ranges.settle();
        ranges
    }

    fn numbers(ranges: &Ranges) -> Vec<u128> {
        (0..ranges.len()).map_while(|index| ranges.get(index)).collect()
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let found = ranges(&[(5, 7), (1, 2), (3, 3), (6, 9), (20, 20)]);
        assert_eq!(found.ranges, [(1, 3), (5, 9), (20, 20)]);
        assert_eq!(numbers(&found), [1, 2, 3, 5, 6, 7, 8, 9, 20]);
        assert_eq!(found.get(9), None);
    }

    #[test]
    fn what_is_removed_is_gone_and_nothing_else() {
        // Against sets, over every pair of ranges in a small world.
        let every: Vec<(u128, u128)> =
            (0..6).flat_map(|first| (first..6).map(move |last| (first, last))).collect();
        for &one in &every {
            for &two in &every {
                let mut left = ranges(&[(0, 1), (3, 5), (7, 9)]);
                let removed = ranges(&[one, (two.0 + 4, two.1 + 4)]);
                let expected: Vec<u128> =
                    numbers(&left).into_iter().filter(|n| !numbers(&removed).contains(n)).collect();
                left.remove_all(&removed);
                left.settle();
                assert_eq!(numbers(&left), expected, "without {removed:?}");
            }
        }
    }

    #[test]
    fn the_whole_of_ipv6_does_not_overflow() {
        let mut hosts = Hosts::default();
        hosts.add_range(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from_bits(u128::MAX).into());
        hosts.add(Ipv4Addr::LOCALHOST.into());
        hosts.settle();
        assert_eq!(hosts.len(), u128::MAX);
        assert_eq!(hosts.get(0), Some(Host::Address(Ipv4Addr::LOCALHOST.into())));
        assert_eq!(hosts.get(1), Some(Host::Address(Ipv6Addr::UNSPECIFIED.into())));
    }

    #[test]
    fn names_are_one_whatever_their_case() {
        let mut hosts = Hosts::default();
        hosts.add_name("Example.org");
        hosts.add_name("example.ORG");
        hosts.settle();
        assert_eq!((hosts.len(), hosts.get(0)), (1, Some(Host::Name("example.org"))));
    }
}
