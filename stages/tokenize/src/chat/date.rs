//! The day that a chat template may ask for. It is a setting: with the clock's, texts, token ids and
//! hashes would change by the day.

use jiff::civil::Date;
use jiff::fmt::strtime;

/// A day of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day(Date);

impl Day {
    /// Reads `2026-07-26`; none where that is no day.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let day = Date::strptime("%Y-%m-%d", text).ok()?;
        // No other way to write it: equal settings are equal.
        (day.to_string() == text).then_some(Self(day))
    }

    /// What C's `strftime` writes of midnight; none for a code that is not known.
    pub(super) fn format(self, format: &str) -> Option<String> {
        strtime::format(format, self.0.at(0, 0, 0, 0)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Python 3 writes.
    #[test]
    fn days_are_written_as_python_writes_them() {
        for (day, expected) in [
            ("2024-07-26", "26 Jul 2024|Friday July 24 208 5"),
            ("2000-02-29", "29 Feb 2000|Tuesday February 00 060 2"),
            ("1999-12-31", "31 Dec 1999|Friday December 99 365 5"),
            ("2026-11-30", "30 Nov 2026|Monday November 26 334 1"),
            ("2023-01-01", "01 Jan 2023|Sunday January 23 001 0"),
        ] {
            let day = Day::parse(day).unwrap();
            assert_eq!(day.format("%d %b %Y|%A %B %y %j %w").unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in
            ["2023-02-29", "2024-13-01", "2024-1-1", "today", "2024-04-31", "2024-00-10", ""]
        {
            assert_eq!(Day::parse(text), None, "{text}");
        }
        assert_eq!(Day::parse("2024-01-01").unwrap().format("%Q"), None);
    }
}
