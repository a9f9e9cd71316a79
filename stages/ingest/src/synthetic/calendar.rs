//! Days and how they are written.

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
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// A day, counted from 1 January 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day(pub(super) i64);

/// How a day is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DateForm {
    /// 14 May 2001
    Full,
    /// May 14, 2001
    American,
    /// 05/14/2001
    Slashes,
    /// Mon, 14 May 2001 09:12:00 -0500
    Stamp,
    /// May 2001
    Month,
    /// 2001
    Year,
}

impl DateForm {
    /// The form that a template names.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "" => Self::Full,
            "us" => Self::American,
            "slashes" => Self::Slashes,
            "stamp" => Self::Stamp,
            "month" => Self::Month,
            "year" => Self::Year,
            _ => return None,
        })
    }
}

impl Day {
    /// The year, the month and the day of the month (H. Hinnant's `civil_from_days`).
    pub(super) fn civil(self) -> (i64, usize, i64) {
        let shifted = self.0 + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        (year_of_era + era * 400 + i64::from(month <= 2), month as usize, day)
    }

    /// The year.
    pub(super) fn year(self) -> i64 {
        self.civil().0
    }

    /// The name of the weekday.
    pub(super) fn weekday(self) -> &'static str {
        WEEKDAYS[self.0.rem_euclid(7) as usize]
    }

    /// The day as text; `minute` of the day is for stamps.
    pub(super) fn write(self, form: DateForm, minute: usize) -> String {
        let (year, month, day) = self.civil();
        let name = MONTHS[month - 1];
        match form {
            DateForm::Full => format!("{day} {name} {year}"),
            DateForm::American => format!("{name} {day}, {year}"),
            DateForm::Slashes => format!("{month:02}/{day:02}/{year}"),
            DateForm::Stamp => format!(
                "{}, {day} {} {year} {:02}:{:02}:00 -0500",
                &self.weekday()[..3],
                &name[..3],
                minute / 60 % 24,
                minute % 60
            ),
            DateForm::Month => format!("{name} {year}"),
            DateForm::Year => year.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DateForm, Day};

    #[test]
    fn known_days_are_written_right() {
        assert_eq!(Day(0).write(DateForm::Full, 0), "1 January 1970");
        assert_eq!(Day(0).weekday(), "Thursday");
        // Leap days of a century that has one, and the days around one that has none.
        assert_eq!(Day(11_016).write(DateForm::Full, 0), "29 February 2000");
        assert_eq!(Day(-25_509).write(DateForm::Slashes, 0), "02/28/1900");
        assert_eq!(Day(-25_508).write(DateForm::American, 0), "March 1, 1900");
        assert_eq!(Day(11_322).write(DateForm::Stamp, 552), "Sun, 31 Dec 2000 09:12:00 -0500");
        assert_eq!(Day(11_322).write(DateForm::Month, 0), "December 2000");
    }
}
