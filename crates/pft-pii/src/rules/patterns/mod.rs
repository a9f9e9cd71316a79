//! The built-in patterns, by label.
//!
//! Boundaries are checked in code (see [`Edge`]) rather than with `\b`: a Unicode word boundary
//! makes the regex engine leave its fast automaton on any non-ASCII text.

mod checks;
mod fragments;
mod words;

use super::checksum;
use checks::{
    case_number, docket, initial_and_surname, initials, institution, keep, month_date, nationality,
    phone_or_docket, place, url, when, with_digit,
};
use fragments::{
    BETWEEN, CAPITALISED, COUNT_WORD, CURRENCY_CODE, CURRENCY_NAME, CURRENCY_ORIGIN, CURRENCY_SIGN,
    DAY, DIALLED, DOMAIN, GAP, LABELLED, LOCAL, LONG_NUMBER, MONTH, NAME_WORD, NUMBER, PARTICLE,
    WEEKDAY, YEAR, docket_pattern, institution_of_pattern, institution_pattern, name, titled_name,
};

/// What may stand right before and after a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// No letter or digit.
    Word,
    /// No letter or digit, and no digit beyond a separator either: the match is not a part of a longer number.
    Number,
    /// As [`Self::Number`], but only beyond a separator that the match itself has: what stands in a row
    /// of a table or before a port is whole.
    Format,
    /// As [`Self::Format`]; where a match does not end so, its beginning may, whose length the check says.
    Prefix,
}

/// What a check makes of a match: the length in bytes to keep, or nothing to refuse it.
pub(super) type Check = fn(&str) -> Option<usize>;

/// A built-in pattern.
pub(super) struct Pattern {
    /// The label of its spans.
    pub(super) label: &'static str,
    /// Matches the entity; a group named `e` narrows it to a part of the match.
    pub(super) regex: String,
    /// What may surround it.
    pub(super) edge: Edge,
    /// Refuses or shortens matches.
    pub(super) check: Check,
    /// A byte that every match holds, where the pattern is searched for through the texts that have
    /// it. Other patterns are tried where a word, a number or a sign of [`super::starts`] starts.
    pub(super) needs: Option<u8>,
}

/// Every built-in pattern.
pub(super) fn built_in() -> Vec<Pattern> {
    let name = name();
    let pattern = |label, regex: String, edge, check: Check, needs| Pattern {
        label,
        regex,
        edge,
        check,
        needs,
    };
    vec![
        pattern("EMAIL", format!("{LOCAL}@(?:{DOMAIN}|\\[?(?:[0-9]{{1,3}}\\.){{3}}[0-9]{{1,3}}\\]?)"), Edge::Word, keep, Some(b'@')),
        pattern("EMAIL", format!("{LOCAL}(?: @ ?| ?@ ){DOMAIN}"), Edge::Word, keep, Some(b'@')),
        pattern("EMAIL", format!("{LOCAL} ?\\((?i:at)\\) ?{DOMAIN}"), Edge::Word, keep, Some(b'(')),
        pattern("EMAIL", format!("{LOCAL} ?\\[(?i:at)\\] ?{DOMAIN}"), Edge::Word, keep, Some(b'[')),
        // Lotus Notes addresses, as corporate mail archives hold them: First Last/UNIT/ORG@DOMAIN.
        pattern("EMAIL", r"[A-Z][A-Za-z.'\-]{0,30}(?: [A-Z][A-Za-z.'\-]{0,30}){0,3}(?:/[A-Za-z0-9_\-]{1,20}(?: [A-Za-z0-9_\-]{1,20}){0,2}){1,5}@[A-Za-z0-9_]{2,30}".into(), Edge::Word, keep, Some(b'@')),
        pattern("URL", r#"(?i:https?|ftps?|sftp|ssh|git|file|ldaps?|s3)://[^\s<>"\x00-\x1f]{2,2000}"#.into(), Edge::Word, url, Some(b':')),
        pattern("URL", r#"(?i:www)\.[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,6}(?:/[^\s<>"]{0,1000})?"#.into(), Edge::Word, url, Some(b'.')),
        pattern("URL", r#"(?:[A-Za-z0-9\-]{1,63}\.){1,4}(?:com|org|net|edu|gov|info|io|eu|uk|de|fr|it|es|nl|pl|at|ch|se|no|dk|fi|be|ie|pt|cz|gr|ru|tr|us|ca|au|in|jp|br)/[^\s<>"]{1,1000}"#.into(), Edge::Word, url, Some(b'/')),
        pattern("IP_ADDRESS", r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}".into(), Edge::Format, |m| when(checksum::is_ip_address(m), m), None),
        pattern("IP_ADDRESS", r"(?:[0-9A-Fa-f]{1,4}:|:){2,7}(?:[0-9A-Fa-f]{1,4}|(?:[0-9]{1,3}\.){3}[0-9]{1,3}|:)".into(), Edge::Word, |m| when(checksum::is_ip_address(m), m), None),
        pattern("CASE_NUMBER", r"(?:[0-9A-Fa-f]{2}[:\-]){5}[0-9A-Fa-f]{2}".into(), Edge::Format, keep, None),
        pattern("IBAN", format!("[A-Za-z]{{2}}[0-9]{{2}}(?:{BETWEEN}?[A-Za-z0-9]{{1,4}}){{3,10}}"), Edge::Word, checksum::iban_prefix, None),
        pattern("CREDIT_CARD", format!("[2-6][0-9]{{3}}(?:{BETWEEN}?[0-9]){{9,30}}"), Edge::Prefix, checksum::credit_card_prefix, None),
        pattern("US_SSN", "[0-9]{3}[-\u{2010}\u{2011}\u{2013}][0-9]{2}[-\u{2010}\u{2011}\u{2013}][0-9]{4}".into(), Edge::Format, |m| when(checksum::is_us_ssn(m), m), None),
        pattern("US_SSN", r"(?i:ssn|social security (?:number|no\.?))(?: is)?[ \t:#=_]{1,3}(?P<e>[0-9]{3}[ -]?[0-9]{2}[ -]?[0-9]{4})".into(), Edge::Format, |m| when(checksum::is_us_ssn(m), m), None),
        pattern("PHONE", format!("(?:\\+|00)[1-9][0-9]{{0,2}}{DIALLED}(?:\\(0\\) ?)?(?:\\(?[0-9]{{1,4}}\\)?{DIALLED}){{1,6}}[0-9]{{2,4}}"), Edge::Prefix, checksum::phone_prefix, None),
        pattern("PHONE", format!("(?:1[ .-])?(?:\\([2-9][0-9]{{2}}\\) ?|[2-9][0-9]{{2}}(?:[./]|{BETWEEN}))[2-9][0-9]{{2}}(?:\\.|{BETWEEN})[0-9]{{4}}(?: ?(?:x|ext\\.?) ?[0-9]{{1,6}})?"), Edge::Format, keep, None),
        // A national number with its leading zero and at least nine digits.
        pattern("PHONE", format!("0[1-9][0-9]{{1,4}}(?:(?: ?[/-] ?|{BETWEEN})[0-9]{{2,6}}){{1,3}}"), Edge::Prefix, checksum::national_phone_prefix, None),
        pattern("PHONE", format!("(?i:tel|phone|telephone|fax|mobile|pager|ph){LABELLED}"), Edge::Prefix, checksum::phone_prefix, None),
        pattern("PHONE", format!("(?i:cell|office|home|work){LABELLED}"), Edge::Prefix, phone_or_docket, None),
        // Application numbers of the European courts, and case numbers by year.
        pattern("CASE_NUMBER", r"[0-9]{1,7}/(?:(?:19|20)[0-9]{2}|[0-9]{2})(?:/[0-9]{1,5}){0,3}".into(), Edge::Format, case_number, None),
        // The same with what a court or a registry writes before and behind them: 2-1234/2005, C-362/14, 1234/2005-3.
        pattern("CASE_NUMBER", docket_pattern(), Edge::Format, docket, None),
        pattern("CASE_NUMBER", r"(?:[IVX]{1,5}[ .]{1,2})?\p{Lu}\p{L}{0,4}[ .]{0,2}[0-9]{1,6}/[0-9]{2,4}".into(), Edge::Word, keep, None),
        pattern("CASE_NUMBER", r"(?:[0-9]{1,2} )?(?:[A-Z][A-Za-z]{0,3} )[0-9]{1,6}/[0-9]{2,4}(?:-[0-9]{1,4})?".into(), Edge::Word, keep, None),
        pattern("CASE_NUMBER", r"[0-9]{1,2}:[0-9]{2}-[a-z]{2}-[0-9]{3,6}(?:-[A-Z]{2,4}){0,2}".into(), Edge::Word, keep, None),
        pattern("CASE_NUMBER", r"(?:[Cc]ase|[Ff]ile|[Dd]ocket|[Rr]ef(?:erence)?|[Cc]laim|[Rr]egistration|[Ll]icen[cs]e|[Pp]assport|[Pp]olicy|[Aa]ccount|[Ii]nvoice|[Pp]lot|[Pp]arcel|[Pp]roperty|[Ii]dentity|[Ii]dentification|[Bb]uilding|[Dd]ecisions?|[Jj]udgments?|[Ll]etters?|[Ss]heet|[Ff]lat|[Cc]ell|[Uu]nit|[Oo]rder|[Rr]eport)\.?(?: (?:[Nn]os?\.?|[Nn]umbers?|[Nn]r\.?|ID|#))[ \u{a0}:]{0,2}(?P<e>[0-9A-Z][0-9A-Za-z/.:\-]{0,24}(?:(?:, | and )[0-9][0-9A-Za-z/.:\-]{0,24}){0,8})".into(), Edge::Word, with_digit, None),
        // However short, where it is said to be one.
        pattern("CASE_NUMBER", r"[Aa]pplications? [Nn]os?\.?[ \x{a0}]?(?P<e>[0-9]{1,7}/[0-9]{2,4})".into(), Edge::Format, keep, None),
        pattern("CASE_NUMBER", r"ECLI:[A-Z]{2}:[A-Z0-9]{1,7}:[0-9]{4}:[A-Z0-9.]{1,25}".into(), Edge::Word, with_digit, None),
        pattern("CASE_NUMBER", r"[Pp]assport(?: (?:[Nn]o\.?|[Nn]r\.?|[Nn]umber))?[ :]{1,2}(?P<e>[A-Za-z]{0,3}[0-9]{5,10})".into(), Edge::Word, keep, None),
        pattern("CASE_NUMBER", r"(?i:sort code)[ :]{1,3}(?P<e>[0-9]{2}-[0-9]{2}-[0-9]{2})".into(), Edge::Format, keep, None),
        pattern("DATE", format!("(?:(?:{WEEKDAY},?{GAP})?(?:[Mm]id-|[Ee]arly{GAP}|[Ll]ate{GAP}|(?:[Bb]eginning|[Ee]nd|[Mm]iddle){GAP}of{GAP})?)(?:{DAY}(?:(?:,{GAP}|{GAP}(?:and|to|or|until){GAP}|[-–]){DAY}){{0,4}}{GAP}(?:(?:day{GAP})?of{GAP})?)?{MONTH}(?:,?{GAP}{YEAR})?"), Edge::Word, month_date, None),
        pattern("DATE", format!("{MONTH}{GAP}{DAY}(?:(?:{GAP}(?:and|to){GAP}|[-–]){DAY})?(?:,?{GAP}{YEAR})?"), Edge::Word, keep, None),
        pattern("DATE", format!("{DAY}(?:{GAP}(?:and|to){GAP}|[-–]){DAY}{GAP}{MONTH}{GAP}{YEAR}"), Edge::Word, keep, None),
        pattern("DATE", r"[0-9]{1,2}(?:/[0-9]{1,2}/|\.[0-9]{1,2}\.|-[0-9]{1,2}-)(?:[0-9]{4}|[0-9]{2})".into(), Edge::Format, |m| when(checksum::is_numeric_date(m), m), None),
        pattern("DATE", r"[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?".into(), Edge::Format, |m| when(checksum::is_numeric_date(m), m), None),
        // As logs and exchange formats write it: 12/Mar/2004, 12-Jul-04.
        pattern("DATE", r"(?:3[01]|[12][0-9]|0?[1-9])[-/.](?i:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)[-/.](?:[0-9]{4}|[0-9]{2})".into(), Edge::Format, keep, None),
        pattern("DATE", format!("(?:(?:[Ss]pring|[Ss]ummer|[Aa]utumn|[Ww]inter|[Ff]all){GAP}(?:of{GAP})?)?{YEAR}(?:[-–/](?:{YEAR}|[0-9]{{2}})|s)?"), Edge::Number, keep, None),
        pattern("DATE", WEEKDAY.to_string(), Edge::Word, keep, None),
        pattern("TIME", r"[0-9]{1,2}(?:[:.][0-9]{2}){0,2}[ \u{a0}]?(?:[ap]\.?m\.?|[AP]\.?M\.?|hours|hrs|o[’']clock)".into(), Edge::Word, keep, None),
        pattern("TIME", r"(?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?".into(), Edge::Number, keep, None),
        pattern("MONEY", format!("(?:(?:approx\\.|approximately|about|around|some)[ \u{a0}])?(?:{CURRENCY_CODE}[ \u{a0}]?|{CURRENCY_SIGN}[ \u{a0}]?)(?:{NUMBER}|{LONG_NUMBER})(?:[ \u{a0}](?:million|billion|thousand|m|bn|k))?(?:[ \u{a0}]\\(euros?\\))?"), Edge::Word, keep, None),
        pattern("MONEY", format!("(?:(?:approx\\.|approximately|about|around|some)[ \u{a0}])?(?:{NUMBER}|{LONG_NUMBER})(?:[ \u{a0}](?:million|billion|thousand))?[ \u{a0}]?(?:{CURRENCY_ORIGIN}{CURRENCY_NAME}|{CURRENCY_CODE}|{CURRENCY_SIGN})(?:[ \u{a0}]\\(\\p{{Lu}}{{2,4}}\\))?"), Edge::Word, keep, None),
        pattern("MONEY", format!("(?:{COUNT_WORD}(?:[ -]|{GAP}and{GAP})){{1,8}}{CURRENCY_ORIGIN}{CURRENCY_NAME}"), Edge::Word, keep, None),
        pattern("PERCENT", r"[0-9]{1,3}(?:[.,][0-9]{1,4})?(?:[ \u{a0}]?%?[ \u{a0}]?(?:to|and|or|[-–])[ \u{a0}]?[0-9]{1,3}(?:[.,][0-9]{1,4})?)?[ \u{a0}]?(?:%|[Pp]er ?[Cc]ent|percent)".into(), Edge::Word, keep, None),
        pattern("QUANTITY", format!("(?:{NUMBER}|{LONG_NUMBER})[ \u{a0}-]?(?:km/h|km|kg|grams?|kilograms?|kilomet(?:re|er)s?|met(?:re|er)s?|mm|cm|m²|sq\\.? ?m|m2|square[ \u{a0}](?:met(?:re|er)s|kilomet(?:re|er)s|feet|miles)|hectares?|ha|acres?|lit(?:re|er)s?|miles?|feet|tons?|tonnes?|barrels?|MW|kWh|MMBtu)"), Edge::Word, keep, None),
        pattern("AGE", r"(?:[0-9]{1,3}|(?i:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:-[a-z]{3,5})?)(?:[ \u{a0}-]years?[ \u{a0}-]old|[ \u{a0}]years of age)".into(), Edge::Word, keep, None),
        pattern("AGE", r"(?:aged?|age of)[ \u{a0}](?P<e>[0-9]{1,3})".into(), Edge::Number, keep, None),
        pattern("PERSON", titled_name(&name), Edge::Word, keep, None),
        pattern("PERSON", format!("(?:represented|assisted|advised|accompanied|defended)[ \u{a0}](?:before the Court[ \u{a0}])?by[ \u{a0}](?P<e>{NAME_WORD}[ \u{a0}]{name}),[ \u{a0}](?:an?|both|of|their|his|her|lawyers?)[ \u{a0}]"), Edge::Word, keep, None),
        pattern("PERSON", format!("(?:\\p{{Lu}}\\.[ \u{a0}]?-?){{1,3}}(?:{PARTICLE}[ \u{a0}]){{0,2}}\\p{{Lu}}[\\p{{L}}\\p{{M}}]+(?:[’'\u{2010}\u{2011}-]\\p{{L}}[\\p{{L}}\\p{{M}}]*)*"), Edge::Word, initial_and_surname, None),
        // Initials that stand for a person: "the applicant, M.Ş.", "v. K.H.".
        pattern("PERSON", r"(?:\p{Lu}\.[ ]?){2,4}".into(), Edge::Word, initials, None),
        pattern("GPE", format!("(?:practi[sc]ing|practi[sc]es|lives|living|lived|resid(?:es|ing|ed|ent)|born|detained|based|located|situated|domiciled|settled|moved|returned|travelled|imprisoned|hospitali[sz]ed|held)(?:[ \u{a0}][a-z]{{2,10}})?[ \u{a0}](?:in|at|near|to)[ \u{a0}](?P<e>{CAPITALISED}(?:[ \u{a0}](?:(?:am|an|der|de|la|el|upon|of)[ \u{a0}])?{CAPITALISED}){{0,3}}(?:[ \u{a0}]\\({CAPITALISED}\\)|,[ \u{a0}]{CAPITALISED})?)"), Edge::Word, place, None),
        pattern("NORP", format!("(?P<e>{CAPITALISED}(?:[ \u{a0}]and[ \u{a0}]{CAPITALISED})?)[ \u{a0}](?:nationals?|citizens?|nationality|citizenship|origin|descent|ethnicity|refugees?)"), Edge::Word, nationality, None),
        pattern("GPE", format!("(?:[Ii]n|at|[Nn]ear|[Ff]rom|outside)[ \u{a0}](?P<e>{CAPITALISED}(?:[ \u{a0}](?:(?:am|an|der|de|la|upon)[ \u{a0}])?{CAPITALISED}){{0,2}}(?:,[ \u{a0}]{CAPITALISED})?(?:[ \u{a0}]\\({CAPITALISED}\\))?)"), Edge::Word, place, None),
        pattern("LOC", format!("(?:[Dd]istrict|[Mm]unicipality|[Cc]ounty|[Vv]illages?|[Tt]own|[Cc]ity|[Pp]rovince|[Rr]egion|[Ii]sland|[Cc]anton|[Pp]arish|[Hh]amlet|[Ss]uburb|[Nn]eighbourhood)[ \u{a0}]of[ \u{a0}]{CAPITALISED}(?:[ \u{a0}]{CAPITALISED}){{0,2}}"), Edge::Word, keep, None),
        pattern("LOC", format!("(?:[0-9]{{1,4}}[A-Za-z]?,?[ \u{a0}])?(?:{CAPITALISED}[ \u{a0}]){{1,3}}(?:Street|St\\.|Avenue|Ave\\.?|Road|Rd\\.?|Square|Lane|Boulevard|Blvd\\.?|Drive|Parkway|Village|[Vv]illage|[Dd]istrict|Peninsula|County|[Pp]rovince|Region|River|Island|Mountains?|Valley|Bay|Hills|Neighbourhood)"), Edge::Word, institution, None),
        pattern("ORG", institution_pattern(), Edge::Word, institution, None),
        pattern("ORG", institution_of_pattern(), Edge::Word, institution, None),
    ]
}
