//! Amounts, numbers and identifiers.

use super::choices::Choices;
use super::config::Kind;
use super::lexicon::Country;
use super::person::ascii;
use super::template::Generator;

/// Words that follow a surname in a made-up domain.
pub(super) const TRADES: [&str; 8] =
    ["consult", "partners", "services", "trading", "group", "energy", "works", "associates"];

/// Country code and digits of the IBANs that are made.
const IBANS: [(&str, usize); 5] = [("DE", 18), ("PL", 24), ("EE", 16), ("AT", 16), ("PT", 21)];

/// A number with commas between thousands.
fn with_commas(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Round numbers are commoner than others.
fn amount(low: i64, high: i64, choices: &mut Choices) -> i64 {
    let number = choices.within(low, high);
    let unit = match choices.below(10) {
        0..=4 => 100,
        5..=7 => 10,
        _ => 1,
    };
    let unit = if number >= 100_000 { unit * 10 } else { unit };
    (number / unit * unit).max(low)
}

/// An amount of money.
pub(super) fn money(
    (low, high): (i64, i64),
    country: &Country,
    kind: Kind,
    year: i64,
    choices: &mut Choices,
) -> String {
    let amount = amount(low, high, choices);
    let local = amount * country.per_euro;
    match (kind, choices.below(4)) {
        (Kind::Enron | Kind::Support, 0..=2) if amount >= 1_000_000 => {
            format!("${}.{} million", amount / 1_000_000, amount / 100_000 % 10)
        }
        (Kind::Enron | Kind::Support, 0) if amount < 5_000 => {
            format!("${amount}.{:02}", choices.below(100))
        }
        (Kind::Enron | Kind::Support, _) => format!("${}", with_commas(amount)),
        (Kind::Echr, 0) if year >= 1999 => format!("EUR {}", with_commas(amount)),
        (Kind::Echr, 1) => {
            format!("{} {} ({})", with_commas(local), country.currency, country.currency_code)
        }
        (Kind::Echr, _) => format!("{} {}", country.currency_code, with_commas(local)),
    }
}

/// A time of day.
pub(super) fn time(kind: Kind, choices: &mut Choices) -> String {
    let (hour, minute) = (choices.within(7, 21), choices.below(12) * 5);
    let afternoon = hour >= 12;
    let hour = if hour > 12 { hour - 12 } else { hour };
    match (kind, afternoon) {
        (Kind::Echr, false) => format!("{hour}.{minute:02} a.m."),
        (Kind::Echr, true) => format!("{hour}.{minute:02} p.m."),
        (Kind::Enron | Kind::Support, false) => format!("{hour}:{minute:02} AM"),
        (Kind::Enron | Kind::Support, true) => format!("{hour}:{minute:02} PM"),
    }
}

/// A number in words as far as English spells it out.
fn spelled(number: i64) -> String {
    const WORDS: [&str; 13] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
        "eleven", "twelve",
    ];
    usize::try_from(number)
        .ok()
        .and_then(|number| WORDS.get(number))
        .map_or_else(|| number.to_string(), |word| (*word).to_string())
}

/// A domain name made of a company's name.
pub(super) fn domain(company: &str) -> String {
    format!("{}.com", ascii(company))
}

/// A value that needs nothing but choices, and its label.
pub(super) fn plain(generator: &Generator, choices: &mut Choices) -> (String, &'static str) {
    match generator {
        Generator::Number(low, high) => (spelled(choices.within(*low, *high)), "CARDINAL"),
        Generator::Digits(low, high) => (with_commas(choices.within(*low, *high)), "CARDINAL"),
        Generator::Ordinal(low, high) => {
            let word = match choices.within(*low, *high) {
                1 => "first",
                2 => "second",
                3 => "third",
                4 => "fourth",
                _ => "fifth",
            };
            (word.to_string(), "ORDINAL")
        }
        Generator::Percent(low, high) => (format!("{}%", choices.within(*low, *high)), "PERCENT"),
        Generator::Quantity(low, high, unit) => {
            (format!("{} {unit}", with_commas(choices.within(*low, *high))), "QUANTITY")
        }
        Generator::Duration(low, high, unit) => {
            let count = choices.within(*low, *high);
            let unit = if count == 1 { unit.trim_end_matches('s') } else { unit };
            (format!("{} {unit}", spelled(count)), "DATE")
        }
        Generator::Age(low, high) => (choices.within(*low, *high).to_string(), "DATE"),
        Generator::Weekday => {
            let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
            (choices.word(&days).to_string(), "DATE")
        }
        Generator::Price => {
            let cents = choices.within(182, 964);
            (format!("${}.{:02}", cents / 100, cents % 100), "MONEY")
        }
        Generator::Plot => {
            let (plot, part) = (choices.within(11, 4_870), choices.within(1, 29));
            (format!("{plot}/{part}"), "CASE_NUMBER")
        }
        Generator::Code(pattern) => (choices.fill(pattern), "CASE_NUMBER"),
        Generator::Email => {
            let (desk, trade) = (choices.word(&TRADES), choices.word(&TRADES));
            (format!("{desk}{}@{trade}-desk.com", choices.below(90) + 10), "EMAIL")
        }
        Generator::Url => {
            let (site, page) = (choices.word(&TRADES), choices.within(100, 999));
            (format!("http://www.{site}-online.com/p{page}"), "URL")
        }
        Generator::Ip => {
            let part = [(); 3].map(|()| choices.within(1, 254));
            (format!("10.{}.{}.{}", part[0], part[1], part[2]), "IP_ADDRESS")
        }
        Generator::Iban => (iban(choices), "IBAN"),
        Generator::Card => (card(choices), "CREDIT_CARD"),
        Generator::Ssn => {
            let (area, group) = (choices.within(1, 665), choices.within(1, 99));
            (format!("{area:03}-{group:02}-{:04}", choices.within(1, 9_999)), "US_SSN")
        }
        Generator::Tracking => (choices.fill("1Z@##@##########"), "CASE_NUMBER"),
        // The rest is drawn by the scene, which knows people, places and the clock.
        _ => (String::new(), "CARDINAL"),
    }
}

/// A number of 16 digits whose last one is right (ISO/IEC 7812, Luhn).
fn card(choices: &mut Choices) -> String {
    let mut digits = choices.fill("4###-####-####-###");
    let sum: u32 = digits
        .chars()
        .rev()
        .filter_map(|c| c.to_digit(10))
        .enumerate()
        .map(|(at, digit)| match (at % 2, digit) {
            (0, 0..=4) => digit * 2,
            (0, _) => digit * 2 - 9,
            _ => digit,
        })
        .sum();
    digits.push((b'0' + ((10 - sum % 10) % 10) as u8) as char);
    digits
}

/// An account number with right check digits (ISO 13616), in groups of four.
fn iban(choices: &mut Choices) -> String {
    let &(country, length) = choices.pick(&IBANS);
    let account = choices.fill(&"#".repeat(length));
    let letters = country.bytes().map(|letter| (letter - b'A' + 10).to_string());
    let number = account.clone() + &letters.collect::<String>() + "00";
    let rest = number.bytes().fold(0, |rest, digit| (rest * 10 + u32::from(digit - b'0')) % 97);
    let whole = format!("{country}{:02}{account}", 98 - rest);
    whole.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Choices, card, iban, spelled, with_commas};

    #[test]
    fn check_digits_are_right() {
        for unit in 0..200 {
            let mut choices = Choices::of_unit(7, unit);
            let digits: Vec<u32> =
                card(&mut choices).chars().filter_map(|c| c.to_digit(10)).collect();
            assert_eq!(digits.len(), 16);
            let doubled = digits.iter().step_by(2).map(|d| d * 2 / 10 + d * 2 % 10).sum::<u32>();
            let plain = digits.iter().skip(1).step_by(2).sum::<u32>();
            assert_eq!((doubled + plain) % 10, 0);

            let compact = iban(&mut choices).replace(' ', "");
            let moved = format!("{}{}", &compact[4..], &compact[..4]);
            let rest = moved.chars().fold(0u64, |rest, c| {
                let value = u64::from(c.to_digit(36).unwrap());
                (rest * if value > 9 { 100 } else { 10 } + value) % 97
            });
            assert_eq!(rest, 1);
        }
    }

    #[test]
    fn numbers_are_written_as_people_do() {
        assert_eq!(with_commas(1_234_567), "1,234,567");
        assert_eq!(with_commas(999), "999");
        assert_eq!(spelled(12), "twelve");
        assert_eq!(spelled(13), "13");
    }
}
