//! Sets of ports.

use crate::pattern::PortRange;

/// A set of ports: ranges in ascending order that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortSet(Vec<PortRange>);

impl PortSet {
    /// The ports of these ranges.
    #[must_use]
    pub fn of(ranges: impl IntoIterator<Item = PortRange>) -> PortSet {
        let mut ranges: Vec<PortRange> = ranges.into_iter().filter(|range| range.low <= range.high).collect();
        ranges.sort_unstable();
        let mut merged: Vec<PortRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.low <= last.high.saturating_add(1) => {
                    last.high = last.high.max(range.high)
                }
                _ => merged.push(range),
            }
        }
        PortSet(merged)
    }

    /// Whether it holds no port.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it holds this port.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(port))
    }

    /// The ranges.
    #[must_use]
    pub fn ranges(&self) -> &[PortRange] {
        &self.0
    }

    /// The ports of both.
    #[must_use]
    pub fn union(&self, other: &PortSet) -> PortSet {
        PortSet::of(self.0.iter().chain(&other.0).copied())
    }

    /// The ports that are in both.
    #[must_use]
    pub fn both(&self, other: &PortSet) -> PortSet {
        self.without(&self.without(other))
    }

    /// The ports of this that are not in the other.
    #[must_use]
    pub fn without(&self, other: &PortSet) -> PortSet {
        let mut left = Vec::with_capacity(self.0.len());
        for range in &self.0 {
            let mut low = range.low;
            let mut rest = true;
            for cut in other.0.iter().filter(|cut| cut.high >= range.low && cut.low <= range.high) {
                if cut.low > low {
                    left.push(PortRange { low, high: cut.low - 1 });
                }
                match cut.high.checked_add(1) {
                    Some(next) if next <= range.high => low = next,
                    _ => rest = false,
                }
            }
            if rest {
                left.push(PortRange { low, high: range.high });
            }
        }
        PortSet(left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = Vec<PortRange>> {
        let range = (prop_oneof![1_u16..30, 65500_u16..=65535], 0_u16..8);
        let range = range.prop_map(|(low, more)| PortRange { low, high: low.saturating_add(more) });
        prop::collection::vec(range, 0..6)
    }

    proptest! {
        #[test]
        fn sets_hold_what_their_ranges_do(one in ranges(), other in ranges()) {
            let (a, b) = (PortSet::of(one.clone()), PortSet::of(other.clone()));
            let (either, both, left) = (a.union(&b), a.both(&b), a.without(&b));
            for port in (1..60).chain(65490..=65535) {
                let within = |ranges: &[PortRange]| ranges.iter().any(|range| range.contains(port));
                prop_assert_eq!(a.contains(port), within(&one));
                prop_assert_eq!(either.contains(port), within(&one) || within(&other));
                prop_assert_eq!(both.contains(port), within(&one) && within(&other));
                prop_assert_eq!(left.contains(port), within(&one) && !within(&other));
            }
            for set in [&a, &either, &both, &left] {
                let apart = set.ranges().windows(2).all(|two| two[0].high.saturating_add(1) < two[1].low);
                prop_assert!(apart, "{:?}", set);
            }
        }
    }
}
