//! Validation of formats that carry a checksum or a fixed structure.

/// The digits of a text, in order.
fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|c| c.to_digit(10)).collect()
}

/// Whether a card number has a plausible issuer and length and passes the Luhn check
/// (ISO/IEC 7812-1, annex B).
fn is_credit_card(text: &str) -> bool {
    let digits = digits(text);
    if !(13..=19).contains(&digits.len()) {
        return false;
    }
    let issuer = digits[..4].iter().fold(0, |number, digit| 10 * number + digit);
    if !(3000..7000).contains(&issuer) && !(2221..=2720).contains(&issuer) {
        return false;
    }
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| match place % 2 {
            0 => digit,
            _ if digit > 4 => 2 * digit - 9,
            _ => 2 * digit,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The length in bytes of the longest beginning of `text` that fits and does not end within a group of
/// digits: what follows a number with a space may be another number.
fn longest_prefix(text: &str, fits: impl Fn(&str) -> bool) -> Option<usize> {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let bytes = text.as_bytes();
    let ends = (1..=bytes.len()).rev();
    let mut ends = ends.filter(|&end| is_digit(bytes.get(end - 1)) && !is_digit(bytes.get(end)));
    ends.find(|&end| fits(&text[..end]))
}

/// The length in bytes of the card number that `text` begins with; an expiry date may follow.
pub(super) fn credit_card_prefix(text: &str) -> Option<usize> {
    longest_prefix(text, is_credit_card)
}

/// The length in bytes of the phone number that `text` begins with.
pub(super) fn phone_prefix(text: &str) -> Option<usize> {
    longest_prefix(text, is_phone)
}

/// The length in bytes of the national phone number that `text` begins with: fewer than nine digits
/// may be anything.
pub(super) fn national_phone_prefix(text: &str) -> Option<usize> {
    longest_prefix(text, |number| (9..=12).contains(&digits(number).len()))
}

/// Lengths of IBANs by country (SWIFT IBAN registry, release 99).
const IBAN_LENGTHS: &[(&str, usize)] = &[
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BI", 27),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DJ", 27),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FK", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MN", 20),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NI", 28),
    ("NL", 18),
    ("NO", 15),
    ("OM", 23),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("RU", 33),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("SO", 23),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("VG", 24),
    ("XK", 20),
    ("YE", 30),
];

/// The length in bytes of the valid IBAN that `text` begins with, separators included: country,
/// its length, and the remainder 1 modulo 97 (ISO 13616-1, ISO/IEC 7064 MOD 97-10).
pub(super) fn iban_prefix(text: &str) -> Option<usize> {
    let country = text.get(..2)?.to_ascii_uppercase();
    let length = IBAN_LENGTHS.iter().find(|(code, _)| *code == country)?.1;
    let mut characters = Vec::with_capacity(length);
    let mut end = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() {
            characters.push(byte.to_ascii_uppercase());
        }
        if characters.len() == length {
            end = at + 1;
            break;
        }
    }
    if characters.len() < length {
        return None;
    }
    let remainder =
        characters[4..].iter().chain(&characters[..4]).fold(0u32, |remainder, &byte| {
            if byte.is_ascii_digit() {
                (remainder * 10 + u32::from(byte - b'0')) % 97
            } else {
                (remainder * 100 + u32::from(byte - b'A') + 10) % 97
            }
        });
    (remainder == 1).then_some(end)
}

/// Whether a number can be a US social security number: no area 000 or 666, no group 00, no serial 0000
/// (20 CFR 422.103 and the SSA's randomization notice of 2011); in areas 900–999 a taxpayer
/// identification number, with groups 50–65, 70–88, 90–92 and 94–99 (IRS Publication 1915).
pub(super) fn is_us_ssn(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if digits.len() != 9 {
        return false;
    }
    let (area, group, serial) = (&digits[..3], &digits[3..5], &digits[5..]);
    // A taxpayer without such a number has one of the same form, with groups of its own.
    let known = if area.starts_with('9') {
        matches!(group.parse::<u8>(), Ok(50..=65 | 70..=88 | 90..=92 | 94..=99))
    } else {
        area != "000" && area != "666"
    };
    known && group != "00" && serial != "0000"
}

/// Whether a text is an IP address of version 4 or 6, in the forms that the standard library reads.
pub(super) fn is_ip_address(text: &str) -> bool {
    match text.parse::<std::net::IpAddr>() {
        // `::` alone is punctuation in most texts.
        Ok(address) => !(address.is_ipv6() && address.is_unspecified()),
        Err(_) => false,
    }
}

/// Whether a number has as many digits as E.164 allows, with an area code where it looks North
/// American.
pub(super) fn is_phone(text: &str) -> bool {
    let count = digits(text).len();
    (7..=15).contains(&count)
}

/// Whether day and month of a numeric date are in range, in either order.
pub(super) fn is_numeric_date(text: &str) -> bool {
    let parts: Vec<u32> = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .filter_map(|part| part.parse().ok())
        .collect();
    // A time may follow.
    let [a, b, c, ..] = parts[..] else { return false };
    let (day, month) = if a > 999 { (c, b) } else { (a, b) };
    (1..=31).contains(&day) && (1..=31).contains(&month) && (day <= 12 || month <= 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_cards_pass_luhn() {
        for valid in
            ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005", "6011111111111117"]
        {
            assert!(is_credit_card(valid), "{valid}");
        }
        for invalid in
            ["4111 1111 1111 1112", "411111111111", "9111111111111111", "1234567890123456"]
        {
            assert!(!is_credit_card(invalid), "{invalid}");
        }
    }

    #[test]
    fn any_single_wrong_digit_breaks_luhn() {
        let card = b"4539148803436467";
        for place in 1..card.len() {
            for digit in b'0'..=b'9' {
                let mut changed = *card;
                changed[place] = digit;
                let text = std::str::from_utf8(&changed).unwrap();
                assert_eq!(is_credit_card(text), digit == card[place], "{text}");
            }
        }
    }

    #[test]
    fn ibans_pass_mod_97() {
        for valid in [
            "GB82 WEST 1234 5698 7654 32",
            "DE89370400440532013000",
            "NO9386011117947",
            "MT84MALT011000012345MTLCAST001S",
        ] {
            assert_eq!(iban_prefix(valid), Some(valid.len()), "{valid}");
        }
        assert_eq!(iban_prefix("GB82 WEST 1234 5698 7654 32 AND"), Some(27));
        for invalid in [
            "GB82 WEST 1234 5698 7654 33",
            "XX89370400440532013000",
            "DE8937040044053201300",
            "DE",
            "Ünï",
        ] {
            assert_eq!(iban_prefix(invalid), None, "{invalid}");
        }
    }

    #[test]
    fn social_security_numbers_follow_the_rules() {
        assert!(is_us_ssn("123-45-6789"));
        for (group, known) in
            [("50", true), ("65", true), ("66", false), ("70", true), ("89", false), ("93", false)]
        {
            assert_eq!(is_us_ssn(&format!("912-{group}-1234")), known, "{group}");
        }
        for invalid in [
            "000-45-6789",
            "666-45-6789",
            "912-45-6789",
            "123-00-6789",
            "123-45-0000",
            "123-45-678",
        ] {
            assert!(!is_us_ssn(invalid), "{invalid}");
        }
    }

    #[test]
    fn ip_addresses_and_dates_are_in_range() {
        assert!(is_ip_address("192.168.0.1") && is_ip_address("2001:db8::ff00:42:8329"));
        assert!(!is_ip_address("256.1.1.1") && !is_ip_address("12:30:45") && !is_ip_address("::"));
        assert!(
            is_numeric_date("31.12.1999")
                && is_numeric_date("12/31/99")
                && is_numeric_date("2001-02-28")
        );
        assert!(
            !is_numeric_date("32.12.1999")
                && !is_numeric_date("13/13/99")
                && !is_numeric_date("0.1.99")
        );
    }
}
