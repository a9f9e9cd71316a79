//! One unit while it is written: its names, its clock, and the page that fills.

use super::calendar::{DateForm, Day};
use super::choices::Choices;
use super::config::Kind;
use super::material::Material;
use super::page::Page;
use super::person::Person;
use super::template::{Field, Generator, Node, PersonRule, Step};
use super::values;

/// How often a name is drawn again that the unit has used already.
const DRAWS: usize = 12;

/// What a variable holds.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Person(Person),
    Country(usize),
    Day(Day),
    Text(String, Option<&'static str>),
}

/// The state of one unit.
pub(super) struct Scene {
    pub(super) material: &'static Material,
    pub(super) kind: Kind,
    pub(super) choices: Choices,
    /// Where it happens.
    pub(super) country: usize,
    pub(super) clock: Day,
    /// The day that was written last, of which a case number has its year.
    last_day: Day,
    pub(super) page: Page,
    values: Vec<Option<Value>>,
    /// Surnames and places that are taken.
    taken: Vec<&'static str>,
    generators: Vec<Option<&'static Generator>>,
}

impl Scene {
    /// A unit with the names of its collection declared and none drawn.
    pub(super) fn new(
        material: &'static Material,
        kind: Kind,
        mut choices: Choices,
        clock: Day,
    ) -> Self {
        let countries = &material.countries;
        let country = match kind {
            Kind::Echr => loop {
                let country = choices.below(countries.len());
                if countries[country].respondent {
                    break country;
                }
            },
            Kind::Enron | Kind::Support => countries.len() - 1,
        };
        let mut scene = Self {
            material,
            kind,
            choices,
            country,
            clock,
            last_day: clock,
            page: Page::default(),
            values: vec![None; material.variables],
            taken: Vec::new(),
            generators: vec![None; material.variables],
        };
        scene.declare(&material.collection(kind).declarations);
        scene
    }

    /// Declares names, over those of the same name.
    pub(super) fn declare(&mut self, declarations: &'static [(usize, Generator)]) {
        for (variable, generator) in declarations {
            self.generators[*variable] = Some(generator);
        }
    }

    /// Forgets the values of names, so that the next use draws new ones.
    pub(super) fn forget(&mut self, variables: impl Iterator<Item = usize>) {
        for variable in variables {
            self.values[variable] = None;
        }
    }

    /// Writes a template on a new page and returns it.
    pub(super) fn write_page(&mut self, nodes: &'static [Node]) -> Page {
        self.write(nodes);
        std::mem::take(&mut self.page)
    }

    /// Writes one text of a pool.
    pub(super) fn write_pool(&mut self, pool: usize) {
        let texts: &'static [Vec<Node>] = &self.material.pools[pool];
        let text: &'static Vec<Node> = self.choices.pick(texts);
        self.write(text);
    }

    /// Writes a template.
    pub(super) fn write(&mut self, nodes: &'static [Node]) {
        for node in nodes {
            match node {
                Node::Text(text) => self.page.push(text),
                Node::Article { capital } => self.page.push_article(*capital),
                Node::Choice(options) => {
                    let option: &'static Vec<Node> = self.choices.pick(options);
                    self.write(option);
                }
                Node::Pool(pool) => self.write_pool(*pool),
                Node::Literal { label, text } => self.page.push_labelled(text, label),
                Node::Agree { variable, masculine, feminine } => {
                    let female = matches!(self.value(*variable), Value::Person(p) if p.female);
                    self.page.push(if female { feminine } else { masculine });
                }
                Node::Variable { variable, field } => {
                    let value = self.value(*variable);
                    self.write_value(&value, *field);
                }
                Node::Fresh(generator) => {
                    let value = self.draw(generator);
                    self.write_value(&value, Field::Whole);
                }
                Node::Date { step, form, save } => {
                    let day = match *step {
                        Step::Advance(low, high) => {
                            self.clock.0 += self.choices.within(low, high);
                            self.clock
                        }
                        Step::Aside(low, high) => {
                            Day(self.clock.0 + self.choices.within(low, high))
                        }
                    };
                    if let Some(variable) = save {
                        self.values[*variable] = Some(Value::Day(day));
                    }
                    self.write_day(day, form.unwrap_or(self.usual_form()));
                }
            }
        }
    }

    fn usual_form(&self) -> DateForm {
        match self.kind {
            Kind::Echr => DateForm::Full,
            Kind::Enron | Kind::Support => DateForm::American,
        }
    }

    fn write_day(&mut self, day: Day, form: DateForm) {
        self.last_day = day;
        let minute = self.choices.below(600) + 420;
        self.page.push_labelled(&day.write(form, minute), "DATE");
    }

    /// The value of a variable, drawn at its first use.
    pub(super) fn value(&mut self, variable: usize) -> Value {
        if let Some(value) = &self.values[variable] {
            return value.clone();
        }
        let value = match self.generators[variable] {
            Some(generator) => self.draw(generator),
            // A day's name is declared by the slot that gives it a value, which stands before.
            None => Value::Day(self.clock),
        };
        self.values[variable] = Some(value.clone());
        value
    }

    fn write_value(&mut self, value: &Value, field: Field) {
        match value {
            Value::Person(person) => self.write_person(person, field),
            Value::Day(day) => {
                let form = match field {
                    Field::Form(form) => form,
                    _ => self.usual_form(),
                };
                self.write_day(*day, form);
            }
            Value::Country(country) => {
                let country = &self.material.countries[*country];
                let (name, label) = match field {
                    Field::Long => (country.long, "GPE"),
                    Field::Adjective => (country.adjective, "NORP"),
                    _ => (country.name, "GPE"),
                };
                // The article is no part of the name.
                let name = match name.strip_prefix("the ") {
                    Some(name) => {
                        self.page.push("the ");
                        name
                    }
                    None => name,
                };
                self.page.push_labelled(name, label);
            }
            Value::Text(text, Some(label)) => self.page.push_labelled(text, label),
            Value::Text(text, None) => self.page.push(text),
        }
    }

    fn write_person(&mut self, person: &Person, field: Field) {
        let american = self.kind != Kind::Echr;
        let title = |page: &mut Page| {
            page.push(person.title());
            page.push(if american { ". " } else { " " });
        };
        match field {
            Field::Pronoun(masculine, feminine) => {
                self.page.push(if person.female { feminine } else { masculine });
            }
            Field::Given => self.page.push_labelled(person.given, "PERSON"),
            Field::Surname => self.page.push_labelled(person.surname(), "PERSON"),
            Field::Mr => {
                title(&mut self.page);
                self.page.push_labelled(person.surname(), "PERSON");
            }
            Field::MrFull => {
                title(&mut self.page);
                self.page.push_labelled(&person.full(), "PERSON");
            }
            Field::Initial => self.page.push_labelled(&person.initial(), "PERSON"),
            Field::Initials => self.page.push_labelled(&person.initials(), "PERSON"),
            Field::Upper => {
                let name = format!("{} {}", person.given, person.surname().to_uppercase());
                self.page.push_labelled(&name, "PERSON");
            }
            Field::Email => self.page.push_labelled(&person.email(), "EMAIL"),
            Field::HomeEmail => self.page.push_labelled(&person.home_email(), "EMAIL"),
            Field::Login => self.page.push_labelled(&person.login(), "PERSON"),
            Field::Phone => self.page.push_labelled(&person.phone, "PHONE"),
            Field::Cell => self.page.push_labelled(&person.cell, "PHONE"),
            Field::Born => self.write_day(person.born, self.usual_form()),
            Field::BornYear => self.write_day(person.born, DateForm::Year),
            Field::LaterBorn => {
                let later = 19 + (person.salt % 6) as i64;
                self.write_day(Day(person.born.0 + later * 365), DateForm::Year);
            }
            Field::Whole | Field::Long | Field::Adjective | Field::Form(_) => {
                self.page.push_labelled(&person.full(), "PERSON");
            }
        }
    }

    /// A new value.
    fn draw(&mut self, generator: &'static Generator) -> Value {
        let culture = &self.material.cultures[self.material.countries[self.country].culture];
        let (text, label) = match generator {
            Generator::Person(rule) => return Value::Person(self.draw_person(rule)),
            Generator::Country => return Value::Country(self.country),
            Generator::Origin => loop {
                let country = self.choices.below(self.material.countries.len());
                if country != self.country {
                    return Value::Country(country);
                }
            },
            Generator::OneOf(variables) => {
                let variable = *self.choices.pick(variables);
                return self.value(variable);
            }
            Generator::Phrase(kind) => {
                let phrases = &self.material.phrases[*kind];
                let pattern: &'static Vec<Node> = self.choices.pick(&phrases.patterns);
                let outer = std::mem::take(&mut self.page);
                self.write(pattern);
                let inner = std::mem::replace(&mut self.page, outer);
                return Value::Text(inner.text, phrases.label);
            }
            Generator::Given => {
                let female = self.choices.chance(50);
                (culture.given(female, &mut self.choices).to_string(), "PERSON")
            }
            Generator::Surname => (self.choices.pick(&culture.surnames).0.to_string(), "PERSON"),
            Generator::Place { foreign } => {
                let culture =
                    if *foreign { self.choices.pick(&self.material.cultures) } else { culture };
                let place = self.untaken(&culture.places, |place| place);
                (place.to_string(), "GPE")
            }
            Generator::Street => (culture.street(&mut self.choices), "FAC"),
            Generator::Address => (culture.address(&mut self.choices), "ADDRESS"),
            Generator::Phone => (culture.phone(&mut self.choices), "PHONE"),
            Generator::Case => {
                (culture.case(self.last_day.year(), &mut self.choices), "CASE_NUMBER")
            }
            Generator::Money(low, high) => {
                let country = &self.material.countries[self.country];
                (
                    values::money(
                        (*low, *high),
                        country,
                        self.kind,
                        self.clock.year(),
                        &mut self.choices,
                    ),
                    "MONEY",
                )
            }
            Generator::Time => (values::time(self.kind, &mut self.choices), "TIME"),
            Generator::Application => {
                let year = self.clock.year() % 100;
                (format!("{}/{year:02}", self.choices.within(1_204, 89_990)), "CASE_NUMBER")
            }
            other => values::plain(other, &mut self.choices),
        };
        Value::Text(text, Some(label))
    }

    /// One of `items` that the unit has not used, if a few draws find one.
    fn untaken<T>(&mut self, items: &'static [T], name: impl Fn(&T) -> &'static str) -> &'static T {
        let mut item = self.choices.pick(items);
        for _ in 0..DRAWS {
            if !self.taken.contains(&name(item)) {
                break;
            }
            item = self.choices.pick(items);
        }
        self.taken.push(name(item));
        item
    }

    fn draw_person(&mut self, rule: &PersonRule) -> Person {
        let relative = rule.spouse.or(rule.family).map(|variable| self.value(variable));
        let relative = match relative {
            Some(Value::Person(person)) => Some(person),
            _ => None,
        };
        let culture = match (&relative, rule.from.map(|variable| self.value(variable))) {
            (Some(relative), _) => relative.culture,
            (None, Some(Value::Country(country))) => self.material.countries[country].culture,
            _ => self.usual_culture(rule.foreign),
        };
        let female = match (&relative, rule.female) {
            (_, Some(female)) => female,
            (Some(relative), None) if rule.spouse.is_some() => !relative.female,
            _ => self.choices.chance(48),
        };
        let names = &self.material.cultures[culture];
        let given = loop {
            let given = names.given(female, &mut self.choices);
            if relative.as_ref().is_none_or(|relative| relative.given != given) {
                break given;
            }
        };
        let surname = match &relative {
            Some(relative) => relative.names,
            None => *self.untaken(&names.surnames, |names| names.0),
        };
        let age = if rule.child { (2, 10) } else { (30, 66) };
        let days = self.choices.within(age.0 * 365, age.1 * 365);
        let home = &self.material.cultures[self.material.countries[self.country].culture];
        let domain = if self.kind != Kind::Echr && (rule.insider || self.choices.chance(50)) {
            match self.value(self.material.company) {
                Value::Text(company, _) => values::domain(&company),
                _ => String::new(),
            }
        } else {
            let other = self.choices.pick(&names.surnames).0;
            values::domain(&format!("{other} {}", self.choices.word(&values::TRADES)))
        };
        Person {
            given,
            names: surname,
            female,
            culture,
            born: Day(self.clock.0 - days),
            salt: self.choices.below(1 << 20),
            phone: home.phone(&mut self.choices),
            cell: home.phone(&mut self.choices),
            domain,
        }
    }

    /// Mostly that of the country; in the United States of anywhere.
    fn usual_culture(&mut self, foreign: bool) -> usize {
        let local = match (foreign, self.kind) {
            (true, _) => 0,
            (false, Kind::Echr) => 94,
            (false, Kind::Enron | Kind::Support) => 50,
        };
        if self.choices.chance(local) {
            self.material.countries[self.country].culture
        } else {
            self.choices.below(self.material.cultures.len())
        }
    }
}
