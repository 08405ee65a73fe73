//! The values of limits.

use crate::diagnostic::Code;
use crate::document::LimitKind;
use crate::pattern::ItemError;

/// What the numbers of a kind of limit count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Time,
    Size,
    Count,
}

/// Reads a limit's value: milliseconds for times, bytes for sizes, a count for the rest.
pub(super) fn amount(kind: LimitKind, text: &str) -> Result<u64, ItemError> {
    let measure = measure(kind);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let all = 0..text.len();
    let bad = |message: String| ItemError::new(Code::BadLimit, all.clone(), message);
    if digits.is_empty() || unit.starts_with(['.', ',']) {
        return Err(bad(format!("`{text}` is no whole number{}", with_unit(measure))).help(example(kind)));
    }
    let factor = match (measure, unit) {
        (Measure::Time, "s") => 1_000,
        (Measure::Time, "m") => 60_000,
        (Measure::Time, "h") => 3_600_000,
        (Measure::Size, "KiB") => 1 << 10,
        (Measure::Size, "MiB") => 1 << 20,
        (Measure::Size, "GiB") => 1 << 30,
        (Measure::Count, "") => 1,
        (_, "") => {
            let units = if measure == Measure::Time { ["s", "m", "h"] } else { ["KiB", "MiB", "GiB"] };
            return Err(bad(format!("the number `{digits}` has no unit")).help(format!(
                "write `{digits}{}`, `{digits}{}` or `{digits}{}`",
                units[0], units[1], units[2]
            )));
        }
        (measure, unit) => {
            let error = bad(format!("`{unit}` is no unit of `limit {}`", kind.word()));
            return Err(match nearest(measure, unit) {
                Some(near) => error.instead(format!("{digits}{near}")),
                None => error.help(example(kind)),
            });
        }
    };
    let out = |message: String| ItemError::new(Code::LimitOutOfRange, all.clone(), message);
    match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)) {
        Some(0) => {
            Err(out(format!("a limit of `{text}` would stop everything")).help("the smallest limit is 1"))
        }
        Some(amount) if amount <= i64::MAX as u64 => Ok(amount),
        _ => {
            Err(out(format!("`{text}` is more than can be counted")).help("leave the limit out for no limit"))
        }
    }
}

fn measure(kind: LimitKind) -> Measure {
    match kind {
        LimitKind::Time | LimitKind::Cpu | LimitKind::ConnectTime | LimitKind::IdleTime => Measure::Time,
        LimitKind::Memory | LimitKind::FileSize => Measure::Size,
        LimitKind::Processes | LimitKind::Files => Measure::Count,
    }
}

fn with_unit(measure: Measure) -> &'static str {
    match measure {
        Measure::Time => " with `s`, `m` or `h`",
        Measure::Size => " with `KiB`, `MiB` or `GiB`",
        Measure::Count => "",
    }
}

fn example(kind: LimitKind) -> String {
    match measure(kind) {
        Measure::Time => format!("write for example `limit {} 90s`, `30m` or `2h`", kind.word()),
        Measure::Size => format!("write for example `limit {} 512MiB` or `4GiB`", kind.word()),
        Measure::Count => format!("write for example `limit {} 512`", kind.word()),
    }
}

/// The unit that somebody may have meant.
fn nearest(measure: Measure, unit: &str) -> Option<&'static str> {
    match (measure, unit.to_ascii_lowercase().as_str()) {
        (Measure::Time, "sec" | "secs" | "second" | "seconds") => Some("s"),
        (Measure::Time, "min" | "mins" | "minute" | "minutes") => Some("m"),
        (Measure::Time, "hr" | "hrs" | "hour" | "hours" | "h") => Some("h"),
        (Measure::Size, "k" | "kb" | "ki" | "kib") => Some("KiB"),
        (Measure::Size, "m" | "mb" | "mi" | "mib") => Some("MiB"),
        (Measure::Size, "g" | "gb" | "gi" | "gib") => Some("GiB"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_in_their_units() {
        for (kind, text, amount_) in [
            (LimitKind::Time, "30m", 1_800_000),
            (LimitKind::Cpu, "2h", 7_200_000),
            (LimitKind::IdleTime, "1s", 1_000),
            (LimitKind::Memory, "4GiB", 4 << 30),
            (LimitKind::FileSize, "1KiB", 1024),
            (LimitKind::Processes, "512", 512),
        ] {
            assert_eq!(amount(kind, text), Ok(amount_), "{text}");
        }
    }

    #[test]
    fn what_is_no_limit_is_told() {
        for (kind, text, code, replacement) in [
            (LimitKind::Time, "30", Code::BadLimit, None),
            (LimitKind::Time, "30min", Code::BadLimit, Some("30m")),
            (LimitKind::Time, "1.5h", Code::BadLimit, None),
            (LimitKind::Time, "-1s", Code::BadLimit, None),
            (LimitKind::Memory, "4GB", Code::BadLimit, Some("4GiB")),
            (LimitKind::Memory, "4", Code::BadLimit, None),
            (LimitKind::Processes, "5k", Code::BadLimit, None),
            (LimitKind::Processes, "", Code::BadLimit, None),
            (LimitKind::Time, "0s", Code::LimitOutOfRange, None),
            (LimitKind::Files, "0", Code::LimitOutOfRange, None),
            (LimitKind::Memory, "99999999999GiB", Code::LimitOutOfRange, None),
            (LimitKind::Memory, "99999999999999999999999KiB", Code::LimitOutOfRange, None),
        ] {
            let error = amount(kind, text).unwrap_err();
            assert_eq!((error.code, error.replacement.as_deref()), (code, replacement), "{text}: {error:?}");
        }
    }
}
