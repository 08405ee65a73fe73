//! When something happened.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment in UTC, to the millisecond; in documents `2026-11-24T06:29:21.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    millis: u64,
}

const DAY: u64 = 86_400_000;

impl Timestamp {
    /// This moment; the beginning of 1970 if the clock stands before it.
    #[must_use]
    pub fn now() -> Timestamp {
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        Timestamp { millis: u64::try_from(millis).unwrap_or(u64::MAX) }
    }

    /// The moment that many milliseconds after the beginning of 1970.
    #[must_use]
    pub fn from_unix_millis(millis: u64) -> Timestamp {
        Timestamp { millis }
    }
}

/// The year, month and day of a day counted from 1970 (Howard Hinnant's `civil_from_days`, for days not before it).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The inverse of [`civil`].
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = year.checked_sub(u64::from(month <= 2))?;
    let era = year / 400;
    let year_of_era = year % 400;
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted_month + 2) / 5 + day.checked_sub(1)?;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    (era * 146_097 + of_era).checked_sub(719_468)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.millis / DAY);
        let of_day = self.millis % DAY;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            of_day / 3_600_000,
            of_day / 60_000 % 60,
            of_day / 1_000 % 60,
            of_day % 1_000
        )
    }
}

impl FromStr for Timestamp {
    type Err = ();

    fn from_str(text: &str) -> Result<Timestamp, ()> {
        let (date, time) = text.strip_suffix('Z').and_then(|text| text.split_once('T')).ok_or(())?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| ());
        let [year, month, day] = *date.split('-').map(number).collect::<Result<Vec<_>, ()>>()? else {
            return Err(());
        };
        let (time, millis) = time.split_once('.').ok_or(())?;
        let [hour, minute, second] = *time.split(':').map(number).collect::<Result<Vec<_>, ()>>()? else {
            return Err(());
        };
        let valid =
            (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
        if !valid || millis.len() != 3 || year > 9999 {
            return Err(());
        }
        let day = days(year, month, day).ok_or(())?;
        Ok(Timestamp { millis: day * DAY + ((hour * 60 + minute) * 60 + second) * 1_000 + number(millis)? })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(|()| de::Error::custom("expected a moment like `2026-11-24T06:29:21.000Z`"))
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn moments_are_written_in_utc_and_read_back() {
        for (millis, written) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_501_761_007, "2026-11-24T06:29:21.007Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ] {
            let moment = Timestamp::from_unix_millis(millis);
            assert_eq!(moment.to_string(), written);
            assert_eq!(written.parse(), Ok(moment));
        }
        for refused in ["", "2026-11-24", "2026-13-01T00:00:00.000Z", "2026-11-24T06:29:21Z"] {
            assert!(refused.parse::<Timestamp>().is_err(), "{refused}");
        }
    }
}
