//! Which column holds the text and which says whom privacy is promised to, and what is poor about that.

use pft_stage::schema::suggestion;

use super::corpus::{Column, Survey};
use crate::RunError;

/// Names of columns that hold texts, the likeliest first.
const TEXTS: [&str; 12] = [
    "text",
    "body",
    "content",
    "message",
    "document",
    "note",
    "description",
    "comment",
    "review",
    "transcript",
    "facts",
    "summary",
];
/// Parts of names of columns that say who somebody is, the likeliest first.
const PEOPLE: [&str; 24] = [
    "customer",
    "client",
    "patient",
    "applicant",
    "user",
    "person",
    "member",
    "employee",
    "author",
    "sender",
    "account",
    "subscriber",
    "student",
    "citizen",
    "participant",
    "respondent",
    "speaker",
    "owner",
    "contact",
    "email",
    "household",
    "from",
    "case",
    "ticket",
];
/// A column of shorter values holds no texts, unless its name says so.
const SHORTEST_TEXT: f64 = 20.0;
/// The share of units that train, as `ingest` divides them.
const TRAIN: f64 = 0.45;
/// With fewer units in training than this, noise leaves little to learn.
const FEW_UNITS: f64 = 500.0;

/// What a person asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    pub(crate) text: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) unit: Option<String>,
    /// Each document is a unit, whatever columns there are.
    pub(crate) unit_is_document: bool,
    pub(crate) epsilon: f64,
}

/// What the pipelines will go by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    pub(crate) source: String,
    /// The columns; no text column where the source has no rows.
    pub(crate) text: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) unit: Option<String>,
    pub(crate) documents: u64,
    /// How many units were counted.
    pub(crate) units: u64,
    /// Documents of the largest.
    pub(crate) largest: u64,
    /// Columns that could say the unit as well.
    pub(crate) others: Vec<String>,
    /// More units than can train: what is declared must be as many.
    pub(crate) bound: u64,
    pub(crate) epsilon: f64,
}

/// Chooses among what a corpus has.
///
/// # Errors
/// When a column that is asked for is not there or cannot be what it shall be, or none holds text.
pub(crate) fn choose(survey: &Survey, wishes: &Wishes) -> Result<Choice, RunError> {
    let has_rows = !survey.columns.is_empty();
    let text = match has_rows {
        true => Some(text(survey, wishes.text.as_deref())?),
        false => None,
    };
    let candidates = candidates(survey, text.as_deref());
    let unit = match (&wishes.unit, wishes.unit_is_document) {
        (_, true) => None,
        (Some(name), _) => Some(wished(survey, "--unit-column", name)?.clone()),
        (None, _) => candidates.first().map(|column| (*column).clone()),
    };
    let id = match &wishes.id {
        Some(name) => Some(wished(survey, "--id-column", name)?.name.clone()),
        None => id(survey, text.as_deref(), unit.as_ref()),
    };
    let (units, largest) = match &unit {
        Some(column) => (column.distinct, column.most),
        None => (survey.units.unwrap_or(survey.documents), survey.largest_unit.unwrap_or(1)),
    };
    let is_other = |column: &&&Column| unit.as_ref().is_none_or(|unit| unit.name != column.name);
    Ok(Choice {
        source: survey.source.clone(),
        others: candidates.iter().filter(is_other).map(|column| column.name.clone()).collect(),
        text,
        id,
        unit: unit.map(|column| column.name),
        documents: survey.documents,
        units,
        largest,
        bound: bound(units),
        epsilon: wishes.epsilon,
    })
}

fn wished<'a>(survey: &'a Survey, option: &str, name: &str) -> Result<&'a Column, RunError> {
    let column = survey.columns.iter().find(|column| column.name == name).ok_or_else(|| {
        let known: Vec<&str> = survey.columns.iter().map(|column| &column.name[..]).collect();
        let hint = suggestion(name, &known);
        RunError::config(format!("{option} {name}: the corpus has no such column{hint}"))
    })?;
    match &column.problem {
        Some(problem) => Err(RunError::config(format!("{option} {name}: {problem}"))),
        None => Ok(column),
    }
}

fn text(survey: &Survey, wish: Option<&str>) -> Result<String, RunError> {
    if let Some(name) = wish {
        let column = wished(survey, "--text-column", name)?;
        return match column.is_text {
            true => Ok(column.name.clone()),
            false => {
                Err(RunError::config(format!("--text-column {name}: the column holds no text")))
            }
        };
    }
    let texts = || survey.columns.iter().filter(|c| c.is_text && c.problem.is_none());
    let named = TEXTS.iter().find_map(|name| texts().find(|c| c.name.eq_ignore_ascii_case(name)));
    let long = texts().filter(|column| column.mean_chars >= SHORTEST_TEXT);
    let longest = long.max_by(|a, b| a.mean_chars.total_cmp(&b.mean_chars));
    named.or(longest).map(|column| column.name.clone()).ok_or_else(|| {
        let names: Vec<&str> = survey.columns.iter().map(|column| &column.name[..]).collect();
        RunError::config(format!(
            "no column looks like text (there are: {})\n  help: name the one to train on with --text-column",
            names.join(", ")
        ))
    })
}

/// Columns that may say whom privacy is promised to, the likeliest first.
fn candidates<'a>(survey: &'a Survey, text: Option<&str>) -> Vec<&'a Column> {
    let rank = |column: &Column| {
        let name = column.name.to_ascii_lowercase();
        let person = PEOPLE.iter().position(|part| name.contains(part));
        let shared = column.distinct < survey.documents;
        match person {
            // One that tells rows apart and nothing else protects no more than the row.
            Some(place) if shared => Some(place),
            None if shared && name.ends_with("id") => Some(PEOPLE.len()),
            _ => None,
        }
    };
    let mut ranked: Vec<(usize, &Column)> = survey
        .columns
        .iter()
        .filter(|c| Some(&c.name[..]) != text && c.problem.is_none() && c.distinct > 1)
        .filter_map(|column| Some((rank(column)?, column)))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, column)| column).collect()
}

/// A column that tells all documents apart.
fn id(survey: &Survey, text: Option<&str>, unit: Option<&Column>) -> Option<String> {
    let is_id = |column: &&Column| {
        let name = column.name.to_ascii_lowercase();
        let named =
            name.ends_with("id") || ["case", "number", "key", "no", "path"].contains(&&name[..]);
        named
            && column.problem.is_none()
            && column.distinct == survey.documents
            && Some(&column.name[..]) != text
            && unit.is_none_or(|unit| unit.name != column.name)
    };
    survey.columns.iter().find(is_id).map(|column| column.name.clone())
}

/// A number of units that training will not reach: the expected share, four standard deviations of the
/// division and a fifth more, rounded up to two digits.
fn bound(units: u64) -> u64 {
    let count = units as f64;
    let reached = 1.2 * TRAIN * count + 4.0 * (TRAIN * (1.0 - TRAIN) * count).sqrt();
    let step = 10f64.powf((reached.max(10.0).log10() - 1.0).floor()).max(10.0);
    ((reached / step).ceil() * step) as u64
}

impl Choice {
    /// How many units will train, about.
    pub(crate) fn training_units(&self) -> f64 {
        TRAIN * self.units as f64
    }

    /// Units drawn for a step: few enough that a step holds a small part of all.
    pub(crate) fn batch_size(&self) -> u64 {
        (self.bound / 4).clamp(1, 8)
    }

    /// What is poor about these choices, in words.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let (epsilon, units) = (self.epsilon, self.training_units());
        let mut warnings = Vec::new();
        if units < FEW_UNITS {
            warnings.push(format!(
                "about {units:.0} units will train: with so few the noise of ε = {epsilon} leaves little to \
                 learn, and the DP model may be no better than its base. More units help, more documents \
                 of the same units do not"
            ));
        }
        if self.unit.is_none() && self.text.is_some() {
            let others = match &self.others[..] {
                [] => "name a column that says who it is with --unit-column, if you have one"
                    .to_string(),
                others => format!("columns that could say who it is: {}", others.join(", ")),
            };
            warnings.push(format!(
                "each row is a unit of its own: ε = {epsilon} is promised for one row, and a person with k rows \
                 is a group, for whom it is k × {epsilon}; {others}"
            ));
        } else if self.unit.is_none() && self.source == "text" {
            warnings.push(format!(
                "each file is a unit of its own: a person whom k files are about is a group, for whom ε is \
                 k × {epsilon}"
            ));
        }
        if self.largest * 2 > self.documents && self.documents > 1 {
            warnings.push(format!(
                "one unit has {} of {} documents: a model can hardly learn without it, and is not allowed \
                 to show that it was there",
                self.largest, self.documents
            ));
        }
        if epsilon > 10.0 {
            warnings.push(format!(
                "ε = {epsilon} promises next to nothing: a test of who was there may be right e^{epsilon} times \
                 as often as it is wrong"
            ));
        }
        warnings.push(format!(
            "privacy.units is yours to declare: a number of {} or more that you know without counting, such \
             as all customers that you ever had. Until then units are counted, which tells of who is \
             there, and the model is not for release",
            self.bound
        ));
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, is_text: bool, distinct: u64, mean_chars: f64) -> Column {
        Column { name: name.into(), is_text, distinct, most: 3, mean_chars, problem: None }
    }

    fn survey(columns: Vec<Column>) -> Survey {
        Survey { source: "csv".into(), documents: 1000, columns, ..Survey::default() }
    }

    fn choose_default(survey: &Survey) -> Result<Choice, RunError> {
        choose(survey, &Wishes { epsilon: 8.0, ..Wishes::default() })
    }

    #[test]
    fn columns_are_guessed_by_name_and_by_what_they_hold() {
        let survey = survey(vec![
            column("ticket_id", true, 1000, 8.0),
            column("customer_id", false, 300, 5.0),
            column("agent_id", true, 20, 5.0),
            column("what_was_said", true, 990, 400.0),
            column("title", true, 900, 30.0),
        ]);
        let choice = choose_default(&survey).unwrap();
        assert_eq!(choice.text.as_deref(), Some("what_was_said"));
        assert_eq!(choice.unit.as_deref(), Some("customer_id"));
        assert_eq!(choice.id.as_deref(), Some("ticket_id"));
        assert_eq!(choice.others, ["agent_id"]);
        assert_eq!((choice.units, choice.largest), (300, 3));
        let said = choice.warnings().join("\n");
        assert!(said.contains("about 135 units will train"), "{said}");
        assert!(!said.contains("is a group"), "{said}");

        let rows = Wishes { unit_is_document: true, epsilon: 8.0, ..Wishes::default() };
        let choice = choose(&survey, &rows).unwrap();
        let said = choice.warnings().join("\n");
        assert!(said.contains("k × 8; columns that could say who it is: customer_id"), "{said}");
    }

    #[test]
    fn a_corpus_without_text_is_refused() {
        let survey = survey(vec![column("customer_id", false, 300, 5.0)]);
        let error = choose_default(&survey).unwrap_err();
        assert!(error.message.contains("no column looks like text"), "{}", error.message);
        let wish = Wishes { text: Some("custmer_id".into()), epsilon: 8.0, ..Wishes::default() };
        let error = choose(&survey, &wish).unwrap_err();
        assert!(error.message.contains("did you mean `customer_id`?"), "{}", error.message);
    }

    #[test]
    fn more_units_are_declared_than_can_train() {
        for units in [1, 2, 6, 25, 400, 10_000, 3_000_000] {
            let count = units as f64;
            let most = TRAIN * count + 4.0 * (TRAIN * (1.0 - TRAIN) * count).sqrt();
            let bound = bound(units) as f64;
            assert!(bound >= most && bound <= 1.5 * most + 20.0, "{units}: {bound}");
        }
    }
}
