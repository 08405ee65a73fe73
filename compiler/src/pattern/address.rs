//! Addresses, and the spellings of them that programs read differently.

use std::net::Ipv4Addr;

use super::ItemError;
use super::error::shown;
use crate::diagnostic::Code;

/// Whether the last label is a number, decimal or hexadecimal: such a host is an address to every program.
pub(super) fn ends_in_number(name: &str) -> bool {
    let last = name.strip_suffix('.').unwrap_or(name).rsplit('.').next().unwrap_or("");
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Reads an IPv4 address in its one plain form, four decimal numbers.
///
/// `text` is lower-case ASCII that [`ends_in_number`]; `written` is the item, for messages and ranges.
pub(super) fn read_ipv4(text: &str, written: &str) -> Result<Ipv4Addr, ItemError> {
    if let Ok(address) = written.parse() {
        return Ok(address);
    }
    let error = |code, message: String| ItemError::new(code, 0..written.len(), message);
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(digits_alone(text, written));
    }
    let parts: Vec<&str> = text.strip_suffix('.').unwrap_or(text).split('.').collect();
    let plain = parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()));
    if parts.len() > 4
        || (parts.len() == 4 && plain && parts.iter().any(|p| p.parse::<u32>().map_or(true, |n| n > 255)))
    {
        return Err(error(
            Code::BadHost,
            format!("`{}` is no address: it has four numbers, none above 255", shown(written)),
        )
        .help("correct the number; an address looks like `192.0.2.1`"));
    }
    let octal = parts.iter().any(|part| part.len() > 1 && part.starts_with('0') && !part.starts_with("0x"));
    match legacy(&parts) {
        Some(meant) => {
            let mut told = error(
                Code::LegacyAddress,
                format!("`{}` is an old spelling that programs read differently", shown(written)),
            );
            if octal && plain {
                let decimal: Vec<&str> = parts
                    .iter()
                    .map(|p| p.trim_start_matches('0'))
                    .map(|p| if p.is_empty() { "0" } else { p })
                    .collect();
                told = told.help(format!("write `{meant}` if its numbers are octal"));
                if let (4, Ok(read)) = (parts.len(), decimal.join(".").parse::<Ipv4Addr>()) {
                    told = told.help(format!("write `{read}` if its numbers are decimal"));
                }
                Err(told)
            } else {
                Err(told.instead(meant.to_string()))
            }
        }
        None => Err(error(Code::BadHost, format!("`{}` is neither an address nor a name", shown(written)))
            .help("an address looks like `192.0.2.1`; the last part of a name is not a number")),
    }
}

fn digits_alone(text: &str, written: &str) -> ItemError {
    let error = ItemError::new(
        Code::LegacyAddress,
        0..written.len(),
        format!("`{}` is a number, and no host", shown(written)),
    );
    match (text.parse::<u16>(), text.parse::<u32>()) {
        (Ok(port), _) if port > 0 => error
            .help(format!("for a port of this machine write `localhost:{port}`"))
            .help(format!("for a port of every host write `*:{port}`")),
        (_, Ok(number)) => error.instead(Ipv4Addr::from(number).to_string()),
        _ => error.help("an address looks like `192.0.2.1`"),
    }
}

/// What `inet_aton` reads: one to four numbers, decimal, octal or hexadecimal, the last filling the rest.
fn legacy(parts: &[&str]) -> Option<Ipv4Addr> {
    let (last, first) = parts.split_last()?;
    let mut value = number(last)?;
    let room = 8 * u32::try_from(4_usize.checked_sub(first.len())?).ok()?;
    if room < 32 && value >= 1 << room {
        return None;
    }
    for (index, part) in first.iter().enumerate() {
        let byte = number(part).filter(|n| *n <= 255)?;
        value |= byte << (24 - 8 * u32::try_from(index).ok()?);
    }
    Some(Ipv4Addr::from(value))
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some("") => Some(0),
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}
