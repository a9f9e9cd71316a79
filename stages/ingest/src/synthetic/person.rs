//! Fictional people and how they are reached.

use super::calendar::Day;
use super::lexicon::Surname;

/// Mail providers that do not exist.
const PROVIDERS: [&str; 8] = [
    "larkpost.net",
    "mailhaven.org",
    "quickletterbox.com",
    "sundialmail.com",
    "birchnet.info",
    "postwell.net",
    "inkpigeon.com",
    "northlanemail.org",
];

/// A person.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) given: &'static str,
    pub(super) names: Surname,
    pub(super) female: bool,
    pub(super) culture: usize,
    pub(super) born: Day,
    /// Decides what else is said of the person, always the same.
    pub(super) salt: usize,
    pub(super) phone: String,
    pub(super) cell: String,
    /// What follows the @ of the address at work.
    pub(super) domain: String,
}

impl Person {
    pub(super) fn surname(&self) -> &'static str {
        if self.female { self.names.1 } else { self.names.0 }
    }

    pub(super) fn title(&self) -> &'static str {
        match (self.female, self.salt % 3) {
            (false, _) => "Mr",
            (true, 0) => "Mrs",
            (true, _) => "Ms",
        }
    }

    pub(super) fn full(&self) -> String {
        format!("{} {}", self.given, self.surname())
    }

    /// J. Smith
    pub(super) fn initial(&self) -> String {
        format!("{}. {}", first(self.given), self.surname())
    }

    /// J.S.
    pub(super) fn initials(&self) -> String {
        format!("{}.{}.", first(self.given), first(self.surname()))
    }

    pub(super) fn login(&self) -> String {
        let given = ascii(self.given);
        let surname: String = ascii(self.surname()).chars().take(7).collect();
        format!("{}{surname}{}", first(&given), if self.salt.is_multiple_of(4) { "2" } else { "" })
    }

    pub(super) fn email(&self) -> String {
        format!("{}.{}@{}", ascii(self.given), ascii(self.surname()), self.domain)
    }

    pub(super) fn home_email(&self) -> String {
        let provider = PROVIDERS[self.salt / 4 % PROVIDERS.len()];
        format!("{}{}@{provider}", self.login(), self.salt % 89 + 10)
    }
}

fn first(name: &str) -> char {
    name.chars().find(|c| c.is_alphabetic()).unwrap_or('X')
}

/// The lower-case ASCII letters nearest to a name, for addresses.
pub(super) fn ascii(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    for c in name.chars().flat_map(char::to_lowercase) {
        let letters = match c {
            'a'..='z' | '0'..='9' => {
                folded.push(c);
                ""
            }
            'á' | 'à' | 'â' | 'ã' | 'å' | 'ą' | 'ă' | 'ā' => "a",
            'ä' | 'æ' => "ae",
            'ç' | 'ć' | 'č' | 'ċ' => "c",
            'ď' | 'đ' => "d",
            'é' | 'è' | 'ê' | 'ë' | 'ę' | 'ě' | 'ė' | 'ē' => "e",
            'ğ' | 'ģ' | 'ġ' => "g",
            'ħ' => "h",
            'í' | 'ì' | 'î' | 'ï' | 'ı' | 'ī' | 'į' => "i",
            'ķ' => "k",
            'ł' | 'ľ' | 'ļ' => "l",
            'ń' | 'ň' | 'ñ' | 'ņ' => "n",
            'ó' | 'ò' | 'ô' | 'õ' | 'ő' => "o",
            'ö' | 'ø' | 'œ' => "oe",
            'ř' => "r",
            'ś' | 'š' | 'ş' | 'ș' => "s",
            'ß' => "ss",
            'ť' | 'ț' | 'ţ' => "t",
            'ú' | 'ù' | 'û' | 'ů' | 'ű' | 'ū' | 'ų' => "u",
            'ü' => "ue",
            'ý' => "y",
            'ź' | 'ž' | 'ż' => "z",
            _ => "",
        };
        folded.push_str(letters);
    }
    folded
}
