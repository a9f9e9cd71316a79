//! The language of the hand-written material, parsed once.
//!
//! A template is text with slots. `{applicant.surname}` writes a declared name, `{money 500 9000}`
//! a fresh value, `{date +10 40}` moves the clock that many days and writes the day, `{date +10 40
//! as arrest}` lets `{arrest}` write it again, `{before 5 30}` and `{after 5 30}` write a day
//! without moving, `{year -300}` that many days from now, `{wife?he|she}` agrees with a person,
//! `{=LAW Article 13}` is labelled text, `{>pool}` one text of a pool, `[one|other]` a choice and
//! `a(n)` the article that fits what follows.

use std::collections::HashMap;

use super::calendar::DateForm;

/// A piece of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    Article { capital: bool },
    Choice(Vec<Vec<Node>>),
    Pool(usize),
    Agree { variable: usize, masculine: String, feminine: String },
    Literal { label: String, text: String },
    Variable { variable: usize, field: Field },
    Fresh(Generator),
    Date { step: Step, form: Option<DateForm>, save: Option<usize> },
}

/// How a date slot gets its day.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// The clock moves by a number of days in this range.
    Advance(i64, i64),
    /// A day at a distance in this range; the clock stays.
    Aside(i64, i64),
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub(super) enum Generator {
    Person(PersonRule),
    Country,
    Origin,
    Place { foreign: bool },
    Given,
    Surname,
    Street,
    Address,
    Phrase(usize),
    OneOf(Vec<usize>),
    Money(i64, i64),
    Price,
    Number(i64, i64),
    Ordinal(i64, i64),
    Digits(i64, i64),
    Percent(i64, i64),
    Quantity(i64, i64, String),
    Duration(i64, i64, &'static str),
    Age(i64, i64),
    Time,
    Weekday,
    Application,
    Case,
    Plot,
    Code(String),
    Phone,
    Email,
    Url,
    Ip,
    Iban,
    Card,
    Ssn,
    Tracking,
}

/// Who a person is.
#[derive(Debug, Clone, Default)]
pub(super) struct PersonRule {
    /// Some(true) is a woman.
    pub(super) female: Option<bool>,
    pub(super) child: bool,
    pub(super) foreign: bool,
    pub(super) insider: bool,
    /// Bears the surname of this person.
    pub(super) family: Option<usize>,
    /// Is married to this person.
    pub(super) spouse: Option<usize>,
    /// Comes from this country.
    pub(super) from: Option<usize>,
}

/// What of a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Whole,
    Given,
    Surname,
    Mr,
    MrFull,
    Initial,
    Initials,
    Upper,
    Email,
    HomeEmail,
    Login,
    Phone,
    Cell,
    Born,
    BornYear,
    LaterBorn,
    Pronoun(&'static str, &'static str),
    Long,
    Adjective,
    Form(DateForm),
}

impl Field {
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "" | "full" => Self::Whole,
            "given" => Self::Given,
            "surname" => Self::Surname,
            "mr" => Self::Mr,
            "mrfull" => Self::MrFull,
            "initial" => Self::Initial,
            "initials" => Self::Initials,
            "upper" => Self::Upper,
            "email" => Self::Email,
            "homeemail" => Self::HomeEmail,
            "login" => Self::Login,
            "phone" => Self::Phone,
            "cell" => Self::Cell,
            "born" => Self::Born,
            "bornyear" => Self::BornYear,
            "laterborn" => Self::LaterBorn,
            "he" => Self::Pronoun("he", "she"),
            "He" => Self::Pronoun("He", "She"),
            "him" => Self::Pronoun("him", "her"),
            "his" => Self::Pronoun("his", "her"),
            "His" => Self::Pronoun("His", "Her"),
            "himself" => Self::Pronoun("himself", "herself"),
            "long" => Self::Long,
            "adj" => Self::Adjective,
            _ => Self::Form(DateForm::of_name(name)?),
        })
    }
}

/// The names that templates use: variables of all skeletons, pools and kinds of phrases.
#[derive(Debug, Default)]
pub(super) struct Names {
    variables: HashMap<String, usize>,
    pub(super) pools: HashMap<String, usize>,
    pub(super) kinds: HashMap<String, usize>,
}

impl Names {
    /// How many variables there are.
    pub(super) fn variables(&self) -> usize {
        self.variables.len()
    }

    /// The number of a variable, new if need be.
    pub(super) fn variable(&mut self, name: &str) -> usize {
        let next = self.variables.len();
        *self.variables.entry(name.to_string()).or_insert(next)
    }
}
