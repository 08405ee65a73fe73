//! Ranges of ports.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::shown;
use super::{ItemError, Scope, Value};
use crate::diagnostic::Code;

/// Inclusive, never with port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct PortRange {
    /// The lowest port.
    pub low: u16,
    /// The highest port.
    pub high: u16,
}

impl PortRange {
    /// Every port.
    pub const ALL: PortRange = PortRange { low: 1, high: u16::MAX };

    /// Whether the port is among them.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        self.low <= port && port <= self.high
    }

    /// Reads `PORT` or `LOW-HIGH`; `$name` is the text of a `let`.
    ///
    /// # Errors
    /// What makes it no range of ports.
    pub fn parse(text: &str, scope: &dyn Scope) -> Result<PortRange, ItemError> {
        let value = if text.contains('$') { Value::parse(text, scope)? } else { Value(Vec::new()) };
        let written = if text.contains('$') { value.plain().unwrap_or(text) } else { text };
        read(written).map_err(|error| if written == text { error } else { error.about_all(text) })
    }
}

fn read(text: &str) -> Result<PortRange, ItemError> {
    let Some(dash) = text.find('-') else {
        let port = read_port(text, 0)?;
        return Ok(PortRange { low: port, high: port });
    };
    let low = read_port(text.get(..dash).unwrap_or(""), 0)?;
    let high = read_port(text.get(dash + 1..).unwrap_or(""), dash + 1)?;
    if low > high {
        return Err(ItemError::new(
            Code::BadPort,
            0..text.len(),
            format!("the range `{low}-{high}` holds no port"),
        )
        .instead(format!("{high}-{low}")));
    }
    Ok(PortRange { low, high })
}

fn read_port(text: &str, at: usize) -> Result<u16, ItemError> {
    let error = |message: String| ItemError::new(Code::BadPort, at..at + text.len(), message);
    if text == "*" {
        return Err(
            error("`*` is no port".into()).help("leave the port out for every port, or write `1-65535`")
        );
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(error(format!("`{}` is no port", shown(text)))
            .help("a port is a number from 1 to 65535, a range is written `3000-3999`"));
    }
    match text.parse::<u16>() {
        Ok(0) => Err(error("port 0 is no port that can be connected to".into())
            .help("a port is a number from 1 to 65535; leave it out for every port")),
        Ok(_) if text.starts_with('0') => Err(error(format!("the port `{text}` begins with 0"))
            .help(format!("write `{}`", text.trim_start_matches('0')))),
        Ok(port) => Ok(port),
        Err(_) => Err(error(format!("`{text}` is larger than any port")).help("the largest port is 65535")),
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            write!(f, "{}", self.low)
        } else {
            write!(f, "{}-{}", self.low, self.high)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::testing::scope;

    #[test]
    fn ports_and_ranges_are_read() {
        for (text, low, high) in
            [("1", 1, 1), ("65535", 65535, 65535), ("3000-3999", 3000, 3999), ("5-5", 5, 5)]
        {
            let range = PortRange::parse(text, &scope()).unwrap();
            assert_eq!(range, PortRange { low, high });
            assert_eq!(PortRange::parse(&range.to_string(), &scope()).unwrap(), range);
        }
    }

    #[test]
    fn what_is_no_port_is_told() {
        for text in
            ["", "0", "0-5", "65536", "080", "a", "1-", "-1", "9-1", "*", "$home", "99999999999999999999"]
        {
            let error = PortRange::parse(text, &scope()).unwrap_err();
            assert_eq!(error.code, Code::BadPort, "{text}");
            assert!(!error.help.is_empty(), "{text}");
        }
        assert_eq!(PortRange::parse("9-1", &scope()).unwrap_err().replacement.as_deref(), Some("1-9"));
    }
}
