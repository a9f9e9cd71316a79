//! The built-in patterns, by label.
//!
//! Boundaries are checked in code (see [`Edge`]) rather than with `\b`: a Unicode word boundary
//! makes the regex engine leave its fast automaton on any non-ASCII text.

use std::sync::LazyLock;

use regex::Regex;

use super::checksum;

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

const MONTH: &str = "(?:January|February|March|April|May|June|July|August|September|October|November|December|JANUARY|FEBRUARY|MARCH|APRIL|MAY|JUNE|JULY|AUGUST|SEPTEMBER|OCTOBER|NOVEMBER|DECEMBER|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)(?-u:\\b)\\.?)";
const DAY: &str = "(?:3[01]|[12][0-9]|0?[1-9])(?:st|nd|rd|th)?";
const YEAR: &str = "(?:1[5-9]|20)[0-9]{2}";
const WEEKDAY: &str = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)";
/// White space within an entity: also a no-break space, and one line break as mail wraps lines.
const GAP: &str = "(?:[ \t\u{a0}\u{202f}\u{2009}]{1,3}(?:\r?\n)?|\r?\n)";
/// What groups of digits have between them: a space of any width, or a hyphen or dash.
const BETWEEN: &str = "[ \u{a0}\u{2009}\u{202f}\u{2010}\u{2011}\u{2013}-]";
const DASH: &str = "[\u{2010}\u{2011}\u{2013}-]";
const NUMBER: &str = "[0-9]{1,3}(?:[,.\u{a0} ’'][0-9]{3}){0,6}(?:[.,][0-9]{1,3})?";
const LONG_NUMBER: &str = "[0-9]{1,15}(?:[.,][0-9]{1,4})?";
const COUNT_WORD: &str = "(?i:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion)";
/// ISO 4217 codes in use or replaced by the euro, and a few from before.
const CURRENCY_CODE: &str = "(?:EUR|USD|GBP|CHF|TRL|TRY|YTL|PLN|PLZ|ATS|DEM|FRF|ITL|ESP|PTE|BEF|NLG|LUF|IEP|FIM|GRD|SEK|NOK|DKK|ISK|CZK|SKK|HUF|ROL|RON|BGN|BGL|RUB|RUR|UAH|UAK|MDL|LTL|LVL|EEK|HRK|SIT|MKD|RSD|CYP|MTL|ALL|AMD|AZN|AZM|GEL|BAM|JPY|CNY|CAD|AUD|NZD|INR|BRL|MXN|ZAR|KRW|ILS|SGD|HKD|US\\$|EUROS?)";
const CURRENCY_SIGN: &str = "[$€£¥₤₺₽₴₹]";
const CURRENCY_NAME: &str = "(?i:euros?|dollars?|cents?|pounds?(?: sterling)?|francs?|marks?|lir[ae]s?|liras?|zlot(?:ys?|ies)|(?:Austrian )?schillings?|kron(?:or|er|a|e|as|ur)|koruna[sy]?|crowns?|guilders?|pesetas?|escudos?|drachmas?|roubles?|rubles?|hryvnias?|forints?|le[iv]|levs?|lats|lit(?:ai|as)|kunas?|denars?|dinars?|rupees?|yen|yuan)";
const CURRENCY_ORIGIN: &str = "(?:(?:New|Old|new|old)[ \u{a0}])?(?:\\p{Lu}\\p{Ll}+(?:[ -]\\p{Lu}\\p{Ll}+)?[ \u{a0}]|GDR[ \u{a0}])?";
/// Forms of address, which are part of the name behind them: a text that keeps `Mrs` and hides `Mr` says
/// of everybody in it whether it is a woman. Nothing but a name follows these, also on the next line.
const COURTESY: &[&str] = &[
    "Mr", "Mrs", "Ms", "Mx", "Miss", "Messrs", "Mister", "Madam", "Madame", "Mesdames", "Monsieur",
    "Mme", "Mlle", "Maître", "Herr", "Frau", "Señor", "Señora", "Dr", "Prof", "MR", "MRS", "MS",
    "MISS", "MADAM", "DR",
];
/// Titles that are words of their own as well.
const TITLES: &[&str] = &[
    "Professor",
    "Doctor",
    "Sir",
    "Dame",
    "Lady",
    "Lord",
    "Judge",
    "Justice",
    "Capt",
    "Captain",
    "Lieutenant",
    "Lt",
    "Sgt",
    "Sergeant",
    "Colonel",
    "Col",
    "Major",
    "General",
    "Father",
    "Sister",
    "Brother",
    "Rev",
    "Reverend",
    "Bishop",
    "Imam",
    "Sheikh",
];
/// Initials (`K.H.`, `Cz.`, `J.-P.`) or a capitalised word.
const NAME_WORD: &str = "(?:(?:\\p{Lu}\\p{Ll}{0,2}\\.[ ]?-?){1,4}|\\p{Lu}[\\p{L}\\p{M}]*(?:[’'\u{2010}\u{2011}-]\\p{L}[\\p{L}\\p{M}]*)*)";
/// What stands before the sign of a mail address, also in other scripts.
const LOCAL: &str = "[\\p{L}\\p{N}\\p{M}._%+&-]+(?:['’=!#*/~][\\p{L}\\p{N}\\p{M}._%+&-]+)*";
/// It takes what touches its end, so that no match is refused for its edge and begun again a letter on.
const DOMAIN: &str = "(?:[\\p{L}\\p{N}\\p{M}-]+\\.)+[\\p{L}\\p{M}]{2}[\\p{L}\\p{N}\\p{M}-]*";
/// What may stand between the groups of a phone number.
const DIALLED: &str = "(?: ?[./\u{2013}-] ?|[ \u{a0}\u{2009}\u{202f}\u{2010}\u{2011}])?";
/// A phone number behind the word that says what it is.
const LABELLED: &str =
    "(?: ?(?i:number|no))?[.:#= \t]{1,4}(?P<e>\\(?[0-9+][0-9 \u{a0}\u{202f}().\\-/]{5,20}[0-9])";
const PARTICLE: &str = "(?:van|von|der|den|de|du|des|la|le|di|da|del|della|dos|das|el|al|bin|ibn|bint|ter|ten|zu|zum|zur|af|av|y|e|i|do|ul|ud|vom|d’|d'|Van|Von|De|El|Al)";
/// Capitalised words; the first may be preceded by an article that is not part of the entity.
const CAPITALISED: &str =
    "(?:\\p{Lu}\\p{L}?\\.|\\p{Lu}[\\p{L}\\p{M}]*(?:[’'/\u{2010}\u{2011}-]\\p{L}[\\p{L}\\p{M}]*)*)";

fn name() -> String {
    format!(
        "{NAME_WORD}(?:[ \u{a0}]?(?:{PARTICLE}[ \u{a0}]){{0,3}}{NAME_WORD}|[ \u{a0}](?:{PARTICLE}[ \u{a0}]){{0,3}}{NAME_WORD}){{0,5}}"
    )
}

/// A name behind a form of address.
fn titled_name(name: &str) -> String {
    let courtesy = format!("(?:{})", COURTESY.join("|"));
    let title = format!("(?:{courtesy}|{})", TITLES.join("|"));
    format!(
        "(?:{title}\\.?(?:[ \u{a0}](?:and|or|&)[ \u{a0}]{title}\\.?)?[ \u{a0}]{{1,2}}|{courtesy}\\.?{GAP})(?:(?:{title}|med|iur|jur)\\.?[ \u{a0}]){{0,2}}(?:{PARTICLE}[ \u{a0}]){{0,3}}{name}"
    )
}

fn docket_pattern() -> String {
    format!(
        "(?:[0-9A-Z][0-9A-Za-z]{{0,4}}{DASH}){{0,3}}[0-9]{{1,7}}/(?:(?:19|20)[0-9]{{2}}|[0-9]{{2}})(?:/[0-9]{{1,5}}|/[IVX]{{1,4}}|{DASH}[0-9]{{1,5}}|{DASH}[A-Z]{{1,5}}){{0,3}}"
    )
}

fn keep(text: &str) -> Option<usize> {
    Some(text.len())
}

fn when(accepted: bool, text: &str) -> Option<usize> {
    accepted.then_some(text.len())
}

/// A URL ends before punctuation that belongs to the sentence.
fn url(text: &str) -> Option<usize> {
    let trimmed = text
        .trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '}', '\'', '"', '’', '”', '»']);
    // A closing bracket stays where the URL opens it.
    let kept = if trimmed.contains('(') && text[trimmed.len()..].starts_with(')') {
        trimmed.len() + 1
    } else {
        trimmed.len()
    };
    Some(kept)
}

/// Words that make up the general names of courts and authorities: a name of only such words says
/// nothing about anybody.
const GENERIC: &[&str] = &[
    "Supreme",
    "Administrative",
    "District",
    "Regional",
    "High",
    "Higher",
    "Federal",
    "Military",
    "Constitutional",
    "Social",
    "Criminal",
    "Civil",
    "Labour",
    "Labor",
    "Assize",
    "State",
    "Security",
    "Grand",
    "European",
    "International",
    "Appeal",
    "Appeals",
    "The",
    "This",
    "That",
    "A",
    "An",
    "In",
    "On",
    "At",
    "By",
    "To",
    "From",
    "Of",
    "And",
    "Provincial",
    "Municipal",
    "National",
    "Central",
    "Local",
    "Public",
    "General",
    "Chief",
    "Principal",
    "Magistrates",
    "Magistrate",
    "Magistrates'",
    "Magistrates’",
    "Juvenile",
    "Family",
    "Commercial",
    "Tax",
    "Land",
    "Cadastral",
    "County",
    "City",
    "Crown",
    "Circuit",
    "Court",
    "Courts",
    "First",
    "Instance",
    "Domestic",
    "Divisional",
    "Chamber",
    "Ministry",
    "Government",
    "House",
    "Bar",
    "Remand",
    "Prison",
    "Hospital",
    "University",
    "Human",
    "Rights",
    "Special",
    "Garrison",
    "Appellate",
    "Enforcement",
    "Execution",
    "Joint",
    "Other",
    "Both",
    "Each",
    "Such",
    "Before",
    "After",
    "When",
    "While",
    "As",
    "However",
    "Since",
    "Subsequently",
    "Where",
    "It",
    "Its",
    "His",
    "Her",
    "Their",
    "Mr",
    "Mrs",
    "Ms",
];

/// An institution counts only where a word of its name is not general.
fn institution(text: &str) -> Option<usize> {
    let mut words =
        text.split([' ', '\u{a0}', '-']).filter(|word| word.starts_with(char::is_uppercase));
    let own = words.any(|word| {
        !GENERIC.contains(&word) && !INSTITUTION_HEADS.contains(&word) && word.chars().count() > 1
    });
    own.then_some(text.len())
}

const INSTITUTION_HEADS: &[&str] = &[
    "Court",
    "Tribunal",
    "Prison",
    "Hospital",
    "University",
    "Police",
    "Authority",
    "Council",
    "Prosecutor",
    "Prosecutors",
    "Prosecutor’s",
    "Prosecutor's",
    "Office",
    "Centre",
    "Center",
    "Academy",
    "Institute",
    "School",
    "Clinic",
    "Municipality",
    "Directorate",
    "Department",
    "Ministry",
    "Bank",
    "Association",
    "Society",
    "Foundation",
    "Party",
    "Union",
    "Commission",
    "Committee",
    "Board",
    "Agency",
    "Registry",
    "Station",
    "Command",
    "Headquarters",
    "Governor",
    "Company",
    "Church",
];

/// Capitalised words before the head of an institution's name, and the native name in brackets after it.
fn institution_pattern() -> String {
    format!(
        "(?:{CAPITALISED}[ \u{a0}](?:(?:of|for|and|de|la|the)[ \u{a0}])?){{1,6}}{HEAD}(?:[ \u{a0}](?:of|for|in)[ \u{a0}](?:the[ \u{a0}])?{CAPITALISED}(?:[ \u{a0}](?:(?:and|of|de|la)[ \u{a0}])?{CAPITALISED}){{0,4}})?{NATIVE_NAME}"
    )
}

/// An institution that is named after a place: `University of …`, `Mayor of …`.
fn institution_of_pattern() -> String {
    format!(
        "(?:{CAPITALISED}[ \u{a0}]){{0,4}}(?:University|Universities|Court|Courts|Office|Faculty|Mayor|Municipality|Municipalities|Governor|Ministry|Institute|Academy|Bank|Church|Hospital|Prison|Chamber|Bar|Council|Department|Office|Prosecutor|Province|Canton|Society|Parliament)[ \u{a0}](?:of|for|in)[ \u{a0}](?:the[ \u{a0}])?{CAPITALISED}(?:[ \u{a0}](?:(?:and|of|de|la)[ \u{a0}])?{CAPITALISED}){{0,4}}{NATIVE_NAME}"
    )
}

const NATIVE_NAME: &str = "(?:[ \u{a0}]\\([“\"]?\\p{Lu}[^()\n]{2,60}\\))?";

const HEAD: &str = "(?:Courts?(?:[ \u{a0}]of[ \u{a0}](?:First[ \u{a0}-]Instance|first[ \u{a0}-]instance|First-instance|General Jurisdiction|Appeals?|Cassation|Justice|Auditors))?|Tribunal|[Pp]rison|Penitentiary|Hospitals?|Clinic|Clinique|University|Police(?:[ \u{a0}](?:Authority|Department|Headquarters|Station|Directorate|District))?|Authority|Council|(?:Public[ \u{a0}])?[Pp]rosecutor(?:[’']s[ \u{a0}](?:Office|office))?|Office|Cent(?:re|er)|Academy|Institute|School|school|Municipality|Directorate|Department|Bank|Association|Society|Foundation|Party|Union|Federation|Commission|Committee|Board|Agency|Registry|Command|Headquarters|Governor|Railways|Corporation|Company|Newspaper|Airport|AG|GmbH|A\\.Ş\\.|S\\.A\\.|Ltd\\.?|Inc\\.?|Corp\\.?|LLC|PLC|plc)";

/// Words after `in`, `at` or `near` that are no place.
const NO_PLACE: &[&str] = &[
    "Article",
    "Articles",
    "Section",
    "Sections",
    "Chapter",
    "Part",
    "Parts",
    "Annex",
    "Appendix",
    "Court",
    "Rule",
    "Rules",
    "Law",
    "Act",
    "Code",
    "Protocol",
    "Convention",
    "Government",
    "Mr",
    "Mrs",
    "Ms",
    "Dr",
    "Case",
    "Parliament",
    "Plenary",
    "Chambers",
    "Strasbourg",
    "Table",
    "Volume",
    "Series",
    "Reports",
    "English",
    "French",
    "Decree",
    "Order",
    "Recommendation",
    "Resolution",
    "Directive",
    "Regulation",
];

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

/// Shorter numbers with a slash are fractions or section numbers more often than cases.
fn case_number(text: &str) -> Option<usize> {
    let (number, year) = text.split_once('/')?;
    let long = number.len() >= 3 || year.len() >= 4;
    long.then_some(text.len())
}

/// The number and the year of a docket are as long as [`case_number`] wants them.
fn docket(text: &str) -> Option<usize> {
    let slash = text.find('/')?;
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let number = text.as_bytes()[..slash].iter().rev().take_while(|byte| is_digit(byte)).count();
    let year = text.as_bytes()[slash + 1..].iter().take_while(|byte| is_digit(byte)).count();
    (number >= 3 || year >= 4).then_some(text.len())
}

/// A number behind a word that more than telephones have (`office`, `home`, `cell`) may be a docket.
fn phone_or_docket(text: &str) -> Option<usize> {
    static DOCKET: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(&format!("^(?:{})$", docket_pattern())).unwrap_or_else(|error| panic!("{error}"))
    });
    if DOCKET.is_match(text) && docket(text).is_some() {
        return None;
    }
    checksum::phone_prefix(text)
}

/// A reference holds a digit and does not end in punctuation.
fn with_digit(text: &str) -> Option<usize> {
    let text = text.trim_end_matches(['.', ':', '-', '/']);
    text.bytes().any(|byte| byte.is_ascii_digit()).then_some(text.len())
}

/// `May` and `March` alone are a verb and a noun.
fn month_date(text: &str) -> Option<usize> {
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    let ambiguous = matches!(
        text,
        "May" | "March" | "MAY" | "MARCH" | "Mar" | "Mar." | "Jan" | "Dec" | "Sep" | "Nov" | "Oct"
    );
    (digits || !ambiguous).then_some(text.len())
}

/// A heading's number and its first word (`I. THE FACTS`, `B. Criminal proceedings`) are no name.
fn initial_and_surname(text: &str) -> Option<usize> {
    let text = text.strip_suffix("’s").or_else(|| text.strip_suffix("'s")).unwrap_or(text);
    let surname = text.rsplit([' ', '\u{a0}', '.']).next().unwrap_or_default();
    let in_capitals = !surname.chars().any(char::is_lowercase);
    let heading = GENERIC.contains(&surname)
        || INSTITUTION_HEADS.contains(&surname)
        || NO_PLACE.contains(&surname);
    (!in_capitals && !heading).then_some(text.len())
}

/// Abbreviations that look like initials and are nobody's. `S.A.` or `P.M.` may be a person in a case
/// whose parties have initials only.
fn initials(text: &str) -> Option<usize> {
    let text = text.trim_end();
    let known = matches!(
        text,
        "U.S." | "U.K." | "E.U." | "U.N." | "P.O." | "U.S.A." | "U.S.S.R." | "S.A.R.L."
    );
    (!known).then_some(text.len())
}

fn place(text: &str) -> Option<usize> {
    let text = text.trim_end_matches('.');
    let first = text.split([' ', '\u{a0}', ',']).next().unwrap_or_default();
    let month = is_month(first);
    let general =
        GENERIC.contains(&first) || NO_PLACE.contains(&first) || first.chars().count() < 3;
    // Another rule's: that of a name behind its title.
    let word = first.trim_end_matches('.');
    let title = COURTESY.contains(&word) || TITLES.contains(&word);
    let person = title && !text[first.len()..].starts_with(',');
    (!month && !general && !person).then_some(text.len())
}

fn is_month(word: &str) -> bool {
    matches!(
        word,
        "January"
            | "February"
            | "March"
            | "April"
            | "May"
            | "June"
            | "July"
            | "August"
            | "September"
            | "October"
            | "November"
            | "December"
    )
}

fn nationality(text: &str) -> Option<usize> {
    let first = text.split([' ', '\u{a0}']).next().unwrap_or_default();
    (!GENERIC.contains(&first) && !first.ends_with('.')).then_some(text.len())
}
