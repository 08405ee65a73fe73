//! What readers of YAML take a scalar without quotes for.

/// What a scalar without quotes may be taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    /// A text, by every reader.
    Text,
    /// Nothing: `null`, `~`, or no character at all.
    Null,
    /// A truth value: `true`, and by readers of YAML 1.1 `yes`, `on`, `y` too.
    Truth,
    /// A number; by readers of YAML 1.1 `0b1`, `1_000`, `12:30` and dates too.
    Number,
    /// A sign of YAML 1.1's own: `=`, `<<`.
    Sign,
}

/// What any reader, of YAML 1.1 or 1.2, takes a scalar without quotes for.
pub(crate) fn plain(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "=" | "<<" => return Plain::Sign,
        _ => {}
    }
    let cased =
        text.bytes().skip(1).all(|b| b.is_ascii_lowercase()) || text.bytes().all(|b| b.is_ascii_uppercase());
    let lower = text.to_ascii_lowercase();
    if cased && ["true", "false", "yes", "no", "on", "off", "y", "n"].contains(&lower.as_str()) {
        return Plain::Truth;
    }
    if is_number(text.strip_prefix(['-', '+']).unwrap_or(text)) || is_date(text) {
        return Plain::Number;
    }
    Plain::Text
}

/// A number, its sign taken away.
fn is_number(text: &str) -> bool {
    let digits = |text: &str, of: fn(&u8) -> bool| {
        text.bytes().any(|b| of(&b)) && text.bytes().all(|b| b == b'_' || of(&b))
    };
    if matches!(text, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    if let Some((base, rest)) = text.split_at_checked(2) {
        let of: Option<fn(&u8) -> bool> = match base {
            "0x" | "0X" => Some(u8::is_ascii_hexdigit),
            "0o" | "0b" => Some(u8::is_ascii_digit),
            _ => None,
        };
        if let Some(of) = of {
            return digits(rest, of);
        }
    }
    // Base 60 of YAML 1.1: `12:30`.
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    if !rest.is_empty() {
        let sixtieth = |part: &&str| {
            let whole = part.split('.').next().unwrap_or_default();
            matches!(whole.len(), 1 | 2)
                && part.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'_'))
        };
        return digits(first, u8::is_ascii_digit) && rest.iter().all(sixtieth);
    }
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
        None => (text, None),
    };
    let exponent = exponent.is_none_or(|exponent| {
        digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent), u8::is_ascii_digit)
    });
    let mut points = mantissa.splitn(2, '.');
    let (whole, fraction) = (points.next().unwrap_or_default(), points.next());
    let plain = |text: &str| text.is_empty() || digits(text, u8::is_ascii_digit);
    let any = mantissa.bytes().any(|b| b.is_ascii_digit());
    exponent && any && plain(whole) && fraction.is_none_or(plain)
}

/// A date of YAML 1.1: `2026-11-24`, with a time or without.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let number = |part: Option<&str>, most: usize, least: usize| {
        part.is_some_and(|part| {
            (least..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
        })
    };
    number(parts.next(), 4, 4)
        && number(parts.next(), 2, 1)
        && parts.next().is_some_and(|day| {
            let day = day.split(['T', 't', ' ']).next();
            number(day, 2, 1)
        })
}

#[cfg(test)]
mod tests {
    use super::{Plain, plain};

    #[test]
    fn what_some_reader_takes_for_no_text_is_known() {
        for (kind, texts) in [
            (Plain::Null, ["", "~", "null", "NULL"].as_slice()),
            (Plain::Truth, &["true", "False", "YES", "no", "On", "off", "y", "N"]),
            (Plain::Sign, &["=", "<<"]),
            (
                Plain::Number,
                &[
                    "0",
                    "-1",
                    "+12",
                    "1_000",
                    "0x1f",
                    "0o17",
                    "0b11",
                    "1.5",
                    ".5",
                    "1.",
                    "1e3",
                    "1.5E-3",
                    ".inf",
                    "-.INF",
                    ".nan",
                    "12:30",
                    "1:2:3:4:5:6:7:8",
                    "190:20:30.15",
                    "2026-11-24",
                    "2026-1-2",
                    "2001-12-14t21:59:43.10-05:00",
                ],
            ),
            (
                Plain::Text,
                &[
                    "/usr",
                    "~/x",
                    "$home",
                    "a",
                    "nO",
                    "tRUE",
                    "3000-3999",
                    "10.0.0.1",
                    "10.0.0.0/8",
                    "127.0.0.1:80",
                    "github.com:443",
                    "30m",
                    "4GiB",
                    "fd00::1",
                    "2001:db8::1",
                    "LC_*",
                    "1.2.3",
                    "0x",
                    "e3",
                    "-",
                    ".",
                    "_",
                    "git push",
                    "nullable",
                    "12:300",
                ],
            ),
        ] {
            for text in texts {
                assert_eq!(plain(text), kind, "{text:?}");
            }
        }
    }
}
