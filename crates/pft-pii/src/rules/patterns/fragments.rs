//! Pieces of regular expressions that several patterns share.

use super::words::{COURTESY, TITLES};

pub(super) const MONTH: &str = "(?:January|February|March|April|May|June|July|August|September|October|November|December|JANUARY|FEBRUARY|MARCH|APRIL|MAY|JUNE|JULY|AUGUST|SEPTEMBER|OCTOBER|NOVEMBER|DECEMBER|(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)(?-u:\\b)\\.?)";
pub(super) const DAY: &str = "(?:3[01]|[12][0-9]|0?[1-9])(?:st|nd|rd|th)?";
pub(super) const YEAR: &str = "(?:1[5-9]|20)[0-9]{2}";
pub(super) const WEEKDAY: &str = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)";
/// White space within an entity: also a no-break space, and one line break as mail wraps lines.
pub(super) const GAP: &str = "(?:[ \t\u{a0}\u{202f}\u{2009}]{1,3}(?:\r?\n)?|\r?\n)";
/// What groups of digits have between them: a space of any width, or a hyphen or dash.
pub(super) const BETWEEN: &str = "[ \u{a0}\u{2009}\u{202f}\u{2010}\u{2011}\u{2013}-]";
const DASH: &str = "[\u{2010}\u{2011}\u{2013}-]";
pub(super) const NUMBER: &str = "[0-9]{1,3}(?:[,.\u{a0} ’'][0-9]{3}){0,6}(?:[.,][0-9]{1,3})?";
pub(super) const LONG_NUMBER: &str = "[0-9]{1,15}(?:[.,][0-9]{1,4})?";
pub(super) const COUNT_WORD: &str = "(?i:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion)";
/// ISO 4217 codes in use or replaced by the euro, and a few from before.
pub(super) const CURRENCY_CODE: &str = "(?:EUR|USD|GBP|CHF|TRL|TRY|YTL|PLN|PLZ|ATS|DEM|FRF|ITL|ESP|PTE|BEF|NLG|LUF|IEP|FIM|GRD|SEK|NOK|DKK|ISK|CZK|SKK|HUF|ROL|RON|BGN|BGL|RUB|RUR|UAH|UAK|MDL|LTL|LVL|EEK|HRK|SIT|MKD|RSD|CYP|MTL|ALL|AMD|AZN|AZM|GEL|BAM|JPY|CNY|CAD|AUD|NZD|INR|BRL|MXN|ZAR|KRW|ILS|SGD|HKD|US\\$|EUROS?)";
pub(super) const CURRENCY_SIGN: &str = "[$€£¥₤₺₽₴₹]";
pub(super) const CURRENCY_NAME: &str = "(?i:euros?|dollars?|cents?|pounds?(?: sterling)?|francs?|marks?|lir[ae]s?|liras?|zlot(?:ys?|ies)|(?:Austrian )?schillings?|kron(?:or|er|a|e|as|ur)|koruna[sy]?|crowns?|guilders?|pesetas?|escudos?|drachmas?|roubles?|rubles?|hryvnias?|forints?|le[iv]|levs?|lats|lit(?:ai|as)|kunas?|denars?|dinars?|rupees?|yen|yuan)";
pub(super) const CURRENCY_ORIGIN: &str = "(?:(?:New|Old|new|old)[ \u{a0}])?(?:\\p{Lu}\\p{Ll}+(?:[ -]\\p{Lu}\\p{Ll}+)?[ \u{a0}]|GDR[ \u{a0}])?";
/// Initials (`K.H.`, `Cz.`, `J.-P.`) or a capitalised word.
pub(super) const NAME_WORD: &str = "(?:(?:\\p{Lu}\\p{Ll}{0,2}\\.[ ]?-?){1,4}|\\p{Lu}[\\p{L}\\p{M}]*(?:[’'\u{2010}\u{2011}-]\\p{L}[\\p{L}\\p{M}]*)*)";
/// What stands before the sign of a mail address, also in other scripts.
pub(super) const LOCAL: &str =
    "[\\p{L}\\p{N}\\p{M}._%+&-]+(?:['’=!#*/~][\\p{L}\\p{N}\\p{M}._%+&-]+)*";
/// It takes what touches its end, so that no match is refused for its edge and begun again a letter on.
pub(super) const DOMAIN: &str =
    "(?:[\\p{L}\\p{N}\\p{M}-]+\\.)+[\\p{L}\\p{M}]{2}[\\p{L}\\p{N}\\p{M}-]*";
/// What may stand between the groups of a phone number.
pub(super) const DIALLED: &str = "(?: ?[./\u{2013}-] ?|[ \u{a0}\u{2009}\u{202f}\u{2010}\u{2011}])?";
/// A phone number behind the word that says what it is.
pub(super) const LABELLED: &str =
    "(?: ?(?i:number|no))?[.:#= \t]{1,4}(?P<e>\\(?[0-9+][0-9 \u{a0}\u{202f}().\\-/]{5,20}[0-9])";
pub(super) const PARTICLE: &str = "(?:van|von|der|den|de|du|des|la|le|di|da|del|della|dos|das|el|al|bin|ibn|bint|ter|ten|zu|zum|zur|af|av|y|e|i|do|ul|ud|vom|d’|d'|Van|Von|De|El|Al)";
/// Capitalised words; the first may be preceded by an article that is not part of the entity.
pub(super) const CAPITALISED: &str =
    "(?:\\p{Lu}\\p{L}?\\.|\\p{Lu}[\\p{L}\\p{M}]*(?:[’'/\u{2010}\u{2011}-]\\p{L}[\\p{L}\\p{M}]*)*)";

pub(super) fn name() -> String {
    format!(
        "{NAME_WORD}(?:[ \u{a0}]?(?:{PARTICLE}[ \u{a0}]){{0,3}}{NAME_WORD}|[ \u{a0}](?:{PARTICLE}[ \u{a0}]){{0,3}}{NAME_WORD}){{0,5}}"
    )
}

/// A name behind a form of address.
pub(super) fn titled_name(name: &str) -> String {
    let courtesy = format!("(?:{})", COURTESY.join("|"));
    let title = format!("(?:{courtesy}|{})", TITLES.join("|"));
    format!(
        "(?:{title}\\.?(?:[ \u{a0}](?:and|or|&)[ \u{a0}]{title}\\.?)?[ \u{a0}]{{1,2}}|{courtesy}\\.?{GAP})(?:(?:{title}|med|iur|jur)\\.?[ \u{a0}]){{0,2}}(?:{PARTICLE}[ \u{a0}]){{0,3}}{name}"
    )
}

pub(super) fn docket_pattern() -> String {
    format!(
        "(?:[0-9A-Z][0-9A-Za-z]{{0,4}}{DASH}){{0,3}}[0-9]{{1,7}}/(?:(?:19|20)[0-9]{{2}}|[0-9]{{2}})(?:/[0-9]{{1,5}}|/[IVX]{{1,4}}|{DASH}[0-9]{{1,5}}|{DASH}[A-Z]{{1,5}}){{0,3}}"
    )
}

/// Capitalised words before the head of an institution's name, and the native name in brackets after it.
pub(super) fn institution_pattern() -> String {
    format!(
        "(?:{CAPITALISED}[ \u{a0}](?:(?:of|for|and|de|la|the)[ \u{a0}])?){{1,6}}{HEAD}(?:[ \u{a0}](?:of|for|in)[ \u{a0}](?:the[ \u{a0}])?{CAPITALISED}(?:[ \u{a0}](?:(?:and|of|de|la)[ \u{a0}])?{CAPITALISED}){{0,4}})?{NATIVE_NAME}"
    )
}

/// An institution that is named after a place: `University of …`, `Mayor of …`.
pub(super) fn institution_of_pattern() -> String {
    format!(
        "(?:{CAPITALISED}[ \u{a0}]){{0,4}}(?:University|Universities|Court|Courts|Office|Faculty|Mayor|Municipality|Municipalities|Governor|Ministry|Institute|Academy|Bank|Church|Hospital|Prison|Chamber|Bar|Council|Department|Office|Prosecutor|Province|Canton|Society|Parliament)[ \u{a0}](?:of|for|in)[ \u{a0}](?:the[ \u{a0}])?{CAPITALISED}(?:[ \u{a0}](?:(?:and|of|de|la)[ \u{a0}])?{CAPITALISED}){{0,4}}{NATIVE_NAME}"
    )
}

const NATIVE_NAME: &str = "(?:[ \u{a0}]\\([“\"]?\\p{Lu}[^()\n]{2,60}\\))?";

const HEAD: &str = "(?:Courts?(?:[ \u{a0}]of[ \u{a0}](?:First[ \u{a0}-]Instance|first[ \u{a0}-]instance|First-instance|General Jurisdiction|Appeals?|Cassation|Justice|Auditors))?|Tribunal|[Pp]rison|Penitentiary|Hospitals?|Clinic|Clinique|University|Police(?:[ \u{a0}](?:Authority|Department|Headquarters|Station|Directorate|District))?|Authority|Council|(?:Public[ \u{a0}])?[Pp]rosecutor(?:[’']s[ \u{a0}](?:Office|office))?|Office|Cent(?:re|er)|Academy|Institute|School|school|Municipality|Directorate|Department|Bank|Association|Society|Foundation|Party|Union|Federation|Commission|Committee|Board|Agency|Registry|Command|Headquarters|Governor|Railways|Corporation|Company|Newspaper|Airport|AG|GmbH|A\\.Ş\\.|S\\.A\\.|Ltd\\.?|Inc\\.?|Corp\\.?|LLC|PLC|plc)";
