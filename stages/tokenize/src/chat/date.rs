//! The day that a chat template may ask for. It is a setting: with the clock's, texts, token ids and
//! hashes would change by the day.

/// A day of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day {
    year: u32,
    month: u32,
    day: u32,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Day {
    /// Reads `2026-07-26`; none where that is no day.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts[..] else { return None };
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let has_lengths = (year.len(), month.len(), day.len()) == (4, 2, 2);
        if !has_lengths || ![year, month, day].into_iter().all(is_digits) {
            return None;
        }
        let day =
            Self { year: year.parse().ok()?, month: month.parse().ok()?, day: day.parse().ok()? };
        let fits = day.year > 0 && (1..=12).contains(&day.month) && day.day > 0;
        (fits && day.day <= day.days_of(day.month)).then_some(day)
    }

    fn days_of(self, month: u32) -> u32 {
        let is_leap = self.year.is_multiple_of(4)
            && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        match month {
            2 if is_leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    fn day_of_year(self) -> u32 {
        (1..self.month).map(|month| self.days_of(month)).sum::<u32>() + self.day
    }

    /// Days since Sunday.
    fn weekday(self) -> usize {
        let before = self.year - 1;
        let days = 365 * before + before / 4 - before / 100 + before / 400 + self.day_of_year();
        // The first day of year 1 was a Monday.
        (days % 7) as usize
    }

    /// What C's `strftime` writes of midnight; none for a code that is not known.
    pub(super) fn format(self, format: &str) -> Option<String> {
        let mut out = String::new();
        let mut characters = format.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                out.push(character);
                continue;
            }
            let Self { year, month, day } = self;
            let month_name = MONTHS[month as usize - 1];
            let weekday = self.weekday();
            let part = match characters.next()? {
                'Y' => format!("{year:04}"),
                'y' => format!("{:02}", year % 100),
                'm' => format!("{month:02}"),
                'd' => format!("{day:02}"),
                'e' => format!("{day:2}"),
                'B' => month_name.to_string(),
                'b' | 'h' => month_name[..3].to_string(),
                'A' => WEEKDAYS[weekday].to_string(),
                'a' => WEEKDAYS[weekday][..3].to_string(),
                'w' => weekday.to_string(),
                'u' => (if weekday == 0 { 7 } else { weekday }).to_string(),
                'j' => format!("{:03}", self.day_of_year()),
                'F' => format!("{year:04}-{month:02}-{day:02}"),
                'D' => format!("{month:02}/{day:02}/{:02}", year % 100),
                'H' | 'M' | 'S' => "00".to_string(),
                'I' => "12".to_string(),
                'p' => "AM".to_string(),
                'T' => "00:00:00".to_string(),
                '%' => "%".to_string(),
                '-' => match characters.next()? {
                    'd' => day.to_string(),
                    'm' => month.to_string(),
                    _ => return None,
                },
                _ => return None,
            };
            out.push_str(&part);
        }
        Some(out)
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
