//! Reads templates, and the declarations of what they name.

use std::collections::HashMap;

use super::calendar::DateForm;
use super::template::{Field, Generator, Names, Node, PersonRule, Step};

/// Reads templates, knowing which variables are declared where they stand.
pub(super) struct Parser<'a> {
    pub(super) names: &'a mut Names,
    pub(super) declared: HashMap<String, usize>,
}

impl Parser<'_> {
    /// Notes a declaration `@ name: generator`.
    pub(super) fn declare(&mut self, line: &str) -> Result<(usize, Generator), String> {
        let (name, rule) =
            line.split_once(':').ok_or_else(|| format!("declaration without a colon: {line}"))?;
        let generator =
            self.generator(rule.trim())?.ok_or_else(|| format!("unknown generator: {line}"))?;
        let variable = self.names.variable(name.trim());
        self.declared.insert(name.trim().to_string(), variable);
        Ok((variable, generator))
    }

    /// Reads a whole template.
    pub(super) fn template(&mut self, text: &str) -> Result<Vec<Node>, String> {
        let mut rest = text;
        let nodes = self.nodes(&mut rest, 0)?;
        if rest.is_empty() {
            Ok(nodes)
        } else {
            Err(format!("a bracket closes that was not opened, before: {rest}"))
        }
    }

    fn nodes(&mut self, rest: &mut &str, depth: usize) -> Result<Vec<Node>, String> {
        let mut nodes = Vec::new();
        loop {
            let end = rest
                .char_indices()
                .find(|&(at, c)| {
                    matches!(c, '{' | '}' | '[' | ']')
                        || (c == '|' && depth > 0)
                        || rest[at..].starts_with("a(n) ")
                        || rest[at..].starts_with("A(n) ")
                })
                .map_or(rest.len(), |(at, _)| at);
            if end > 0 {
                nodes.push(Node::Text(rest[..end].to_string()));
                *rest = &rest[end..];
            }
            match rest.chars().next() {
                Some('{') => {
                    let close = rest.find('}').ok_or_else(|| format!("unclosed slot: {rest}"))?;
                    let slot = &rest[1..close];
                    let node =
                        self.slot(slot, depth).map_err(|why| format!("{{{slot}}}: {why}"))?;
                    nodes.push(node);
                    *rest = &rest[close + 1..];
                }
                Some('[') => {
                    let mut options = Vec::new();
                    loop {
                        *rest = &rest[1..];
                        options.push(self.nodes(rest, depth + 1)?);
                        match rest.chars().next() {
                            Some('|') => {}
                            Some(']') => break,
                            _ => return Err("unclosed choice".to_string()),
                        }
                    }
                    *rest = &rest[1..];
                    nodes.push(Node::Choice(options));
                }
                Some(c @ ('a' | 'A')) => {
                    nodes.push(Node::Article { capital: c == 'A' });
                    *rest = &rest["a(n) ".len()..];
                }
                _ => return Ok(nodes),
            }
        }
    }

    fn slot(&mut self, slot: &str, depth: usize) -> Result<Node, String> {
        if let Some(pool) = slot.strip_prefix('>') {
            let pool = self.names.pools.get(pool).ok_or("no such pool")?;
            return Ok(Node::Pool(*pool));
        }
        if let Some(literal) = slot.strip_prefix('=') {
            let (label, text) = literal.split_once(' ').ok_or("label without text")?;
            return Ok(Node::Literal { label: label.to_string(), text: text.to_string() });
        }
        if let Some((name, forms)) = slot.split_once('?') {
            let variable = *self.declared.get(name).ok_or("not declared")?;
            let (masculine, feminine) = forms.split_once('|').ok_or("one form only")?;
            return Ok(Node::Agree {
                variable,
                masculine: masculine.to_string(),
                feminine: feminine.to_string(),
            });
        }
        let (head, arguments) = slot.split_once(' ').unwrap_or((slot, ""));
        let (name, field) = head.split_once('.').unwrap_or((head, ""));
        if let Some(&variable) = self.declared.get(name) {
            if !arguments.is_empty() {
                return Err("a declared name takes no arguments".to_string());
            }
            let field = Field::of_name(field).ok_or("no such field")?;
            return Ok(Node::Variable { variable, field });
        }
        if matches!(name, "date" | "before" | "after" | "year") {
            return self.date(name, field, arguments, depth);
        }
        match self.generator(slot)? {
            Some(generator) => Ok(Node::Fresh(generator)),
            None => Err("neither a declared name nor a kind of value".to_string()),
        }
    }

    fn date(
        &mut self,
        name: &str,
        field: &str,
        arguments: &str,
        depth: usize,
    ) -> Result<Node, String> {
        let form = match (name, field) {
            ("year", "") => Some(DateForm::Year),
            (_, "") => None,
            _ => Some(DateForm::of_name(field).ok_or("no such form of a date")?),
        };
        let (range, save) = match arguments.split_once(" as ") {
            Some((range, alias)) => (range, Some(alias)),
            None => (arguments, None),
        };
        let save = match save {
            Some(_) if depth > 0 => return Err("a day is named within a choice".to_string()),
            Some(alias) => {
                let variable = self.names.variable(alias);
                self.declared.insert(alias.to_string(), variable);
                Some(variable)
            }
            None => None,
        };
        let numbers: Vec<i64> = range
            .split_whitespace()
            .map(|number| number.parse().map_err(|_| format!("not a number: {number}")))
            .collect::<Result<_, _>>()?;
        let step = match (name, numbers.as_slice()) {
            ("before", &[low, high]) => Step::Aside(-high, -low),
            ("after", &[low, high]) => Step::Aside(low, high),
            ("date", &[low, high]) if low >= 0 => Step::Advance(low, high),
            ("date" | "year", &[]) => Step::Advance(0, 0),
            ("date" | "year", &[days]) => Step::Aside(days, days),
            _ => return Err("wrong number of days".to_string()),
        };
        Ok(Node::Date { step, form, save })
    }

    fn generator(&self, rule: &str) -> Result<Option<Generator>, String> {
        let (name, arguments) = rule.split_once(' ').unwrap_or((rule, ""));
        let words: Vec<&str> = arguments.split_whitespace().collect();
        let range = || -> Result<(i64, i64), String> {
            let parse = |at: usize| words.get(at).and_then(|word| word.parse::<i64>().ok());
            match (parse(0), parse(1)) {
                (Some(low), Some(high)) if low <= high => Ok((low, high)),
                _ => Err(format!("{rule}: two numbers are needed")),
            }
        };
        let duration = |unit: &'static str| -> Result<Generator, String> {
            range().map(|(low, high)| Generator::Duration(low, high, unit))
        };
        let variable = |name: &str| {
            self.declared
                .get(name)
                .copied()
                .ok_or_else(|| format!("{rule}: {name} is not declared"))
        };
        Ok(Some(match name {
            "person" => Generator::Person(self.person(&words, variable)?),
            "country" => Generator::Country,
            "origin" => Generator::Origin,
            "place" => Generator::Place { foreign: words.contains(&"foreign") },
            "street" => Generator::Street,
            "address" => Generator::Address,
            "oneof" => {
                Generator::OneOf(words.iter().map(|word| variable(word)).collect::<Result<_, _>>()?)
            }
            "money" => range().map(|(low, high)| Generator::Money(low, high))?,
            "price" => Generator::Price,
            "number" => range().map(|(low, high)| Generator::Number(low, high))?,
            "ordinal" => range().map(|(low, high)| Generator::Ordinal(low, high))?,
            "digits" => range().map(|(low, high)| Generator::Digits(low, high))?,
            "percent" => range().map(|(low, high)| Generator::Percent(low, high))?,
            "quantity" => {
                let (low, high) = range()?;
                Generator::Quantity(low, high, words[2..].join(" "))
            }
            "days" => duration("days")?,
            "weeks" => duration("weeks")?,
            "months" => duration("months")?,
            "years" => duration("years")?,
            "age" => range().map(|(low, high)| Generator::Age(low, high))?,
            "time" => Generator::Time,
            "weekday" => Generator::Weekday,
            "appno" => Generator::Application,
            "case" => Generator::Case,
            "plot" => Generator::Plot,
            "code" => Generator::Code(arguments.to_string()),
            "phone" => Generator::Phone,
            "email" => Generator::Email,
            "url" => Generator::Url,
            "ip" => Generator::Ip,
            "iban" => Generator::Iban,
            "card" => Generator::Card,
            "ssn" => Generator::Ssn,
            "tracking" => Generator::Tracking,
            "given" => Generator::Given,
            "surname" => Generator::Surname,
            "kind" => Generator::Phrase(self.kind(arguments)?),
            other => match self.names.kinds.get(other) {
                Some(&kind) => Generator::Phrase(kind),
                None => return Ok(None),
            },
        }))
    }

    fn kind(&self, name: &str) -> Result<usize, String> {
        self.names.kinds.get(name).copied().ok_or_else(|| format!("no kind of phrase: {name}"))
    }

    fn person(
        &self,
        words: &[&str],
        variable: impl Fn(&str) -> Result<usize, String>,
    ) -> Result<PersonRule, String> {
        let mut rule = PersonRule::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut named = || variable(words.next().copied().unwrap_or_default());
            match *word {
                "male" => rule.female = Some(false),
                "female" => rule.female = Some(true),
                "child" => rule.child = true,
                "foreign" => rule.foreign = true,
                "insider" => rule.insider = true,
                "family" => rule.family = Some(named()?),
                "spouse" => rule.spouse = Some(named()?),
                "from" => rule.from = Some(named()?),
                other => return Err(format!("person {other}: no such property")),
            }
        }
        Ok(rule)
    }
}
