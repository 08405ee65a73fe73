//! Which name an address inside stands for.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use fence_compiler::pattern::{DomainName, PortRange};
use fence_compiler::plan::NameBlock;

/// How many names have an address inside, at most: none is ever taken away from one.
const MOST: usize = 16_384;

/// The addresses that were given to names.
#[derive(Debug)]
pub(super) struct Names {
    blocks: Vec<NameBlock>,
    by_name: HashMap<DomainName, Ipv4Addr>,
    by_address: HashMap<Ipv4Addr, DomainName>,
}

/// Why a name gets no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAddress {
    /// No block has the ports of the name.
    #[error("no block of addresses inside leads to its ports")]
    NoBlock,
    /// All addresses are given away.
    #[error("every address inside already stands for another name")]
    Full,
}

impl Names {
    pub(super) fn new(blocks: Vec<NameBlock>) -> Names {
        Names { blocks, by_name: HashMap::new(), by_address: HashMap::new() }
    }

    /// The address of a name with these ports: the same one in every run, unless another name was there first.
    pub(super) fn address(&mut self, name: &DomainName, ports: &[PortRange]) -> Result<Ipv4Addr, NoAddress> {
        if let Some(address) = self.by_name.get(name) {
            return Ok(*address);
        }
        let block = self.block(ports).ok_or(NoAddress::NoBlock)?.block;
        // The first and the last address of a block are left out, as in any other network.
        let size = (1_u64 << (32 - u32::from(block.prefix_len()))).saturating_sub(2);
        if self.by_name.len() >= MOST || size == 0 {
            return Err(NoAddress::Full);
        }
        let base = u64::from(u32::from(block.network())) + 1;
        let start = hash(name.as_str()) % size;
        let address = (0..size)
            .map(|step| base + (start + step) % size)
            .filter_map(|number| u32::try_from(number).ok().map(Ipv4Addr::from))
            .find(|address| !self.by_address.contains_key(address))
            .ok_or(NoAddress::Full)?;
        self.by_name.insert(name.clone(), address);
        self.by_address.insert(address, name.clone());
        Ok(address)
    }

    /// The name behind an address.
    pub(super) fn name(&self, address: Ipv4Addr) -> Option<&DomainName> {
        self.by_address.get(&address)
    }

    /// The block with the fewest ports that has all of these.
    fn block(&self, ports: &[PortRange]) -> Option<&NameBlock> {
        let holds = |block: &&NameBlock| ports.iter().all(|asked| covers(&block.ports, *asked));
        self.blocks.iter().filter(holds).min_by_key(|block| count(&block.ports))
    }
}

/// Whether every port of a range is in one of these.
fn covers(ranges: &[PortRange], asked: PortRange) -> bool {
    let mut next = u32::from(asked.low);
    while next <= u32::from(asked.high) {
        let found =
            ranges.iter().filter(|range| u32::from(range.low) <= next && next <= u32::from(range.high));
        match found.map(|range| u32::from(range.high) + 1).max() {
            Some(behind) => next = behind,
            None => return false,
        }
    }
    true
}

fn count(ranges: &[PortRange]) -> u32 {
    ranges.iter().map(|range| u32::from(range.high) - u32::from(range.low) + 1).sum()
}

/// FNV-1a: the same everywhere and always.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn ports(all: &[(u16, u16)]) -> Vec<PortRange> {
        all.iter().map(|(low, high)| PortRange { low: *low, high: *high }).collect()
    }

    fn names(blocks: &[(&str, &[(u16, u16)])]) -> Names {
        let block = |(block, all): &(&str, &[(u16, u16)])| NameBlock {
            block: block.parse().unwrap(),
            ports: ports(all),
        };
        Names::new(blocks.iter().map(block).collect())
    }

    fn name(text: &str) -> DomainName {
        DomainName::new(text).unwrap()
    }

    #[test]
    fn a_name_has_one_address_that_leads_back_to_it() {
        let blocks: &[(&str, &[(u16, u16)])] =
            &[("198.18.1.0/24", &[(443, 443)]), ("198.18.2.0/24", &[(22, 22), (443, 443)])];
        let mut one = names(blocks);
        let mut other = names(blocks);
        let first = one.address(&name("a.example"), &ports(&[(443, 443)])).unwrap();
        assert_eq!(one.address(&name("a.example"), &ports(&[(443, 443)])), Ok(first));
        assert_eq!(other.address(&name("a.example"), &ports(&[(443, 443)])), Ok(first));
        assert_eq!(one.name(first), Some(&name("a.example")));
        let both = one.address(&name("b.example"), &ports(&[(22, 22), (443, 443)])).unwrap();
        assert!("198.18.2.0/24".parse::<ipnet::Ipv4Net>().unwrap().contains(&both));
        assert_eq!(one.address(&name("c.example"), &ports(&[(80, 80)])), Err(NoAddress::NoBlock));
    }

    #[test]
    fn names_share_no_address_and_a_full_block_says_so() {
        let mut names = names(&[("198.18.1.0/24", &[(1, 65535)])]);
        let mut seen = HashSet::new();
        for number in 0..254 {
            assert!(
                seen.insert(names.address(&name(&format!("n{number}.example")), &ports(&[(1, 5)])).unwrap())
            );
        }
        assert_eq!(names.address(&name("last.example"), &ports(&[(1, 5)])), Err(NoAddress::Full));
        assert!(names.address(&name("n3.example"), &[]).is_ok());
    }

    #[test]
    fn a_block_has_a_range_that_it_holds_in_pieces() {
        let ranges = ports(&[(1, 10), (11, 20), (30, 30)]);
        for (low, high, held) in
            [(1, 20, true), (5, 15, true), (20, 21, false), (30, 30, true), (10, 30, false)]
        {
            assert_eq!(covers(&ranges, PortRange { low, high }), held, "{low}-{high}");
        }
    }
}
