//! The hand-written material, embedded and parsed once.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::config::Kind;
use super::lexicon::{Block, Country, Culture, blocks};
use super::parser::Parser;
use super::template::{Generator, Names, Node};

macro_rules! embedded {
    ($($path:literal),+ $(,)?) => {
        &[$(include_str!(concat!("../../../../data/synthetic/", $path))),+]
    };
}

const PEOPLE: &[&str] = embedded![
    "people/central-europe.txt",
    "people/eastern-europe.txt",
    "people/west-and-south.txt",
    "people/far-and-wide.txt",
];
const COUNTRIES: &[&str] = embedded!["countries.txt"];
const PHRASES: &[&str] = embedded!["phrases.txt"];
const ECHR: &[&str] = embedded![
    "echr/shared.txt",
    "echr/detention.txt",
    "echr/expression.txt",
    "echr/family.txt",
    "echr/health.txt",
    "echr/police-and-prison.txt",
    "echr/property.txt",
    "echr/society.txt",
    "echr/trial.txt",
];
const ENRON: &[&str] = embedded![
    "enron/shared.txt",
    "enron/legal.txt",
    "enron/office.txt",
    "enron/people.txt",
    "enron/trading.txt",
];

const SUPPORT: &[&str] = embedded!["support/shared.txt", "support/tickets.txt"];

/// A kind of name and its patterns.
#[derive(Debug)]
pub(super) struct Phrases {
    /// None where the phrase is no personal data.
    pub(super) label: Option<&'static str>,
    pub(super) patterns: Vec<Vec<Node>>,
}

/// One story or message.
#[derive(Debug)]
pub(super) struct Skeleton {
    pub(super) declarations: Vec<(usize, Generator)>,
    /// The subject of a message.
    pub(super) subject: Vec<Node>,
    /// The paragraphs of a case, the one text of a message, or the turns of a conversation.
    pub(super) paragraphs: Vec<Vec<Node>>,
}

/// What units of one kind are made of.
#[derive(Debug, Default)]
pub(super) struct Collection {
    pub(super) skeletons: Vec<Skeleton>,
    /// Names that every unit has.
    pub(super) declarations: Vec<(usize, Generator)>,
    /// Of those, the ones that are drawn anew for each document.
    pub(super) per_document: Vec<usize>,
    pools: HashMap<String, usize>,
}

impl Collection {
    /// The number of a pool.
    pub(super) fn pool(&self, name: &str) -> usize {
        self.pools.get(name).copied().unwrap_or_default()
    }
}

/// All of it.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) cultures: Vec<Culture>,
    pub(super) countries: Vec<Country>,
    pub(super) phrases: Vec<Phrases>,
    pub(super) pools: Vec<Vec<Vec<Node>>>,
    pub(super) echr: Collection,
    pub(super) enron: Collection,
    pub(super) support: Collection,
    pub(super) variables: usize,
    /// The variable that holds the sender's company.
    pub(super) company: usize,
}

static MATERIAL: LazyLock<Result<Material, String>> = LazyLock::new(Material::parse);

impl Material {
    /// The embedded material.
    ///
    /// # Errors
    /// Says what is wrong with a file; a test keeps that from happening.
    pub(super) fn embedded() -> Result<&'static Self, &'static str> {
        MATERIAL.as_ref().map_err(String::as_str)
    }

    /// The collection of a kind.
    pub(super) fn collection(&self, kind: Kind) -> &Collection {
        match kind {
            Kind::Echr => &self.echr,
            Kind::Enron => &self.enron,
            Kind::Support => &self.support,
        }
    }

    fn parse() -> Result<Self, String> {
        let cultures =
            named_blocks(PEOPLE).iter().map(Culture::parse).collect::<Result<Vec<_>, _>>()?;
        let countries = COUNTRIES
            .iter()
            .flat_map(|file| file.lines())
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| Country::parse(line, &cultures))
            .collect::<Result<Vec<_>, _>>()?;
        let mut names = Names::default();
        let phrases = parse_phrases(&mut names)?;
        let mut pools = Vec::new();
        let echr = parse_collection(ECHR, Kind::Echr, &mut names, &mut pools)?;
        names.pools.clear();
        let enron = parse_collection(ENRON, Kind::Enron, &mut names, &mut pools)?;
        names.pools.clear();
        let support = parse_collection(SUPPORT, Kind::Support, &mut names, &mut pools)?;
        let company = names.variable("company");
        Ok(Self {
            cultures,
            countries,
            phrases,
            pools,
            echr,
            enron,
            support,
            variables: names.variables(),
            company,
        })
    }
}

fn named_blocks(files: &[&'static str]) -> Vec<Block> {
    files.iter().flat_map(|file| blocks(file)).filter(|block| !block.heading.is_empty()).collect()
}

fn parse_phrases(names: &mut Names) -> Result<Vec<Phrases>, String> {
    let blocks = named_blocks(PHRASES);
    let mut headings = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        let (kind, label) = block
            .heading
            .split_once(' ')
            .ok_or_else(|| format!("phrases: {} has no label", block.heading))?;
        names.kinds.insert(kind.to_string(), number);
        headings.push(label);
    }
    let town = names.variable("town");
    let mut parser = Parser { names, declared: HashMap::from([("town".to_string(), town)]) };
    blocks
        .iter()
        .zip(headings)
        .map(|(block, label)| {
            let patterns = block
                .lines
                .iter()
                .filter(|line| !line.is_empty())
                .map(|line| parser.template(line))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|why| format!("phrases, {}: {why}", block.heading))?;
            if patterns.is_empty() {
                return Err(format!("phrases: {} is empty", block.heading));
            }
            Ok(Phrases { label: (label != "-").then_some(label), patterns })
        })
        .collect()
}

fn parse_collection(
    files: &[&'static str],
    kind: Kind,
    names: &mut Names,
    pools: &mut Vec<Vec<Vec<Node>>>,
) -> Result<Collection, String> {
    let mut collection = Collection::default();
    let mut shared = HashMap::new();
    for block in files.iter().flat_map(|file| blocks(file)) {
        let heading = block.heading;
        let in_block = |why: String| format!("{heading}: {why}");
        let mut parser = Parser { names: &mut *names, declared: shared.clone() };
        let mut declarations = Vec::new();
        let mut text = Vec::new();
        for line in &block.lines {
            if let Some(declaration) = line.strip_prefix("@@ ") {
                let declared = parser.declare(declaration).map_err(in_block)?;
                collection.per_document.push(declared.0);
                declarations.push(declared);
            } else if let Some(declaration) = line.strip_prefix("@ ") {
                declarations.push(parser.declare(declaration).map_err(in_block)?);
            } else {
                text.push(*line);
            }
        }
        if heading.is_empty() {
            collection.declarations.extend(declarations);
            shared = parser.declared;
            continue;
        }
        if let Some(name) = heading.strip_prefix("pool ") {
            let texts = text
                .split(|line| *line == "--")
                .map(|lines| parser.template(lines.join("\n").trim()))
                .collect::<Result<Vec<_>, _>>()
                .map_err(in_block)?;
            if texts.iter().any(Vec::is_empty) {
                return Err(in_block("a text is empty".to_string()));
            }
            names.pools.insert(name.to_string(), pools.len());
            collection.pools.insert(name.to_string(), pools.len());
            pools.push(texts);
            continue;
        }
        let body = text.join("\n");
        let mut body = body.trim();
        let mut subject = Vec::new();
        if let Some(rest) = body.strip_prefix("subject: ") {
            let (line, rest) = rest.split_once('\n').unwrap_or((rest, ""));
            subject = parser.template(line).map_err(in_block)?;
            body = rest.trim();
        }
        let paragraphs = match kind {
            Kind::Enron => vec![body],
            Kind::Echr => body.split("\n\n").map(str::trim).collect(),
            Kind::Support => body.split("\n--\n").map(str::trim).collect(),
        }
        .into_iter()
        .map(|paragraph| parser.template(paragraph))
        .collect::<Result<Vec<_>, _>>()
        .map_err(in_block)?;
        collection.skeletons.push(Skeleton { declarations, subject, paragraphs });
    }
    Ok(collection)
}
