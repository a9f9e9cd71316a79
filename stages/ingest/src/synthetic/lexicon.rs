//! Names of people and places by culture, and countries.

use super::choices::Choices;

/// A surname in its masculine and its feminine form.
pub(super) type Surname = (&'static str, &'static str);

/// Names and formats of one culture.
#[derive(Debug, Default)]
pub(super) struct Culture {
    pub(super) name: &'static str,
    pub(super) male: Vec<&'static str>,
    pub(super) female: Vec<&'static str>,
    pub(super) surnames: Vec<Surname>,
    pub(super) places: Vec<&'static str>,
    streets: Vec<&'static str>,
    address: &'static str,
    phones: Vec<&'static str>,
    cases: Vec<&'static str>,
}

/// A country.
#[derive(Debug)]
pub(super) struct Country {
    pub(super) name: &'static str,
    pub(super) long: &'static str,
    pub(super) adjective: &'static str,
    pub(super) culture: usize,
    pub(super) currency_code: &'static str,
    pub(super) currency: &'static str,
    /// How many units of the currency buy what a euro buys, about.
    pub(super) per_euro: i64,
    /// Whether cases are brought against it.
    pub(super) respondent: bool,
}

/// A part of a file that starts with `== heading`, and its lines without comments.
pub(super) struct Block {
    pub(super) heading: &'static str,
    pub(super) lines: Vec<&'static str>,
}

/// The blocks of a material file.
pub(super) fn blocks(file: &'static str) -> Vec<Block> {
    let mut blocks = vec![Block { heading: "", lines: Vec::new() }];
    for line in file.lines().filter(|line| !line.starts_with("# ")) {
        match (line.strip_prefix("== "), blocks.last_mut()) {
            (Some(heading), _) => blocks.push(Block { heading, lines: Vec::new() }),
            (None, Some(block)) => block.lines.push(line),
            (None, None) => {}
        }
    }
    blocks
}

impl Culture {
    /// Reads a block of `key: value, value` lines.
    pub(super) fn parse(block: &Block) -> Result<Self, String> {
        let mut culture = Self { name: block.heading, ..Self::default() };
        for line in block.lines.iter().filter(|line| !line.is_empty()) {
            let (key, value) = line
                .split_once(": ")
                .ok_or_else(|| format!("{}: not `key: value`: {line}", block.heading))?;
            let list = || value.split(", ").collect::<Vec<_>>();
            let formats = || value.split("; ").collect::<Vec<_>>();
            match key {
                "male" => culture.male = list(),
                "female" => culture.female = list(),
                "surnames" => {
                    culture.surnames = list()
                        .into_iter()
                        .map(|name| name.split_once('/').unwrap_or((name, name)))
                        .collect();
                }
                "places" => culture.places = list(),
                "streets" => culture.streets = list(),
                "address" => culture.address = value,
                "phone" => culture.phones = formats(),
                "case" => {
                    culture.cases = formats()
                        .into_iter()
                        .map(|format| format.strip_prefix("no. ").unwrap_or(format))
                        .collect();
                }
                other => return Err(format!("{}: unknown key {other}", block.heading)),
            }
        }
        let lists = [
            culture.male.len(),
            culture.female.len(),
            culture.surnames.len(),
            culture.places.len(),
            culture.streets.len(),
            culture.phones.len(),
            culture.cases.len(),
            culture.address.len(),
        ];
        if lists.contains(&0) {
            return Err(format!("culture {}: a list is empty", block.heading));
        }
        Ok(culture)
    }

    /// A given name.
    pub(super) fn given(&self, female: bool, choices: &mut Choices) -> &'static str {
        choices.word(if female { &self.female } else { &self.male })
    }

    /// A street with a house number.
    pub(super) fn street(&self, choices: &mut Choices) -> String {
        let street = choices.word(&self.streets);
        street_named(street)
    }

    /// A postal address.
    pub(super) fn address(&self, choices: &mut Choices) -> String {
        let pattern = choices.fill(self.address);
        let number = choices.within(1, 148).to_string();
        let mut address = String::with_capacity(48);
        let mut rest = pattern.as_str();
        // The format is split before names go in, which have capital letters of their own.
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("STREET") {
                address.push_str(choices.word(&self.streets));
                rest = after;
            } else if let Some(after) = rest.strip_prefix("PLACE") {
                address.push_str(choices.word(&self.places));
                rest = after;
            } else if rest.starts_with('N') && !rest[1..].starts_with(char::is_alphabetic) {
                address.push_str(&number);
                rest = &rest[1..];
            } else {
                let length = rest.chars().next().map_or(1, char::len_utf8);
                address.push_str(&rest[..length]);
                rest = &rest[length..];
            }
        }
        address
    }

    /// A telephone number.
    pub(super) fn phone(&self, choices: &mut Choices) -> String {
        let format = choices.word(&self.phones);
        choices.fill(format)
    }

    /// The number of a domestic case of a year.
    pub(super) fn case(&self, year: i64, choices: &mut Choices) -> String {
        let format = choices.word(&self.cases);
        choices
            .fill(format)
            .replace("YYYY", &year.to_string())
            .replace("YY", &format!("{:02}", year % 100))
    }
}

/// Ends of street names that say in their language that they are streets.
const STREET_ENDS: [&str; 12] = [
    "weg", "straße", "gasse", "allee", "gata", "gatan", "dijk", "straat", "kade", "plein", "vägen",
    "vej",
];

/// A street name as it stands in a sentence.
fn street_named(street: &str) -> String {
    if street.contains(' ') || STREET_ENDS.iter().any(|end| street.ends_with(end)) {
        street.to_string()
    } else {
        format!("{street} Street")
    }
}

impl Country {
    /// Reads a line of seven fields between bars; `- ` before it is a country that nobody sues.
    pub(super) fn parse(line: &'static str, cultures: &[Culture]) -> Result<Self, String> {
        let (respondent, fields) = match line.strip_prefix("- ") {
            Some(fields) => (false, fields),
            None => (true, line),
        };
        let fields: Vec<&str> = fields.split(" | ").collect();
        let &[name, long, adjective, culture, currency_code, currency, per_euro] =
            fields.as_slice()
        else {
            return Err(format!("countries: seven fields are needed: {line}"));
        };
        let culture = cultures
            .iter()
            .position(|known| known.name == culture)
            .ok_or_else(|| format!("countries: unknown culture {culture}"))?;
        let per_euro =
            per_euro.parse().map_err(|_| format!("countries: not a number: {per_euro}"))?;
        Ok(Self { name, long, adjective, culture, currency_code, currency, per_euro, respondent })
    }
}
