//! Whole units: a case of paragraphs, a sender's messages.

use pft_artifact::Role;

use super::calendar::Day;
use super::choices::Choices;
use super::config::{DocumentKind, Kind, SyntheticConfig};
use super::material::{Collection, Material, Skeleton};
use super::page::Page;
use super::scene::Scene;

/// 1 January 1988 and 31 December 2010: when the facts of cases begin.
const FACTS_BEGIN: (i64, i64) = (6_574, 14_974);
/// 1 October 1998 and 31 March 2001: when senders begin to write.
const MAIL_BEGINS: (i64, i64) = (10_500, 11_412);
/// 1 January 2019 and 31 December 2022: when customers begin to write.
const TICKETS_BEGIN: (i64, i64) = (17_897, 19_357);

/// The documents of a unit, which depend on the seed and the unit's number alone.
pub(super) fn documents(
    material: &'static Material,
    config: &SyntheticConfig,
    unit: u64,
) -> Vec<Page> {
    let mut choices = Choices::of_unit(config.seed, unit);
    match config.kind {
        Kind::Echr => {
            let begin = Day(choices.within(FACTS_BEGIN.0, FACTS_BEGIN.1));
            let scene = Scene::new(material, Kind::Echr, choices, begin);
            let paragraphs = case(scene);
            match config.document {
                DocumentKind::Paragraph => paragraphs,
                DocumentKind::Case => vec![joined(paragraphs)],
            }
        }
        Kind::Enron => {
            let begin = Day(choices.within(MAIL_BEGINS.0, MAIL_BEGINS.1));
            let emails = &config.emails_per_sender;
            let count = choices.within(emails.min.into(), emails.max.into());
            mailbox(Scene::new(material, Kind::Enron, choices, begin), count as usize)
        }
        Kind::Support => {
            let begin = Day(choices.within(TICKETS_BEGIN.0, TICKETS_BEGIN.1));
            let tickets = &config.tickets_per_customer;
            let count = choices.within(tickets.min.into(), tickets.max.into());
            tickets_of(Scene::new(material, Kind::Support, choices, begin), count as usize)
        }
    }
}

fn joined(paragraphs: Vec<Page>) -> Page {
    let mut whole = Page::default();
    for (number, paragraph) in paragraphs.into_iter().enumerate() {
        if number > 0 {
            whole.push("\n");
        }
        whole.append(paragraph);
    }
    whole
}

/// A case: what happened, in order, and around it what the Court says of the application.
fn case(mut scene: Scene) -> Vec<Page> {
    let collection: &'static Collection = &scene.material.echr;
    let skeleton: &'static Skeleton = scene.choices.pick(&collection.skeletons);
    scene.declare(&skeleton.declarations);
    let pool = |scene: &mut Scene, name: &str| {
        scene.write_pool(collection.pool(name));
        std::mem::take(&mut scene.page)
    };
    let background = pool(&mut scene, "background");
    let facts: Vec<Page> =
        skeleton.paragraphs.iter().map(|paragraph| scene.write_page(paragraph)).collect();
    // The application is lodged when all of it has happened.
    scene.clock.0 += scene.choices.within(20, 178);
    let opening = pool(&mut scene, "opening");
    let representation = pool(&mut scene, "representation");
    let notice = pool(&mut scene, "notice");
    let mut closings = closings(&mut scene, collection.pool("closing"));
    let mut paragraphs = Vec::with_capacity(facts.len() + 7);
    match scene.choices.below(5) {
        0 => paragraphs.extend([opening, representation, notice, background]),
        1 => paragraphs.push(background),
        2 => paragraphs.extend([opening, background]),
        3 => {
            paragraphs.extend([opening, representation]);
            closings.insert(0, notice);
        }
        _ => {
            paragraphs.extend([background, representation]);
            closings.insert(0, opening);
        }
    }
    paragraphs.extend(facts);
    paragraphs.extend(closings);
    paragraphs.iter_mut().for_each(Page::trim_end);
    if scene.choices.chance(50) {
        let first = if scene.choices.chance(50) { 1 } else { scene.choices.below(6) + 4 };
        for (number, paragraph) in (first..).zip(&mut paragraphs) {
            let text = std::mem::take(paragraph);
            paragraph.push(&format!("{number}.  "));
            paragraph.append(text);
        }
    }
    paragraphs
}

/// Up to three different closing paragraphs.
fn closings(scene: &mut Scene, pool: usize) -> Vec<Page> {
    let texts = &scene.material.pools[pool];
    let count = scene.choices.below(4);
    let order = shuffled(texts.len(), &mut scene.choices);
    order.into_iter().take(count).map(|text| scene.write_page(&texts[text])).collect()
}

/// The numbers below `count` in some order.
fn shuffled(count: usize, choices: &mut Choices) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for at in (1..count).rev() {
        order.swap(at, choices.below(at + 1));
    }
    order
}

/// A sender's messages. No skeleton comes twice before each has come once.
fn mailbox(mut scene: Scene, count: usize) -> Vec<Page> {
    let collection: &'static Collection = &scene.material.enron;
    let signatures = &scene.material.pools[collection.pool("signature")];
    let signature = scene.choices.below(signatures.len());
    let mut order = Vec::new();
    (0..count)
        .map(|_| {
            if order.is_empty() {
                order = shuffled(collection.skeletons.len(), &mut scene.choices);
            }
            let skeleton = &collection.skeletons[order.pop().unwrap_or_default()];
            scene.clock.0 += scene.choices.within(1, 19);
            scene.declare(&skeleton.declarations);
            let own = skeleton.declarations.iter().map(|(variable, _)| *variable);
            scene.forget(own.chain(collection.per_document.iter().copied()));
            message(&mut scene, collection, skeleton, signature)
        })
        .collect()
}

/// A customer's conversations. No skeleton comes twice before each has come once.
fn tickets_of(mut scene: Scene, count: usize) -> Vec<Page> {
    let collection: &'static Collection = &scene.material.support;
    let mut order = Vec::new();
    (0..count)
        .map(|_| {
            if order.is_empty() {
                order = shuffled(collection.skeletons.len(), &mut scene.choices);
            }
            let skeleton = &collection.skeletons[order.pop().unwrap_or_default()];
            scene.clock.0 += scene.choices.within(3, 90);
            scene.declare(&skeleton.declarations);
            let own = skeleton.declarations.iter().map(|(variable, _)| *variable);
            scene.forget(own.chain(collection.per_document.iter().copied()));
            let mut conversation = Page::default();
            for (turn, role) in
                skeleton.paragraphs.iter().zip([Role::User, Role::Assistant].into_iter().cycle())
            {
                let mut said = scene.write_page(turn);
                said.trim_end();
                conversation.append_turn(role, said);
            }
            conversation
        })
        .collect()
}

fn message(
    scene: &mut Scene,
    collection: &'static Collection,
    skeleton: &'static Skeleton,
    signature: usize,
) -> Page {
    let mut subject = scene.write_page(&skeleton.subject);
    subject.trim_end();
    match scene.choices.below(10) {
        0..=3 => {
            scene.write_pool(collection.pool("header"));
            scene.page.push(" ");
            scene.page.append(subject);
            scene.page.push("\n\n");
        }
        4..=7 => {
            scene.page.push("Subject: ");
            scene.page.append(subject);
            scene.page.push("\n\n");
        }
        _ => {}
    }
    scene.write(&skeleton.paragraphs[0]);
    scene.page.trim_end();
    if scene.choices.chance(30) {
        scene.page.push("\n\n");
        let signatures = &scene.material.pools[collection.pool("signature")];
        scene.write(&signatures[signature]);
    }
    if scene.choices.chance(22) {
        scene.page.push("\n\n");
        scene.write_pool(collection.pool("forward"));
        scene.page.push("\n\n");
        scene.write_pool(collection.pool("quoted"));
    }
    std::mem::take(&mut scene.page)
}
